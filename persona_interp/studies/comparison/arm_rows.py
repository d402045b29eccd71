"""What every row on a steered arm shares: one trait's ratings by family and target, and the effect of an arm."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from persona_interp.effects import Effect
from persona_interp.statistics.means import bootstrap_mean
from persona_interp.statistics.resampling import Interval
from persona_interp.studies.comparison.axes_effects import role_of
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.steered import Steered
from persona_interp.studies.comparison.strength import UNSTEERED
from persona_interp.tables import rows_of

NATS, SDS = "nats, mean KL", "standard deviations of unsteered answers"

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Steering:
    """One trait's ratings as matrices by family, and where it is steered."""

    name: str
    layer: int
    steered: Steered
    here: Effect
    run: ComparisonRun

    def values(self, family: str, target: float | None, what: str, judge: str) -> Float[np.ndarray, " question"]:
        """Ratings of one arm, a question each, in the order of the questions."""
        table = self.steered.ratings
        rows = table[(table["family"] == family) & (table["what"] == what) & (table["judge"] == judge)]
        rows = rows[rows["target"].isna()] if target is None else rows[rows["target"] == target]
        return rows.sort_values("question")["value"].to_numpy(float)

    def change(self, family: str, target: float | None, what: str, judge: str) -> Float[np.ndarray, " question"]:
        """The same minus the unsteered answers to the same questions."""
        return self.values(family, target, what, judge) - self.values(UNSTEERED, None, what, judge)

    @property
    def arms(self) -> list[Row]:
        """Families and targets that were answered at."""
        rows = rows_of(self.steered.strengths)
        return [row for row in rows if row["kl_mean"] is not None]


def arm_effect(one: Steering, row: Row, metric: str) -> Effect:
    """Of a family at a target, or of a prompt at its own KL."""
    prompt = row["target"] is None
    return replace(
        one.here,
        metric=metric,
        role=role_of(row["family"]),
        method=row["family"],
        substrate="prompt" if prompt else one.here.substrate,
        strength=row["kl_mean"] if prompt else row["target"],
        strength_unit=NATS,
        condition="system prompt" if prompt else "added at the layer",
    )


def mean_over(values: Float[np.ndarray, " unit"], units: np.ndarray, seed: int) -> Interval:
    """Mean of the values that are known, with its interval over units; NaN where none is."""
    known = np.isfinite(values)
    if not known.any():
        nothing = float("nan")
        return Interval(nothing, nothing, nothing, 0, 0)
    return bootstrap_mean(values[known], units[: len(values)][known], seed=seed)
