"""Log-probabilities of the tokens of given texts after given prompts, with or without an intervention."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.interventions.protocol import Intervention
from persona_interp.judges.scoring import Row, plan_passes
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.progress import track
from persona_interp.types import NO_EDITS


def text_logprobs(
    model: HookedModel,
    prompts: Sequence[str],
    responses: Sequence[str],
    intervention: Intervention | None = None,
    *,
    label: str = "log-probabilities",
    progress: bool = True,
) -> list[Float[np.ndarray, " _"]]:
    """Log p(response token | prompt, earlier response tokens) of every token, in nats; one array a response.

    Rows are passed so that equal prompts are computed once; equal rows are computed once. Prompts and responses are
    tokenised apart and joined.

    Raises:
        ConfigError: there is no text, or the intervention brings virtual tokens for several rows.
        EmptySelectionError: a response is empty.
        IncompatibleDirectionError: the intervention was made for another model.
        ContextLengthError: a text is longer than the model's context.
    """
    if not prompts:
        raise ConfigError(f"there is nothing to measure ({label}).", "Give at least one text.")
    if intervention is not None:
        intervention.check(model)
    edits, prefix = (NO_EDITS, None) if intervention is None else (intervention.edits, intervention.prefix)
    if prefix is not None and prefix.keys.shape[1] != 1:
        raise ConfigError(
            f"an intervention brings virtual tokens of {prefix.keys.shape[1]} rows.", "Expected one row, for all texts."
        )
    places: dict[Row, list[int]] = {}
    for i, (prompt, response) in enumerate(
        zip(encode(model.tokenizer, prompts), encode(model.tokenizer, responses), strict=True)
    ):
        if not response:
            raise EmptySelectionError(f"text {i + 1} has no token ({label}).", "Leave empty texts out.")
        places.setdefault(Row(0, tuple(prompt), tuple(response)), []).append(i)
    scored: list[Float[np.ndarray, " _"]] = [np.empty(0)] * len(prompts)
    passes = plan_passes(list(places), vocabulary=model.tokenizer.vocab_size)
    for rows in track(passes, label, total=len(passes), show=progress):
        batch = token_batch(
            [row.prompt for row in rows], [row.response for row in rows], pad_id=pad_id(model.tokenizer)
        )
        made = model.run(batch, outputs="token_logprobs", edits=edits, prefix=prefix)
        assert made.token_logprobs is not None, "log-probabilities were asked for"
        for row, logprobs in zip(rows, made.token_logprobs.double().cpu().numpy(), strict=True):
            for place in places[row]:
                scored[place] = logprobs[-len(row.response) :]
    return scored
