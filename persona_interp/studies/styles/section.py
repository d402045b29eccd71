"""The report's section on style vectors: what each layer tells apart, and what steering changes."""

from pathlib import Path

from pandas import DataFrame

from persona_interp.figures.frames import distinct
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section
from persona_interp.studies.sizes import cut_notes
from persona_interp.studies.styles.effects import CHANGE, OTHER_PROBE, PRIMARY_PROBE, STUDY, VALIDITY
from persona_interp.studies.styles.effort import EFFORTS
from persona_interp.studies.styles.figures import draw_styles, steering_rows

NOTES = (
    "A style vector is the mean residual at the last token of a style's sentences minus that of the other styles. AUCs"
    " are of sentences that made neither vector nor probe; a fresh probe is fitted at every layer. p compares with the"
    " best layer of shuffled labels, and q corrects p over styles: for the style vector, the primary family, and apart"
    " from it for the probe, which is exploratory.",
    "Coefficients are chosen on other prompts than those that evaluate. They are shares of the mean residual norm of a"
    " token of the unsteered answers, the same for every kind of vector, and several layers share one coefficient.",
    "The prompt arm asks for the style in words, unsteered. Where a place was named before any answer, the null of the"
    " primary test is random directions with the covariance of the sentences, at the same layers and coefficient. All"
    " else is compared with unsteered answers to the same questions, an exploratory map, corrected apart from it.",
)
SHOWN = (
    Shown("Styles told apart in held-out sentences", ("AUC",), families=(PRIMARY_PROBE, OTHER_PROBE)),
    Shown(
        "What the judges can tell apart",
        (VALIDITY,),
        "On sentences that their exemplars are not from: it bounds what steering can show.",
    ),
    Shown("Steered styles", (CHANGE,), "Expression runs from 0 to 100.", rows=steering_rows, digits=1, sign=True),
)


def styles_section(folder: Path) -> Section | None:
    """Style vectors of a corpus; None where the folder has none.

    Raises:
        ArtefactError: a file is damaged.
    """
    notes = (*cut_notes(folder, STUDY, EFFORTS), *NOTES)
    return effects_section(folder, STUDY, title=_title, notes=notes, shown=SHOWN, draw=draw_styles)


def _title(effects: DataFrame) -> str:
    return f"Style vectors: {', '.join(distinct(effects, 'data'))}"
