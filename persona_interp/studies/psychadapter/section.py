"""The report's section on a PsychAdapter: whether it uses the scores, what it makes the model write, what it costs."""

from pathlib import Path

from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section, saved_table
from persona_interp.studies.psychadapter.effects import COST, LOSS, LOSS_CHANGE, SLOPE, STUDY, traits_of
from persona_interp.studies.psychadapter.effort import MEASURING
from persona_interp.studies.psychadapter.figures.drawing import draw_adapter
from persona_interp.studies.psychadapter.forms import LOSSES
from persona_interp.studies.sizes import cut_notes

NOTES = (
    "Loss is in nats a token on texts that were not trained on. Shuffled: every text with another text's scores. The"
    " interval is over texts, and p exchanges the right vector of a text for those of the shuffles.",
    "Slopes are points of expression (0 to 100) for one standard deviation of a trait's score, within openings, others"
    " at the mean; q corrects over the on-target effects by the first judge, the primary family, and apart from them"
    " over all other effects, the exploratory map. Scores that a model estimated"
    " share its errors, and a judge that also scored the training texts is no independent one.",
    "The induced direction is the mean shift of the residual stream from low to high z inside the adapted model. It is"
    " called equal to a vector at a layer only where the whole interval of their cosine is above 0.9.",
)
_STORED = tuple(name for name, unit in COST.items() if unit in ("numbers", "bytes"))
_SHOWN = (
    Shown("Held-out loss", (LOSS,), digits=3),
    Shown("Held-out loss above that with each text's own scores", (LOSS_CHANGE,), digits=3, sign=True),
    Shown("Effects of every trait on every trait", (SLOPE,), sign=True),
    Shown("Cosines of the induced direction, best layer", ("cosine",), best=True, sign=True),
    Shown("What is stored", _STORED, digits=0),
    Shown("Shares of the base", tuple(name for name in COST if name not in _STORED), digits=5),
)


def psychadapter_section(folder: Path) -> Section | None:
    """A PsychAdapter and what was measured of it; None where the folder has no effects of one.

    Raises:
        ArtefactError: a file is damaged.
    """
    return effects_section(
        folder,
        STUDY,
        title=lambda effects: f"PsychAdapter: {', '.join(traits_of(effects)) or 'one trait'}",
        notes=(*cut_notes(folder, STUDY, MEASURING), *NOTES),
        shown=_SHOWN,
        draw=lambda effects: draw_adapter(effects, losses=saved_table(folder, LOSSES)),
    )
