"""A trait's substrates in a folder: its direction, writers, probes and ablations as effects and claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.traits import Trait
from persona_interp.directions.sae.dictionary import Dictionary, check_same_place
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.judges.protocol import Judge
from persona_interp.lock import alone_in
from persona_interp.measurements.judge_validity import known_validity
from persona_interp.measurements.unit_ablation import check_enough_units
from persona_interp.models.components import UNIT_KINDS, UnitKind
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.rollouts.generate import generate_rollouts
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.plan import say_plan
from persona_interp.studies.sizes import Sizes, named_effort
from persona_interp.studies.substrates.ablation import ablation_rows, ablation_table, capability_table
from persona_interp.studies.substrates.config import SubstratesRun
from persona_interp.studies.substrates.effects import STUDY, substrate_effects
from persona_interp.studies.substrates.found import Found, Halves, find_substrates, probe_table
from persona_interp.studies.substrates.latents import (
    Latents,
    check_dictionary_fits,
    check_enough_latents,
    find_latents,
    with_known_quality,
)
from persona_interp.studies.substrates.plan import substrates_plan
from persona_interp.types import Hookpoint, default_layer

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
KEEPS = (f"cells/{STUDY}/*", "rollouts/*")


@dataclass(frozen=True, eq=False)
class SubstratesResult:
    """What was found.

    Args:
        ablations: a row a number of units and judge, of neurons and of heads.
        headline: the judge that heads the numbers.
    """

    found: Found
    probe: pd.DataFrame
    ablations: Mapping[UnitKind, pd.DataFrame]
    capability: Mapping[UnitKind, pd.DataFrame]
    headline: str
    latents: Latents | None = None


@checked
@alone_in("out")
def run_substrates(
    model: HookedModelBase,
    trait: Trait,
    judges: Some[Judge],
    run: SubstratesRun,
    *,
    out: Path,
    layer: int | None = None,
    dictionary: Dictionary | None = None,
    sizes: Sizes | None = None,
    progress: bool = True,
) -> SubstratesResult:
    """Direction, writers, probes and ablations of a trait: effects and claims in `out`, where all is kept.

    The direction is made from every other extraction question and its writers are found in answers to the rest;
    both are tried on evaluation questions. The judge with the largest AUC on texts whose trait is known heads the
    numbers.

    Args:
        layer: 0-based block whose output is meant; default: that of the dictionary, else nearest to depth 0.6.
        dictionary: of that block's output; the direction is decomposed into its latents, and its top ones are steered.
        sizes: by what name they are called, for the report, which says what was cut.

    Raises:
        ConfigError: `out` holds results of another configuration, or the dictionary is of another place.
        EmptySelectionError: there are too few questions, units or latents that fire.
        HookpointError: the layer does not exist, or the model has experts in the place of MLPs.
    """
    if dictionary is not None:
        check_dictionary_fits(dictionary, layer)
        check_same_place(dictionary, model)
        layer = dictionary.writes.layer
    layer = default_layer(model.n_layers) if layer is None else layer
    model.check_hookpoints([Hookpoint(layer)])
    check_enough_units(model, "neuron", layer, max(run.neurons))
    check_enough_units(model, "head", layer, max(run.heads))
    rating = [judge for judge in judges if judge.unable(trait) is None]
    identity = {
        "model": of_model(model),
        "trait": [trait.name, trait.data_hash],
        "judges": of_judges(rating),
        "layer": layer,
        "dictionary": None if dictionary is None else [dictionary.id, dictionary.weights],
        **run.to_dict(),
        **of_package(METHOD_VERSION),
    }
    folder = RunFolder.claim(out, STUDY, identity, keeps=KEEPS)
    if progress:
        steps = substrates_plan(run, trait, latents=dictionary is not None)
        say_plan(
            f"substrates of {trait.name} on {model.name}{named_effort(sizes)}", steps, model, folder=out, study=STUDY
        )
    if dictionary is not None:
        dictionary = with_known_quality(model, dictionary, folder, progress=progress)
        check_enough_latents(dictionary, run)
    known = known_validity(rating, [trait], out)[trait.name]
    headline = max(rating, key=lambda judge: known.get(judge.name, 0.0)).name
    rollouts = generate_rollouts(
        model,
        trait,
        n_questions=run.n_questions,
        n_instructions=run.n_instructions,
        max_new_tokens=run.max_new_tokens,
        seed=run.seed,
        pool=("response_mean",),
        folder=out / "rollouts" / trait.name,
        progress=progress,
    )
    halves = Halves.of(rollouts)
    direction = halves.direction(trait.name)
    direction.save(out / "vectors" / f"{trait.name}.safetensors")
    found = find_substrates(model, halves, direction, layer, run, progress=progress)
    probe = folder.cell("probe", ["probe"], lambda: probe_table(halves, found, run, progress=progress))
    ablations, capability = {}, {}
    for kind in UNIT_KINDS:
        scored = folder.cell(
            f"ablation {kind}",
            ["ablation", kind],
            lambda kind=kind: ablation_table(
                model, trait, rating, found, kind, run, folder=out / "answers", progress=progress
            ),
        )
        ablations[kind] = ablation_rows(scored, [judge.name for judge in rating], seed=run.seed)
        if run.capability:
            capability[kind] = folder.cell(
                f"capability {kind}",
                ["capability", kind],
                lambda kind=kind: capability_table(model, found, run, kind, progress=progress),
            )
    latents = None
    if dictionary is not None:
        latents = find_latents(
            model, trait, rating, direction, dictionary, halves, run, folder, out=out, progress=progress
        )
    result = SubstratesResult(found, probe, ablations, capability, headline, latents)
    effects, claims = substrate_effects(result, trait.name, n_layers=model.n_layers, known=known, run=run)
    folder.finish(model, _provenance(model, trait, layer, run, result, known, sizes), effects, claims, seed=run.seed)
    return result


def _provenance(
    model: HookedModelBase,
    trait: Trait,
    layer: int,
    run: SubstratesRun,
    result: SubstratesResult,
    known: Mapping[str, float],
    sizes: Sizes | None,
) -> dict[str, Any]:
    found = result.found
    return {
        "model": model.provenance.to_dict(),
        "trait": {"name": trait.name, "hash": trait.data_hash},
        "layer": layer,
        "run": run.to_dict(),
        "headline_judge": result.headline,
        "judge_validity": dict(known),
        "sum_error": found.error,
        "outliers": {
            "ratio": found.outliers.ratio,
            "dimensions": list(found.outliers.dimensions),
            "positions_in_prompts": found.outliers.n_positions[0],
            "positions_in_responses": found.outliers.n_positions[1],
        },
        **({} if result.latents is None else {"dictionary": result.latents.record}),
        "versions": library_versions(),
        **({} if sizes is None else {"size": sizes.record()}),
    }
