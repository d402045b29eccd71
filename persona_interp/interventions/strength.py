"""Strength by effect on the model: the coefficient at which an intervention moves its predictions by so many nats.

A coefficient in residual norms says how long the added vector is, not what it does: the same one can be nothing at one
layer and ruin at another. The mean KL divergence of next-token distributions from the unsteered model is what it does,
in one unit for all directions, layers and spans.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import copysign, log
from typing import Annotated

import numpy as np

from persona_interp.arguments import checked
from persona_interp.bounds import Bounds, Count, Positive, Seed, SomeTuple
from persona_interp.errors import ConfigError, ModelError
from persona_interp.interventions.crossing import SLOPE, crossing, falls
from persona_interp.interventions.divergence import Divergence, UnsteeredAnswers, answers_of
from persona_interp.interventions.protocol import Intervention
from persona_interp.models.protocol import HookedModel

logger = logging.getLogger(__name__)

Nats = Annotated[float, Bounds(-1000, 1000)]
"""A target; its sign is the side of the coefficient."""
Tolerance = Annotated[float, Bounds(0.005, 0.1)]
"""A share of a target: finer than coefficients of four digits can tell it is not, nor so wide that two targets meet."""

DEFAULT_TARGETS = (0.1, 0.3, 1.0)
TOLERANCE, LARGEST, START, MOST_PASSES = 0.05, 8.0, 0.1, 12
_APART = 1.25
_NOTHING = 0.01


@checked
@dataclass(frozen=True)
class KLTargets:
    """Strengths by their effect: mean KL(unsteered || steered) in nats; a negative one is for negative coefficients.

    KL is not symmetric in the coefficient: -0.3 and 0.3 are reached at different distances from 0.

    Raises:
        ConfigError: a target is 0, or two on a side are less than a quarter apart.
    """

    targets: SomeTuple[Nats] = DEFAULT_TARGETS

    def __post_init__(self) -> None:
        """Refuse targets that cannot be told apart, or from nothing."""
        if 0 in self.targets:
            raise ConfigError(
                "targets must not be 0, which is the unsteered model.", "Give nats, as in kl(0.3), or kl(-0.3, 0.3)."
            )
        for side in (1, -1):
            sizes = sorted(side * target for target in self.targets if side * target > 0)
            for a, b in zip(sizes, sizes[1:], strict=False):
                if b < _APART * a:
                    raise ConfigError(f"targets on a side must be at least a quarter apart, got {a:g} and {b:g}.")


@checked
def kl(*targets: Nats) -> KLTargets:
    """Strengths at which the mean KL divergence from the unsteered model is so many nats; default: 0.1, 0.3 and 1.

    A negative target asks for a negative coefficient: `kl(-0.3, 0.3)`.

    Raises:
        ConfigError: a target is 0, or two on a side are less than a quarter apart.
    """
    return KLTargets(targets or DEFAULT_TARGETS)


@dataclass(frozen=True)
class Strength:
    """The coefficient that reaches a target, and what it does.

    Args:
        target: in nats; its sign is that of the coefficient.
        divergence: at this coefficient; its interval holds the coefficient fixed.
        n_passes: passes over all answers under the intervention that this target took beyond those made for earlier
            ones. One over the unsteered model, which all targets share, is not counted; nor is it that a pass may be
            made in several batches.
        monotone: whether the mean KL rose at every step between the coefficients tried on this side. Where it fell, the
            coefficient is the smallest one found that reaches the target.
    """

    target: float
    coefficient: float
    divergence: Divergence
    n_passes: int
    monotone: bool


@checked
def strength_for_kl(
    model: HookedModel,
    at: Callable[[float], Intervention],
    targets: KLTargets = KLTargets(),
    *,
    answers: UnsteeredAnswers | None = None,
    start: Positive = START,
    largest: Positive = LARGEST,
    tolerance: Tolerance = TOLERANCE,
    max_passes: Count = MOST_PASSES,
    seed: Seed = 0,
) -> list[Strength]:
    """The coefficient c at which the mean KL(unsteered || `at(c)`) over unsteered answers is each target, in nats.

    The mean is over the tokens of the model's own answers to neutral prompts; the last prompt token predicts the first
    of them. Brackets with secants in log-log (KL grows with c squared while c is small), halved where those stall,
    until it is within `tolerance` of the target; what was measured for one target serves the next.

    Args:
        at: the intervention of a coefficient, such as `lambda c: Add(vector, 18, c)`; at 0 it must do nothing. Its
            places and its span are its own: `Add` at several layers shares c among them.
        answers: of `unsteered_answers`, to share among layers and directions; default: to the package's neutral
            prompts, with this seed.
        start: the first coefficient tried, in the units of `at`.
        largest: the largest one allowed; 8 residual norms is far more than a model can take.
        tolerance: share of the target that the mean KL may be away from it.
        max_passes: for each target.

    Raises:
        AlignmentError: the answers are of another model.
        ConfigError: the intervention changes the model at coefficient 0.
        EmptySelectionError: the largest coefficient does not reach a target, or no coefficient tried is near enough.
        ModelError: a divergence is not finite.
    """
    used = answers_of(model, answers, seed)
    search = _Search(used, at)
    search.check_zero(targets)
    return [
        found
        for _, found in sorted(
            (place, search.reach(target, start, largest, tolerance, max_passes, seed))
            for place, target in sorted(enumerate(targets.targets), key=lambda pair: abs(pair[1]))
        )
    ]


class _Search:
    """The mean KL at every coefficient that was tried, a side each, and the divergences of the tokens there."""

    def __init__(self, answers: UnsteeredAnswers, at: Callable[[float], Intervention]) -> None:
        self._answers, self._at = answers, at
        self._tokens: dict[float, np.ndarray] = {}
        self._means: dict[int, dict[float, float]] = {1: {}, -1: {}}
        self._warned: set[int] = set()

    def check_zero(self, targets: KLTargets) -> None:
        """Refuse an intervention that does something at 0, unless it is what counts as unsteered."""
        intervention = self._at(0.0)
        if not intervention.edits and intervention.prefix is None and self._answers.baseline is None:
            return
        mean, smallest = float(self._measured(0.0).mean()), min(map(abs, targets.targets))
        if mean > _NOTHING * smallest:
            raise ConfigError(
                f"the mean KL at coefficient 0 must be 0, got {mean:.3g} nats: the intervention does something there.",
                "Give what it is at 0 as the baseline: unsteered_answers(model, baseline=...).",
            )

    def reach(
        self, target: float, start: float, largest: float, tolerance: float, max_passes: int, seed: int
    ) -> Strength:
        """The smallest coefficient found for a target."""
        side = 1 if target > 0 else -1
        known = self._means[side]
        before = len(known)
        size = crossing(
            lambda size: float(self._measured(side * size).mean()),
            abs(target),
            known,
            start=_first(self._means[-side], abs(target), start),
            largest=largest,
            tolerance=tolerance,
            most=max_passes,
        )
        fell = falls(known)
        if fell is not None and side not in self._warned:
            self._warned.add(side)
            logger.warning(
                "the mean KL falls from %.3g to %.3g nats as the coefficient goes from %g to %g: the smallest"
                " coefficient found that reaches %g nats is taken.",
                *(known[fell[0]], known[fell[1]], side * fell[0], side * fell[1], abs(target)),
            )
        divergence = Divergence.of(self._tokens[side * size], self._answers.prompts, seed=seed)
        return Strength(target, copysign(size, target), divergence, len(known) - before, fell is None)

    def _measured(self, coefficient: float) -> np.ndarray:
        if coefficient not in self._tokens:
            try:
                self._tokens[coefficient] = self._answers.token_kl(self._at(coefficient))
            except ModelError as error:
                raise ModelError(
                    f"the mean KL at coefficient {coefficient:g} cannot be told.", *str(error).splitlines()
                ) from error
        return self._tokens[coefficient]


def _first(other: Mapping[float, float], target: float, start: float) -> float:
    """The first coefficient to try: where the other side, if it was tried, came near the target."""
    tried = {size: value for size, value in other.items() if value > 0}
    if not tried:
        return start
    nearest = min(tried, key=lambda size: abs(log(tried[size] / target)))
    return nearest * (target / tried[nearest]) ** (1 / SLOPE)
