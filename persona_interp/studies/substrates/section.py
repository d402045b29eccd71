"""The report's section on substrates: writers, probes, and what ablation removes."""

from pathlib import Path

from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section
from persona_interp.studies.sizes import cut_notes
from persona_interp.studies.substrates.effects import AUC, CHANGE, HALF, OUTLIER, PIECE, SHARE, STUDY
from persona_interp.studies.substrates.effort import EFFORTS
from persona_interp.studies.substrates.figures.drawing import draw_substrates
from persona_interp.studies.substrates.figures.latents import draw_contexts
from persona_interp.studies.substrates.latent_effects import AGAINST, ALONG, CARD, FVU
from persona_interp.studies.substrates.latents import CONTEXTS
from persona_interp.tables import read_table

NOTES = (
    "Shares are exact: the residual stream is the sum of what embedding, heads, MLPs and biases add, and a projection"
    " is split into theirs. What a unit writes directly is not all that it does: it also acts through later blocks.",
    "High-norm dimensions and massive positions, far larger than the rest whatever the text, are left out of rankings;"
    " what the ranking would be with them stands beside.",
    "The direction is made from one half of the extraction questions, its writers are found in answers to the other"
    " half, and ablations are tried on evaluation questions.",
)
SHOWN = (
    Shown("Outliers", (OUTLIER,), digits=1),
    Shown("Writers", (SHARE,), "Intervals are not corrected for the ranking; q is, over all units.", digits=3),
    Shown("Half of what is written toward it", (HALF,), digits=0),
    Shown("Parts", (PIECE,), digits=3),
    Shown("Probes", (AUC,)),
    Shown("Ablation", (CHANGE,), sign=True, digits=1),
    Shown("Dictionary", CARD),
    Shown("Decomposition", (FVU,), "Powers of two; p among random directions and among shuffled decoders.", digits=3),
    Shown("Latents steered", (ALONG,), sign=True, digits=1),
    Shown("Top latents against random ones", (AGAINST,), sign=True, digits=1),
    Shown("What the model still can do", ("perplexity of neutral texts", "four-option accuracy")),
)


def substrates_section(folder: Path) -> Section | None:
    """Substrates of traits; None where the folder has no effects of any.

    Raises:
        ArtefactError: a file is damaged.
    """

    def draw(effects: DataFrame) -> list[DrawnFigure]:
        path = folder / "tables" / f"{CONTEXTS.name}.csv"
        contexts = draw_contexts(read_table(path, CONTEXTS)) if path.is_file() else []
        return [*draw_substrates(effects), *contexts]

    return effects_section(
        folder,
        STUDY,
        title=lambda effects: f"Substrates: {', '.join(map(str, distinct(effects, 'trait')))}",
        notes=(*cut_notes(folder, STUDY, EFFORTS), *NOTES),
        shown=SHOWN,
        draw=draw,
    )
