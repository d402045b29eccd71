"""Figures of saved results drawn again, at another width or into another folder, without a model."""

from collections.abc import Sequence
from pathlib import Path

from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.figures.drawn import DrawnFigure, SavedFigure
from persona_interp.figures.style import paper_style
from persona_interp.report import sections_of
from persona_interp.sections.section import save
from persona_interp.studies.persona.figures.drawing import draw_main_job
from persona_interp.studies.persona.results import load_results


def redraw(folder: Path, out: Path, *, only: Sequence[str] = (), width: float | None = None) -> list[SavedFigure]:
    """The figures of a results folder as PNG, PDF and CSV in `out`.

    Args:
        only: names of figures, or their beginnings; default: all.
        width: inches; panels stand below one another where they would be too narrow. Default: a column (3.3) for one
            panel, a page (7) for more.

    Raises:
        ArtefactError: the folder has nothing to draw, or a file is damaged.
        ConfigError: no figure has one of the names.
    """
    with paper_style(width):
        drawn = figures_of(folder)
        if not drawn:
            raise ArtefactError(
                f"{folder} has no figure to draw.",
                "Expected a run's config.json, or the effects.parquet of a study that draws from them.",
            )
        names = [one.name for one in drawn]
        for wanted in only:
            if not any(name.startswith(wanted) for name in names):
                raise ConfigError(f"no figure of {folder} is called {wanted!r}.", f"It has {', '.join(names)}.")
        chosen = [one for one in drawn if not only or one.name.startswith(tuple(only))]
        return list(save(chosen, out))


def figures_of(folder: Path) -> list[DrawnFigure]:
    """Every figure of a results folder in the order of its report; call it in `paper_style`."""
    own = list(draw_main_job(load_results(folder))) if (folder / "config.json").is_file() else []
    return [*own, *(figure for section in sections_of(folder) for figure in section.figures)]
