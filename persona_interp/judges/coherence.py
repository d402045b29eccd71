"""Coherence: the worst of three signs, because each alone misses a failure.

The log-probability under the unsteered model sees shuffled and foreign text but prefers loops; distinct bigrams see
loops; the cosine of question and answer sees answers that leave the question. An answer in character is unlikely to a
model that plays no part, so that for a trait its log-probability is the highest of those without a system prompt and
under prompts of either pole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_interp.arguments import checked
from persona_interp.data.traits import Trait
from persona_interp.errors import EmptySelectionError
from persona_interp.judges.protocol import judged_parts
from persona_interp.judges.scoring import Kept, mean_logprobs
from persona_interp.judges.sentences import SentenceEncoder
from persona_interp.models.protocol import HookedModel

SIGNS = ("logprob", "distinct_2", "cosine")


@dataclass(frozen=True)
class CoherenceReference:
    """Mean and standard deviation of each sign over answers that count as coherent, and the gate.

    Args:
        gate: 10th percentile of the reference's own coherence: nine of ten unsteered answers pass it.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    gate: float


class CoherenceJudge:
    """Minimum z-score of the three signs against a reference set (the unsteered answers to the same questions).

    Args:
        kept: log-probabilities shared with other judges of the same model; default: nothing is kept.
    """

    @checked
    def __init__(
        self, model: HookedModel, encoder: SentenceEncoder, *, progress: bool = True, kept: Kept | None = None
    ) -> None:
        self.model, self._kept = model, kept
        self.encoder = encoder
        self.progress = progress

    @property
    def description(self) -> str:
        """One sentence for reports."""
        return (
            f"minimum z-score of log-probability under unsteered {self.model.name} (the highest of those without a"
            " system prompt and under the trait's first prompt of either pole), distinct-2, and"
            f" {self.encoder.name} cosine of question and answer, against the unsteered answers"
        )

    @checked
    def signs(self, questions: Sequence[str], answers: Sequence[str], trait: Trait | None = None) -> pd.DataFrame:
        """The three signs of every answer: nats a token, share of distinct bigrams, cosine.

        Args:
            trait: whose prompts may make an answer likely too; default: none.
        """
        answers = judged_parts(questions, answers)
        by_system = mean_logprobs(
            self.model,
            [None, *_prompts(trait)],
            questions,
            answers,
            kept=self._kept,
            progress=self.progress,
            label="coherence",
        )
        logprob = by_system.max(axis=1)
        embedded = self.encoder.encode([*questions, *answers])
        cosine = (embedded[: len(questions)] * embedded[len(questions) :]).sum(-1)
        distinct = [distinct_2(answer) for answer in answers]
        return pd.DataFrame({"logprob": logprob, "distinct_2": distinct, "cosine": cosine})

    @staticmethod
    @checked
    def reference(signs: pd.DataFrame) -> CoherenceReference:
        """The reference that a set of answers gives.

        Raises:
            EmptySelectionError: fewer than three whole answers.
        """
        whole = signs.dropna()
        if len(whole) < 3:
            raise EmptySelectionError(
                f"a coherence reference needs at least 3 whole answers; {len(whole)} of {len(signs)} are.",
                "Generate more unsteered answers.",
            )
        mean = whole.mean()
        deviation = whole.std().clip(lower=1e-3)
        own = ((whole - mean) / deviation).min(axis=1)
        return CoherenceReference(
            mean=(mean["logprob"], mean["distinct_2"], mean["cosine"]),
            deviation=(deviation["logprob"], deviation["distinct_2"], deviation["cosine"]),
            gate=float(own.quantile(0.1)),
        )

    @staticmethod
    @checked
    def score(signs: pd.DataFrame, reference: CoherenceReference) -> np.ndarray:
        """Minimum z-score of each answer, in standard deviations of the reference; an empty answer is -infinite."""
        z = (signs[list(SIGNS)].to_numpy() - np.array(reference.mean)) / np.array(reference.deviation)
        worst = z.min(axis=1)
        return np.where(np.isnan(worst), -np.inf, worst)


def _prompts(trait: Trait | None) -> list[str]:
    """The first system prompt of either pole, of a trait that has any."""
    if trait is None or not trait.instructions:
        return []
    return [trait.system_prompts("positive")[0], trait.system_prompts("negative")[0]]


def distinct_2(text: str) -> float:
    """Share of distinct word bigrams; 1 for a text of fewer than two bigrams, 0 for an empty one."""
    words = text.lower().split()
    if not words:
        return 0.0
    bigrams = list(zip(words, words[1:], strict=False))
    return 1.0 if len(bigrams) < 2 else len(set(bigrams)) / len(bigrams)
