"""The log of a drift callback: what is read is what was written, in both formats; altered files are refused."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persona_interp.errors import ArtefactError
from persona_interp.finetuning.drift_log import COLUMNS, Base, base_path, drift_frame, read_rows, write_rows

numbers = st.floats(allow_infinity=False) | st.just(math.nan)
names = st.text(st.characters(codec="utf-8", exclude_characters="\r", exclude_categories=["C"]), min_size=1)
rows_of = st.lists(
    st.fixed_dictionaries(
        {
            "step": st.integers(0, 10**9),
            "trait": names,
            "layer": st.integers(0, 200),
            **dict.fromkeys(COLUMNS[3:8], numbers),
            "action": st.sampled_from(["", "warn", "stop"]),
        }
    ),
    min_size=1,
)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_of)
def test_rows_come_back_as_they_were(tmp_path: Path, suffix: str, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / f"log{suffix}"
    write_rows(path, rows)
    back = read_rows(path)
    assert [list(row) for row in back] == [list(COLUMNS)] * len(rows)
    for row, again in zip(rows, back, strict=True):
        for name in COLUMNS:
            both_nan = isinstance(row[name], float) and math.isnan(row[name]) and math.isnan(again[name])
            assert both_nan or again[name] == row[name]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize("text", ["no log\nat all\n", '{"step": 1}\n', "step,trait\n1,loud\n"])
def test_an_altered_log_is_refused(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"log{suffix}"
    path.write_text(text)
    with pytest.raises(ArtefactError, match="Restore it, or give another path"):
        read_rows(path)


def test_no_rows_are_a_table_with_its_columns(tmp_path: Path) -> None:
    assert tuple(drift_frame([]).columns) == COLUMNS
    assert drift_frame([])["shift"].dtype == float
    for suffix in (".jsonl", ".csv"):
        write_rows(tmp_path / f"log{suffix}", [])
        assert read_rows(tmp_path / f"log{suffix}") == []


def test_a_base_comes_back_for_its_own_probe_only(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    assert Base.load(path, "k") is None
    base = Base("aaaa", np.random.default_rng(0).normal(size=(3, 2, 4)))
    base.save(path, "k")
    again = Base.load(path, "k")
    assert again is not None and again.weights == "aaaa"
    np.testing.assert_array_equal(again.projections, base.projections)
    assert Base.load(path, "other") is None
    path.write_text('{"key": "k"}')
    with pytest.raises(ArtefactError, match="has no weights"):
        Base.load(path, "k")


def test_the_base_is_beside_the_log_or_in_the_runs_folder() -> None:
    assert base_path(Path("logs/drift.csv"), "out") == Path("logs/drift_base.json")
    assert base_path(None, "out") == Path("out/drift_base.json")
