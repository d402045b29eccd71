"""Does a personality inventory measure anything in a small language model?

Big Five statements to rate, Big Five statements to say and a type, each scored by log-probabilities alone. Baseline:
scores, what the answers follow (content, position, wording), the default type with its uncertainty. Movement: high
against low of each trait by system prompts, by persona vectors on both sides of zero and, where given, by an adapter.
The inventory is valid where high against low of a trait moves that trait's scale more than the others: the diagonal
of the movement minus its off-diagonal, with an interval over items and all 120 assignments of traits to scales as a
null. Persona vectors also stand beside random directions of equal norm.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from inventories_movement import ALL, Contrast, movement_table, validity_table
from kept_results import write_tables

from persona_interp.data.inventories import Inventory, load_inventory
from persona_interp.data.traits import load_trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.figures.style import panel_figure, paper_style, save_figure
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.residual import Add
from persona_interp.io import write_json
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.rollouts.generate import generate_rollouts
from persona_interp.studies.inventory.administer import administer
from persona_interp.studies.inventory.answers import InventoryAnswers
from persona_interp.studies.inventory.figures import (
    draw_inventory_reliability,
    draw_inventory_scores,
    draw_inventory_types,
    plot_movement,
)
from persona_interp.studies.inventory.run import InventoryTables, inventory_tables
from persona_interp.types import layer_at_depth

TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
STATEMENTS = ("about_yourself", "one_sentence")
BASELINE_WORDINGS = (*STATEMENTS, "introduction", "choose_letter")
RATED, SAID, TYPED = "big_five_50", "big_five_choices_50", "types_32"


@dataclass(frozen=True)
class Config:
    """Models and sizes; layer and coefficients are named before anything is measured.

    Args:
        n_prompts: system prompts a pole that the said statements are administered under; ratings have the first.
        n_rated: items a scale that are rated under system prompts, half of them of each key.
        depth: of the block at whose output vectors are added (`depth_of`).
        coefficient: on both sides of zero, a share of the mean residual norm.
        n_random: random directions of equal norm.
    """

    models: tuple[str, ...] = ("smollm2-135m-instruct", "gemma-3-270m")
    traits: tuple[str, ...] = TRAITS
    n_prompts: int = 2
    n_rated: int = 4
    rated_wordings: tuple[str, ...] = ("frequency_words",)
    n_instructions: int = 2
    n_questions: int = 6
    extraction_tokens: int = 24
    depth: float = 0.55
    coefficient: float = 0.2
    n_random: int = 5
    n_resamples: int = 2000
    dtype: str = "float32"
    device: str | None = None
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "paper": Config(
        n_prompts=5,
        n_rated=10,
        rated_wordings=("accuracy_numbers", "agreement_letters", "frequency_words"),
        n_instructions=5,
        n_questions=20,
        extraction_tokens=40,
        n_random=39,
        n_resamples=4000,
    ),
}


def baseline(model: HookedModelBase, config: Config) -> list[InventoryAnswers]:
    """All inventories in both orders, in all wordings but one of the listed pairs."""
    plan = ((RATED, None), (SAID, BASELINE_WORDINGS), (TYPED, BASELINE_WORDINGS))
    return [administer(model, load_inventory(name), wordings=names, seed=config.seed) for name, names in plan]


def prompted(model: HookedModelBase, config: Config) -> Iterator[Contrast]:
    """High against low of each trait by system prompts, said and rated."""
    said, rated = load_inventory(SAID), load_inventory(RATED).take(config.n_rated)
    plan: tuple[tuple[Inventory, Sequence[str], int], ...] = (
        (said, STATEMENTS, config.n_prompts),
        (rated, config.rated_wordings, 1),
    )
    for inventory, wordings, n in plan:
        calibration = administer(model, inventory, wordings=wordings, seed=config.seed)
        for name in config.traits:
            high, low = (
                administer(
                    model,
                    inventory,
                    respondents=load_trait(name).system_prompts(side)[:n],
                    wordings=wordings,
                    condition=f"{name} {side}",
                    calibration=calibration,
                    seed=config.seed,
                )
                for side in ("positive", "negative")
            )
            yield Contrast("system prompt", name, high, low)


def intervened(
    model: HookedModelBase, config: Config, changes: Mapping[tuple[str, str], tuple[Intervention, Intervention]]
) -> Iterator[Contrast]:
    """The said statements under pairs of interventions, by method and trait."""
    said = load_inventory(SAID)
    calibration = administer(model, said, wordings=STATEMENTS, seed=config.seed)
    for (method, trait), pair in changes.items():
        high, low = (
            administer(
                model,
                said,
                intervention=change,
                wordings=STATEMENTS,
                condition=f"{method} {trait} {side}",
                calibration=calibration,
                seed=config.seed,
            )
            for change, side in zip(pair, ("high", "low"), strict=True)
        )
        yield Contrast(method, trait, high, low)


def vector_changes(
    model: HookedModelBase, config: Config, work: Path
) -> dict[tuple[str, str], tuple[Intervention, Intervention]]:
    """Persona vectors of each trait, and random directions of equal norm, at both coefficients."""
    layer = layer_at_depth(config.depth, model.n_layers)
    directions: dict[tuple[str, str], Direction] = {}
    for name in config.traits:
        rollouts = generate_rollouts(
            model,
            load_trait(name),
            n_questions=config.n_questions,
            n_instructions=config.n_instructions,
            max_new_tokens=config.extraction_tokens,
            seed=config.seed,
            folder=work / "rollouts" / name,
        )
        directions["persona vector", name] = persona_vector(rollouts, filter="none")
    first = directions["persona vector", config.traits[0]]
    generator = torch.Generator().manual_seed(config.seed)
    for n in range(config.n_random):
        vectors = torch.randn(first.vectors.shape, generator=generator)
        directions["random direction", str(n)] = replace(first, vectors=vectors, trait=f"random {n}")
    return {
        key: (Add(direction, layer, config.coefficient), Add(direction, layer, -config.coefficient))
        for key, direction in directions.items()
    }


def adapter_changes(model: HookedModelBase, path: Path) -> dict[tuple[str, str], tuple[Intervention, Intervention]]:
    """Two standard deviations above and below the mean author, for every trait of an adapter that has a scale."""
    from persona_interp.directions.psychadapter import PsychAdapter
    from persona_interp.interventions.prefix import TraitPrefix

    adapter = PsychAdapter.load(path, model)
    shared = [trait for trait in adapter.traits if trait in TRAITS]
    return {("adapter", t): (TraitPrefix(adapter, {t: 2.0}), TraitPrefix(adapter, {t: -2.0})) for t in shared}


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that is written."""

    base: InventoryTables
    movement: pd.DataFrame
    validity: pd.DataFrame
    models: Mapping[str, Any]


def run(config: Config, work: Path, adapters: Mapping[str, Path]) -> Results:
    """Baseline, movement and validity on every model."""
    base: list[InventoryAnswers] = []
    contrasts: list[Contrast] = []
    models: dict[str, Any] = {}
    for name in config.models:
        model = load_model(name, dtype=config.dtype, device=config.device)
        models[name] = model.provenance.to_dict()
        base += baseline(model, config)
        contrasts += prompted(model, config)
        changes = vector_changes(model, config, work / name.replace("/", "_"))
        if name in adapters:
            changes |= adapter_changes(model, adapters[name])
        contrasts += intervened(model, config, changes)
    sizes = {"n_resamples": config.n_resamples, "seed": config.seed}
    tables = inventory_tables(base, **sizes)
    return Results(tables, movement_table(contrasts, **sizes), validity_table(contrasts, **sizes), models)


def draw(results: Results, config: Config, folder: Path) -> None:
    """Figures from the tables alone."""
    types = pd.concat([found.frame for found in results.base.types])
    with paper_style():
        drawn = [*draw_inventory_scores(results.base.scores), *draw_inventory_reliability(results.base.reliability)]
        for made in (*drawn, *draw_inventory_types(types[types["inventory"] == TYPED])):
            save_figure(made.figure, made.frame, folder, made.name)
        shown = results.movement[results.movement["method"] != "random direction"]
        kinds = list(dict.fromkeys(zip(shown["method"], shown["format"], strict=True)))
        figure, axes = panel_figure(len(config.models), len(kinds), panel_height=1.75, share_y="row")
        for line, model in zip(axes, dict.fromkeys(shown["model"]), strict=True):
            for ax, (method, form) in zip(line, kinds, strict=True):
                rows = shown[(shown["model"] == model) & (shown["method"] == method) & (shown["format"] == form)]
                if rows.empty:  # an adapter of the other model
                    ax.set_axis_off()
                    continue
                limit = max(float(rows["estimate"].abs().max()), 1e-3)
                plot_movement(rows, ax, traits=config.traits, limit=limit)
                unit = rows["unit"].iloc[0].split()[0]
                ax.set_title(f"{method}, {form}s ({unit})\n{model}", fontsize=7)
            line[0].set_ylabel("high − low of")
        save_figure(figure, shown, folder, "movement_figure")


def main() -> None:
    """Administer, and write tables and figures under `analyses/results/inventories/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    times = "on 2 cores quick takes about 12 minutes, paper about 2 hours (estimated)"
    parser.add_argument("--preset", choices=sorted(PRESETS), default="quick", help=times)
    parser.add_argument("--device", help="cuda, say; default: what there is")
    parser.add_argument("--adapter", action="append", default=[], metavar="MODEL=FILE", help="a saved PsychAdapter")
    parser.add_argument("--work", type=Path, default=Path("results/inventories"), help="where rollouts are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/inventories"))
    chosen = parser.parse_args()
    adapters = {name: Path(path) for name, _, path in (text.partition("=") for text in chosen.adapter)}
    config = replace(PRESETS[chosen.preset], device=chosen.device)
    if unknown := sorted(set(adapters) - set(config.models)):
        parser.error(f"no model is called {unknown[0]!r} here: {', '.join(config.models)}")
    results = run(config, chosen.work / chosen.preset, adapters)
    write(results, config, adapters, chosen.out)
    draw(results, config, chosen.out)
    whole = results.validity[results.validity["scale"] == ALL]
    print(whole.drop(columns=["inventory", "scale"]).round(3).to_string(index=False))  # noqa: T201
    for found in results.base.types:
        print(f"{found.model}, {found.inventory}: {found}")  # noqa: T201


def write(results: Results, config: Config, adapters: Mapping[str, Path], folder: Path) -> None:
    """Tables and provenance."""
    tables = {
        "scores": results.base.scores,
        "reliability": results.base.reliability,
        "types": pd.concat([found.frame for found in results.base.types]),
        "movement": results.movement,
        "validity": results.validity,
    }
    write_tables(folder, tables, digits=6)
    hashes = {name: load_inventory(name).data_hash for name in (RATED, SAID, TYPED)}
    said = {"config": asdict(config), "adapters": sorted(adapters), "inventories": hashes, "models": results.models}
    notes = {
        "choice": "layer and coefficient were named beforehand. The format of said statements and two of its wordings"
        " were kept after a look at other items, on both models, under some of these system prompts; no item here was"
        " in that look."
    }
    write_json(folder / "provenance.json", {**said, "versions": library_versions(), "notes": notes})


if __name__ == "__main__":
    main()
