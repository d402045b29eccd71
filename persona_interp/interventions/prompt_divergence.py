"""How far a system prompt moves a model: KL(without it || with it) over the same answers, in nats a token."""

import numpy as np
from jaxtyping import Float, Int

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Some, Text
from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.interventions.divergence import token_kl
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, render_prompt, token_batch


@checked
def prompt_kl(
    model: HookedModel,
    questions: Some[Text],
    answers: Some[Text],
    system: Text,
    *,
    batch_size: Count = 8,
) -> tuple[Float[np.ndarray, " token"], Int[np.ndarray, " token"]]:
    """KL(p without the system prompt || p with it) at every token of given answers, and the question each answers.

    The same number as `kl_divergence` gives of an intervention, so that a prompt has a place beside steering.

    Raises:
        AlignmentError: not one answer a question.
        EmptySelectionError: every answer is empty.
    """
    if len(questions) != len(answers):
        raise AlignmentError(f"got {len(questions)} questions and {len(answers)} answers.", "Give one each.")
    responses = encode(model.tokenizer, answers)
    known = [i for i, ids in enumerate(responses) if len(ids)]
    if not known:
        raise EmptySelectionError(f"every one of {len(answers)} answers is empty.", "Give answers with a token.")
    values, numbers = [], []
    for start in range(0, len(known), batch_size):
        rows = known[start : start + batch_size]
        own = [responses[i] for i in rows]
        logits = []
        for text in (None, system):
            prompts = encode(model.tokenizer, [render_prompt(model.tokenizer, questions[i], system=text) for i in rows])
            batch = token_batch(prompts, own, pad_id=pad_id(model.tokenizer))
            made = model.run(batch, outputs="response_logits").response_logits
            assert made is not None, "logits were asked for"
            logits.append(made)
        values.append(token_kl(*logits).numpy())
        numbers.append(np.repeat(rows, [len(ids) for ids in own]))
    return np.concatenate(values), np.concatenate(numbers)
