"""Preference pairs: what was planted in the chosen answers is found, with prompts as the unit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from persona_interp.data.preferences import stream_pairs
from persona_interp.directions.direction import Direction
from persona_interp.effects import saved_claims, saved_effects
from persona_interp.errors import ConfigError, DataError, EmptySelectionError
from persona_interp.measurements.sample_projections import project_samples
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.screening.pair_effects import PAIR_DIFFERENCE, PAIR_SHARE
from persona_interp.studies.screening.pair_run import screen_pairs
from persona_interp.studies.screening.pair_summary import pair_statistics
from persona_interp.studies.screening.pairs import PairScreener
from persona_interp.studies.screening.run import screen
from persona_interp.studies.screening.section import screening_section
from persona_interp.studies.screening.text_report import pair_report
from tests.unit.studies.screening.conftest import NOUNS, QUIET, shout


def rows(shouted: dict[int, str]) -> list[dict[str, object]]:
    """Thirty pairs of ten prompts; in some the named side is shouted."""
    found = []
    for k in range(30):
        sides = {"chosen": f"{NOUNS[(k + 3) % 10]} was {NOUNS[k // 3]}", "rejected": f"{NOUNS[(k + 5) % 10]} was so"}
        if k in shouted:
            sides[shouted[k]] = shout(sides[shouted[k]])
        found.append({"prompt": f"Why {NOUNS[k % 10]}?", **sides})
    return found


def write(path: Path, found: list) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(path)


def test_what_the_chosen_answers_teach_is_found(shouting: Direction, model: HookedModelBase, tmp_path: Path) -> None:
    planted = dict.fromkeys(range(0, 30, 2), "chosen") | {7: "rejected"}
    bad = [{"prompt": "a", "chosen": "b", "rejected": "b"}, {"prompt": "a", "response": "b"}, rows({})[0]]
    source = write(tmp_path / "pairs.jsonl", [*rows(planted), *bad])
    result = screen_pairs(model, source, [shouting], out=tmp_path / "out", layers=[0, 1], batch_rows=8, **QUIET)
    assert (result.n_rows, result.n_unusable, result.n_prompts) == (33, 2, 10)
    reasons = pd.read_csv(tmp_path / "out" / "unusable.csv")["reason"].tolist()
    assert reasons == [
        "the chosen and the rejected answer are the same.",
        "not a preference pair: it lacks chosen or rejected.",
    ]
    pairs = result.pairs()
    assert pairs.groupby(["direction", "layer"]).size().tolist() == [31, 31]
    first = pairs[pairs["layer"] == 0]
    assert set(first["row"][:15]) == set(planted) - {7} and first["row"].iloc[-1] == 7
    assert first["difference"].is_monotonic_decreasing and first["prompt"].nunique() == 10
    for row in result.summary.to_dict("records"):
        assert row["low"] > 0 and row["p"] <= 0.05 and (row["n"], row["n_prompts"]) == (31, 10)
    (claim,) = saved_claims(tmp_path / "out", "screening").to_dict("records")  # pyright: ignore
    assert claim["verdict"] == "holds" and "have more of shouting" in claim["sentence"]
    effects = saved_effects(tmp_path / "out", "screening")
    assert effects is not None and effects["metric"].tolist() == [PAIR_DIFFERENCE, PAIR_SHARE] * 2
    assert effects["q"].notna().tolist() == [True, False] * 2
    lines = (tmp_path / "out" / "pair_texts.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["chosen"].isupper() and len(lines) == 62
    again = [row for _, row in stream_pairs(tmp_path / "out" / "pair_texts.jsonl")]
    assert {type(row).__name__ for row in again} == {"Pair"}
    assert "31 of 33 preference pairs screened, of 10 prompts; 2 unusable" in pair_report(result)
    section = screening_section(tmp_path / "out")
    assert section is not None and len(section.tables) == 2 and section.figures[0].frame.size
    assert section.sentences == (claim["sentence"],)


def test_the_difference_is_that_of_the_projections(
    shouting: Direction, model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "pairs.jsonl", rows({3: "chosen"}))
    options: dict[str, Any] = {"out": tmp_path / "out", "layers": [1], "batch_rows": 7, **QUIET}
    pairs = screen_pairs(model, source, [shouting], **options).pairs().sort_values("row")
    talks = [pair for _, pair in stream_pairs(source)]
    for side in ("chosen", "rejected"):
        expected = project_samples(model, [getattr(pair, side) for pair in talks], [shouting], [1], progress=False)
        np.testing.assert_allclose(pairs[side], expected.response[:, 0, 0], rtol=1e-4, atol=1e-5)
        assert pairs[f"n_{side}_tokens"].tolist() == expected.n_answer_tokens.tolist()
    monkeypatch.setattr(PairScreener, "table", lambda *_: pytest.fail("computed again"))
    assert screen_pairs(model, source, [shouting], **options).pairs()["row"].tolist()[0] == 3


def test_answers_dealt_at_random_teach_nothing(shouting: Direction, model: HookedModelBase, tmp_path: Path) -> None:
    found = rows(dict.fromkeys(range(20), "chosen"))[:20]
    swapped = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in found[10:]]
    source = write(tmp_path / "pairs.jsonl", [*found[:10], *swapped])
    screen_pairs(model, source, [shouting], out=tmp_path / "out", layers=[0], **QUIET)
    (claim,) = saved_claims(tmp_path / "out", "screening").to_dict("records")  # pyright: ignore
    assert claim["verdict"] == "undecided" and "are not shown to have more" in claim["sentence"]


def test_pairs_of_one_prompt_are_one_cluster() -> None:
    rng = np.random.default_rng(0)
    difference, prompts = rng.normal(1, 1, 8), np.array([f"p{k}" for k in range(8)])
    once = pair_statistics(difference, np.zeros(8), prompts)
    thrice = pair_statistics(np.repeat(difference, 3), np.zeros(24), np.repeat(prompts, 3))
    for name in ("mean", "low", "high", "p", "share_higher"):
        assert thrice[name] == pytest.approx(once[name], rel=1e-6)
    assert (thrice["n"], thrice["n_prompts"]) == (24, 8)
    assert np.isnan(pair_statistics(difference[:5], np.zeros(5), prompts[:5])["p"]), "no test with five prompts"
    values = rng.normal(0.05, 1, 2500)
    many, expected = pair_statistics(values, np.zeros(2500), np.arange(2500)), ttest_1samp(values, 0)
    assert (many["interval"], many["test"]) == ("normal", "Student's t over prompts")
    assert many["p"] == pytest.approx(expected.pvalue) and many["low"] == pytest.approx(
        expected.confidence_interval().low
    )


def test_the_other_kind_of_data_is_refused(shouting: Direction, model: HookedModelBase, tmp_path: Path) -> None:
    source = write(tmp_path / "pairs.jsonl", rows({}))
    with pytest.raises(DataError, match="is preference data: its rows hold a chosen and a rejected answer"):
        screen(model, source, [shouting], out=tmp_path / "a", layers=[0], **QUIET)
    plain = write(tmp_path / "plain.jsonl", [{"prompt": "a", "response": "b"}])
    with pytest.raises(EmptySelectionError, match="it lacks chosen or rejected"):
        screen_pairs(model, plain, [shouting], out=tmp_path / "b", layers=[0], **QUIET)
    screen(model, plain, [shouting], out=tmp_path / "c", layers=[0], **QUIET)
    with pytest.raises(ConfigError, match="holds results of another configuration"):
        screen_pairs(model, source, [shouting], out=tmp_path / "c", layers=[0], **QUIET)
    with pytest.raises(ConfigError, match="n_shown must be at least 1"):
        screen_pairs(model, source, [shouting], out=tmp_path / "d", n_shown=0, **QUIET)
