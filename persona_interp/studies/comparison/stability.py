"""Stability: whether the two halves of what a family is made from give the same direction."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from persona_interp.statistics.streams import stream
from persona_interp.studies.comparison.axes import Scale
from persona_interp.studies.comparison.families.family import Family, Made, with_direction

Row = dict[str, Any]


def spearman_brown(half: float) -> float:
    """Cosine that is expected of two whole sets, from that of two halves: 2 r / (1 + r); r itself where it is negative.

    Source: Spearman 1910; Brown 1910.
    """
    return 2 * half / (1 + half) if half > 0 else half


def stability_rows(families: Sequence[Family], scale: Scale, n_splits: int, n_flips: int, *, seed: int) -> list[Row]:
    """Mean cosine of halves over questions, prompt pairs and seeds, stepped up, beside halves whose poles are nothing.

    That over questions (or pairs of texts) has Student's t interval of a jackknife over them. In the null the poles
    are exchanged in a random half of the units of each half, so that what all units share cancels.

    Args:
        families: made at one layer alone.
    """
    rows = []
    for family in with_direction(families, scale.layer):
        made, own = family.made, family.halves(scale.layer, scale.kept, n_splits)
        if made is None or own is None:
            continue
        for what, labels in {made.unit: made.units, **made.splits}.items():
            rng = stream(seed, "halves of poles", family.name, what)
            halves = list(_halves(labels, n_splits, rng))
            flipped = [halves[k % len(halves)] for k in range(n_flips)]
            null = [_cosine(made, scale, half, _flipped(made, half, rng)) for half in flipped]
            if what == made.unit:
                found = own.agreement()
                mean, low, high = found.within(-1.0, 1.0)
            else:
                mean = float(np.mean([_cosine(made, scale, half, made.positive) for half in halves]))
                low = high = float("nan")
            rows.append(
                {
                    **{"layer": scale.layer, "family": family.name, "over": what, "half": mean},
                    **{"estimate": spearman_brown(mean), "low": spearman_brown(low), "high": spearman_brown(high)},
                    "null_high": spearman_brown(float(np.quantile(null, 0.95))) if n_flips >= 20 else float("nan"),
                    **{"n_null": len(null), "n_cluster": len(np.unique(labels))},
                }
            )
    return rows


def _halves(labels: np.ndarray, n: int, rng: np.random.Generator) -> Iterator[Bool[np.ndarray, " row"]]:
    names = np.unique(labels)
    for _ in range(n if len(names) > 2 else 1):
        yield np.isin(labels, rng.permutation(names)[: len(names) // 2])


def _cosine(made: Made, scale: Scale, half: Bool[np.ndarray, " row"], positive: Bool[np.ndarray, " row"]) -> float:
    first, second = (made.refit(rows, positive)[0].double().numpy()[scale.kept] for rows in (half, ~half))
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _flipped(made: Made, half: Bool[np.ndarray, " row"], rng: np.random.Generator) -> Bool[np.ndarray, " row"]:
    """The poles exchanged in one half of the units of each half of the rows, so that what all share cancels."""
    sides = [np.unique(made.units[rows]) for rows in (half, ~half)]
    if set(sides[0]) == set(sides[1]):
        sides = sides[:1]
    exchanged = [name for names in sides for name in rng.permutation(names)[: len(names) // 2]]
    return made.positive ^ np.isin(made.units, exchanged)
