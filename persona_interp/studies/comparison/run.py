"""Families of directions compared in a folder: on the same axes, and at the same strength, as effects and claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.directions.sae.dictionary import Dictionary, check_same_place
from persona_interp.errors import ConfigError
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.interventions.record import record
from persona_interp.io import sha256_json
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.protocol import Judge
from persona_interp.judges.sentences import KeptSentences, SentenceEncoder
from persona_interp.lock import alone_in
from persona_interp.measurements.judge_validity import known_validity
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.rollouts.generate import generate_rollouts
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.effects import STUDY, comparison_effects
from persona_interp.studies.comparison.families.answers import Contrast
from persona_interp.studies.comparison.gathered import gather
from persona_interp.studies.comparison.plan import comparison_plan
from persona_interp.studies.comparison.steered import Steered, steer
from persona_interp.studies.comparison.tables import axes_tables
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.plan import say_plan
from persona_interp.studies.sizes import Sizes, named_effort
from persona_interp.types import Hookpoint, default_layer

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
KEEPS = (f"cells/{STUDY}/*", "rollouts/*")


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """What was found of one trait.

    Args:
        axes: tables of the comparison on the same axes, by name.
        steered: what came of steering; None where nothing was steered.
    """

    trait: str
    layer: int
    axes: Mapping[str, pd.DataFrame]
    missing: Mapping[str, str]
    steered: Steered | None


@checked
@alone_in("out")
def compare_methods(
    model: HookedModelBase,
    traits: Some[Trait],
    judges: Some[Judge],
    run: ComparisonRun,
    *,
    out: Path,
    layer: int | None = None,
    dictionary: Dictionary | None = None,
    adapter: PsychAdapter | None = None,
    given: Mapping[str, Direction] | None = None,
    sizes: Sizes | None = None,
    progress: bool = True,
) -> list[ComparisonResult]:
    """All ways to a direction for a trait on the same axes and at the same strength: effects and claims in `out`.

    Directions are made from contrastive answers to extraction questions, and from texts; projections are of answers to
    evaluation questions. Every family is steered to the same KL from the unsteered model. Families whose inputs are
    missing are left out and named. A call that was stopped goes on where it was.

    Args:
        judges: rate expression; the one with the largest AUC on texts whose trait is known heads the numbers.
        layer: 0-based block that is steered and that claims are about; default: that of the dictionary, else nearest
            to depth 0.6. Cosines are also given at all blocks.
        dictionary: of that block's output, for the family of top latents.
        adapter: of traits, for the family of its induced direction; a trait that it does not have is without it.
        given: other directions of the model by name; they are taken for every trait.
        sizes: by what name the sizes are called, for the report, which says what was cut.

    Raises:
        ConfigError: `out` holds results of another configuration, a trait comes twice, a name of `given` is taken, or
            the dictionary is of another place.
        HookpointError: the layer does not exist.
        IncompatibleDirectionError: a given direction belongs to another model.
    """
    layer = _layer(model, layer, dictionary)
    given = dict(given or {})
    _check(model, traits, layer, given)
    rating = {trait.name: [judge for judge in judges if judge.unable(trait) is None] for trait in traits}
    identity = {
        "model": of_model(model),
        "traits": [[trait.name, trait.data_hash] for trait in traits],
        "judges": of_judges(judges),
        "layer": layer,
        "dictionary": None if dictionary is None else [dictionary.id, dictionary.weights],
        "adapter": None if adapter is None else sha256_json(record(adapter))[:16],
        "given": {name: sha256_json(record(direction))[:16] for name, direction in given.items()},
        **run.to_dict(),
        **of_package(METHOD_VERSION),
    }
    folder = RunFolder.claim(out, STUDY, identity, keeps=KEEPS)
    if progress:
        title = f"families for {', '.join(t.name for t in traits)} on {model.name}{named_effort(sizes)}"
        say_plan(title, comparison_plan(run, traits), model, folder=out, study=STUDY)
    encoder = KeptSentences(SentenceEncoder.packaged())
    known = known_validity(judges, traits, out)
    results = []
    for trait in traits:
        contrast, held_out = (_contrast(model, trait, run, out, which, progress) for which in ("extract", "eval"))
        found = gather(
            model, trait, contrast, layer, run, dictionary=dictionary, adapter=adapter, given=given, progress=progress
        )
        axes = axes_tables(folder, found, contrast, held_out, run, model.n_layers)
        steered = None
        if run.strength and rating[trait.name]:
            coherence = CoherenceJudge(model, encoder, progress=progress)
            steered = steer(
                folder, model, trait, found, contrast, rating[trait.name], encoder, coherence, run, progress=progress
            )
        missing = {one.name: one.why for one in found.missing}
        results.append(ComparisonResult(trait.name, layer, axes, missing, steered))
    effects, claims = comparison_effects(results, model.n_layers, known, run)
    folder.finish(model, _provenance(model, traits, layer, run, results, known, sizes), effects, claims, seed=run.seed)
    return results


def _layer(model: HookedModelBase, layer: int | None, dictionary: Dictionary | None) -> int:
    if dictionary is None:
        return default_layer(model.n_layers) if layer is None else layer
    check_same_place(dictionary, model)
    place = dictionary.writes
    if dictionary.hookpoint != place or place.stream != "resid_post" or layer not in (None, place.layer):
        raise ConfigError(
            f"{dictionary.id} reads {dictionary.hookpoint} and writes {place}; it must be of resid_post of the layer"
            f" that is compared{'' if layer is None else f', {layer}'}.",
            "Train one: persona-interp sae --layer L --out FOLDER.",
        )
    return place.layer


def _check(model: HookedModelBase, traits: Sequence[Trait], layer: int, given: Mapping[str, Direction]) -> None:
    model.check_hookpoints([Hookpoint(layer)])
    names = [trait.name for trait in traits]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"the trait {twice[0]} is given twice.", "Give each once.")
    for direction in given.values():
        check_direction(direction, model)
        direction.index(layer)


def _contrast(
    model: HookedModelBase, trait: Trait, run: ComparisonRun, out: Path, which: Any, progress: bool
) -> Contrast:
    extract = which == "extract"
    asked = trait.questions if extract else trait.eval_questions
    return Contrast.of(
        generate_rollouts(
            model,
            trait,
            n_questions=min(run.n_questions if extract else run.n_held_out, len(asked)),
            n_instructions=min(run.n_instructions, len(trait.instructions)),
            n_samples=run.n_samples if extract else 1,
            max_new_tokens=run.max_new_tokens,
            seed=run.seed,
            questions=which,
            folder=out / "rollouts" / f"{trait.name}-{which}",
            progress=progress,
        )
    )


def _provenance(
    model: HookedModelBase,
    traits: Sequence[Trait],
    layer: int,
    run: ComparisonRun,
    results: Sequence[ComparisonResult],
    known: Mapping[str, Mapping[str, float]],
    sizes: Sizes | None,
) -> dict[str, Any]:
    return {
        "model": model.provenance.to_dict(),
        "traits": [{"name": trait.name, "hash": trait.data_hash} for trait in traits],
        "layer": layer,
        "run": run.to_dict(),
        "left_out": {result.trait: dict(result.missing) for result in results},
        "judge_validity": {trait: dict(by_judge) for trait, by_judge in known.items()},
        "versions": library_versions(),
        **({} if sizes is None else {"size": sizes.record()}),
    }
