"""The report of the main job: one self-contained HTML page made from a results folder."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from pandas import DataFrame

from persona_interp.figures.baselines import LABELS
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.main_job import SavedFigure, plot_main_job
from persona_interp.figures.results import MainJobResults, TraitSummary, load_results
from persona_interp.figures.style import PNG_DPI
from persona_interp.findings import (
    GRADES,
    Q_LEVEL,
    confirmation,
    extent,
    finding,
    grade,
    interval,
    is_specific,
    number,
    plain,
    signed,
    specificity,
    verdict,
    whole,
)
from persona_interp.io import atomic_write_bytes

TEMPLATE = Path(__file__).with_name("report_template.html.j2")
REM_PER_INCH = 8.7
"""A figure a page wide (6.9 inches in print) fills the text column of the report."""

EXAMPLE_QUESTIONS = 3
"""Questions shown a trait; the table has the rest."""


@dataclass(frozen=True)
class ReportFigure:
    """A picture as base64 PNG, its width on the page in rem, its caption and the names of its files."""

    png: str
    width: int
    caption: str
    files: str


@dataclass(frozen=True)
class Answer:
    """One answer at one steering strength, its numbers as text."""

    heading: str
    scores: str
    text: str


@dataclass(frozen=True)
class ExampleRow:
    """The answers to one question side by side, from the lowest coefficient to the highest."""

    question: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Found:
    """What was found for one trait, in words."""

    row: TraitSummary
    outcome: str
    grade: str
    sentences: tuple[str, ...]
    specific: str


def write_report(folder: Path) -> Path:
    """The path of `folder/report.html`, written whole or not at all, after drawing the figures again.

    Everything it shows is read from the folder and escaped; it has no scripts and loads nothing.

    Raises:
        ArtefactError: a required file is missing or not in the expected form, or the page cannot be written.
    """
    results, figures = load_results(folder), plot_main_job(folder)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "signed": signed, "whole": whole, "plain": plain}
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        results=results,
        findings=[_found(row) for row in results.summary],
        grades=GRADES,
        judges=_mapping(results.provenance.get("judges")),
        figures=[_embedded(figure, folder) for figure in figures],
        examples=[(trait, rows) for trait in results.traits if (rows := _examples(results.examples, trait))],
        provenance=list(_flat({k: v for k, v in results.provenance.items() if k != "judges"})),
        config=list(_flat(results.config)),
        files=_files(folder),
        q_level=Q_LEVEL,
        alphas=_rows(results.alpha),
        agreement=_rows(results.agreement),
        effects=_rows(results.effects),
        baselines=_chosen(results),
        extent=extent,
        interval=interval,
    )
    path = folder / "report.html"
    atomic_write_bytes(path, page.encode("utf-8", "replace"))
    return path


def _found(row: TraitSummary) -> Found:
    sentences = tuple(text for text in (finding(row), specificity(row), confirmation(row)) if text)
    unknown = "not tested" if row.best_auc_other_traits is None else "nothing separates"
    specific = {True: "yes", False: "no", None: unknown}[is_specific(row)]
    return Found(row, verdict(row), grade(row), sentences, specific)


def _rows(table: DataFrame | None) -> list[dict[str, Any]]:
    return [] if table is None else records(table)


def _chosen(results: MainJobResults) -> list[dict[str, Any]]:
    """The comparison of methods at the layer chosen for steering, the label of each method in place of its name."""
    if results.baselines is None:
        return []
    rows = records(keep(results.baselines, "chosen", True))
    return [row | {"method": LABELS.get(row["method"], row["method"])} for row in rows]


def _embedded(figure: SavedFigure, folder: Path) -> ReportFigure:
    files = ", ".join(path.relative_to(folder).as_posix() for path in (figure.pdf, figure.csv))
    png = figure.png.read_bytes()
    inches = int.from_bytes(png[16:20]) / PNG_DPI  # the header of a PNG starts with its width
    return ReportFigure(base64.b64encode(png).decode(), round(inches * REM_PER_INCH), plain(figure.caption), files)


def _examples(table: DataFrame | None, trait: str) -> list[ExampleRow]:
    if table is None:
        return []
    rows = keep(table, "trait", trait)
    questions = distinct(rows, "question")[:EXAMPLE_QUESTIONS]
    return [ExampleRow(plain(text), _answers(keep(rows, "question", text))) for text in questions]


def _answers(rows: DataFrame) -> tuple[Answer, ...]:
    """The answers to one question in order of coefficient."""
    return tuple(_answer(row) for row in records(rows.sort_values("coefficient", kind="stable")))


def _answer(row: Mapping[str, Any]) -> Answer:
    place = f"coefficient {signed(row['coefficient'])}, layer {row['layer']:g}"
    return Answer(
        heading="unsteered" if row["coefficient"] == 0 else place,
        scores=f"expression {number(row['expression'], 0)}, coherence {number(row['coherence'], 0)}",
        text=plain(row["answer"]),
    )


def _mapping(value: Any) -> dict[str, str]:
    return {plain(str(k)): plain(str(v)) for k, v in value.items()} if isinstance(value, Mapping) else {}


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and value of every entry, nested ones by their path."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} › ")
        else:
            items = value if isinstance(value, list) else [value]
            yield plain(f"{prefix}{name}"), plain(", ".join("—" if item is None else str(item) for item in items))


def _files(folder: Path) -> list[tuple[str, str]]:
    """Files of the folder and of its tables and figures; other folders as one line."""
    entries = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "report.html":
            continue
        if path.is_file():
            entries.append((path.name, _size(path.stat().st_size)))
            continue
        inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        if path.name in {"tables", "figures"}:
            entries += [(p.relative_to(folder).as_posix(), _size(p.stat().st_size)) for p in inside]
        else:
            entries.append((f"{path.name}/ ({len(inside):,} files)", _size(sum(p.stat().st_size for p in inside))))
    return [(plain(name), size) for name, size in entries]


def _size(n_bytes: int) -> str:
    return (
        f"{n_bytes:,} B"
        if n_bytes < 1000
        else f"{n_bytes / 1000:,.1f} kB"
        if n_bytes < 1e6
        else f"{n_bytes / 1e6:,.1f} MB"
    )
