"""Tables of administered inventories in a folder that belongs to them, for figures, reports and other programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.data.inventories import Inventory
from persona_interp.effects import Source
from persona_interp.errors import ConfigError
from persona_interp.identity import of_model, of_package
from persona_interp.io import read_record, sha256_file, write_json
from persona_interp.lock import alone_in
from persona_interp.measurements import forms
from persona_interp.measurements.inventory_answers import InventoryAnswers
from persona_interp.measurements.inventory_reliability import reliability_rows
from persona_interp.measurements.inventory_scores import change_rows, scales_in_families, score_inventory
from persona_interp.measurements.inventory_types import TypeResult, inventory_type
from persona_interp.models.identity import library_versions
from persona_interp.models.protocol import HookedModel
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.studies.inventory.effects import STUDY, write_inventory_effects
from persona_interp.tables import write_table

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
FILE = "identity_inventory.json"
RECORD = "provenance_inventory.json"
TABLES = {
    **{"scores": forms.INVENTORY_SCORES, "reliability": forms.INVENTORY_RELIABILITY},
    **{"changes": forms.INVENTORY_CHANGES, "types": forms.INVENTORY_TYPES, "answers": None},
}
ANSWER_COLUMNS = ("model", "condition", "inventory")


@dataclass(frozen=True, eq=False)
class InventoryTables:
    """What administered inventories say; every table names model, condition and inventory.

    Args:
        changes: every condition against the first of the same model and inventory.
        types: of forced choices, in the format of their first wording.
    """

    scores: pd.DataFrame
    reliability: pd.DataFrame
    changes: pd.DataFrame
    types: tuple[TypeResult, ...]
    answers: pd.DataFrame

    @alone_in("out")
    def write(self, out: Path, provenance: Mapping[str, Any]) -> None:
        """`tables/inventory_*.csv` and `provenance_inventory.json` in a folder; tables without rows are left out.

        A table that an earlier call left, and that has no rows now, is deleted where it is as that call wrote it.
        """
        types = pd.concat([found.frame for found in self.types]) if self.types else pd.DataFrame()
        tables = (self.scores, self.reliability, self.changes, types, self.answers)
        before, written = _written(out / RECORD), {}
        for (name, form), table in zip(TABLES.items(), tables, strict=True):
            path = _path(out, name)
            if not table.empty:
                write_table(path, table, form)
                written[path.name] = sha256_file(path)
            elif path.is_file() and before.get(path.name) == sha256_file(path):
                path.unlink()  # the others would not belong to it
        write_json(out / RECORD, {**provenance, "tables": written, "versions": library_versions()})
        identity = read_record(out / FILE) if (out / FILE).is_file() else provenance
        write_inventory_effects(out, Source.of(STUDY, identity, provenance["model"], identity.get("seed")))


def claim_inventories(
    out: Path,
    model: HookedModel,
    inventories: Sequence[Inventory],
    conditions: Mapping[str, Any],
    options: Mapping[str, Any],
) -> None:
    """Write down what a folder's tables will be of, before they are computed; refuse a folder with tables of others.

    Args:
        conditions: name -> what is said to and done with the model, as plain data.
        options: everything else that the numbers depend on, as plain data.

    Raises:
        ConfigError: names what differs, or the folder's tables do not say what they are of.
    """
    identity = {
        "model": of_model(model),
        "inventories": [[inventory.name, inventory.data_hash] for inventory in inventories],
        "conditions": conditions,
        **options,
        **of_package(METHOD_VERSION),
    }
    results = [path for path in (*(_path(out, name) for name in TABLES), out / RECORD) if path.is_file()]
    if not results:  # a call that failed before there were any binds nobody
        write_json(out / FILE, identity)
    elif not (out / FILE).is_file():
        raise ConfigError(
            f"{out} holds {results[0].relative_to(out)}, but no {FILE} that says what it was made from.",
            "It was made by an earlier version, or the file was deleted. Use another folder.",
        )
    refuse_other_config(out / FILE, identity)


def _path(out: Path, table: str) -> Path:
    return out / "tables" / f"inventory_{table}.csv"


def _written(record: Path) -> Mapping[str, str]:
    """The tables that an earlier call wrote, by their hash."""
    return read_record(record, optional={"tables": dict}).get("tables", {}) if record.is_file() else {}


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
                changes.append(change_rows(before, answers, measure=measure, n_resamples=n_resamples, seed=seed))
        if forced:
            types.append(inventory_type(answers, n_resamples=max(n_resamples, 1000), seed=seed))
    return InventoryTables(
        scores=pd.concat([score_inventory(a, n_resamples=n_resamples, seed=seed) for a in administered]),
        reliability=scales_in_families(
            pd.concat([reliability_rows(a, n_resamples=n_resamples // 2, seed=seed) for a in administered])
        ),
        changes=scales_in_families(pd.concat(changes)) if changes else pd.DataFrame(),
        types=tuple(types),
        answers=pd.concat([_named(a) for a in administered]),
    )


def _named(answers: InventoryAnswers) -> pd.DataFrame:
    """The answers with what they are answers of in front."""
    frame = answers.frame.copy()
    for place, (name, value) in enumerate(
        zip(ANSWER_COLUMNS, (answers.model, answers.condition, answers.inventory.name), strict=True)
    ):
        frame.insert(place, name, value)
    return frame
