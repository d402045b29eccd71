"""`EmbeddingJudge`: sentence embeddings of answers against exemplar answers of both poles."""

from collections.abc import Sequence

import numpy as np

from persona_interp.arguments import checked
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
from persona_interp.judges.sentences import SentenceEncoder
from persona_interp.rollouts.generate import Rollouts


class EmbeddingJudge:
    """Projection of an answer's embedding onto the difference of the exemplar means of the two poles.

    Larger means more of the trait. Cheap, and blind to truth: it sees topic, valence and hedging. Calibrated on the
    exemplars, each against the difference of the others, so that no exemplar is judged by itself.
    """

    @checked
    def __init__(self, encoder: SentenceEncoder | None = None) -> None:
        self.encoder = encoder or SentenceEncoder.packaged()
        self.name = f"embedding ({self.encoder.name})"
        self._axes: dict[str, tuple[np.ndarray, Calibration]] = {}

    @property
    def description(self) -> str:
        """One sentence for reports."""
        return (
            f"{self.encoder.name} embedding of question and answer along the difference between exemplar answers of"
            " both poles; sees topic, valence and hedging, not truth"
        )

    @checked
    def score(self, rollouts: Rollouts, trait: Trait | None = None) -> Rollouts:
        """The rollouts with `expression`, this judge's score of every answer."""
        return score_rollouts(self, rollouts, trait)

    @checked
    def unable(self, trait: Trait) -> str | None:
        """Why it cannot judge a trait; None where it can."""
        try:
            self._axis(trait)
        except TraitError as error:
            return first_line(error)
        return None

    @checked
    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """One score an answer; NaN for an empty answer."""
        answers = judged_parts(questions, answers)
        axis, calibration = self._axis(trait)
        raw = self._embed(questions, answers) @ axis
        raw[[not answer.strip() for answer in answers]] = np.nan
        return [Score(calibration(value), value) for value in raw.tolist()]

    def _axis(self, trait: Trait) -> tuple[np.ndarray, Calibration]:
        if trait.data_hash not in self._axes:
            require_exemplars(trait, self.name, at_least=3)
            questions = [exemplar.question for exemplar in trait.exemplars]
            positive = self._embed(questions, [exemplar.pos for exemplar in trait.exemplars])
            negative = self._embed(questions, [exemplar.neg for exemplar in trait.exemplars])
            held_out = [_unit(_without(positive, i) - _without(negative, i)) for i in range(len(questions))]
            calibration = calibrate(
                [float(positive[i] @ axis) for i, axis in enumerate(held_out)],
                [float(negative[i] @ axis) for i, axis in enumerate(held_out)],
                source=f"{self.name} for {trait.name}",
            )
            self._axes[trait.data_hash] = _unit(positive.mean(0) - negative.mean(0)), calibration
        return self._axes[trait.data_hash]

    def _embed(self, questions: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        return self.encoder.encode([f"{q} {a}" for q, a in zip(questions, answers, strict=True)])


def _without(rows: np.ndarray, i: int) -> np.ndarray:
    return np.delete(rows, i, axis=0).mean(0)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
