"""A panel of many pairs as numbers a layer: effects with intervals, their place among random ones, shares mediated."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_interp.measurements.preference import ARMS
from persona_interp.statistics import Interval
from persona_interp.statistics.auc_interval import auc_intervals, auc_test
from persona_interp.statistics.draws import Rank, rank_among
from persona_interp.statistics.means import bootstrap_mean, bootstrap_ratio
from persona_interp.statistics.profiles import ProfileMatch, match_profiles
from persona_interp.studies.causal.panel import RANDOM, WHATS, What

SIGNS: Mapping[What, int] = {"steered": 1, "ablated": -1, "patched": 1, "patched whole": 1, "withheld": -1}
"""The sign of a change that the trait's direction should make."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """How well held-out answers are told apart at a layer.

    Args:
        auc: of projections of answers under either prompt, with an interval over questions.
        distance: mean difference of projections over their standard deviation within the poles; NaN without any.
        p: two-sided, of the AUC against one half.
        by_question: the distance of every question's answers.
    """

    auc: Interval
    distance: float
    p: float
    by_question: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Changed:
    """What something does at a layer to the preference, in nats a token.

    Args:
        rank: the change, in the direction that is expected, among those of random directions.
        random: mean change along random directions; NaN without any.
        share: of the prompt's own effect, with an interval over questions; None where that effect is not shown.
    """

    change: Interval
    rank: Rank | None
    random: float
    share: Interval | None


@dataclass(frozen=True, eq=False)
class Panel:
    """All numbers of a panel.

    Args:
        arms: preference after every system prompt with nothing done.
        total: the prompt's effect: preference after the positive prompt minus that after the negative one.
        decoded: by layer; `changed` by scope, what and layer; `means` by what: over the layers that were looked at.
        matches: by what: whether it goes with the distance of the poles over the layers.
    """

    layers: tuple[int, ...]
    arms: Mapping[str, Interval]
    total: Interval
    decoded: Mapping[int, Decoded]
    changed: Mapping[tuple[str, str, int], Changed]
    means: Mapping[str, Changed]
    matches: Mapping[str, ProfileMatch]


def decode(
    values: np.ndarray, units: np.ndarray, positive: np.ndarray, questions: np.ndarray, layers: tuple[int, ...]
) -> dict[int, Decoded]:
    """Decodability at every layer.

    Args:
        values: pooled activations of held-out answers, [answer, layer, d_model]; units: the direction's unit vectors.
    """
    projected = np.einsum("sld,ld->sl", values, units)[:, list(layers)]
    ours, theirs = projected[positive], projected[~positive]
    found = auc_intervals(ours, theirs, questions[positive], questions[~positive])
    spread = np.sqrt((ours.var(0, ddof=1) + theirs.var(0, ddof=1)) / 2)
    apart = ours.mean(0) - theirs.mean(0)
    scale = np.divide(1, spread, out=np.full_like(spread, np.nan), where=spread > 0)
    each = {}
    for question in np.unique(questions):
        own = questions == question
        if (own & positive).any() and (own & ~positive).any():
            each[str(question)] = (projected[own & positive].mean(0) - projected[own & ~positive].mean(0)) * scale
    return {
        layer: Decoded(
            found[k],
            float(apart[k] * scale[k]),
            auc_test(found[k]),
            {question: float(values[k]) for question, values in each.items()},
        )
        for k, layer in enumerate(layers)
    }


def summarise(table: pd.DataFrame, decoded: Mapping[int, Decoded], *, seed: int = 0) -> Panel:
    """The numbers of a table of `panel_of`, of all parts together."""
    layers = tuple(decoded)
    whole = {arm: _by_pair(table[table["what"] == arm], "preference")[:, 0] for arm in ARMS}
    names = table.drop_duplicates("pair").sort_values("pair")["question"].to_numpy(object).astype(str)
    total = whole["positive"] - whole["negative"]
    own, null = table[(table["draw"] == -1) & (table["layer"] >= 0)], table[table["draw"] >= 0]

    def changed_by(rows: pd.DataFrame, drawn: pd.DataFrame, what: What) -> Changed:
        draws = drawn.groupby("draw")["change"].mean().to_numpy(float)
        return _changed(_by_pair(rows, "change").mean(1), what, draws, total, names, seed)

    changed, means = {}, {}
    for what in WHATS:
        ours, theirs = own[own["what"] == what], null[null["what"] == what]
        for scope, layer in sorted(set(zip(ours["scope"], ours["layer"], strict=True))):
            rows = ours[(ours["scope"] == scope) & (ours["layer"] == layer)]
            drawn = theirs[(theirs["layer"] == layer) & (theirs["scope"] == scope)]
            changed[str(scope), str(what), int(layer)] = changed_by(rows, drawn, what)
        means[what] = changed_by(ours[ours["scope"] == "layer"], theirs, what)
    matches = {what: _match(own[(own["scope"] == "layer") & (own["what"] == what)], decoded, what) for what in RANDOM}
    return Panel(
        layers,
        {arm: bootstrap_mean(values, names, seed=seed) for arm, values in whole.items()},
        bootstrap_mean(total, names, seed=seed),
        decoded,
        changed,
        means,
        matches,
    )


def _match(rows: pd.DataFrame, decoded: Mapping[int, Decoded], what: What) -> ProfileMatch:
    """Distance of the poles and effect, [question, layer] each, over questions that have both."""
    acts = rows.pivot_table(index="question", columns="layer", values="change") * SIGNS[what]
    reads = pd.DataFrame({layer: found.by_question for layer, found in decoded.items()})
    both = acts.index.intersection(reads.index)
    return match_profiles(reads.loc[both, list(decoded)].to_numpy(float), acts.loc[both, list(decoded)].to_numpy(float))


def _by_pair(rows: pd.DataFrame, value: str) -> np.ndarray:
    """Values as [pair, layer], in the order of pairs."""
    return rows.pivot(index="pair", columns="layer", values=value).sort_index().to_numpy(float)


def _changed(
    change: np.ndarray, what: What, draws: np.ndarray, total: np.ndarray, questions: np.ndarray, seed: int
) -> Changed:
    found = bootstrap_mean(change, questions, seed=seed)
    rank = rank_among(SIGNS[what] * found.estimate, SIGNS[what] * draws) if len(draws) else None
    mediates = what not in ("steered", "ablated") and bootstrap_mean(total, questions, seed=seed).low > 0
    share = bootstrap_ratio(SIGNS[what] * change, total, questions, seed=seed) if mediates else None
    return Changed(found, rank, float(draws.mean()) if len(draws) else float("nan"), share)
