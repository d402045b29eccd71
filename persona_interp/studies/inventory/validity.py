"""Whether an inventory measures anything in a model: its answers as they are, and with traits made high and low."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from persona_interp.arguments import checked
from persona_interp.bounds import Coefficient, Count, CountOrNone, Seed, Share, SomeTuple
from persona_interp.data.inventories import Inventory, load_inventory
from persona_interp.data.traits import load_trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.residual import Add
from persona_interp.models.protocol import HookedModel
from persona_interp.rollouts.generate import generate_rollouts
from persona_interp.studies.inventory.administer import administer
from persona_interp.studies.inventory.answers import InventoryAnswers
from persona_interp.studies.inventory.movement import ADAPTER, PROMPT, RANDOM, VECTOR, Contrast
from persona_interp.types import layer_at_depth

TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
STATEMENTS = ("about_yourself", "one_sentence")
BASELINE_WORDINGS = (*STATEMENTS, "introduction", "choose_letter")
RATED, SAID, TYPED = "big_five_50", "big_five_choices_50", "types_32"
ADAPTER_Z = 2.0
"""Standard deviations above and below the mean author."""

Pair = tuple[Intervention, Intervention]
"""What makes a trait high, and what makes it low."""


@checked
@dataclass(frozen=True)
class ValidityRun:
    """Sizes; layer and coefficient are named before anything is measured.

    Args:
        n_prompts: system prompts a pole that the said statements are administered under; ratings have the first.
        n_rated: items a scale that are rated under system prompts, half of them of each key.
        depth: of the block at whose output vectors are added (`depth_of`).
        coefficient: on both sides of zero, a share of the mean residual norm.
        n_random: random directions of equal norm.
    """

    traits: SomeTuple[str] = TRAITS
    n_prompts: Count = 2
    n_rated: Count = 4
    rated_wordings: tuple[str, ...] = ("frequency_words",)
    n_instructions: Count = 2
    n_questions: Count = 6
    extraction_tokens: Count = 24
    depth: Share = 0.55
    coefficient: Coefficient = 0.2
    n_random: CountOrNone = 5
    seed: Seed = 0


def baseline_answers(model: HookedModel, run: ValidityRun) -> list[InventoryAnswers]:
    """All inventories in both orders, in all wordings but one of the listed pairs."""
    plan = ((RATED, None), (SAID, BASELINE_WORDINGS), (TYPED, BASELINE_WORDINGS))
    return [administer(model, load_inventory(name), wordings=names, seed=run.seed) for name, names in plan]


def prompted(model: HookedModel, run: ValidityRun) -> Iterator[Contrast]:
    """High against low of each trait by system prompts, said and rated."""
    said, rated = load_inventory(SAID), load_inventory(RATED).take(run.n_rated)
    plan: tuple[tuple[Inventory, Sequence[str], int], ...] = (
        (said, STATEMENTS, run.n_prompts),
        (rated, run.rated_wordings, 1),
    )
    for inventory, wordings, n in plan:
        ask = _asking(model, inventory, wordings, run)
        for name in run.traits:
            trait = load_trait(name)
            high, low = (
                ask(respondents=trait.system_prompts(side)[:n], condition=f"{name} {side}")
                for side in ("positive", "negative")
            )
            yield Contrast(PROMPT, name, high, low)


def intervened(model: HookedModel, run: ValidityRun, changes: Mapping[tuple[str, str], Pair]) -> Iterator[Contrast]:
    """The said statements under pairs of interventions, by method and trait."""
    ask = _asking(model, load_inventory(SAID), STATEMENTS, run)
    for (method, trait), pair in changes.items():
        high, low = (
            ask(intervention=change, condition=f"{method} {trait} {side}")
            for change, side in zip(pair, ("high", "low"), strict=True)
        )
        yield Contrast(method, trait, high, low)


def _asking(
    model: HookedModel, inventory: Inventory, wordings: Sequence[str], run: ValidityRun
) -> "partial[InventoryAnswers]":
    """`administer` for one inventory, whose neutral items are asked once."""
    calibration = administer(model, inventory, wordings=wordings, seed=run.seed)
    return partial(administer, model, inventory, wordings=wordings, calibration=calibration, seed=run.seed)


def vector_changes(model: HookedModel, run: ValidityRun, folder: Path) -> dict[tuple[str, str], Pair]:
    """Persona vectors of each trait, and random directions of equal norm, at both coefficients.

    Args:
        folder: where rollouts are kept.
    """
    layer = layer_at_depth(run.depth, model.n_layers)
    directions: dict[tuple[str, str], Direction] = {}
    for name in run.traits:
        rollouts = generate_rollouts(
            model,
            load_trait(name),
            n_questions=run.n_questions,
            n_instructions=run.n_instructions,
            max_new_tokens=run.extraction_tokens,
            seed=run.seed,
            folder=folder / name,
        )
        directions[VECTOR, name] = persona_vector(rollouts, filter="none")
    first = directions[VECTOR, run.traits[0]]
    generator = torch.Generator().manual_seed(run.seed)
    for n in range(run.n_random):
        vectors = torch.randn(first.vectors.shape, generator=generator)
        directions[RANDOM, str(n)] = replace(first, vectors=vectors, trait=f"random {n}")
    return {
        key: (Add(direction, layer, run.coefficient), Add(direction, layer, -run.coefficient))
        for key, direction in directions.items()
    }


def adapter_changes(model: HookedModel, run: ValidityRun, path: Path) -> dict[tuple[str, str], Pair]:
    """Two standard deviations above and below the mean author, for every trait of an adapter that has a scale."""
    adapter = PsychAdapter.load(path, model)
    return {
        (ADAPTER, trait): (TraitPrefix(adapter, {trait: ADAPTER_Z}), TraitPrefix(adapter, {trait: -ADAPTER_Z}))
        for trait in adapter.traits
        if trait in run.traits
    }


def contrasts(model: HookedModel, run: ValidityRun, folder: Path, adapter: Path | None = None) -> list[Contrast]:
    """High against low of every trait, by every method.

    Args:
        folder: where rollouts are kept.
        adapter: a saved PsychAdapter of this model.
    """
    changes = vector_changes(model, run, folder)
    if adapter is not None:
        changes |= adapter_changes(model, run, adapter)
    return [*prompted(model, run), *intervened(model, run, changes)]
