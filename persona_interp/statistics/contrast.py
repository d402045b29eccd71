"""Activations of two poles with their questions, as every held-out test and every null takes them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from persona_interp.errors import AlignmentError, EmptySelectionError

Rows = Float[np.ndarray, "_ _ _"]
Flat = Float[np.ndarray, "_ d_model"]
Questions = Shaped[np.ndarray, " _"]


@dataclass(frozen=True, eq=False)
class Contrast:
    """All rows of both poles, positives first, with their labels and questions.

    Args:
        values: sample, layer, d_model.
        labels: true for positives.
        prompts: the pair of system prompts of each row, where the prompt and not the row is the unit.
    """

    values: Rows
    labels: Bool[np.ndarray, " sample"]
    questions: Questions
    prompts: Questions | None = None

    @classmethod
    def of(
        cls,
        positive: Rows,
        negative: Rows,
        positive_questions: Questions,
        negative_questions: Questions,
        *,
        name: str = "train",
        prompts: tuple[Questions, Questions] | None = None,
    ) -> "Contrast":
        """Both poles together, checked.

        Raises:
            EmptySelectionError: a pole has no rows.
            AlignmentError: rows and questions do not match, or values are not finite.
        """
        for pole, rows, asked in (
            ("positive", positive, positive_questions),
            ("negative", negative, negative_questions),
        ):
            if len(rows) == 0:
                raise EmptySelectionError(f"{name}_{pole} has no rows.", "Look at what the filter left.")
            if len(rows) != len(asked):
                raise AlignmentError(
                    f"every row of {name}_{pole} must have one question, got {len(asked)} for {len(rows)} rows."
                )
            if not np.isfinite(rows).all():
                raise AlignmentError(f"{name}_{pole} holds activations that are not finite.", "Leave those rows out.")
        labels = np.arange(len(positive) + len(negative)) < len(positive)
        questions = np.concatenate([positive_questions, negative_questions]).astype(str)
        pairs = None if prompts is None else np.concatenate(prompts).astype(str)
        if pairs is not None and tuple(map(len, prompts or ())) != (len(positive), len(negative)):
            raise AlignmentError(
                f"every row of {name} must have one prompt, got {len(labels)} rows and {len(pairs)} prompts."
            )
        return cls(np.concatenate([positive, negative]), labels, questions, pairs)

    def layers(self) -> Iterator[tuple[int, Flat]]:
        """Each layer in float64, centred on its mean, which changes no difference and no order."""
        for layer in range(self.values.shape[1]):
            yield layer, self.values[:, layer] - self.values[:, layer].mean(axis=0, dtype=np.float64)

    def weights(self) -> Float[np.ndarray, " sample"]:
        """Weights of the rows in mean(positive) - mean(negative)."""
        return contrast_weights(self.labels[None])[0]


def contrast_weights(labels: Bool[np.ndarray, "draw sample"]) -> Float[np.ndarray, "draw sample"]:
    """Weights of the rows in mean(positive) - mean(negative), for every draw of labels."""
    return labels / labels.sum(axis=1, keepdims=True) - ~labels / (~labels).sum(axis=1, keepdims=True)
