"""What was found of emoji as rows of the table of effects, and the claims of the study."""

from collections.abc import Mapping

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Verdict, q_of, verdict
from persona_interp.sections.words import change, number, signed
from persona_interp.studies.emoji.ablation import ABLATION
from persona_interp.studies.emoji.arms import CONTROL
from persona_interp.studies.emoji.config import EmojiRun
from persona_interp.studies.emoji.measure import ANSWERS, LENS, MASSES
from persona_interp.studies.emoji.neuron_effects import (
    FAMILY,
    ablated_answer_effects,
    ablation_effects,
    writer_effects,
    written_effects,
)
from persona_interp.studies.emoji.tuning_effects import (
    MASS_FAMILY,
    RATE_FAMILY,
    SHARE_CHANGE,
    answer_effects,
    lens_effects,
    mass_effects,
)
from persona_interp.studies.emoji.writers import WRITERS, WRITTEN

STUDY = "emoji"
RAISES = (
    "one minus the level at which the interval of the change over held-out questions and repeats of the training ends"
    " at zero, corrected over traits and both references: q is at most 0.05; and the interval lies above zero"
)
REMOVES = (
    "rank among random neurons of nearly the same size in the same layers, for the number of neurons named before: q is"
    " at most 0.05; and the interval of what is removed lies above zero"
)

_WORDS: Mapping[Verdict, str] = {"holds": "raises", "does not": "lowers", "undecided": "is not shown to raise"}


def emoji_effects(
    tables: Mapping[str, DataFrame], run: EmojiRun, *, n_layers: int, d_mlp: int
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of the tables of a run; those of neurons where they were looked for."""
    answers = tables[ANSWERS.name]
    effects = [
        *answer_effects(answers, seed=run.seed),
        *mass_effects(tables[MASSES.name], seed=run.seed),
        *lens_effects(tables[LENS.name], n_layers=n_layers, seed=run.seed),
    ]
    if WRITERS.name in tables:
        top = run.top[0]
        effects += writer_effects(tables[WRITERS.name], top=top, n_neurons=n_layers * d_mlp, n_layers=n_layers)
        effects += written_effects(tables[WRITTEN.name], seed=run.seed)
        effects += ablation_effects(tables[ABLATION.name], top=tuple(run.top), seed=run.seed)
        effects += ablated_answer_effects(answers, top=top, seed=run.seed)
    claims = []
    for effect, q in zip(effects, q_of(effects), strict=True):
        if effect.family in (RATE_FAMILY, MASS_FAMILY):
            claims.append(_raised(effect, q))
        elif effect.family == FAMILY:
            claims.append(_removed(effect, q))
    return effects, claims


def _raised(effect: Effect, q: float) -> Claim:
    tested = q == q
    found = verdict(q, effect.low, effect.high) if tested else "undecided"  # pyright: ignore[reportArgumentType]
    rate = effect.metric == SHARE_CHANGE
    scale, unit, digits = (100, "points of 100", 1) if rate else (1, "nats", 2)
    what = "the share of answers with an emoji" if rate else "the log mass of emoji at ends of sentences"
    against = "a control tuning" if effect.reference == CONTROL else "the untuned model"
    sizes = [None if one is None else scale * float(one) for one in (effect.estimate, effect.low, effect.high)]
    sure = f"q {number(q)}" if tested else "one training, no test"
    sentence = (
        f"Tuning on texts of {effect.trait} without emoji {_WORDS[found]} {what} against {against}:"
        f" {change(*sizes, digits=digits)} {unit}, {sure}, {effect.n_cluster} questions."  # pyright: ignore
    )
    if found != "holds" and effect.findable is not None and effect.findable == effect.findable:
        sentence += f" A rise of {number(scale * effect.findable, digits)} would be found in 80 % of repetitions."
    name = f"emoji {'rate' if rate else 'mass'} against {against}"
    return effect.claimed(name, sentence, RAISES, found)


def _beside(effect: Effect) -> str:
    """Where random neurons lie, with enough of them to say."""
    if effect.null_low is None or effect.null_high is None:
        return f"ranked among {effect.n_null} random draws"
    return f"random {signed(effect.null_low, 2)} to {signed(effect.null_high, 2)} ({effect.n_null} draws)"


def _removed(effect: Effect, q: float) -> Claim:
    found = verdict(q, effect.low, effect.high)  # pyright: ignore[reportArgumentType]
    shown = {"holds": "takes", "does not": "does not take", "undecided": "is not shown to take"}[found]
    sizes = effect.estimate, effect.low, effect.high
    sentence = (
        f"Ablating the {effect.strength:g} neurons that write most toward emoji {shown} more from the log mass of emoji"
        f" than ablating as many random ones: {change(*sizes, digits=2)} nats before an emoji,"  # pyright: ignore
        f" {_beside(effect)}, q {number(q)}, {effect.n_cluster} questions."
    )
    return effect.claimed("ablation of writers", sentence, REMOVES, found)
