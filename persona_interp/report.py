"""The report: one self-contained HTML page made from a results folder."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from persona_interp.effects import saved_studies
from persona_interp.errors import ArtefactError
from persona_interp.figures.drawn import SavedFigure
from persona_interp.figures.style import PNG_DPI
from persona_interp.io import atomic_write_bytes
from persona_interp.sections.claims import claims_section
from persona_interp.sections.effects import plain_section
from persona_interp.sections.section import Section, SectionTable, flat, save
from persona_interp.sections.words import number, plain, signed, whole
from persona_interp.studies.causal.section import causal_section
from persona_interp.studies.comparison.section import comparison_section
from persona_interp.studies.dictionary.section import dictionary_section
from persona_interp.studies.emoji.effects import STUDY as EMOJI
from persona_interp.studies.emoji.section import emoji_section
from persona_interp.studies.inventory.section import inventory_section
from persona_interp.studies.judge_validity.effects import STUDY as JUDGES
from persona_interp.studies.judge_validity.section import judge_validity_section
from persona_interp.studies.persona.figures.drawing import plot_main_job
from persona_interp.studies.persona.figures.headline import NAME as HEADLINE
from persona_interp.studies.persona.raters.section import raters_section
from persona_interp.studies.persona.results import MainJobResults, load_results
from persona_interp.studies.persona.rows import RATERS
from persona_interp.studies.persona.rows import STUDY as MAIN_JOB
from persona_interp.studies.persona.section import main_job_parts
from persona_interp.studies.psychadapter.section import psychadapter_section
from persona_interp.studies.repetition.section import repetition_section
from persona_interp.studies.screening.section import screening_section
from persona_interp.studies.styles.section import styles_section
from persona_interp.studies.substrates.section import substrates_section

TEMPLATES = Path(__file__).with_name("templates")
REM_PER_INCH = 8.57
"""A figure a page wide (7 inches in print) fills the text column of the report."""


@dataclass(frozen=True)
class ReportFigure:
    """A picture as base64 PNG, its width on the page in rem, its caption, the names of its files, and its number."""

    png: str
    width: int
    caption: str
    files: str
    number: int


@dataclass(frozen=True)
class ShownSection:
    """A section with its figures as they are embedded."""

    key: str
    title: str
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    figures: tuple[ReportFigure, ...]
    tables: tuple[SectionTable, ...]
    provenance: Mapping[str, Any]


def write_report(folder: Path) -> Path:
    """The path of `folder/report.html`, written whole or not at all, after drawing the figures again.

    The page has the main job's results where the folder holds them, and a section for each other study whose effects
    are there. Everything it shows is read from the folder and escaped; it has no scripts and loads nothing.

    Raises:
        ArtefactError: there is nothing to report, a required file is missing or not in the expected form, or the page
            cannot be written.
    """
    results = load_results(folder) if (folder / "config.json").is_file() else None
    numbered = _Numbered(folder)
    shown = {}
    if results is not None:
        drawn = plot_main_job(folder)
        first = [numbered(figure) for figure in drawn if figure.png.stem == HEADLINE]
        others = [numbered(figure) for figure in drawn if figure.png.stem != HEADLINE]
        shown = main_job_parts(results) | {"headline": first, "figures": others}
    sections = [_shown(section, numbered, folder) for section in sections_of(folder)]
    claimed = claims_section(folder)
    if results is None and not sections:
        raise ArtefactError(
            f"{folder} holds nothing to report.",
            "Expected a run's config.json, or the effects.parquet of a study.",
        )
    title = _title(results, sections)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, "whole": whole, "plain": plain}
    page = environment.get_template("page.html.j2").render(
        title=plain(title),
        subtitle=plain(_subtitle(results)),
        contents=[*([("claims", claimed.title)] if claimed else []), *_contents(results, shown, sections)],
        claimed=None if claimed is None else _shown(claimed, numbered, folder),
        results=results,
        sections=sections,
        files=_files(folder),
        flat=lambda data: list(flat(data)),
        **shown,
    )
    path = folder / "report.html"
    atomic_write_bytes(path, page.encode("utf-8", "replace"))
    return path


def sections_of(folder: Path) -> list[Section]:
    """A section for each study whose effects the folder holds, beside the main job.

    Raises:
        ArtefactError: a file is damaged or in another form.
    """
    own = {
        "styles": styles_section,
        "psychadapter": psychadapter_section,
        "inventory": inventory_section,
        "dictionary": dictionary_section,
        "substrates": substrates_section,
        "causal": causal_section,
        "repetition": repetition_section,
        "comparison": comparison_section,
    }
    own |= {"screening": screening_section, RATERS: raters_section}
    own |= {JUDGES: judge_validity_section, EMOJI: emoji_section}
    found = [own[name](folder) if name in own else plain_section(folder, name)
             for name in saved_studies(folder) if name != MAIN_JOB]  # fmt: skip
    return [section for section in found if section is not None]


def _title(results: MainJobResults | None, sections: list["ShownSection"]) -> str:
    if results is not None:
        return f"Persona vectors of {results.config.get('model', 'a model')}"
    if len(sections) == 1 and sections[0].key == JUDGES:  # which is of no model
        return sections[0].title
    models = sorted({name for section in sections if (name := _model_of(section.provenance))})
    names = ", ".join(section.title.partition(":")[0] for section in sections)
    return f"{names}: {', '.join(models) or 'a model'}"


def _model_of(provenance: Mapping[str, Any]) -> str:
    """The model that a manifest names, itself or in a manifest of the model."""
    model = provenance.get("model", "")
    return str(model.get("model", "") if isinstance(model, Mapping) else model)


def _subtitle(results: MainJobResults | None) -> str:
    if results is None:
        return ""
    backend = (
        f"{results.provenance.get('backend', 'unknown backend')}, {results.provenance.get('dtype', 'unknown dtype')}"
    )
    return f"{', '.join(results.traits)} · {backend} · seed {results.config.get('seed', 'unknown')}"


def _contents(
    results: MainJobResults | None, shown: Mapping[str, Any], sections: list["ShownSection"]
) -> list[tuple[str, str]]:
    """Anchors and names of the page's parts."""
    main = [("found", "What was found"), ("sure", "How sure"), ("figures", "Figures")]
    if shown.get("examples"):
        main.append(("examples", "Example answers"))
    main.append(("numbers", "Numbers"))
    own = [(section.key, plain(section.title)) for section in sections]
    return [*(main if results is not None else []), *own, ("provenance", "Provenance"), ("files", "Files")]


class _Numbered:
    """Figures of the page as they are embedded, numbered through."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def __call__(self, figure: SavedFigure) -> ReportFigure:
        self._count += 1
        files = ", ".join(path.relative_to(self._folder).as_posix() for path in (figure.pdf, figure.csv))
        png = figure.png.read_bytes()
        inches = int.from_bytes(png[16:20]) / PNG_DPI  # the header of a PNG starts with its width
        width = round(inches * REM_PER_INCH)
        return ReportFigure(base64.b64encode(png).decode(), width, plain(figure.caption), files, self._count)


def _shown(section: Section, numbered: _Numbered, folder: Path) -> ShownSection:
    return ShownSection(
        key=section.key,
        title=section.title,
        sentences=section.sentences,
        notes=section.notes,
        figures=tuple(numbered(figure) for figure in save(section.figures, folder / "figures")),
        tables=section.tables,
        provenance=section.provenance,
    )


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
