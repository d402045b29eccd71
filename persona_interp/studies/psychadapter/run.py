"""Everything that is measured of one adapter, in tables that an interrupted run goes on from."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.trait_texts import TraitTexts
from persona_interp.data.traits import Trait
from persona_interp.data.writing_prompts import text_openings
from persona_interp.directions.direction import Direction
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.interventions.record import record
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.lock import alone_in
from persona_interp.measurements.judge_validity import known_validity
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.plan import CHARACTERS, say_plan
from persona_interp.studies.psychadapter.cost import adapter_cost
from persona_interp.studies.psychadapter.effects import COST, METHOD, STUDY, adapter_effects, judged_as
from persona_interp.studies.psychadapter.expression import (
    adapter_hash,
    judged_traits,
    score_texts,
    trait_texts_over_z,
)
from persona_interp.studies.psychadapter.expression_tables import effect_table, expression_table
from persona_interp.studies.psychadapter.forms import ADAPTER_TEXTS
from persona_interp.studies.psychadapter.induced_cosines import cosines_in_families, induced_cosines
from persona_interp.studies.psychadapter.induced_direction import induced_geometry, induced_shifts
from persona_interp.studies.psychadapter.measures import AdapterMeasures
from persona_interp.studies.psychadapter.nll import adapter_nll
from persona_interp.studies.psychadapter.plan import measuring_plan
from persona_interp.studies.sizes import Sizes, named_effort
from persona_interp.tables import kept_table, rows_of

METHOD_VERSION = 2
"""Raised where the same inputs come to give other numbers."""
KEEPS = (f"cells/{STUDY}/*", "psychadapter_texts.csv", "texts/*", "vectors/*.psychadapter_induced.*")


@checked
@alone_in("out")
def measure_psychadapter(
    model: HookedModelBase,
    adapter: PsychAdapter,
    held_out: TraitTexts,
    *,
    judges: Some[Judge],
    out: Path,
    measures: AdapterMeasures = AdapterMeasures(),  # noqa: B008 (frozen)
    judged: Mapping[str, Trait] | None = None,
    references: Mapping[str, Direction] | None = None,
    own: Mapping[str, str] | None = None,
    path: Path | None = None,
    n_lora_parameters: int = 0,
    sizes: Sizes | None = None,
    progress: bool = True,
) -> dict[str, pd.DataFrame]:
    """Loss, expression, off-target effects, induced directions and cost: tables by these names, and effects in `out`.

    What was measured is not measured again. `out`/provenance_psychadapter.json says what the numbers come from.

    Args:
        held_out: texts that the adapter was not trained on.
        judged: the trait of the package that tells how much of a score's trait a text has; default: by name.
        references: persona or style vectors that induced directions are compared with, by name.
        own: which reference a trait should be; default: the one of its name.
        path: the adapter's saved file, for its size.
        sizes: by what name they are called, for the report, which says what was cut.

    Raises:
        ConfigError: `out` holds measurements of another adapter, model, backend, dtype or chat template, of other data,
            sizes, judges or references, or by another version.
        DataError: the texts have other scores than the adapter's.
        IncompatibleDirectionError: the adapter or a reference belongs to another model.
    """
    judged, references = judged_traits(adapter.traits) if judged is None else judged, dict(references or {})
    own = {trait: trait for trait in adapter.traits} if own is None else own
    own = {trait: name for trait, name in own.items() if name in references}
    config = {
        "model": of_model(model),
        "adapter": adapter_hash(adapter),
        "lora_parameters": n_lora_parameters,
        "data": held_out.data_hash,
        "measures": asdict(measures),
        "judges": of_judges(judges),
        "judged": {name: trait.data_hash for name, trait in judged.items()},
        "references": {name: record(direction) for name, direction in references.items()},
        "own": own,
        **of_package(METHOD_VERSION),
    }
    folder = RunFolder.claim(out, STUDY, config, keeps=KEEPS)
    texts = held_out.standardised(adapter.standard if held_out.standard is None else None)
    texts = texts.take(measures.n_texts, seed=measures.seed)
    named = {"model": model.name, "method": METHOD}
    if progress:
        steps = measuring_plan(
            measures,
            [len(text) // CHARACTERS for text in texts.texts],
            n_traits=adapter.n_traits,
            n_judged=len(judged),
            n_judges=len(judges),
            likelihood=any(isinstance(judge, LikelihoodJudge) for judge in judges),
        )
        title = f"an adapter of {', '.join(adapter.traits)} on {model.name}{named_effort(sizes)}"
        say_plan(title, steps, model, folder=out, study=STUDY)

    def scored() -> pd.DataFrame:
        """Texts over trait values with every judge's scores."""
        written = trait_texts_over_z(
            model,
            adapter,
            z_values=measures.z_values,
            openings=text_openings()[: measures.n_openings],
            n_samples=measures.n_samples,
            sampling=measures.sampling,
            seed=measures.seed,
            folder=out / "texts",
            progress=progress,
        )
        return score_texts(written, judged, judges).assign(**named)

    def kept() -> pd.DataFrame:
        return kept_table(out / f"{ADAPTER_TEXTS.name}.csv", scored, ADAPTER_TEXTS)

    made: Mapping[str, Callable[[], pd.DataFrame]] = {
        "nll": lambda: adapter_nll(
            model, adapter, texts, n_shuffles=measures.n_shuffles, by_trait=measures.by_trait, seed=measures.seed,
            progress=progress,
        ),
        "expression": lambda: expression_table(kept(), seed=measures.seed).assign(**named),
        "offtarget": lambda: effect_table(kept(), seed=measures.seed).assign(**named),
        "induced": lambda: _induced(model, adapter, texts, measures, references, own, out, progress),
        "cost": lambda: adapter_cost(
            model, adapter, path=path, n_lora_parameters=n_lora_parameters, n_repeats=measures.n_cost_repeats
        ),
    }  # fmt: skip
    wanted = [name for name in made if judged or name not in ("expression", "offtarget")]
    tables = {name: folder.cell(name, None, made[name]) for name in wanted}
    by_trait = known_validity(judges, list(judged.values()), out)
    known = {name: by_trait[trait.name] for name, trait in judged.items()}
    provenance = {
        "model": model.provenance.to_dict(),
        "adapter": adapter.provenance.to_dict() | {"hash": config["adapter"], "lora_parameters": n_lora_parameters},
        "data": {"source": held_out.source, "estimated": held_out.estimated, "n": len(texts)}
        | {"hash": held_out.data_hash},
        "judges": {judge.name: judge.description for judge in judges},
        "judge_validity": known,
        "judged": {name: trait.name for name, trait in judged.items()},
        "not judged": [name for name in adapter.traits if name not in judged],
        "measures": asdict(measures),
        **({} if sizes is None else {"size": sizes.record()}),
        "references": {name: direction.provenance.to_dict() for name, direction in references.items()},
        "time": {row["metric"]: row["estimate"] for row in rows_of(tables["cost"]) if row["metric"] not in COST},
    }
    effects, claims = adapter_effects(tables, n_layers=model.n_layers)
    folder.finish(model, provenance, judged_as(effects, known), claims, seed=measures.seed)
    return tables


def _induced(
    model: HookedModelBase,
    adapter: PsychAdapter,
    texts: TraitTexts,
    measures: AdapterMeasures,
    references: Mapping[str, Direction],
    own: Mapping[str, str],
    out: Path,
    progress: bool,
) -> pd.DataFrame:
    """Geometry and cosines of every trait's induced direction, which is saved beside the tables."""
    read = texts.take(measures.n_induced, seed=measures.seed).texts
    parts = []
    for trait in adapter.traits:
        shifts = induced_shifts(
            model, adapter, trait, read, z_values=measures.z_values, position=measures.position, progress=progress
        )
        shifts.direction().save(out / "vectors" / f"{trait}.psychadapter_induced.safetensors")
        parts.append(induced_geometry(shifts))
        if references:
            parts.append(induced_cosines(shifts, references, own=own.get(trait), seed=measures.seed))
    table = pd.concat(parts, ignore_index=True).assign(position=measures.position)
    return cosines_in_families(table) if references else table  # over all traits: they are reported together
