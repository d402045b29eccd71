"""Correlations of two models' cosines as rows of the table of effects, and the claims of likeness."""

from collections.abc import Sequence
from dataclasses import replace

from persona_interp.effects import Claim, Effect, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.effects import first_largest
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
    effects = []
    for a, b, correlation, found in compared:
        pair = Effect(
            metric=METRICS[correlation],
            fixed="the vectors",
            n=found.n_pairs,
            cluster="trait",
            n_cluster=n_traits,
            reference="no likeness, 0",
            method="persona_vector",
            substrate="residual",
            stream="resid_post",
            pooling="response_mean",
            data=f"{a} and {b}",
            null_kind="the traits of one model renamed",
            n_null=found.n_null,
        )
        effects += [
            replace(
                pair,
                estimate=float(found.estimate[k]),
                low=float(found.low[k]),
                high=float(found.high[k]),
                level=CONFIDENCE,
                depth=depth,
                condition=f"depth {depth:g}",
                test=AT_DEPTH,
                null_high=float(found.null_95[k]),
                p=float(found.p[k]),
                family=FAMILY if depth == mid_depth else None,
                place="named" if depth == mid_depth else "swept",
            )
            for k, depth in enumerate(depths)
        ]
        best = first_largest(found.estimate)
        effects.append(
            replace(
                pair,
                estimate=float(found.estimate[best]),
                depth=depths[best],
                condition=f"best of {len(depths)} depths",
                test=LARGEST,
                null_high=found.null_max_95,
                p=found.p_max,
                family=FAMILY,
                place="searched",
            )
        )
    return effects


def geometry_claims(effects: Sequence[Effect], q: Sequence[float]) -> list[Claim]:
    """A claim a pair of models, from the first correlation at the depth that was named before.

    Args:
        q: of every effect.
    """
    tested = [(e, one) for e, one in zip(effects, q, strict=True) if e.family == FAMILY and e.test == AT_DEPTH]
    first = [(effect, one) for effect, one in tested if effect.metric == tested[0][0].metric]
    return [_alike(effect, one) for effect, one in first]


def _alike(effect: Effect, q: float) -> Claim:
    found = verdict(q, effect.low, effect.high)
    shown = {"holds": "place", "does not": "do not place", "undecided": "are not shown to place"}[found]
    sentence = (
        f"{effect.data} {shown} {effect.n_cluster} traits at similar angles to each other: {effect.metric}"
        f" {interval(effect.estimate, effect.low, effect.high)} over {effect.n} pairs of traits at"
        f" {effect.condition}, q {number(q)} against renamed traits."
    )
    return replace(effect.claimed(f"{effect.data} alike", sentence, ALIKE, found), unit=None)
