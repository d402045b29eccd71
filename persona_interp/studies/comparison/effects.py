"""What was found of families as rows of the table of effects, and the claims on it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from persona_interp.effects import Claim, Effect
from persona_interp.studies.comparison.axes_effects import axes_effects
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.strength_effects import strength_effects

if TYPE_CHECKING:
    from persona_interp.studies.comparison.run import ComparisonResult

STUDY = "comparison"


def comparison_effects(
    results: Sequence["ComparisonResult"],
    n_layers: int,
    known: Mapping[str, Mapping[str, float]],
    run: ComparisonRun,
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of every trait."""
    effects, claims = [], []
    for one in results:
        found = [axes_effects(one.trait, one.layer, one.axes, n_layers)]
        if one.steered is not None:
            found.append(strength_effects(one.trait, one.layer, n_layers, one.steered, known[one.trait], run))
        for more, said in found:
            effects += more
            claims += said
    return effects, claims
