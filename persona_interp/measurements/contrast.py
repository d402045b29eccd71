"""A contrast of extracted activations: the rows that every held-out test and every null takes."""

from persona_interp.activations.store import Activations
from persona_interp.errors import AlignmentError
from persona_interp.rollouts.generate import Rollouts
from persona_interp.statistics.contrast import Contrast


def contrast_of(positive: Activations, negative: Activations, *, name: str = "train") -> Contrast:
    """Both poles of extracted activations, positives first.

    Raises:
        AlignmentError: a sample has no question, or values are not finite.
        EmptySelectionError: a pole has no rows.
    """
    for side in (positive, negative):
        if "question" not in side.samples:
            raise AlignmentError(
                "activations without questions cannot be resampled or shuffled by question.",
                "Give their samples a column `question`.",
            )
    questions = (side.samples["question"].to_numpy() for side in (positive, negative))
    return Contrast.of(positive.values.numpy(), negative.values.numpy(), *questions, name=name)


def rollout_contrast(rollouts: Rollouts) -> Contrast:
    """Response means of both sides of contrastive rollouts, of the answers that have one at every layer."""
    activations = rollouts.activations("response_mean")
    whole = activations.values.isfinite().flatten(1).all(1).numpy()
    sides = [activations.select(whole & (rollouts.frame["side"] == side)) for side in ("positive", "negative")]
    return contrast_of(*sides)
