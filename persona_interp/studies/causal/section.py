"""The report's section on the layers of a model."""

from pathlib import Path

from persona_interp.figures.frames import distinct
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section
from persona_interp.studies.causal.config import EFFORTS
from persona_interp.studies.causal.effects import AUC, CHANGE, EXPRESSION, KL, MATCH, PREFERENCE, SHARE, STUDY
from persona_interp.studies.causal.figures import draw_causal
from persona_interp.studies.sizes import cut_notes

NOTES = (
    "The direction is made from answers to extraction questions; all else is on evaluation questions.",
    "Preference is a difference of log-probabilities of given answers, with the trait and without it, so it needs no"
    " judge. The prompt's effect is that of the trait's prompt minus that of the opposite one.",
    "Natural indirect effect: the direction's component is what it would be under the trait's prompt, all else is not"
    " (patched in). Natural direct effect: the prompt's effect with the component held at what it is under the opposite"
    " prompt (withheld is what that takes away). They act on the positions of the answer, not on those of the prompt.",
    "A component that is patched at one layer can be made up for by later ones; the whole residual is the most that any"
    " patch at a layer can do, and less than the prompt's effect as long as later blocks read the prompt itself.",
)
SHOWN = (
    Shown("Decodable", (AUC,), digits=3),
    Shown("The prompt's effect", (PREFERENCE,), sign=True, digits=3),
    Shown("Effects", (CHANGE,), sign=True, digits=3),
    Shown("Shares of the prompt's effect", (SHARE,), sign=True, digits=2),
    Shown("Decodable where it acts", (MATCH,), sign=True, digits=2),
    Shown("Strength", (KL,), digits=3),
    Shown("Expression", (EXPRESSION,), sign=True, digits=1),
)


def causal_section(folder: Path) -> Section | None:
    """Panels of traits; None where the folder has no effects of any.

    Raises:
        ArtefactError: a file is damaged.
    """
    return effects_section(
        folder,
        STUDY,
        title=lambda effects: f"Layers: {', '.join(map(str, distinct(effects, 'trait')))}",
        notes=(*cut_notes(folder, STUDY, EFFORTS), *NOTES),
        shown=SHOWN,
        draw=draw_causal,
    )
