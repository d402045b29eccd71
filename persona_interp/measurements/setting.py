"""The setting of a steering run: a layer and a coefficient, chosen on questions that evaluate nothing.

A maximum over noisy cells is a coin toss between layers that do nearly the same. So an incoherent answer counts as no
change, layers are smoothed with their neighbours, and one that is better by less than two standard errors does not
count as better: the layer nearest the middle wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.arguments import checked
from persona_interp.bounds import Seed
from persona_interp.errors import EmptySelectionError
from persona_interp.statistics.effects import first_largest
from persona_interp.statistics.streams import stream

COHERENT_SHARE = 0.75
"""A cell is coherent where at least this share of its answers passes the gate that 90 % of unsteered ones pass."""

NEAR = 2
"""Blocks within which a layer counts as the same."""

ERRORS = 2.0
"""Standard errors by which a layer has to be better to count as better."""

N_HALVES = 200
SELECTION_RULE = (
    "on extraction questions: of the layers whose change from unsteered, over the strengths above 0, with answers that"
    " fail the coherence gate as no change, and averaged with the neighbouring steered layers, is within two standard"
    " errors of the largest, the one nearest the middle; there, the strength with the highest mean among the coherent"
    f" ones (at least {COHERENT_SHARE:.0%} of answers pass the gate that 90% of unsteered answers pass)"
)


@dataclass(frozen=True)
class Setting:
    """A layer and a coefficient.

    Args:
        coherent: whether a coherent positive coefficient was found at the layer; else it is the weakest.
        stability: share of random halves of the questions in which the layer chosen is within two blocks of this one;
            None where nothing was chosen: the place was named beforehand.
    """

    layer: int
    coefficient: float
    coherent: bool
    stability: float | None = None


@checked
def choose_setting(scored: pd.DataFrame, *, judge: str, seed: Seed = 0) -> Setting:
    """The setting that `SELECTION_RULE` picks.

    Args:
        scored: a row an answer: question, layer (missing where the coefficient is 0), coefficient, passes_gate, and a
            column of scores.
        judge: the name of that column.

    Raises:
        EmptySelectionError: no positive coefficient, no unsteered answer, or no question that was rated at every one.
    """
    changes = _changes(scored, judge)
    layers = [int(layer) for layer in changes.columns]
    layer = layers[_choose(changes.to_numpy(float), layers)]
    at = scored[(scored["layer"] == layer).fillna(False) & (scored["coefficient"] > 0)]
    cells = at.groupby("coefficient").agg(estimate=(judge, "mean"), share=("passes_gate", "mean")).reset_index()
    coefficient, coherent = choose_coefficient(cells.assign(coherent=cells["share"] >= COHERENT_SHARE))
    return Setting(int(layer), coefficient, coherent, _stability(changes, layer, seed))


@checked
def choose_coefficient(cells: pd.DataFrame) -> tuple[float, bool]:
    """The coefficient with the highest mean among the coherent ones, and whether there was any; else the weakest.

    Args:
        cells: coefficient, estimate and coherent, a row a positive coefficient.
    """
    coherent = cells[cells["coherent"].astype(bool)]
    if coherent.empty:
        return float(cells["coefficient"].min()), False
    return float(coherent.loc[coherent["estimate"].idxmax(), "coefficient"]), True


def _changes(scored: pd.DataFrame, judge: str) -> pd.DataFrame:
    """Mean change from unsteered over the positive coefficients: a row a question, a column a layer."""
    steered = scored[scored["coefficient"] > 0].dropna(subset=[judge])
    plain = scored[scored["coefficient"] == 0].groupby("question")[judge].mean().dropna()
    steered = steered[steered["question"].isin(list(plain.index))]
    table = pd.DataFrame()
    if len(steered):
        change = steered[judge] - steered["question"].map(plain).astype(float)
        change = change.where(steered["passes_gate"].astype(bool), 0.0)
        table = steered.assign(change=change).pivot_table(index="question", columns="layer", values="change").dropna()
    if table.empty:
        raise EmptySelectionError(
            f"no question has unsteered and steered answers, at positive coefficients, that were rated by {judge}."
        )
    return table.sort_index(axis=1)


def _choose(changes: Float[np.ndarray, "question layer"], layers: Sequence[int]) -> int:
    """The place in the row of layers of the one nearest their middle among those not clearly below the best."""
    smooth = changes @ _neighbours(len(layers))
    best = first_largest(smooth.mean(axis=0))
    behind = smooth[:, [best]] - smooth
    errors = behind.std(axis=0, ddof=1) / np.sqrt(len(smooth)) if len(smooth) > 1 else np.zeros(len(layers))
    near = [int(k) for k in np.flatnonzero(behind.mean(axis=0) <= ERRORS * errors)]
    middle = (layers[0] + layers[-1]) / 2
    return min(near, key=lambda k: (abs(layers[k] - middle), k))


def _neighbours(n: int) -> Float[np.ndarray, "layer layer"]:
    """Weights 1, 2, 1 of a layer's neighbours and itself, adding to one."""
    weights = 2 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)
    return weights / weights.sum(axis=0)


def _stability(changes: pd.DataFrame, layer: int, seed: int) -> float:
    values, layers = changes.to_numpy(float), [int(name) for name in changes.columns]
    half = len(values) // 2
    if half == 0:
        return float("nan")
    rng = stream(seed, "halves of the questions")
    chosen = [layers[_choose(values[rng.permutation(len(values))[:half]], layers)] for _ in range(N_HALVES)]
    return float(np.mean([abs(other - layer) <= NEAR for other in chosen]))
