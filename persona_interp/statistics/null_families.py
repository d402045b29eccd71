"""Results of the null battery: a family of other directions, the battery, and tables of several."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.errors import ConfigError
from persona_interp.statistics.effects import first_largest
from persona_interp.statistics.families import claim_q, corrected
from persona_interp.statistics.levels import NULL_QUANTILE
from persona_interp.statistics.permutation import permutation_p_value, possible


@dataclass(frozen=True, eq=False)
class NullFamily:
    """What other directions of one kind show, each at the layer that is best for it.

    Args:
        observed: the statistic of the direction itself at each layer; NaN where it has none.
        values: the same of every member of the family.
        members: their names, for small families; none for random draws.
        least: the smallest p-value that the family may give, where counting members alone would claim too much.
        n_mirrored: members that equal the direction itself whatever the data (the poles exchanged as a whole).
        floor: the smallest p-value of the design, whatever the members; 1 where no test is possible.
    """

    family: str
    observed: Float[np.ndarray, " layer"]
    values: Float[np.ndarray, "member layer"]
    members: tuple[str, ...] = ()
    least: float = 0.0
    n_mirrored: int = 0
    floor: float = 0.0

    @property
    def best(self) -> float:
        """The direction's own maximum over layers."""
        return float(_maxima(self.observed[None])[0])

    @property
    def best_layer(self) -> int:
        """Index of the layer where the direction has it; the earliest of equals."""
        return first_largest(np.where(np.isnan(self.observed), -np.inf, self.observed))

    @property
    def maxima(self) -> Float[np.ndarray, " member"]:
        """Every member's own maximum over layers."""
        return _maxima(self.values)

    @property
    def n(self) -> int:
        """Number of members; 0 where the data allow none."""
        return len(self.values)

    @property
    def percentile_95(self) -> float:
        """95th percentile of the maxima; NaN without members."""
        return float(np.quantile(self.maxima, NULL_QUANTILE)) if self.n else float("nan")

    @property
    def layer_95(self) -> Float[np.ndarray, " layer"]:
        """95th percentile of the members at each layer alone, for figures."""
        return np.quantile(self.values, NULL_QUANTILE, axis=0) if self.n else np.full(len(self.observed), np.nan)

    @property
    def p_value(self) -> float:
        """One-sided (1 + members at least as good) / (1 + n); NaN without members."""
        least = max(self.least, self.floor)
        return float(np.maximum(least, permutation_p_value(self.best, self.maxima))) if self.n else float("nan")

    @property
    def p_floor(self) -> float:
        """The smallest p-value that so many members can give, 1 / (1 + n) or 2 / (1 + n) with a mirror image."""
        return max((1 + self.n_mirrored) / (1 + self.n), self.floor)

    @property
    def testable(self) -> bool:
        """Whether the family can reject at all; where not, "no test possible" is the result, and not a large p."""
        return possible(self.p_floor)

    @property
    def best_member(self) -> str | None:
        """Name of the member with the largest maximum; None where members have no names."""
        return self.members[first_largest(self.maxima)] if self.members else None

    def row(self) -> dict[str, Any]:
        """The family as a row of a table."""
        return {
            "family": self.family,
            "observed": self.best,
            "best_layer": self.best_layer,
            "null_95": self.percentile_95,
            "p": self.p_value if self.testable else float("nan"),
            "p_floor": self.p_floor,
            "n": self.n,
            "best_member": self.best_member,
            "best_value": float(self.maxima.max()) if self.n else float("nan"),
        }


@dataclass(frozen=True, eq=False)
class NullBattery:
    """The families of one test, all of which the direction is compared with."""

    families: tuple[NullFamily, ...]

    def __getitem__(self, name: str) -> NullFamily:
        """A family by its name.

        Raises:
            ConfigError: the battery has none of that name.
        """
        for family in self.families:
            if family.family == name:
                return family
        have = ", ".join(family.family for family in self.families)
        raise ConfigError(f"this null battery has no family {name!r}.", f"It has {have}.")

    def to_frame(self) -> pd.DataFrame:
        """One row a family, with q over these rows; for several tests together use `battery_table`."""
        return corrected(pd.DataFrame([family.row() for family in self.families]))


def battery_table(batteries: Mapping[str, NullBattery]) -> pd.DataFrame:
    """One row a test and family; q corrects over all of them, a test being a claim with its families inside.

    See `claim_q`. Families that cannot reach p = 0.05 (`p_floor`) have neither p nor q and do not count: no test is
    possible.
    """
    rows = [{"test": test, **family.row()} for test, battery in batteries.items() for family in battery.families]
    table = pd.DataFrame(rows)
    return table.assign(q=claim_q(table["p"].to_numpy(float), table["test"].to_numpy(object).astype(str)))


def _maxima(values: Float[np.ndarray, "member layer"]) -> Float[np.ndarray, " member"]:
    """Largest value of each row that is not NaN; NaN where all are."""
    largest = np.where(np.isnan(values), -np.inf, values).max(axis=1, initial=-np.inf)
    return np.where(np.isneginf(largest), np.nan, largest)
