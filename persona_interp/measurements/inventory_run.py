"""Tables of administered inventories in a folder, for figures, reports and other programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.io import atomic_write_bytes, write_json
from persona_interp.measurements.inventory_answers import InventoryAnswers
from persona_interp.measurements.inventory_reliability import inventory_reliability
from persona_interp.measurements.inventory_scores import compare_inventories, score_inventory
from persona_interp.measurements.inventory_types import TypeResult, inventory_type
from persona_interp.models.identity import library_versions
from persona_interp.statistics.permutation import corrected

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

    def write(self, out: Path, provenance: Mapping[str, Any]) -> None:
        """`tables/inventory_*.csv` and `provenance_inventory.json` in a folder; tables without rows are left out."""
        tables = {
            "scores": self.scores,
            "reliability": self.reliability,
            "changes": self.changes,
            "types": pd.concat([found.frame for found in self.types]) if self.types else pd.DataFrame(),
            "answers": self.answers,
        }
        for name, table in tables.items():
            path = out / "tables" / f"inventory_{name}.csv"
            if table.empty:
                path.unlink(missing_ok=True)  # of an earlier run, which the others would not belong to
                continue
            atomic_write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())
        write_json(out / "provenance_inventory.json", {**provenance, "versions": library_versions()})


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
        reliability=corrected(
            pd.concat([inventory_reliability(a, n_resamples=n_resamples // 2, seed=seed) for a in administered])
        ),
        changes=pd.concat(changes) if changes else pd.DataFrame(),
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
