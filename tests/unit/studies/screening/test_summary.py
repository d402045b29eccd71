"""The summary and the ranking say what numpy says of the same numbers."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.errors import EmptySelectionError
from persona_interp.studies.screening import summary as module
from persona_interp.studies.screening.config import Channel, ScreenConfig
from persona_interp.studies.screening.forms import RANKING
from persona_interp.studies.screening.summary import rank, summarise, unusable, usable
from persona_interp.tables import rows_of

LOUD = Channel("loud", 0, 1)
CONFIG = ScreenConfig((1,), delta="none")


def table(projections, reasons=None) -> pa.Table:
    values = np.array(projections, dtype=np.float32)
    return pa.table(
        {
            "row": np.arange(len(values)) * 2,
            "name": [f"row {k}" for k in range(len(values))],
            "reason": pa.array([None] * len(values) if reasons is None else reasons, pa.string()),
            "loud_layer1_projection": pa.array(values, from_pandas=True),
            "loud_layer1_prompt_last": pa.array(values + 1, from_pandas=True),
        }
    )


def test_usable_and_unusable_rows_are_parted() -> None:
    both = table([1.0, np.nan, 3.0], [None, "broken", None])
    assert usable(both)["row"].to_pylist() == [0, 4]
    assert unusable(both).to_pylist() == [{"row": 2, "name": "row 1", "reason": "broken"}]
    with pytest.raises(EmptySelectionError, match=r"none of 1 rows could be screened(.|\n)*broken"):
        usable(table([np.nan], ["broken"]))


def test_the_summary_is_numpys() -> None:
    values = np.random.default_rng(0).normal(2, 3, 300)
    frame = summarise(table(values), [LOUD], CONFIG, score="projection", thresholds={LOUD: 5.0})
    first, second = frame.to_dict("records")
    assert (first["score"], second["score"]) == ("projection", "prompt_last")
    assert first["n"] == 300
    assert first["mean"] == pytest.approx(values.mean(), rel=1e-6)
    assert first["sd"] == pytest.approx(values.std(ddof=1), rel=1e-6)
    for percent in (1, 5, 25, 50, 75, 95, 99):
        assert first[f"p{percent:02d}"] == pytest.approx(np.percentile(values, percent), rel=1e-5)
    assert first["interval"] == "bootstrap"
    half = 1.96 * values.std(ddof=1) / np.sqrt(300)
    assert first["high"] - first["low"] == pytest.approx(2 * half, rel=0.1)
    assert first["n_above"] == (values > 5).sum()
    assert first["share_above"] == pytest.approx((values > 5).mean())
    assert first["share_low"] < first["share_above"] < first["share_high"]
    assert np.isnan(second["threshold"]) and np.isnan(second["n_above"])


def test_many_samples_get_the_normal_interval_and_the_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=400)
    resampled = summarise(table(values), [LOUD], CONFIG, score="projection", thresholds={}).iloc[0]
    monkeypatch.setattr(module, "MOST_RESAMPLED", 399)
    normal = summarise(table(values), [LOUD], CONFIG, score="projection", thresholds={}).iloc[0]
    assert (resampled["interval"], normal["interval"]) == ("bootstrap", "normal")
    assert normal["low"] == pytest.approx(values.mean() - 1.959964 * values.std(ddof=1) / 20, rel=1e-4)
    assert (normal["low"], normal["high"]) == pytest.approx((resampled["low"], resampled["high"]), abs=0.02)


def test_one_sample_has_no_spread() -> None:
    row = summarise(table([1.5]), [LOUD], CONFIG, score="projection", thresholds={}).iloc[0]
    assert (row["n"], row["mean"], row["p50"]) == (1, 1.5, 1.5)
    assert np.isnan(row["sd"]) and np.isnan(row["low"])


@given(st.lists(st.integers(-3, 3) | st.none(), min_size=1, max_size=30), st.none() | st.integers(-3, 3))
def test_a_ranking_holds_every_scored_sample_once_from_the_top(values: list[int | None], limit: int | None) -> None:
    scored = [(k, value) for k, value in enumerate(values) if value is not None]
    threshold = None if limit is None else float(limit)
    found = rank(table([np.nan if v is None else v for v in values]), LOUD, "projection", threshold)
    ranking = rows_of(RANKING.checked(found))
    expected = sorted(scored, key=lambda pair: (-pair[1], pair[0]))
    assert [(row["row"], row["score"], row["name"]) for row in ranking] == [(2 * k, v, f"row {k}") for k, v in expected]
    assert [row["rank"] for row in ranking] == list(range(1, len(scored) + 1))
    above = [None if limit is None else value > limit for _, value in expected]
    assert [row["above_threshold"] for row in ranking] == above
