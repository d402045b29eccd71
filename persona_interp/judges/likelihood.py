"""`LikelihoodJudge`: how much likelier an answer is under the trait's positive than its negative system prompts."""

from collections.abc import Sequence

import numpy as np

from persona_interp.arguments import checked
from persona_interp.bounds import Count
from persona_interp.data.traits import Trait
from persona_interp.errors import TraitError
from persona_interp.judges.protocol import (
    Calibration,
    Score,
    calibrate,
    first_line,
    judged_parts,
    require_exemplars,
    score_rollouts,
)
from persona_interp.judges.scoring import Kept, mean_logprobs
from persona_interp.models.protocol import HookedModel
from persona_interp.rollouts.generate import Rollouts


class LikelihoodJudge:
    """Mean over prompt pairs of [log p(answer | positive prompt, q) - log p(answer | negative prompt, q)] / tokens.

    In nats a token; larger means more of the trait. The model is never steered while it judges, but where it has the
    weights of the model under test the judgement is the model's view of itself, and reports say so. Works for base
    models. Calibrated on the trait's exemplars. An answer's reasoning is left out: its own would give the pole away, so
    every answer follows its prompt at once, after an empty block where the template opens one.

    Args:
        n_pairs: how many of the trait's prompt pairs to average over; fewer is faster and noisier.
        kept: log-probabilities shared with other judges of the same model; default: nothing is kept.
    """

    @checked
    def __init__(
        self, model: HookedModel, *, n_pairs: Count = 5, progress: bool = True, kept: Kept | None = None
    ) -> None:
        self.model, self._kept = model, kept
        self.n_pairs = n_pairs
        self.progress = progress
        self.name = f"likelihood ({model.name})"
        self._calibrations: dict[str, Calibration] = {}

    @property
    def description(self) -> str:
        """One sentence for reports."""
        return (
            f"log-likelihood ratio of the answer under positive against negative system prompts ({self.n_pairs} pairs)"
            f" by unsteered {self.model.name}, calibrated on exemplar answers"
        )

    @checked
    def score(self, rollouts: Rollouts, trait: Trait | None = None) -> Rollouts:
        """The rollouts with `expression`, this judge's score of every answer."""
        return score_rollouts(self, rollouts, trait)

    @checked
    def unable(self, trait: Trait) -> str | None:
        """Why it cannot judge a trait; None where it can."""
        if not trait.instructions:
            return f"{trait.name} has no contrastive prompts"
        try:
            self.calibration(trait)
        except TraitError as error:
            return first_line(error)
        return None

    @checked
    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """One score an answer; NaN for an empty answer."""
        calibration = self.calibration(trait)
        return [Score(calibration(raw), float(raw)) for raw in self.log_ratios(trait, questions, answers)]

    @checked
    def log_ratios(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        """The uncalibrated log-likelihood ratio of every answer, nats a token.

        Raises:
            TraitError: the trait has no contrastive system prompts.
        """
        answers = judged_parts(questions, answers)
        if not trait.instructions:
            raise TraitError(
                f"{self.name} compares system prompts of both poles, and {trait.name} has none.",
                "Give it contrastive instructions, or use another judge.",
            )
        positive = trait.system_prompts("positive")[: self.n_pairs]
        negative = trait.system_prompts("negative")[: self.n_pairs]
        table = mean_logprobs(
            self.model,
            [*positive, *negative],
            questions,
            answers,
            kept=self._kept,
            progress=self.progress,
            label=f"{trait.name}: likelihood judge",
        )
        return (table[:, : len(positive)] - table[:, len(positive) :]).mean(1)

    @checked
    def calibration(self, trait: Trait) -> Calibration:
        """The trait's calibration, computed once.

        Raises:
            TraitError: the trait has no exemplars, or the judge cannot tell them apart.
        """
        if trait.data_hash not in self._calibrations:
            require_exemplars(trait, self.name)
            questions = [exemplar.question for exemplar in trait.exemplars]
            poles = [[e.pos for e in trait.exemplars], [e.neg for e in trait.exemplars]]
            ratios = self.log_ratios(trait, questions * 2, poles[0] + poles[1])
            source = f"{self.name} for {trait.name}"
            self._calibrations[trait.data_hash] = calibrate(
                ratios[: len(questions)].tolist(), ratios[len(questions) :].tolist(), source=source
            )
        return self._calibrations[trait.data_hash]
