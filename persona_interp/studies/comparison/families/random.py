"""Random directions with the covariance of the answers within the poles: what no trait gives."""

from persona_interp.directions.baselines import fit_direction
from persona_interp.statistics.streams import derived_seed
from persona_interp.studies.comparison.families.answers import Contrast
from persona_interp.studies.comparison.families.family import RANDOM, Family

NAME = "random direction"


def random_families(contrast: Contrast, n: int, *, seed: int) -> list[Family]:
    """So many draws, each as long as the persona vector and on its side."""
    activations = contrast.activations["response_mean"]
    sides = activations.select(contrast.positive), activations.select(~contrast.positive)
    return [
        Family(
            NAME if n == 1 else f"{NAME} {k + 1}",
            RANDOM,
            "residual",
            fit_direction("random", *sides, trait=contrast.trait, seed=derived_seed(seed, "random family", k)),
        )
        for k in range(n)
    ]
