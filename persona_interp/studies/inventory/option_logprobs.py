"""Summed log-probabilities of answer options after prompts."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from persona_interp.interventions.protocol import Intervention
from persona_interp.measurements.text_logprobs import text_logprobs
from persona_interp.models.protocol import HookedModel


def option_logprobs(
    model: HookedModel,
    rows: Sequence[tuple[str, str]],
    intervention: Intervention | None = None,
    *,
    label: str = "options",
    progress: bool = True,
) -> Float[np.ndarray, " _"]:
    """Sum of log p(option token | prompt, earlier option tokens) in nats, for every (prompt, option).

    Equal rows are computed once, and so are equal prompts.

    Raises:
        IncompatibleDirectionError: the intervention was made for another model.
        ContextLengthError: a text is longer than the model's context.
    """
    prompts, options = [prompt for prompt, _ in rows], [option for _, option in rows]
    scored = text_logprobs(model, prompts, options, intervention, label=label, progress=progress)
    return np.array([logprobs.sum() for logprobs in scored])
