"""The report's section on judges: how valid they are on answers whose trait is known."""

from pathlib import Path

from persona_interp.figures.frames import distinct
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section
from persona_interp.studies.judge_validity.effects import STUDY
from persona_interp.studies.judge_validity.figures import draw_reliability
from persona_interp.studies.judge_validity.labelled_effects import AUC, BIAS, MEAN_LABEL, RHO, SHARE, SLOPE

NOTES = (
    "Intervals are over groups of answers (default: questions) and hold the judge and the labels fixed: they say"
    " nothing of other labels of the same answers. q is corrected over the judges.",
    "A judge may order answers well and be calibrated badly. Where scores are calibrated the slope is 1: of answers"
    " with a score of 70, 70 % have the trait, or their mean label is 70. A slope nearer 0 says that high and low"
    " scores claim more than the labels bear out. A judge whose scale is its own need not be calibrated to be of use.",
    "Labels are taken as they were given. Whether people would agree on them is not known here.",
)
_SHOWN = (
    Shown("How well judges tell or order the answers", (AUC, RHO)),
    Shown("Calibration", (SLOPE, BIAS)),
    Shown("Reliability", (SHARE, MEAN_LABEL), "Bins of equally many answers by score."),
)


def judge_validity_section(folder: Path) -> Section | None:
    """Judges on labelled answers; None where the folder has none.

    Raises:
        ArtefactError: a file is damaged.
    """
    return effects_section(
        folder,
        STUDY,
        title=lambda effects: f"Judges on labelled answers: {', '.join(map(str, distinct(effects, 'data')))}",
        notes=NOTES,
        shown=_SHOWN,
        draw=draw_reliability,
    )
