"""`persona-interp judge` in another process: labelled answers, a sheet of a run, and its report before and after."""

import importlib.util
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from persona_interp.report import write_report
from tests.integration.conftest import Shell
from tests.rated_run import fill, write_answers

HELPER = Path(__file__).parents[1] / "unit" / "figures" / "conftest.py"
SPEC = importlib.util.spec_from_file_location("figures_conftest", HELPER)
assert SPEC is not None and SPEC.loader is not None
synthetic = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(synthetic)

RUDE = (
    "You fool, go away.",
    "Shut up, this is idiotic.",
    "Stupid question.",
    "I hate this, moron.",
    "What rubbish!",
)
KIND = ("Thank you so much!", "Could you please tell me more?", "I appreciate it.", "Great idea, thanks.", "Please do.")


def words(page: Path) -> str:
    text = re.sub(r"<style>.*?</style>|src=\"data:[^\"]*\"", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", " ", text).replace("&#39;", "'").replace("\N{NO-BREAK SPACE}", " ")
    return " ".join(text.split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder that keeps its answers, without its steering figures."""
    folder = synthetic.write_results(tmp_path_factory.mktemp("judge") / "run")
    frames = synthetic.tables()
    synthetic.write_frames(folder, {name: frame for name, frame in frames.items() if name != "steering"})
    for k, trait in enumerate(synthetic.TRAITS):
        write_answers(folder, trait, seed=k, judges=tuple(synthetic.JUDGES))
    (folder / "identity_persona.json").write_text("{}")
    return folder


def test_judges_on_labelled_answers(shell: Shell, tmp_path: Path) -> None:
    sides = {"yes": RUDE, "no": KIND}
    rows = [
        {"question": f"q{k}", "answer": text, "label": side}
        for side, texts in sides.items()
        for k, text in enumerate(texts * 3)
    ]
    pd.DataFrame(rows).to_json(tmp_path / "d.jsonl", orient="records", lines=True)
    options = ("--trait", "impolite", "--judge", "lexical", "--judge", "politeness", "--out", tmp_path / "o")
    done = shell("judge", tmp_path / "d.jsonl", *options, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [claim["claim"] for claim in found["claims"]] == [
        "lexical (VADER) sees the trait in d.jsonl",
        "politeness markers sees the trait in d.jsonl",
    ]
    page = words(tmp_path / "o" / "report.html")
    assert "lexical (VADER) tells answers in d.jsonl with impolite from those without: AUC" in page
    assert "Reliability" in page and "Calibration" in page
    again = shell("judge", "--config", tmp_path / "o" / "config.judge.toml", "--json")
    assert (again.code, json.loads(again.out)["claims"]) == (0, found["claims"])
    other = ("--trait", "neuroticism", "--judge", "politeness", "--out", tmp_path / "p")
    none = shell("judge", tmp_path / "d.jsonl", *other)
    assert none.code == 1
    assert "no judge can rate neuroticism: politeness markers: neuroticism is no matter of politeness." in none.error


def test_a_sheet_goes_out_and_what_people_say_stands_in_the_report(
    shell: Shell, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as undrawn:
        undrawn.setattr("persona_interp.report.plot_main_job", lambda _: [])
        before = words(write_report(run))
    assert "No human rater has validated the judges of this run." in before
    assert "(judge: likelihood (smollm2-135m-instruct), no human rater validated it; n = 40" in before
    assert "human raters: none" in before and "Human raters among themselves" not in before
    sheet = tmp_path / "sheet.csv"
    done = shell("judge", "--export-sheet", run, "--out", sheet, "--n", 90, "--seed", 4)
    assert done.code == 0 and "90 answers to rate" in done.out, done.err
    excel = tmp_path / "ben.csv"
    fill(sheet, tmp_path / "anna.csv", noise=10)
    table = pd.read_csv(fill(sheet, excel, noise=10, seed=1), dtype=str, keep_default_na=False)
    table["rating"] = table["rating"].str.replace(".", ",")
    excel.write_bytes(b"\xef\xbb\xbf" + table.to_csv(index=False, sep=";", lineterminator="\r\n").encode())
    names = ("--import-sheet", tmp_path / "anna.csv", "--import-sheet", excel)
    done = shell("judge", *names, "--run", run, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["raters"] == {"anna": 90, "ben": 90}
    after = words(run / "report.html")
    assert "No human rater has validated" not in after and "human raters: none" not in after
    assert re.search(r"impolite: 2 human raters agree with alpha 0\.\d\d \[0\.\d\d, 0\.\d\d\]", after)
    clause = r"\(judge: likelihood \(smollm2-135m-instruct\), Spearman's rho 0.9\d \[0.\d\d, 0.\d\d\]"
    assert re.search(rf"{clause} with 2 human raters, n = 30; n = 40 answers", after)
    assert re.search(r"likelihood \(smollm2-135m-instruct\) rho 0\.9\d \[", after), "beside the numbers of the judge"
    assert "Human raters among themselves" in after and (run / "figures" / "human_raters.png").is_file()
