"""A whole screening on the small model: planted samples come out on top, and a second run computes nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, EmptySelectionError, HookpointError, IncompatibleDirectionError
from persona_interp.io import read_json
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.screening.batch import Screener
from persona_interp.studies.screening.result import read_samples
from persona_interp.studies.screening.run import screen
from persona_interp.studies.screening.text_report import text_report
from tests.unit.studies.screening.conftest import N_ROWS, N_UNUSABLE, NOUNS, QUIET, ROWS, Write, shout

Directions = tuple[Direction, ...]


@pytest.fixture
def mixture(write: Write) -> tuple[str, set[int]]:
    """Sixty answers, six of them shouted, and where those are."""
    planted = {7, 19, 20, 33, 48, 59}
    rows = [(f"Why {NOUNS[k % 10]} {k}?", f"{NOUNS[(k + 3) % 10]} was {NOUNS[k // 10]}") for k in range(60)]
    return write("mixture.jsonl", [(q, shout(a) if k in planted else a) for k, (q, a) in enumerate(rows)]), planted


def test_planted_samples_come_out_on_top(
    mixture: tuple[str, set[int]], shouting: Direction, write: Write, model: HookedModelBase, tmp_path: Path
) -> None:
    source, planted = mixture
    clean = write("clean.jsonl", [(f"Is {noun}?", f"{noun} was {other}") for noun in NOUNS for other in NOUNS[:4]])
    options: dict[str, Any] = {"layers": [0], "delta": "none", "clean": clean, "batch_rows": 16}
    result = screen(model, source, [shouting], out=tmp_path / "out", **options, **QUIET)
    ranking = result.ranking()
    assert set(ranking["row"][:6]) == planted
    assert ranking["above_threshold"][:6].all()
    assert result.clean is not None and result.clean.n == 40
    limit = result.clean.thresholds[result.channels[0]]
    below = read_samples(tmp_path / "out" / "clean")["shouting_layer0_projection"] <= limit
    assert below.mean() == pytest.approx(39 / 40), "ceil(41 * 0.95) of 40"
    row = result.summary.iloc[0]
    assert row["threshold"] == limit
    assert row["n_above"] == ranking["above_threshold"].sum() >= 6
    lines = [json.loads(line) for line in (tmp_path / "out" / "flagged.jsonl").read_text().splitlines()]
    assert {line["row"] for line in lines[:6]} == planted
    assert len(lines) == row["n_above"] == result.n_flagged
    assert lines[0]["messages"][1]["content"].isupper()
    strongest = [token["projection"] for token in lines[0]["tokens"]]
    assert strongest == sorted(strongest, reverse=True)
    assert len(strongest) == 8
    assert "percentile 95 of the projection of 40 clean samples" in text_report(result)


def test_the_tokens_average_to_the_projection(
    mixture: tuple[str, set[int]], shouting: Direction, model: HookedModelBase, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("persona_interp.studies.screening.flagged.N_TOKENS", 1000)
    screen(model, mixture[0], [shouting], out=tmp_path / "out", layers=[1], n_flagged=3, **QUIET)
    lines = [json.loads(line) for line in (tmp_path / "out" / "flagged.jsonl").read_text().splitlines()]
    assert [line["rank"] for line in lines] == [1, 2, 3]
    for line in lines:
        values = [token["projection"] for token in line["tokens"]]
        assert sum(values) / len(values) == pytest.approx(line["scores"]["projection"], abs=1e-4)
        in_order = sorted(line["tokens"], key=lambda token: token["position"])
        text = "".join(token["token"] for token in in_order)
        assert text.strip() == line["messages"][-1]["content"]
        assert line["scores"]["difference"] == pytest.approx(
            line["scores"]["projection"] - line["scores"]["prompt_last"], abs=1e-4
        )


def test_unusable_rows_are_counted_and_the_rest_goes_on(
    write: Write, model: HookedModelBase, directions: Directions, tmp_path: Path
) -> None:
    result = screen(model, write("data.jsonl", ROWS), directions, out=tmp_path / "out", batch_rows=4, **QUIET)
    assert (result.n_rows, result.n_unusable, result.clean) == (N_ROWS, N_UNUSABLE, None)
    table = pd.read_csv(tmp_path / "out" / "unusable.csv")
    assert table["row"].tolist() == [6, 7]
    assert list(table.columns) == ["row", "name", "reason"]
    summary = read_json(tmp_path / "out" / "screening.json")
    assert (summary["n_rows"], summary["n_usable"], summary["n_unusable"]) == (N_ROWS, N_ROWS - N_UNUSABLE, N_UNUSABLE)
    assert summary["clean"] is None
    assert len(summary["scores"]) == 6
    assert summary["scores"][0]["threshold"] is None
    samples = result.samples()
    assert samples["row"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12]
    assert result.summary["layer"].unique().tolist() == [1]
    report = text_report(result)
    assert "10 of 12 rows screened, 2 unusable" in report
    assert "No clean data was given, so there is no threshold: samples are only ranked, by difference." in report
    ranking = result.ranking()
    assert ranking["above_threshold"].isna().all()
    assert len(ranking) == 2 * (N_ROWS - N_UNUSABLE)
    assert len(pd.read_csv(tmp_path / "out" / "flagged.csv")) == len(ranking)


def test_a_second_run_computes_nothing_and_may_flag_otherwise(
    write: Write, model: HookedModelBase, directions: Directions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write("data.jsonl", ROWS)
    first = screen(model, source, directions, out=tmp_path / "out", batch_rows=4, **QUIET)
    monkeypatch.setattr(Screener, "table", lambda *_: pytest.fail("computed again"))
    again = screen(
        model, source, directions, out=tmp_path / "out", batch_rows=4, rank_by="projection", n_flagged=1, **QUIET
    )
    pd.testing.assert_frame_equal(first.samples(), again.samples())
    assert (first.n_flagged, again.n_flagged) == (20, 2)
    assert again.score == "projection"


def test_clean_data_screened_with_other_vectors_are_not_taken(
    write: Write, model: HookedModelBase, directions: Directions, tmp_path: Path
) -> None:
    source, clean = write("data.jsonl", ROWS[:3]), write("clean.jsonl", ROWS[3:6])
    with pytest.raises(ConfigError, match="needs at least 19 clean samples, got 3"):
        screen(model, source, directions, out=tmp_path / "out", clean=clean, **QUIET)
    assert not (tmp_path / "out").exists(), "said before anything is computed"
    options: dict[str, Any] = {**QUIET, "percentile": 75.0}
    screen(model, source, directions, out=tmp_path / "out", clean=clean, **options)
    other = write("clean.jsonl", ROWS[2:6])
    with pytest.raises(ConfigError, match=r"clean holds results of another(.|\n)*data set \(SHA-256\): there"):
        screen(model, source, directions, out=tmp_path / "out", clean=other, **options)


def test_what_cannot_be_screened_is_refused_before_anything_is_written(
    write: Write, model: HookedModelBase, directions: Directions, tmp_path: Path
) -> None:
    source, out = write("data.jsonl", ROWS), tmp_path / "out"
    foreign = replace(directions[0], provenance=replace(model.provenance, model="another-model", weights="0123"))
    with pytest.raises(IncompatibleDirectionError, match=f"another-model(.|\n)*not to {model.name}"):
        screen(model, source, [foreign], out=out, **QUIET)
    with pytest.raises(HookpointError, match="no vector for resid_post at layer 7"):
        screen(model, source, directions, out=out, layers=[7], **QUIET)
    with pytest.raises(ConfigError, match="percentile must be above 0 and below 100, got 100"):
        screen(model, source, directions, out=out, percentile=100.0, **QUIET)
    with pytest.raises(ConfigError, match="directions must be a list of Directions that is not empty"):
        screen(model, source, [], out=out, **QUIET)
    assert not out.exists()


def test_a_data_set_without_a_usable_row_is_refused(
    write: Write, model: HookedModelBase, directions: Directions, tmp_path: Path
) -> None:
    with pytest.raises(EmptySelectionError, match="none of 2 rows could be screened"):
        screen(model, write("data.jsonl", ["{", "[]"]), directions, out=tmp_path / "out", **QUIET)
