"""Filled sheets of human raters, read back and kept in the run's folder."""

from pathlib import Path

import pandas as pd
from pandas import DataFrame

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.cells import is_blank, named_rows, number_of
from persona_interp.effects import write_effects
from persona_interp.effects.tables import claims_table, effects_table
from persona_interp.errors import ArtefactError, DataError
from persona_interp.files import is_file, shown
from persona_interp.lock import alone_in
from persona_interp.studies.persona.raters.agreement import rater_claims, rater_effects, source_of
from persona_interp.studies.persona.raters.answers import RatedRun, rated_run
from persona_interp.studies.persona.raters.sheet import FOLDER, HIGHEST, KEY, LOWEST
from persona_interp.studies.persona.rows import RATERS
from persona_interp.tables import Form, numbers, read_table, texts, write_table

RATINGS = Form("raters_ratings", (*texts("rater id", filled=True), *numbers("rating", unit="points of 100")))


@checked
@alone_in("run")
def import_sheets(run: Path, sheets: Some[str | Path]) -> DataFrame:
    """The ratings of filled sheets, kept in the folder of the run they are of, and what they say of its judges.

    A rater is called by the name of the file; the same name again replaces what was kept. Rows without a rating are
    left out. Nothing is kept unless every sheet can be read. Agreement is computed anew from all raters kept so far, as
    the effects of the study "raters", which the report of the run shows beside every number of a judge.

    Args:
        run: folder of `persona-interp run` from which the sheets were exported.
        sheets: as `export_sheet` wrote them, with numbers from 0 to 100 in the column `rating`; saved by a spreadsheet,
            with semicolons or decimal commas, is fine.

    Returns:
        Every rating kept: rater, id, rating.

    Raises:
        ArtefactError: no sheet was exported from this run, or its answers are no longer those of the sheet.
        DataError: a sheet has an id of another run or an id twice, a rating that is no number from 0 to 100, no rating
            at all, or two sheets have one name.
    """
    rated = rated_run(run)
    key = exported_key(rated)
    files = [Path(sheet) for sheet in sheets]
    names = [file.stem for file in files]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(
            f"two sheets are called {twice[0]!r}, so they would be one rater's.",
            "A rater is called by the name of the file. Rename one.",
        )
    given = pd.concat([read_sheet(file, key) for file in files], ignore_index=True)
    path = run / FOLDER / "ratings.parquet"
    if is_file(path):
        before = read_table(path, RATINGS)
        given = pd.concat([before[~before["rater"].isin(names)], given], ignore_index=True)
    ratings = RATINGS.checked(given.sort_values(["rater", "id"], ignore_index=True))
    joined = ratings.merge(key, on="id", validate="many_to_one")
    effects, source = rater_effects(rated, joined), source_of(rated, ratings)
    table = effects_table(source, effects)
    claims = claims_table(source, rater_claims(effects, list(table["q"])))
    write_table(path, ratings, RATINGS)
    write_effects(run, RATERS, table, claims)
    return ratings


def exported_key(rated: RatedRun) -> DataFrame:
    """What the ids of a run's sheets stand for.

    Raises:
        ArtefactError: no sheet was exported, or the run has other answers now.
    """
    path = rated.folder / FOLDER / "key.parquet"
    if not is_file(path):
        raise ArtefactError(
            f"no sheet was exported from {shown(rated.folder)}: it has no {FOLDER}/{path.name}.",
            f"Export one first: persona-interp judge --export-sheet {shown(rated.folder)} --out sheet.csv",
        )
    key = read_table(path, KEY)
    now = pd.concat([table.assign(trait=name) for name, table in rated.answers.items()], ignore_index=True)
    same = key.merge(now[["trait", "part", "row", "question", "answer"]], how="inner")
    if len(same) < len(key):
        raise ArtefactError(
            f"{len(key) - len(same)} of {len(key)} answers of the exported sheets are no longer those of the run.",
            f"It was made again since. Delete {shown(path)} and export a sheet anew; old ratings are of other answers.",
        )
    return key


def read_sheet(path: Path, key: DataFrame) -> DataFrame:
    """The ratings of one sheet: rater, id, rating.

    Raises:
        DataError: see `import_sheets`.
        ArtefactError: there is no such file, or it is of another kind.
    """
    known, found = set(key["id"]), dict[str, float]()
    seen, foreign = set[str](), list[str]()
    for row in named_rows(path, ("id", "rating"), "a sheet"):
        name, cell = str(row.cells.get("id") or "").strip(), row.cells.get("rating")
        if not name and is_blank(cell):
            continue
        if name in seen:
            raise DataError(f"{shown(path)}: id {name!r} comes twice, again in {row.name}.", "Leave one row out.")
        seen.add(name)
        if name not in known:
            foreign.append(name)
        elif not is_blank(cell):
            rating = number_of(cell)
            if not LOWEST <= rating <= HIGHEST:
                raise DataError(
                    f"{row.name}: the rating of {name} must be a number from {LOWEST:g} to {HIGHEST:g},"
                    f" got {str(cell)[:40]!r}.",
                    "Correct it, or leave the cell empty where the answer cannot be rated.",
                )
            found[name] = rating
    if foreign:
        some = "none of its ids is" if len(foreign) == len(seen) else f"{len(foreign)} of its {len(seen)} ids are not"
        raise DataError(
            f"{shown(path)} is not a sheet of this run alone: {some} of one of its exported sheets,"
            f" {foreign[0][:40]!r} first.",
            "Give the folder that the sheet was exported from, and leave the column id as it was.",
        )
    if not found:
        raise DataError(f"{shown(path)} holds no rating: the column rating is empty in all {len(seen)} rows.")
    return DataFrame({"rater": path.stem, "id": list(found), "rating": list(found.values())})
