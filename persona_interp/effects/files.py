"""Tables of effects and claims in results folders: written by one study beside others, read from any number."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pandas import DataFrame

from persona_interp.arguments import checked
from persona_interp.effects.effect import CLAIMS, EFFECTS, Claim, Effect, Source
from persona_interp.effects.tables import claims_table, effects_table, with_q
from persona_interp.errors import AlignmentError, ArtefactError
from persona_interp.files import expanded, is_file, is_folder, shown, unreadable
from persona_interp.lock import locked
from persona_interp.tables import Form, read_table, write_table

EFFECTS_FILE, CLAIMS_FILE = "effects.parquet", "claims.parquet"


def write_effects(folder: Path, study: str, effects: DataFrame, claims: DataFrame) -> None:
    """Keep a study's effects and claims in a folder, in the place of those that it had there before.

    Those of other studies stay.

    Raises:
        AlignmentError: a row is of another study.
        ArtefactError: what other studies wrote there is damaged.
        ConfigError: another process is at work in the folder.
    """
    if others := sorted({*effects["study"], *claims["study"]} - {study}):
        raise AlignmentError(f"rows of {others[0]} cannot be kept as those of {study}.")
    with locked(folder):
        for name, form, table in ((EFFECTS_FILE, EFFECTS, effects), (CLAIMS_FILE, CLAIMS, claims)):
            path = folder / name
            kept = _read(path, form) if is_file(path) else form.typed(DataFrame(columns=form.names))[0]
            kept = kept[kept["study"] != study]
            if form is CLAIMS:  # those of studies whose effects are gone rest on nothing
                kept = kept[kept["study"].isin(saved_studies(folder))]
            write_table(path, pd.concat([kept, table], ignore_index=True) if len(kept) else table, form)


Run = tuple[Source, Sequence[Effect], Sequence[Claim]]
"""What was found in one run: where it is from, its effects and its claims."""


def write_runs(folder: Path, study: str, found: Sequence[Run]) -> None:
    """Keep what several runs of a study found, such as of several models, in one folder; q is over all of them."""
    assert len({source.run_id for source, _, _ in found}) == len(found), f"two runs of {study} have one name"
    effects = pd.concat([effects_table(source, effects) for source, effects, _ in found], ignore_index=True)
    claims = pd.concat([claims_table(source, claims) for source, _, claims in found], ignore_index=True)
    write_effects(folder, study, with_q(effects), claims)


def saved_effects(folder: Path, study: str) -> DataFrame | None:
    """The effects of one study in one folder, as they were written; None where there are none.

    Raises:
        ArtefactError: the file is damaged.
    """
    return _of_study(folder / EFFECTS_FILE, EFFECTS, study)


def saved_studies(folder: Path) -> list[str]:
    """The studies that have effects in a folder, in the order in which they were written.

    Raises:
        ArtefactError: the file is damaged.
    """
    path = folder / EFFECTS_FILE
    return list(dict.fromkeys(_read(path, EFFECTS)["study"])) if is_file(path) else []


def saved_claims(folder: Path, study: str | None = None) -> DataFrame | None:
    """The claims of one study in one folder, or of all; None where there are none.

    Raises:
        ArtefactError: the file is damaged.
    """
    return _of_study(folder / CLAIMS_FILE, CLAIMS, study)


def _of_study(path: Path, form: Form, study: str | None) -> DataFrame | None:
    table = _read(path, form) if is_file(path) else None
    own = table if table is None or study is None else table[table["study"] == study].reset_index(drop=True)
    return None if own is None or own.empty else own


@checked
def load_effects(*folders: Path | str | Sequence[Path | str]) -> DataFrame:
    """The effects of any number of runs in one table, q made anew over all of them (`with_q`).

    So q may differ from that in a run's own tables and sentences, which know of no other run. The columns are those of
    `Effect`, with `effect_id`, the `Source`, q and n_family.

    Args:
        folders: of results, or above them, one by one or in a list: every effects.parquet in and below each is read. A
            run that is found twice counts once. Columns that an older version did not write are missing.

    Raises:
        ArtefactError: a folder has no effects, or a file is damaged.
        AlignmentError: one effect has different numbers in two places.
    """
    return with_q(_load(folders, EFFECTS_FILE, EFFECTS, ["effect_id"]))


@checked
def load_claims(*folders: Path | str | Sequence[Path | str]) -> DataFrame:
    """The claims of any number of runs, each as its own run came to it; see `load_effects` for the folders."""
    return _load(folders, CLAIMS_FILE, CLAIMS, _CLAIM)


def _found(folder: Path, name: str) -> list[Path]:
    """The files of a name in and below a folder, or the file that was given in its place."""
    if is_file(folder):
        return [folder]
    try:
        return sorted(folder.rglob(name)) if is_folder(folder) else []
    except OSError as error:
        raise unreadable(folder, error) from error


_CLAIM = ["study", "run_id", "claim", "trait"]


def _load(folders: Sequence[Path | str | Sequence[Path | str]], name: str, form: Form, same: list[str]) -> DataFrame:
    parts = []
    listed = [part for each in folders for part in ([each] if isinstance(each, Path | str) else each)]
    for folder in map(expanded, listed):
        found = _found(folder, name)
        if not found:
            raise ArtefactError(
                f"there is no {name} in {shown(folder)} or below it.",
                "Studies write it when they are done. In a folder of an earlier version, run the command again.",
            )
        parts += [_read(path, form) for path in found]
    if not parts:
        raise ArtefactError("no folder of results was given.", "Give at least one.")
    table = pd.concat(parts, ignore_index=True)
    once = table.drop(columns=[c for c in ("q", "n_family") if c in table]).drop_duplicates()
    if len(twice := once[once.duplicated(same)]):
        raise AlignmentError(
            f"run {twice['run_id'].iloc[0]} of {twice['study'].iloc[0]} was found twice, with different numbers.",
            "One of the copies was made by another version or altered. Leave one out.",
        )
    return table.loc[once.index].reset_index(drop=True)


def _read(path: Path, form: Form) -> DataFrame:
    """A table of some version: columns that it lacks are missing, others are left out."""
    frame = read_table(path)
    lacking = [column.name for column in form.columns if not column.filled and column.name not in frame]
    known = frame.assign(**dict.fromkeys(lacking)).filter(form.names)  # a later version may have more
    found, problems = form.typed(known)
    if problems:
        raise ArtefactError(
            f"{path}: {problems[0]}.", "Move it away, and run the commands that wrote into this folder again."
        )
    return found
