"""Administered inventories in a folder that belongs to them: answers, and what they say as effects and claims."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed
from persona_interp.data.inventories import Inventory
from persona_interp.errors import ConfigError
from persona_interp.identity import of_model, of_package
from persona_interp.io import sha256_json
from persona_interp.lock import alone_in
from persona_interp.models.identity import library_versions
from persona_interp.models.protocol import HookedModel
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.inventory.administer import administer
from persona_interp.studies.inventory.answers import INVENTORY_ANSWERS, InventoryAnswers
from persona_interp.studies.inventory.conditions import Condition
from persona_interp.studies.inventory.effects import STUDY, inventory_effects
from persona_interp.studies.inventory.plan import inventory_plan
from persona_interp.studies.inventory.reliability import inventory_reliability
from persona_interp.studies.inventory.scores import compare_inventories, scales_in_families, score_inventory
from persona_interp.studies.inventory.types import TypeResult, inventory_type
from persona_interp.studies.plan import say_plan
from persona_interp.studies.sizes import Sizes, named_effort

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
KEEPS = (f"tables/{INVENTORY_ANSWERS.name}.csv", f"cells/{STUDY}/*")


@checked
@dataclass(frozen=True)
class InventoryRun:
    """How inventories are put.

    Args:
        respondents: system prompts, each of which makes a respondent; that of a condition stands before each.
        wordings, orders, normalise: as `administer` takes them.
    """

    respondents: tuple[str, ...] | None = None
    wordings: tuple[str, ...] | None = None
    orders: tuple[str, ...] = ("given", "reversed")
    normalise: str | None = None
    n_resamples: Count = 2000
    seed: Seed = 0


@dataclass(frozen=True, eq=False)
class InventoryTables:
    """What administered inventories say; every table names model, condition and inventory.

    Args:
        changes: every condition against the first of the same model and inventory.
        types: of forced choices, in the format of their first wording.
        warnings: what a reader of the scores must know.
    """

    scores: pd.DataFrame
    reliability: pd.DataFrame
    changes: pd.DataFrame
    types: tuple[TypeResult, ...]
    answers: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def dichotomies(self) -> pd.DataFrame:
        """All types as one table, a row a dichotomy; empty where there are none."""
        return pd.concat([found.frame for found in self.types]) if self.types else pd.DataFrame()


@checked
@alone_in("out")
def run_inventories(
    model: HookedModel,
    inventories: Sequence[Inventory],
    conditions: Sequence[Condition],
    run: InventoryRun,
    *,
    out: Path,
    sizes: Sizes | None = None,
    progress: bool = True,
) -> InventoryTables:
    """Every inventory under every condition, scored and compared: effects and claims in `out`, and the answers.

    Answers are kept as they are made: an interrupted call goes on after the last inventory and condition that it
    finished. They are in `out`/tables/inventory_answers.csv.

    Args:
        sizes: by what name they are called, for the report, which says what was cut.

    Raises:
        ConfigError: there is no inventory or condition, or two of one name; `out` holds tables of another model,
            backend, dtype or chat template, of other inventories, conditions or settings, or by another version; or as
            `administer`.
        AlignmentError, ContextLengthError, IncompatibleDirectionError: as `administer`.
    """
    for kind, names in (
        ("condition", [condition.name for condition in conditions]),
        ("inventory", [inventory.name for inventory in inventories]),
    ):
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"run_inventories needs at least one {kind}, each of another name, got {', '.join(names) or 'none'}.",
                "Results are kept and compared by name.",
            )
    said_of = {condition.name: condition.record for condition in conditions}
    settings = {**asdict(run), "respondents": None if run.respondents is None else sha256_json(run.respondents)[:16]}
    identity = {
        "model": of_model(model),
        "inventories": [[inventory.name, inventory.data_hash] for inventory in inventories],
        "conditions": said_of,
        "reference": conditions[0].name,
        **settings,
        **of_package(METHOD_VERSION),
    }
    folder = RunFolder.claim(out, STUDY, identity, keeps=KEEPS)
    if progress:
        steps = inventory_plan(
            inventories,
            n_conditions=len(conditions),
            orders=run.orders,
            wordings=run.wordings,
            respondents=run.respondents,
        )
        say_plan(f"inventories on {model.name}{named_effort(sizes)}", steps, model, folder=out, study=STUDY)
    administered = [
        _administered(folder, model, inventory, condition, run, progress)
        for inventory in inventories
        for condition in conditions
    ]
    tables = inventory_tables(administered, n_resamples=run.n_resamples, seed=run.seed)
    folder.save(INVENTORY_ANSWERS, tables.answers)
    provenance = {
        "model": model.provenance.to_dict(),
        "inventories": [answers.provenance for answers in administered if answers.condition == conditions[0].name],
        "conditions": said_of,
        "respondents": run.respondents,
        "normalise": run.normalise,
        "warnings": list(tables.warnings),
        "versions": library_versions(),
        **({} if sizes is None else {"size": sizes.record()}),
    }
    effects, claims = inventory_effects(
        tables.scores,
        tables.changes,
        tables.reliability,
        tables.dichotomies,
        reference=conditions[0].name,
        changed={condition.name: condition.change for condition in conditions},
        n_layers=model.n_layers,
    )
    folder.finish(model, provenance, effects, claims, seed=run.seed)
    return tables


def _administered(
    folder: RunFolder,
    model: HookedModel,
    inventory: Inventory,
    condition: Condition,
    run: InventoryRun,
    progress: bool,
) -> InventoryAnswers:
    """The answers to one inventory under one condition, asked once."""
    people = run.respondents
    if people is not None and condition.system is not None:
        people = tuple(f"{condition.system} {line}" for line in people)
    return administer(
        model,
        inventory,
        intervention=condition.intervention,
        system=condition.system if people is None else None,
        respondents=people,
        wordings=run.wordings,
        orders=run.orders,
        normalise=run.normalise,
        condition=condition.name,
        keep=lambda make: folder.cell(inventory.name, [inventory.data_hash, condition.name], make),
        seed=run.seed,
        progress=progress,
    )


def inventory_tables(
    administered: Sequence[InventoryAnswers], *, n_resamples: int = 2000, seed: int = 0
) -> InventoryTables:
    """Scores, reliability, changes and types of everything that was administered.

    Raises:
        AlignmentError: conditions of one inventory were not administered in the same way.
    """
    first: dict[tuple[str, str], InventoryAnswers] = {}
    changes, types = [], []
    for answers in administered:
        before = first.setdefault((answers.model, answers.inventory.name), answers)
        forced = answers.inventory.kind == "forced_choice"
        if before is not answers:
            for measure in ("keyed", "log_odds") if forced else ("keyed",):
                changes.append(
                    compare_inventories(before, answers, measure=measure, n_resamples=n_resamples, seed=seed)
                )
        if forced:
            types.append(inventory_type(answers, n_resamples=max(n_resamples, 1000), seed=seed))
    return InventoryTables(
        scores=pd.concat([score_inventory(a, n_resamples=n_resamples, seed=seed) for a in administered]),
        reliability=scales_in_families(
            pd.concat([inventory_reliability(a, n_resamples=n_resamples // 2, seed=seed) for a in administered])
        ),
        changes=scales_in_families(pd.concat(changes)) if changes else pd.DataFrame(),
        types=tuple(types),
        warnings=tuple(dict.fromkeys(said for answers in administered for said in answers.warnings)),
        answers=pd.concat([a.frame.assign(**a.named)[[*a.named, *a.frame.columns]] for a in administered]),
    )
