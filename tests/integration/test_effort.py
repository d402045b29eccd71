"""Commands with sizes: what a smaller one leaves out is in the report, and a run fits its minutes once."""

import json
from pathlib import Path

import pytest

from tests.integration.conftest import Shell

SMALL = ("--n-questions", 4, "--n-instructions", 2, "--n-eval-questions", 3, "--max-new-tokens", 4, "--filter", "none")


@pytest.mark.slow
def test_a_run_is_cut_to_its_minutes_and_goes_on_with_the_same_sizes(
    shell: Shell, model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    call = ("run", "--model", model_folder, "--trait", trait_files[0], "--dtype", "float32", "--layer", 1, *SMALL)
    call = (*call, "--coefficient=-0.3,0.3", "--effort", "quick", "--minutes", 0.1, "--out", out)
    done = shell(*call)
    assert done.code == 0, done.err
    config, kept = (json.loads((out / name).read_text()) for name in ("config.json", "fit.json"))
    assert kept["asked"]["n_random"] == 60 and config["n_random"] == 19
    assert config["n_questions"] == 4 and config["n_eval_questions"] == 3, "asked for, so not cut"
    said = json.loads((out / "provenance_persona.json").read_text())["fit"]["sentence"]
    assert said.startswith("Cut to fit 0.1 minutes: ") and "random 60 to 19" in said and "least sizes" in said
    assert said in (out / "report.html").read_text(encoding="utf-8")
    (out / "speed.json").write_text('{"written": 1e9, "read": 1e9, "trained": 0.0}')
    kept_at = {path: path.stat().st_mtime_ns for path in out.rglob("part-*")}
    again = shell(*call)
    assert again.code == 0, again.err
    assert json.loads((out / "config.json").read_text()) == config
    assert kept_at and {path: path.stat().st_mtime_ns for path in out.rglob("part-*")} == kept_at
    other = shell(*call[:-4], "--out", out)
    assert other.code == 2 and "n_random: there 19, now 60" in other.err


@pytest.mark.slow
def test_a_quick_inventory_has_one_wording_and_its_report_says_so(
    shell: Shell, model_folder: Path, tmp_path: Path
) -> None:
    items = "".join(f"{word},talk,{key}\n" for key, words in ((1, "talk chat sing"), (-1, "hide rest sit"))
                    for word in words.split())  # fmt: skip
    (tmp_path / "talk.csv").write_text(f"text,scale,key\n{items}")
    call = ("inventory", tmp_path / "talk.csv", "--model", model_folder, "--dtype", "float32")
    done = shell(*call, "--effort", "quick", "--order", "given", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    said = "Effort quick. Cut against standard: wordings 1 instead of all, orders given instead of given, reversed."
    assert said in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    whole = shell(*call, "--out", tmp_path / "out")
    assert whole.code == 2 and "orders: there ['given'], now ['given', 'reversed']" in whole.err
