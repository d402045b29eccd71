"""Effects of a screening are its summary's numbers, and a claim holds where samples were planted and nowhere else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from persona_interp.directions.direction import Direction
from persona_interp.effects import q_of
from persona_interp.statistics.exceedances import exceedances
from persona_interp.studies.screening.config import ScreenConfig, channels
from persona_interp.studies.screening.effects import (
    FAMILY,
    SHARE,
    Limit,
    Screened,
    screening_claims,
    screening_effects,
)
from persona_interp.studies.screening.forms import SUMMARY
from persona_interp.studies.screening.summary import summarise

CONFIG = ScreenConfig((0, 1), judge="embedding")
N = 200


@pytest.fixture
def found(directions: tuple[Direction, ...]) -> tuple[Any, Screened]:
    """Two directions at two layers; `evil` has forty samples far above the threshold at layer 1, nothing else."""
    rng, every = np.random.default_rng(0), channels(directions, CONFIG, [True, False])
    columns: dict[str, Any] = {"row": np.arange(N)}
    for channel in every:
        for score in channel.scores(CONFIG):
            columns[channel.column(score)] = rng.standard_normal(N)
    columns["evil_layer1_difference"][:40] += 5
    limits = {channel: Limit(1.65, 99, 95) for channel in every}
    of = Screened("a/data.jsonl", every, directions, CONFIG, "difference", "clean.jsonl", limits)
    thresholds = {channel: limit.value for channel, limit in limits.items()}
    summary = summarise(pa.table(columns), every, CONFIG, score="difference", thresholds=thresholds)
    return SUMMARY.checked(summary), of


def test_effects_are_the_numbers_of_the_summary(found: tuple[Any, Screened]) -> None:
    summary, of = found
    effects = screening_effects(summary, of)
    assert len(effects) == 2 * 2 * 3 + 1 + 2 * 2  # the judge's one mean, and the shares
    row = summary[(summary["direction"] == "loud") & (summary["layer"] == 1) & (summary["score"] == "difference")].iloc[
        0
    ]
    (mean,) = [e for e in effects if e.metric == "mean projection difference" and (e.trait, e.layers) == ("loud", "1")]
    assert (mean.estimate, mean.low, mean.high, mean.n) == (row["mean"], row["low"], row["high"], N)
    assert (mean.reference, mean.data, mean.depth) == (
        "the last prompt token",
        "data.jsonl",
        2 / of.directions[0].provenance.n_layers,
    )
    (share,) = [e for e in effects if e.metric == SHARE and (e.trait, e.layers) == ("loud", "1")]
    expected = exceedances(int(row["n_above"]), N, n_reference=99, k=95)
    assert (share.estimate, share.low, share.p, share.null_high) == (
        row["share_above"],
        row["share_low"],
        expected.p,
        expected.null_high,
    )
    assert share.family == FAMILY and share.reference == "samples such as those of clean.jsonl"
    (judged,) = [e for e in effects if e.judge == "embedding"]
    assert (judged.layers, judged.unit, judged.substrate) == (None, "points of 100", None)


def test_planted_samples_are_claimed_at_the_layer_where_they_are(found: tuple[Any, Screened]) -> None:
    summary, of = found
    effects = screening_effects(summary, of)
    loud, evil = screening_claims(effects, q_of(effects), of)
    assert (loud.verdict, evil.verdict) == ("undecided", "holds")
    assert len(loud.effects) == len(evil.effects) == 2
    assert evil.sentence.startswith("data.jsonl passes the threshold of evil at layer 1, the clearest of 2, more often")
    assert "is not shown to pass the threshold of loud" in loud.sentence


def test_without_clean_data_nothing_is_claimed(found: tuple[Any, Screened]) -> None:
    summary, of = found
    alone = replace(of, clean=None, limits=None)
    effects = screening_effects(summary, alone)
    assert SHARE not in {effect.metric for effect in effects}
    assert screening_claims(effects, q_of(effects), alone) == []
