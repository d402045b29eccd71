"""A blind, shuffled sheet of a run's answers for human raters; which answer is which stays in the run's folder."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from pandas import DataFrame

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed
from persona_interp.data.traits import Trait, load_trait
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.files import atomic_write_bytes, is_file
from persona_interp.io import sha256_json
from persona_interp.lock import alone_in
from persona_interp.statistics.streams import stream
from persona_interp.studies.persona.raters.answers import KINDS, RatedRun, rated_run
from persona_interp.tables import Form, read_table, rows_of, table_bytes, texts, wholes, write_table

SHEET = ("id", "trait", "description", "question", "answer", "rating")
"""The columns of a sheet; `rating` is for the rater."""
LOWEST, HIGHEST = 0.0, 100.0
KEY = Form("raters_key", (*texts("id trait kind part question answer", filled=True), *wholes("row seed")))
"""Which answer of the run an id of a sheet stands for."""
FOLDER = "raters"
_MARK = b"\xef\xbb\xbf"
"""By which spreadsheets know UTF-8."""


@checked
@alone_in("run")
def export_sheet(run: Path, out: Path, *, n: Count = 60, seed: Seed = 0) -> DataFrame:
    """A sheet of a run's answers for a human rater, written as CSV: id, trait, description, question, answer, rating.

    An answer a row, in random order, `rating` empty: 0 (nothing of the trait) to 100. Traits have equal shares, and in
    each trait the kinds of answers: unsteered, steered to either side at the chosen layer, and to system prompts for
    and against the trait; the questions take turns. Nothing in the sheet tells them apart. The same seed gives the same
    sheet with the same ids, another seed another sheet; a larger `n` adds answers.

    Args:
        run: folder of `persona-interp run`, which keeps what the ids stand for (`raters/key.parquet`).
        n: rows, fewer where the run has fewer different answers.

    Returns:
        The sheet as it was written.

    Raises:
        ArtefactError: it is no such folder, or `out` holds ratings, which are not overwritten.
        ConfigError: `out` is no .csv, or n is too small for every kind of answer of every trait.
        TraitError: a trait file of the run is gone.
    """
    if out.suffix.lower() != ".csv":
        raise ConfigError(f"a sheet is a .csv file, got {out}.", "Spreadsheets open it.")
    rated = rated_run(run)
    traits = traits_of(rated)
    if n < (least := len(KINDS) * len(traits)):
        raise ConfigError(
            f"n must be at least {least}, got {n}.", f"A sheet has all {len(KINDS)} kinds of answers of each trait."
        )
    chosen = pd.concat(list(_sampled(rated, n, seed)), ignore_index=True)
    if chosen.empty:
        raise ArtefactError(f"{run} has no answer with a text, so there is nothing to rate.")
    order = stream(seed, "raters", "order").permutation(len(chosen))
    key = chosen.iloc[order].reset_index(drop=True)
    sheet = key.assign(description=[rubric(traits[name]) for name in key["trait"]], rating="")[list(SHEET)]
    refuse_filled(out, data := _MARK + table_bytes(sheet, ".csv"))
    path = run / FOLDER / "key.parquet"
    before = [read_table(path, KEY)] if is_file(path) else []
    kept = pd.concat([*before, key.assign(seed=seed)[KEY.names]], ignore_index=True)
    write_table(path, kept.drop_duplicates("id", keep="last"), KEY)
    atomic_write_bytes(out, data)
    return sheet


def traits_of(rated: RatedRun) -> dict[str, Trait]:
    """The traits of a run by name, in its order.

    Raises:
        TraitError: a trait file is gone.
    """
    loaded = {trait.name: trait for trait in map(load_trait, rated.config.get("traits", []))}
    return {name: loaded[name] if name in loaded else load_trait(name) for name in rated.answers}


def rubric(trait: Trait) -> str:
    """What a rater is asked of an answer."""
    described = f" {trait.description.strip()}" if trait.description.strip() else ""
    return (
        f"How {trait.positive} is the answer?{described} Rate from {LOWEST:g} (not at all {trait.positive}) to"
        f" {HIGHEST:g} (as {trait.positive} as can be)."
    )


def refuse_filled(out: Path, data: bytes) -> None:
    """Refuse to write over a file that is not the very same sheet, still empty.

    Raises:
        ArtefactError: there is one.
    """
    if is_file(out) and out.read_bytes() != data:
        raise ArtefactError(
            f"{out} is there already and is not this sheet as it was exported: it may hold ratings.",
            "Name another file, or move that one away.",
        )


def _sampled(rated: RatedRun, n: int, seed: int) -> Iterator[DataFrame]:
    """Answers of every trait with their ids, n in all, or as many as there are."""
    names = list(rated.answers)
    for k, name in enumerate(names):
        share = n // len(names) + (k < n % len(names))
        table = rated.answers[name]
        table = table[table["answer"].str.strip() != ""].drop_duplicates(["question", "answer"])
        ordered = [_taking_turns(rows, seed, name, kind) for kind in KINDS if len(rows := table[table["kind"] == kind])]
        chosen = [row for turn in range(len(table)) for rows in ordered if turn < len(rows) for row in [rows[turn]]]
        frame = table.loc[chosen[:share]].assign(trait=name)
        yield frame.assign(id=[_id(rated, seed, name, row["part"], row["row"]) for row in rows_of(frame)])


def _taking_turns(rows: DataFrame, seed: int, trait: str, kind: str) -> list[int]:
    """The index in random order, such that every question has come once before one comes again."""
    rng = stream(seed, "raters", trait, kind)
    shuffled = rows.iloc[rng.permutation(len(rows))]
    turn = shuffled.groupby("question", sort=False).cumcount()
    return list(shuffled.assign(turn=turn).sort_values("turn", kind="stable").index)


def _id(rated: RatedRun, seed: int, trait: str, part: str, row: int) -> str:
    """Begins with two letters, so that no spreadsheet takes it for a number or a date."""
    return f"id{sha256_json([rated.identity, seed, trait, part, int(row)])[:10]}"
