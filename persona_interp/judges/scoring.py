"""Mean log-probabilities of given answers under given prompts, by an unedited model."""

from collections.abc import Sequence

import numpy as np

from persona_interp.activations.extract import length_chunks
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, render_prompt, token_batch
from persona_interp.progress import track

_LOGIT_BUDGET = 150_000_000


def mean_logprobs(
    model: HookedModel,
    systems: Sequence[str | None],
    questions: Sequence[str],
    answers: Sequence[str],
    *,
    progress: bool = True,
    label: str = "judge",
) -> np.ndarray:
    """Mean log-probability of an answer's tokens (nats a token) after each system prompt; [answer, system].

    Never under edits. Prompts that several answers share are computed once. NaN for an empty answer.
    """
    answer_ids = encode(model.tokenizer, answers)
    rows = [(i, s) for s in range(len(systems)) for i in range(len(answers)) if answer_ids[i]]
    prompts = _encoded_prompts(model, systems, questions)
    prompt_of = [prompts[questions[i], s] for i, s in rows]
    response_of = [answer_ids[i] for i, _ in rows]
    result = np.full((len(answers), len(systems)), np.nan)
    if not rows:
        return result
    longest = max(map(len, response_of)) + 1
    vocabulary = model.tokenizer.vocab_size
    n_rows = max(1, _LOGIT_BUDGET // (longest * vocabulary))
    widest = max(len(p) + len(r) for p, r in zip(prompt_of, response_of, strict=True))
    chunks = [
        chunk[start : start + n_rows]
        for chunk in length_chunks(prompt_of, response_of, max(16_384, widest))
        for start in range(0, len(chunk), n_rows)
    ]
    for chunk in track(chunks, label, total=len(chunks), show=progress):
        batch = token_batch(
            [prompt_of[k] for k in chunk], [response_of[k] for k in chunk], pad_id=pad_id(model.tokenizer)
        )
        logprobs = model.run(batch, outputs="token_logprobs").token_logprobs
        assert logprobs is not None, "log-probabilities were asked for"
        means = logprobs.sum(-1).cpu() / batch.response.sum(-1)
        for k, mean in zip(chunk, means.tolist(), strict=True):
            answer, system = rows[k]
            result[answer, system] = mean
    return result


def _encoded_prompts(
    model: HookedModel, systems: Sequence[str | None], questions: Sequence[str]
) -> dict[tuple[str, int], list[int]]:
    keys = [(question, s) for s in range(len(systems)) for question in dict.fromkeys(questions)]
    texts = [render_prompt(model.tokenizer, question, system=systems[s]) for question, s in keys]
    return dict(zip(keys, encode(model.tokenizer, texts), strict=True))
