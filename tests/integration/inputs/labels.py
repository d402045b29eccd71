"""Labelled answers, filled sheets of human raters, and the ways of the command that reads them."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.data.labelled import read_labelled
from persona_interp.studies.persona.raters.ratings import import_sheets
from persona_interp.studies.persona.raters.sheet import export_sheet
from persona_interp.tables import read_table
from tests.integration.inputs.row import Call, Command, Given, Row
from tests.rated_run import rated_folder

LABELLED = [{"question": f"q{k}", "answer": f"a{k}", "label": k % 2} for k in range(12)]
CSV = pd.DataFrame(LABELLED).to_csv(index=False)
TRUE = [0.0, 1.0] * 6


def labels(name: str, data: bytes | str, gives: Any = None, says: str | None = None, suffix: str = "csv") -> Call:
    def call(given: Given) -> Any:
        path = given.tmp / f"l.{suffix}"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        found = read_labelled(path)
        return found.labels.tolist(), found.graded, found.n_left_out

    return Call(f"labels: {name}", call, gives, says)


def words(*values: object) -> str:
    """A table with these labels, over and over."""
    return json.dumps([{**row, "label": values[k % len(values)]} for k, row in enumerate(LABELLED)])


def rows(n: int, label: str = "k % 2") -> str:
    return "answer,label\n" + "".join(f"a{k},{eval(label, {'k': k})}\n" for k in range(n))


FORMS: tuple[Row, ...] = (
    labels("CSV", CSV, (TRUE, False, 0)),
    labels("TSV", pd.DataFrame(LABELLED).to_csv(index=False, sep="\t"), (TRUE, False, 0), suffix="tsv"),
    labels("JSON", json.dumps(LABELLED), (TRUE, False, 0), suffix="json"),
    labels("JSONL", "\n".join(map(json.dumps, LABELLED)), (TRUE, False, 0), suffix="jsonl"),
    labels("Parquet", pd.DataFrame(LABELLED).to_parquet(), (TRUE, False, 0), suffix="parquet"),
    labels("gzip", gzip.compress(CSV.encode()), (TRUE, False, 0), suffix="csv.gz"),
    labels("a spreadsheet's", b"\xef\xbb\xbf" + CSV.replace(",", ";").replace("\n", "\r\n").encode(), (TRUE, False, 0)),
    labels("columns in capitals", CSV.replace("answer", "Answer", 1).replace("label", "LABEL", 1), (TRUE, False, 0)),
    labels("yes and no", words("No", "yes "), (TRUE, False, 0), suffix="json"),
    labels("true and false", words(False, True), (TRUE, False, 0), suffix="json"),
    labels("0 and 100", words(0, "100"), (TRUE, False, 0), suffix="json"),
    labels("graded", words(0, 30.5, "60,5", 100), ([0.0, 30.5, 60.5, 100.0] * 3, True, 0), suffix="json"),
    labels("rows without a label", words(0, 1, None, 1, 0, 1, 0, 1, 0, 1, 0, 1), lambda f: f[2] == 1, suffix="json"),
    labels("no column", "question,answer,score\na,b,1\n", says="no column label. It has: question, answer, score"),
    labels("no columns at all", "[[1, 2]]", says="no row with columns but of type", suffix="json"),
    labels("all equal", rows(12, "1"), says="all 12 labels of l.csv are 1, so no judge"),
    labels("words", rows(12, "'maybe'"), says=r"row 1: the label 'maybe' cannot be read \(12 such of 12\)"),
    labels("two kinds", words("yes", 55), says="the label 'yes' cannot be read", suffix="json"),
    labels("out of range", words(0, 101), says="the label '101' cannot be read", suffix="json"),
    labels("NaN", words("nan", "1"), says="the label 'nan' cannot be read", suffix="json"),
    labels("too few", rows(9), says="has 9 labelled answers, at least 10 are needed"),
    labels("one side too small", rows(12, "int(k > 9)"), says="has 2 answers of one label among 12"),
    labels("no answers", "answer,label\n" + ",1\n" * 12, says="none of 12 rows of .*has both an answer and a label"),
    labels("one group", "question,answer,label\n" + "q,a,1\nq,b,0\n" * 6, says="all 12 answers .* of one group, 'q'"),
    labels("not UTF-8", CSV.replace("a3", "\xe9").encode("latin-1"), says="cannot be read: not valid UTF-8"),
    labels("empty", "", says="is empty"),
    labels("a name of another kind", CSV, says="is not read as a data set", suffix="xlsx"),
)  # fmt: skip

Edit = Callable[[pd.DataFrame], pd.DataFrame]


def sheet(name: str, edit: Edit, gives: Any = None, says: str | None = None, **written: Any) -> Call:
    """A sheet that a rater edited, and what is kept of it."""

    def call(given: Given) -> Any:
        run = rated_folder(given.tmp / "run")
        export_sheet(run, given.tmp / "sheet.csv", n=20)
        save(edit(read_table(given.tmp / "sheet.csv")), given.tmp / "rater.csv", **written)
        kept = import_sheets(run, [given.tmp / "rater.csv"])
        return sorted(kept["rating"]) if gives is not None else None

    return Call(f"sheet: {name}", call, gives, says)


def save(table: pd.DataFrame, path: Path, *, sep: str = ",", end: str = "\n", encoding: str = "utf-8") -> None:
    path.write_bytes(table.to_csv(index=False, sep=sep, lineterminator=end).encode(encoding))


def rated(*ratings: object, at: int = 0) -> Edit:
    """The first rows rated so, the others not."""

    def edit(table: pd.DataFrame) -> pd.DataFrame:
        cells = [ratings[k - at] if at <= k < at + len(ratings) else "" for k in range(len(table))]
        return table.assign(rating=cells)

    return edit


def of_other_run(given: Given) -> Any:
    one, other = (rated_folder(given.tmp / name) for name in "ab")
    (one / "identity_persona.json").write_text('{"model": "other"}')
    for run in (one, other):
        export_sheet(run, given.tmp / f"{run.name}.csv", n=20)
    save(rated(50)(read_table(given.tmp / "a.csv")), given.tmp / "rater.csv")
    return import_sheets(other, [given.tmp / "rater.csv"])


def of_changed_run(given: Given) -> Any:
    run = rated_folder(given.tmp / "run")
    export_sheet(run, given.tmp / "rater.csv", n=20)
    path = run / "steering" / "impolite" / "evaluation" / "scored.parquet"
    table = pd.read_parquet(path)
    table.assign(answer="another " + table["answer"]).to_parquet(path)
    return import_sheets(run, [given.tmp / "rater.csv"])


def never_exported(given: Given) -> Any:
    (given.tmp / "rater.csv").write_text("id,rating\nid1,5\n")
    return import_sheets(rated_folder(given.tmp / "run"), [given.tmp / "rater.csv"])


def of_one_name(given: Given) -> Any:
    run = rated_folder(given.tmp / "run")
    export_sheet(run, given.tmp / "rater.csv", n=20)
    return import_sheets(run, [given.tmp / "rater.csv", given.tmp / "x" / "rater.csv"])


SHEETS: tuple[Row, ...] = (
    sheet("partly filled", rated(0, 55.5, "100"), [0.0, 55.5, 100.0]),
    sheet("a spreadsheet's", rated("7,5", "20"), [7.5, 20.0], sep=";", end="\r\n", encoding="utf-8-sig"),
    sheet("tabs", rated(40), [40.0], sep="\t"),
    sheet("its own order and columns", lambda t: rated(40)(t)[::-1][["rating", "id"]], [40.0]),
    sheet("empty rows below", lambda t: pd.concat([rated(40)(t), pd.DataFrame([dict.fromkeys(t, "")])]), [40.0]),
    sheet("ids in blanks", lambda t: rated(40)(t).assign(id=" " + t["id"] + " "), [40.0]),
    sheet("no rating", rated(), says="rater.csv holds no rating: the column rating is empty in all 20 rows"),
    sheet("above the scale", rated(5, 101), says="row 2: the rating of id.* must be a number from 0 to 100, got '101'"),
    sheet("below the scale", rated(-1), says="must be a number from 0 to 100, got '-1'"),
    sheet("a word", rated("very"), says="must be a number from 0 to 100, got 'very'"),
    sheet("NaN", rated("nan"), says="must be a number from 0 to 100, got 'nan'"),
    sheet("an id twice", lambda t: pd.concat([rated(5)(t), t[:1]]), says="id 'id.*' comes twice, again in rater.csv, row 21"),
    sheet("a strange id", lambda t: rated(5)(t).assign(id=["zz", *t["id"][1:]]), says="1 of its 20 ids are not of one .*'zz' first"),
    sheet("no column of ids", lambda t: rated(5)(t).drop(columns="id"), says="no column id. It has: trait, description"),
    sheet("saved in Windows' letters", lambda t: rated(5)(t).assign(question="é"), says="Save it as CSV in UTF-8", encoding="latin-1"),
    Call("sheet: of another run", of_other_run, says="is not a sheet of this run alone: none of its ids is of one of"),
    Call("sheet: of a run made again", of_changed_run, says="of 20 answers of the exported sheets are no longer those"),
    Call("sheet: never exported", never_exported, says="(?s)no sheet was exported from .*--export-sheet"),
    Call("sheet: two of one name", of_one_name, says="two sheets are called 'rater'"),
    Call("sheet: no run", lambda g: export_sheet(g.tmp, g.tmp / "s.csv"), says="is not the folder of a finished run"),
    Call("sheet: no CSV", lambda g: export_sheet(rated_folder(g.tmp / "r"), g.tmp / "s.xlsx"), says="a sheet is a .csv file"),
)  # fmt: skip


def written(given: Given) -> None:
    (given.tmp / "d.csv").write_text(CSV)
    rated_folder(given.tmp / "run")


DATA = ("judge", "{tmp}/d.csv")
OUT = ("--out", "{tmp}/o")
RUN = ("--run", "{tmp}/run")
COMMANDS: tuple[Row, ...] = (
    Command("judge: nothing", ("judge",), 2, "got neither DATA nor a sheet"),
    Command("judge: two ways", (*DATA, "--export-sheet", "{tmp}/run", *OUT), 2, "got DATA and --export-sheet"),
    Command("judge: no trait", (*DATA, *OUT), 2, "without --trait, which says what its labels are of", written),
    Command("judge: no out", (*DATA, "--trait", "impolite"), 2, "DATA was given without --out", written),
    Command("judge: no data", (*DATA, "--trait", "impolite", *OUT), 1, "d.csv does not exist"),
    Command("judge: no such judge", (*DATA, "--trait", "impolite", "--judge", "me", *OUT), 2, "--judge must be among", written),
    Command("judge: idle model", (*DATA, "--trait", "evil", "--judge", "lexical", "--judge-model", "x", *OUT), 2, "--judge-model was given without --judge likelihood", written),
    Command("judge: idle run", (*DATA, "--trait", "evil", *RUN, *OUT), 2, "--run was given without --import-sheet"),
    Command("judge: idle n", (*DATA, "--trait", "evil", "--n", "20", *OUT), 2, "--n was given without --export-sheet"),
    Command("judge: no run to export", ("judge", "--export-sheet", "{tmp}/no", *OUT), 1, "--export-sheet .*no does not exist"),
    Command("judge: a sheet of no trait", ("judge", "--export-sheet", "{tmp}/run", "--trait", "evil", *OUT), 2, "--trait was given without DATA"),
    Command("judge: no run to import to", ("judge", "--import-sheet", "{tmp}/d.csv"), 2, "--import-sheet was given without --run"),
    Command("judge: out of an import", ("judge", "--import-sheet", "{tmp}/d.csv", *RUN, *OUT), 2, "--out does nothing with --import-sheet"),
    Command("judge: dtype of a sheet", ("judge", "--export-sheet", "{tmp}/run", "--dtype", "float32", *OUT), 2, "--dtype was given without DATA"),
    Command("judge: backend of an import", ("judge", "--import-sheet", "{tmp}/d.csv", *RUN, "--backend", "nnsight"), 2, "--backend was given without DATA"),
    Command("judge: seed of an import", ("judge", "--import-sheet", "{tmp}/d.csv", *RUN, "--seed", "1"), 2, "--seed does nothing with --import-sheet"),
    Command("judge: a sheet of one answer", ("judge", "--export-sheet", "{tmp}/run", "--n", "1", "--out", "{tmp}/s.csv"), 2, "n must be at least 5, got 1", written),
    Command("judge: a sheet", ("judge", "--export-sheet", "{tmp}/run", "--out", "{tmp}/s.csv"), 0, "60 answers to rate", written),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*FORMS, *SHEETS, *COMMANDS)
