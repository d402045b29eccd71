"""The folder of a run: it belongs to one identity, and what is made is kept there as it is made, and done once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Source, claims_table, effects_table, write_effects
from persona_interp.errors import ConfigError
from persona_interp.io import path_part, sha256_json, write_json
from persona_interp.models.protocol import HookedModel
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.tables import Form, kept_table, write_table


@dataclass(frozen=True)
class RunFolder:
    """A folder with the results of one study, made from one identity; results of other studies may stand beside them.

    Args:
        identity: all that the numbers depend on, as plain data: a model, data, judges, settings, versions.
    """

    path: Path
    study: str
    identity: Mapping[str, Any]

    @classmethod
    def claim(cls, path: Path, study: str, identity: Mapping[str, Any], *, keeps: Sequence[str]) -> "RunFolder":
        """The folder, with `identity_STUDY.json` that says what it belongs to.

        A folder in which the study has kept nothing, such as that of a call which failed, binds nobody.

        Args:
            keeps: patterns of what the study keeps in it, relative to the folder.

        Raises:
            ConfigError: it holds results of another identity, and what differs is named; or results, but nothing that
                says what they were made from.
        """
        cls.check(path, study, identity, keeps=keeps)
        if not _kept(path, keeps):
            write_json(_record(path, study), identity)
        return cls(path, study, identity)

    @classmethod
    def check(cls, path: Path, study: str, identity: Mapping[str, Any], *, keeps: Sequence[str]) -> None:
        """Refuse a folder by what is known of the identity before a model is loaded; nothing is written.

        Raises:
            ConfigError: as of `claim`.
        """
        record = _record(path, study)
        if not (kept := _kept(path, keeps)):
            return
        if not record.is_file():
            raise ConfigError(
                f"{path} holds {kept[0].relative_to(path)}, but no {record.name} that says what it was made from.",
                "It was made by an earlier version, or the file was deleted. Use another folder.",
            )
        refuse_other_config(record, identity)

    def save(self, form: Form, table: DataFrame) -> None:
        """A table of single answers, texts or draws, in the place of the one that was there."""
        write_table(self.path / "tables" / f"{form.name}.csv", table, form)

    def cell(self, name: str, key: Any, make: Callable[[], DataFrame]) -> DataFrame:
        """Rows of one part of the work, made once for the inputs in `key`; other inputs are another cell.

        Args:
            key: what the rows depend on beside the identity of the run, as plain data.
        """
        place = f"{path_part(name, 'cell')}-{sha256_json([self.identity, key])[:12]}.parquet"
        return kept_table(self.path / "cells" / self.study / place, make)

    def finish(
        self,
        model: HookedModel,
        provenance: Mapping[str, Any],
        effects: Sequence[Effect],
        claims: Sequence[Claim],
        *,
        seed: int | None,
    ) -> None:
        """Keep the provenance, and the effects and claims in their one form."""
        write_json(self.path / f"provenance_{self.study}.json", provenance)
        source = Source.of(self.study, self.identity, model.provenance.to_dict(), seed)
        write_effects(self.path, self.study, effects_table(source, effects), claims_table(source, claims))


def _record(path: Path, study: str) -> Path:
    return path / f"identity_{study}.json"


def _kept(path: Path, keeps: Sequence[str]) -> list[Path]:
    return [found for pattern in keeps for found in sorted(path.glob(pattern))]
