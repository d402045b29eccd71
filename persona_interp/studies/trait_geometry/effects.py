"""Correlations of two models' cosines as rows of the table of effects, and the claims of likeness."""

from collections.abc import Iterator, Sequence

import numpy as np

from persona_interp.effects import Claim, Effect, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.mantel import GeometryComparison

STUDY = "trait_geometry"
FAMILY = "likeness of two models' trait geometry"
AT_DEPTH, LARGEST = "renamed traits at this depth", "renamed traits, largest over depths"
METRICS = {"pearson": "Pearson r of cosines", "spearman": "Spearman rho of cosines"}
ALIKE = (
    "Mantel's test at the depth named before, corrected over pairs of models, correlations and the tests of the best"
    " depth: q is at most 0.05; and the interval of the correlation lies above zero"
)

Compared = tuple[str, str, str, GeometryComparison]
"""Two models, the correlation over pairs of traits, and what was found at every depth."""


def geometry_effects(
    compared: Sequence[Compared], *, depths: Sequence[float], mid_depth: float, n_traits: int
) -> list[Effect]:
    """An effect a pair of models, correlation and depth, and one for the largest over depths.

    The tests at `mid_depth` and of the largest are one family. The largest has no interval: its depth is chosen on
    these data.
    """
    return [
        effect
        for a, b, correlation, found in compared
        for effect in _of_pair(a, b, correlation, found, depths, mid_depth, n_traits)
    ]


def geometry_claims(effects: Sequence[Effect], q: Sequence[float]) -> list[Claim]:
    """A claim a pair of models, from the first correlation at the depth that was named before.

    Args:
        q: of every effect.
    """
    tested = [(e, one) for e, one in zip(effects, q, strict=True) if e.family == FAMILY and e.test == AT_DEPTH]
    first = [(effect, one) for effect, one in tested if effect.metric == tested[0][0].metric]
    return [_alike(effect, one) for effect, one in first]


def _of_pair(
    a: str,
    b: str,
    correlation: str,
    found: GeometryComparison,
    depths: Sequence[float],
    mid_depth: float,
    n_traits: int,
) -> Iterator[Effect]:
    best = int(np.argmax(found.estimate))
    for k, depth in enumerate([*depths, depths[best]]):
        largest = k == len(depths)
        place = best if largest else k
        yield Effect(
            metric=METRICS[correlation],
            estimate=float(found.estimate[place]),
            low=None if largest else float(found.low[place]),
            high=None if largest else float(found.high[place]),
            level=None if largest else CONFIDENCE,
            fixed="the vectors",
            n=found.n_pairs,
            cluster="trait",
            n_cluster=n_traits,
            reference="no likeness, 0",
            method="persona_vector",
            substrate="residual",
            depth=depth,
            stream="resid_post",
            pooling="response_mean",
            condition=f"best of {len(depths)} depths" if largest else f"depth {depth:g}",
            data=f"{a} and {b}",
            test=LARGEST if largest else AT_DEPTH,
            null_kind="the traits of one model renamed",
            null_high=found.null_max_95 if largest else float(found.null_95[place]),
            n_null=found.n_null,
            p=found.p_max if largest else float(found.p[place]),
            family=FAMILY if largest or depth == mid_depth else None,
            place="searched" if largest else "swept",
        )


def _alike(effect: Effect, q: float) -> Claim:
    found = verdict(q, effect.low, effect.high)
    shown = {"holds": "place", "does not": "do not place", "undecided": "are not shown to place"}[found]
    return Claim(
        claim=f"{effect.data} alike",
        trait=None,
        sentence=(
            f"{effect.data} {shown} {effect.n_cluster} traits at similar angles to each other: {effect.metric}"
            f" {interval(effect.estimate, effect.low, effect.high)} over {effect.n} pairs of traits at"
            f" {effect.condition}, q {number(q)} against renamed traits."
        ),
        rule=ALIKE,
        effects=[effect],
        verdict=found,
    )
