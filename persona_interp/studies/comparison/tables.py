"""The tables of a trait on the same axes, each made once and kept."""

from collections.abc import Mapping

from pandas import DataFrame

from persona_interp.studies.comparison.axes import (
    HeldOut,
    Scale,
    cosine_rows,
    projection_rows,
    subspace_rows,
    variance_rows,
)
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.families.answers import Contrast
from persona_interp.studies.comparison.families.family import RANDOM, Family
from persona_interp.studies.comparison.gathered import Gathered
from persona_interp.studies.comparison.stability import stability_rows
from persona_interp.studies.folder import RunFolder

LAYER_SPLITS = 4
"""Ways to halve at every layer but the named one, where `n_splits` are taken."""
_DRAWS = 300


def axes_tables(
    folder: RunFolder, found: Gathered, contrast: Contrast, held_out: Contrast, run: ComparisonRun, n_layers: int
) -> Mapping[str, DataFrame]:
    """Cosines at the named layer and at all, projections, shares of variance, subspaces and stability."""

    def kept(name: str, make) -> DataFrame:
        return folder.cell(f"{found.trait} {name}", [found.trait, name], lambda: DataFrame(make()))

    scale = Scale.of(contrast, found.layer, run.n_null, seed=run.seed)
    halved: list[Family] = []

    def families() -> list[Family]:
        if not halved:
            halved.extend(family.with_halves(run.n_splits, seed=run.seed) for family in one_random(found.families))
        return halved

    def everywhere() -> list[dict]:
        layers = tuple(layer for layer in range(n_layers) if layer != found.layer)
        made = [family.with_halves(LAYER_SPLITS, seed=run.seed) for family in found.everywhere(contrast, layers)]
        scales = (Scale.of(contrast, layer, min(run.n_null, _DRAWS), seed=run.seed) for layer in layers)
        return [row for one in scales for row in cosine_rows(made, one, LAYER_SPLITS)]

    answers, draws = HeldOut.of(held_out), min(run.n_null, _DRAWS)
    return {
        "cosines": kept("cosines", lambda: cosine_rows(families(), scale, run.n_splits)),
        "cosines by layer": kept("cosines by layer", everywhere),
        "projections": kept("projections", lambda: projection_rows(families(), answers, scale, draws)),
        "variance": kept("variance", lambda: variance_rows(families(), answers, scale)),
        "subspaces": kept("subspaces", lambda: subspace_rows(families(), scale, draws)),
        "stability": kept(
            "stability", lambda: stability_rows(families(), scale, run.n_splits, run.n_flips, seed=run.seed)
        ),
    }


def one_random(families: list[Family]) -> list[Family]:
    """The families with one random direction at most."""
    random = [family for family in families if family.group == RANDOM][:1]
    return [family for family in families if family.group != RANDOM or family in random]
