"""The report's section on emoji: what tuning does to them, and who writes them."""

from pathlib import Path

from pandas import DataFrame

from persona_interp.figures.frames import distinct
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section
from persona_interp.studies.emoji.effects import STUDY
from persona_interp.studies.emoji.effort import EFFORTS
from persona_interp.studies.emoji.figures import draw_emoji
from persona_interp.studies.emoji.neuron_effects import COST, OVERLAP, REMOVED, WRITES, WRITTEN
from persona_interp.studies.emoji.tuning_effects import MASS, MASS_CHANGE, PER_100, SHARE, SHARE_CHANGE
from persona_interp.studies.sizes import cut_notes


def untuned_only(effects: DataFrame) -> DataFrame:
    """The rows of no trait."""
    return effects[effects["trait"].isna()]


NOTES = (
    "An emoji is what Unicode shows as a picture; digits, (c), TM and symbols in text style are none. The training"
    " texts of a trait are the model's own answers under system prompts of its high pole, without those prompts; the"
    " control has answers to the same questions, each cut to as many tokens. Pairs with an emoji are left out.",
    "Held-out questions are none of those trained on. Three emoji behind a question invite some back, so that a fall"
    " can be seen as well as a rise. All arms draw the same random numbers. Intervals and tests are for new"
    " questions and for new repeats, each of which has training texts and a training seed of its own; their variance is"
    " pooled over traits and both kinds of tuning. With one repeat there is no test.",
    "The log mass is the log probability that the next token begins an emoji, given that the answer goes on, in answers"
    " that are the same for every model. Emoji whose first token begins other characters as well are not counted.",
    "Writers are the neurons that add most along the emoji direction (mean unembedding of those tokens minus that of"
    " all others, without high-norm dimensions) before an emoji against after another sentence, within questions. They"
    " were found on other questions than those that ablation is measured on. Ablated neurons are set to their mean"
    " after sentences that no emoji follows.",
)
SHOWN = (
    Shown("Answers with an emoji", (SHARE,), digits=3),
    Shown("What tuning and ablation change in it", (SHARE_CHANGE,), digits=3, sign=True),
    Shown("Emoji per 100 tokens", (PER_100,)),
    Shown("Log mass of emoji", (MASS,)),
    Shown("What tuning changes in the log mass", (MASS_CHANGE,), sign=True),
    Shown("Ablation of neurons", (REMOVED, COST), sign=True),
    Shown(
        "Largest writers of the untuned model",
        (WRITES,),
        "p is over all neurons; intervals are not corrected for the ranking.",
        rows=untuned_only,
        sign=True,
    ),
    Shown("Writers before and after tuning", (OVERLAP,)),
    Shown("What is written along the emoji direction", (WRITTEN,), sign=True),
)


def emoji_section(folder: Path) -> Section | None:
    """Emoji before and after tuning; None where the folder has no effects of any.

    Raises:
        ArtefactError: a file is damaged.
    """
    notes = (*cut_notes(folder, STUDY, EFFORTS), *NOTES)
    return effects_section(folder, STUDY, title=_title, notes=notes, shown=SHOWN, draw=draw_emoji)


def _title(effects: DataFrame) -> str:
    return f"Emoji after tuning on texts without any: {', '.join(distinct(effects, 'trait'))}"
