"""Mean log-probabilities of given answers under given prompts, by an unedited model."""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix

import numpy as np

from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, render_prompt, token_batch
from persona_interp.progress import track
from persona_interp.reasoning import closed_prompt

_LOGIT_BUDGET = 150_000_000
_TOKEN_BUDGET = 16_384
_LENGTH_CLASSES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Row:
    """One answer after one system prompt. Equal answers to a question are one row."""

    system: int
    prompt: tuple[int, ...]
    response: tuple[int, ...]


Kept = dict[tuple[str | None, str, str], float]
"""Mean log-probabilities that were computed, by system prompt, question and answer; of one model alone."""


def mean_logprobs(
    model: HookedModel,
    systems: Sequence[str | None],
    questions: Sequence[str],
    answers: Sequence[str],
    *,
    kept: Kept | None = None,
    progress: bool = True,
    label: str = "judge",
) -> np.ndarray:
    """Mean log-probability of an answer's tokens (nats a token) after each system prompt; [answer, system].

    Never under edits. A pass holds whole questions where it can, so that all answers to a question share the one
    computation of its prompt; equal answers to a question are computed once. NaN for an empty answer.

    Args:
        kept: what judges with the same model computed before is taken from here, and what is computed is put here.
    """
    if kept is None:
        return _computed(model, systems, questions, answers, progress=progress, label=label)
    for system in systems:
        keys = ((system, question, answer) for question, answer in zip(questions, answers, strict=True))
        missing = [key for key in dict.fromkeys(keys) if key not in kept]
        if missing:
            asked, given = [key[1] for key in missing], [key[2] for key in missing]
            found = _computed(model, [system], asked, given, progress=progress, label=label)
            kept.update(zip(missing, found[:, 0].tolist(), strict=True))
    pairs = list(zip(questions, answers, strict=True))
    return np.array([[kept[system, *pair] for system in systems] for pair in pairs]).reshape(len(pairs), len(systems))


def _computed(
    model: HookedModel,
    systems: Sequence[str | None],
    questions: Sequence[str],
    answers: Sequence[str],
    *,
    progress: bool,
    label: str,
) -> np.ndarray:
    answer_ids = encode(model.tokenizer, answers)
    prompts = _encoded_prompts(model, systems, questions)
    places: dict[Row, list[tuple[int, int]]] = {}
    for s in range(len(systems)):
        for i, ids in enumerate(answer_ids):
            if ids:
                places.setdefault(Row(s, prompts[questions[i], s], tuple(ids)), []).append((i, s))
    result = np.full((len(answers), len(systems)), np.nan)
    passes = plan_passes(list(places), vocabulary=model.tokenizer.vocab_size)
    for rows in track(passes, label, total=len(passes), show=progress):
        batch = token_batch(
            [row.prompt for row in rows], [row.response for row in rows], pad_id=pad_id(model.tokenizer)
        )
        logprobs = model.run(batch, outputs="token_logprobs").token_logprobs
        assert logprobs is not None, "log-probabilities were asked for"
        means = logprobs.sum(-1).cpu() / batch.response.sum(-1)
        for row, mean in zip(rows, means.tolist(), strict=True):
            for place in places[row]:
                result[place] = mean
    return result


def plan_passes(rows: Sequence[Row], *, vocabulary: int) -> list[list[Row]]:
    """Rows in passes that fit the budgets of tokens and logits, arranged to leave the fewest tokens to compute.

    Rows of one question that stay together share its prompt but are padded to the longest of them. So rows are
    first parted into classes of similar answer length, as many classes as cost least, and each class is cut into
    passes between questions; a question is only cut where it exceeds a budget by itself.
    """
    if not rows:
        return []
    heads = {
        s: len(commonprefix([row.prompt for row in rows if row.system == s])) for s in {row.system for row in rows}
    }
    plans = [_passes(rows, n_classes, vocabulary) for n_classes in _LENGTH_CLASSES]
    return min(plans, key=lambda plan: sum(_cost(chunk, heads) for chunk in plan))


def _passes(rows: Sequence[Row], n_classes: int, vocabulary: int) -> list[list[Row]]:
    lengths = sorted(len(row.response) for row in rows)
    borders = [lengths[len(lengths) * k // n_classes] for k in range(1, n_classes)]
    groups: dict[tuple[int, int, tuple[int, ...]], list[Row]] = {}
    for row in rows:
        size = sum(len(row.response) >= border for border in borders)
        groups.setdefault((size, row.system, row.prompt), []).append(row)
    longest = {key: max(len(row.response) for row in group) for key, group in groups.items()}
    passes: list[list[Row]] = []
    size_before = -1
    for key in sorted(groups, key=lambda key: (*key[:2], longest[key], key[2])):
        group = sorted(groups[key], key=lambda row: len(row.response))
        if key[0] == size_before and _fits([*passes[-1], *group], vocabulary):
            passes[-1] += group
            continue
        size_before = key[0]
        passes.append([])
        for row in group:
            if passes[-1] and not _fits([*passes[-1], row], vocabulary):
                passes.append([])
            passes[-1].append(row)
    return passes


def _fits(rows: Sequence[Row], vocabulary: int) -> bool:
    longest = max(len(row.response) for row in rows)
    width = max(len(row.prompt) for row in rows) + longest
    return len(rows) * width <= _TOKEN_BUDGET and len(rows) * (longest + 1) * vocabulary <= _LOGIT_BUDGET


def _cost(rows: Sequence[Row], heads: dict[int, int]) -> int:
    """Tokens of a pass, padding included: system prompts once, then questions, then answers."""
    prompts = {(row.system, row.prompt) for row in rows}
    shared = sum(heads[system] for system in {system for system, _ in prompts})
    own = sum(len(prompt) - heads[system] for system, prompt in prompts)
    return shared + own + len(rows) * max(len(row.response) for row in rows)


def _encoded_prompts(
    model: HookedModel, systems: Sequence[str | None], questions: Sequence[str]
) -> dict[tuple[str, int], tuple[int, ...]]:
    keys = [(question, s) for s in range(len(systems)) for question in dict.fromkeys(questions)]
    texts = [closed_prompt(render_prompt(model.tokenizer, question, system=systems[s])) for question, s in keys]
    return dict(zip(keys, map(tuple, encode(model.tokenizer, texts)), strict=True))
