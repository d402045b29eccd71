"""What a judge is, and how raw judgements become scores from 0 to 100."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from persona_interp.data.traits import Trait, load_trait
from persona_interp.errors import AlignmentError, TraitError
from persona_interp.reasoning import answer_after
from persona_interp.rollouts.generate import Rollouts


@dataclass(frozen=True)
class Score:
    """Trait expression of one answer.

    Args:
        value: 0 (the negative pole) to 100 (the positive pole); NaN where the judge cannot tell.
        raw: in the judge's own units, before calibration.
        note: why there is no value, where the judge knows.
    """

    value: float
    raw: float
    note: str = ""


@runtime_checkable
class Judge(Protocol):
    """Rates how much of a trait answers express. It is a proxy, and says in `description` what it sees."""

    name: str

    @property
    def description(self) -> str:
        """One sentence for reports: what is judged by what."""
        ...

    def unable(self, trait: Trait) -> str | None:
        """Why it cannot judge a trait, in one line; None where it can. Nothing is asked of a paid interface."""
        ...

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """One score an answer."""
        ...


def first_line(error: TraitError) -> str:
    """What failed, without the advice."""
    return str(error).splitlines()[0]


def score_rollouts(judge: Judge, rollouts: Rollouts, trait: Trait | None = None) -> Rollouts:
    """The rollouts with `expression`, the judge's score of every answer.

    Args:
        trait: default: the trait of the package that the rollouts name.
    """
    trait = load_trait(rollouts.trait) if trait is None else trait
    scores = judge.rate(trait, list(rollouts.frame["question"]), list(rollouts.frame["answer"]))
    return rollouts.with_columns(expression=[score.value for score in scores])


@dataclass(frozen=True)
class Calibration:
    """value = 100 / (1 + exp(-(raw - centre) / scale)): 50 lies midway between the exemplars of both poles."""

    centre: float
    scale: float

    def __call__(self, raw: float) -> float:
        """The score of a raw judgement."""
        if not np.isfinite(raw):
            return float("nan")
        return float(100.0 / (1.0 + np.exp(-np.clip((raw - self.centre) / self.scale, -50, 50))))


def calibrate(positive: Sequence[float], negative: Sequence[float], *, source: str) -> Calibration:
    """The calibration that exemplars of the two poles give: 50 midway, logistic in the raw judgement.

    The slope is gap / variance, that of two normal poles of equal variance, but no steeper than puts the mean
    exemplars at 80 and 20. So a judge that hardly tells the poles apart gives scores near 50, not extreme ones.

    Raises:
        TraitError: the judge does not rate the positive exemplars above the negative ones.
    """
    high, low = float(np.mean(positive)), float(np.mean(negative))
    if not high > low:
        raise TraitError(
            f"cannot calibrate {source}: it rates positive exemplars ({high:.3f}) no higher than negative"
            f" ones ({low:.3f}).",
            "This judge does not see this trait. Use another one, or better exemplars.",
        )
    variance = float(np.var(positive, ddof=1) + np.var(negative, ddof=1)) / 2 if len(positive) > 1 else 0.0
    gap = high - low
    return Calibration(centre=(high + low) / 2, scale=max(gap / 2 / float(np.log(4.0)), variance / gap))


def require_exemplars(trait: Trait, judge: str, *, at_least: int = 2) -> None:
    """Refuse a trait without exemplar answers.

    Raises:
        TraitError: says where to put them.
    """
    if len(trait.exemplars) < at_least:
        raise TraitError(
            f"{judge} needs at least {at_least} exemplar answers a pole; {trait.name} has {len(trait.exemplars)}.",
            'Add "exemplars": [{"question": ..., "pos": ..., "neg": ...}, ...] to the trait file.',
        )


def judged_parts(questions: Sequence[str], answers: Sequence[str]) -> list[str]:
    """What of each answer is judged: what comes after its reasoning block, or all of it where there is none.

    Raises:
        AlignmentError: the numbers of questions and answers differ.
    """
    if len(questions) != len(answers):
        raise AlignmentError(f"got {len(questions)} questions and {len(answers)} answers.", "Give one each.")
    return [answer_after(answer) for answer in answers]
