"""All families of a trait: those that can be made, and those whose inputs are missing."""

from collections.abc import Mapping
from dataclasses import dataclass

from persona_interp.activations.store import Activations
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.errors import ConfigError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.families.adapter import adapter_families
from persona_interp.studies.comparison.families.answers import Contrast, answer_families
from persona_interp.studies.comparison.families.components import latent_families, neuron_families
from persona_interp.studies.comparison.families.family import GIVEN, Family, Missing
from persona_interp.studies.comparison.families.prompts import prompt_families
from persona_interp.studies.comparison.families.random import random_families
from persona_interp.studies.comparison.families.texts import text_activations, text_families
from persona_interp.types import Hookpoint


@dataclass(frozen=True, eq=False)
class Gathered:
    """The families of a trait at one layer, and what makes those that are at every layer.

    Args:
        texts: residuals of the trait's texts at every layer; None where it has none.
    """

    trait: str
    layer: int
    families: list[Family]
    missing: list[Missing]
    texts: Activations | None
    seed: int

    def everywhere(self, contrast: Contrast, layers: tuple[int, ...]) -> list[Family]:
        """The families that are made from answers and texts, at these layers."""
        texts, _ = text_families(self.texts, self.trait, layers)
        return [*answer_families(contrast.at(layers), seed=self.seed), *texts]


def gather(
    model: HookedModelBase,
    trait: Trait,
    contrast: Contrast,
    layer: int,
    run: ComparisonRun,
    *,
    dictionary: Dictionary | None,
    adapter: PsychAdapter | None,
    given: Mapping[str, Direction],
    progress: bool,
) -> Gathered:
    """Every family at a layer, without halves.

    Raises:
        ConfigError: a given direction has the name of another family.
    """
    here = contrast.at((layer,))
    answers = answer_families(here, seed=run.seed)
    activations = text_activations(model, trait, progress=progress)
    texts, no_texts = text_families(activations, trait.name, (layer,))
    neurons, no_neurons = neuron_families(model, contrast, answers[0], layer, run.n_neurons, progress=progress)
    latents, no_latents = latent_families(dictionary, answers[0], layer, run.n_latents)
    induced, no_adapter = adapter_families(model, adapter, trait.name)
    prompts, no_prompts = prompt_families(trait)
    families = [
        *answers,
        *texts,
        *induced,
        *neurons,
        *latents,
        *random_families(here, run.n_random, seed=run.seed),
        *prompts,
    ]
    names = {family.name for family in families}
    if taken := sorted(names & set(given)):
        raise ConfigError(f"a given direction cannot be called {taken[0]!r}.", f"Taken: {', '.join(sorted(names))}.")
    others = [Family(name, GIVEN, "residual", direction) for name, direction in given.items()]
    others = [family for family in others if Hookpoint(layer) in family.direction.hookpoints]  # pyright: ignore
    missing = [*no_texts, *no_neurons, *no_latents, *no_adapter, *no_prompts]
    return Gathered(trait.name, layer, [*families, *others], missing, activations, run.seed)
