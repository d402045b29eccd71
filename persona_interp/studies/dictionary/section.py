"""The report's section on a dictionary: its quality card."""

from pathlib import Path

from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section, read_provenance
from persona_interp.studies.dictionary.effects import DEAD, FVU, GOOD, L0, RECOVERED, STUDY
from persona_interp.studies.dictionary.effort import EFFORTS
from persona_interp.studies.dictionary.figures import draw_dictionary
from persona_interp.studies.dictionary.run import DENSITIES, LOSSES
from persona_interp.studies.sizes import cut_notes
from persona_interp.tables import read_table

NOTES = (
    "Position 0 and positions of more than ten times the median norm are left out of training and measuring: they hold"
    " most of the variance of a residual stream. Where losses are compared they stay as they are. Latents that never"
    " fire on these tokens may fire on others.",
    f"A dictionary counts as good where {GOOD}.",
)
SHOWN = (
    Shown("Quality on held-out text", (FVU, RECOVERED), "Intervals are over texts.", digits=3),
    Shown("Sparsity", (L0, DEAD), digits=2),
)


def dictionary_section(folder: Path) -> Section | None:
    """The quality card of a dictionary; None where the folder has none.

    Raises:
        ArtefactError: a file is damaged.
    """
    notes = (*cut_notes(folder, STUDY, EFFORTS), *_trained(folder), *NOTES)

    def draw(_: DataFrame) -> list[DrawnFigure]:
        tables = folder / "tables"
        paths = [tables / f"{form.name}.csv" for form in (LOSSES, DENSITIES)]
        if not all(path.is_file() for path in paths):
            return []
        return list(draw_dictionary(read_table(paths[0], LOSSES), read_table(paths[1], DENSITIES)))

    return effects_section(folder, STUDY, title=lambda _: "Dictionary of latents", notes=notes, shown=SHOWN, draw=draw)


def _trained(folder: Path) -> list[str]:
    """How often the texts were passed over, and how many were held out."""
    card = read_provenance(folder, STUDY).get("quality")
    data = card.get("data") if isinstance(card, dict) else None
    if not isinstance(data, dict) or not {"epochs", "n_texts", "n_held_out"} <= data.keys():
        return []
    return [
        f"Trained on {data['n_texts']:,} texts, passed over {data['epochs']:.1f} times; measured on"
        f" {card['n_tokens']:,} tokens of {card['n_texts']:,} others."  # pyright: ignore
    ]
