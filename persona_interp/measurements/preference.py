"""How much likelier a model finds answers with a trait than answers without it: a readout that needs no judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.arguments import checked
from persona_interp.bounds import Count
from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.interventions.patch import response_residuals
from persona_interp.models.kept_prompts import KeptPrompts
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, render_prompt, token_batch
from persona_interp.types import NO_EDITS, Edits, Hookpoint, TokenBatch

Arm = Literal["positive", "negative", "none"]
"""The system prompt under which answers are read: the trait's, its opposite, or none."""
ARMS: tuple[Arm, ...] = get_args(Arm)
PAIRS_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class AnswerPair:
    """An answer with a trait and one without, to the same question.

    Args:
        prompts: the question after each system prompt, as token ids; all end in the same tokens.
        answers: the answer with the trait, and the one without, as token ids.
    """

    question: str
    prompts: Mapping[Arm, tuple[int, ...]]
    answers: tuple[tuple[int, ...], tuple[int, ...]]


@checked
def answer_pairs(model: HookedModel, rollouts: pd.DataFrame) -> list[AnswerPair]:
    """Pairs of a contrastive table of answers, by question, instruction and sample; those with an empty one left out.

    Raises:
        EmptySelectionError: no pair is left.
    """
    made = []
    for (question, _, _), rows in rollouts.groupby(["question", "instruction", "sample"], sort=False):  # pyright: ignore
        sides = rows.set_index("side")
        if not {"positive", "negative"} <= set(sides.index):
            continue
        answers = tuple(tuple(map(int, sides.loc[side, "response_ids"])) for side in ("positive", "negative"))  # pyright: ignore
        texts = [*(str(sides.loc[side, "prompt"]) for side in ("positive", "negative"))]
        texts.append(render_prompt(model.tokenizer, str(question)))
        prompts = dict(zip(ARMS, map(tuple, encode(model.tokenizer, texts)), strict=True))
        if all(answers):
            made.append(AnswerPair(str(question), prompts, (answers[0], answers[1])))
    if not made:
        raise EmptySelectionError("no question has an answer on both sides.", "Make rollouts with more tokens.")
    return made


@dataclass(frozen=True, eq=False)
class Part:
    """Some pairs, with a batch under every system prompt: all answers with the trait, then all without.

    Args:
        first: the number of its first pair among all.
        kept: what passes over a batch have in common.
    """

    first: int
    pairs: tuple[AnswerPair, ...]
    batches: Mapping[Arm, TokenBatch]
    kept: Mapping[Arm, KeptPrompts] = field(default_factory=lambda: {arm: KeptPrompts() for arm in ARMS})

    def preference(self, model: HookedModel, arm: Arm, edits: Edits = NO_EDITS) -> Float[np.ndarray, " pair"]:
        """Mean log p(token) of the answer with the trait minus that of the answer without it, nats a token, a pair."""
        batch = self.batches[arm]
        logprobs = model.run(batch, outputs="token_logprobs", edits=edits, kept=self.kept[arm]).token_logprobs
        assert logprobs is not None, "log-probabilities were asked for"
        means = (logprobs.double().sum(-1).cpu() / batch.response.sum(-1).cpu()).numpy()
        return means[: len(self.pairs)] - means[len(self.pairs) :]

    def residuals(self, model: HookedModel, arm: Arm, hookpoints: Sequence[Hookpoint]) -> dict:
        """Residuals of both answers of every pair after a system prompt (see `response_residuals`)."""
        return response_residuals(model, self.batches[arm], hookpoints)


@checked
def parts_of(model: HookedModel, pairs: Sequence[AnswerPair], *, pairs_at_once: Count = PAIRS_AT_ONCE) -> list[Part]:
    """The pairs in batches of so many.

    Raises:
        AlignmentError: the prompts of a pair end in different tokens, so that a residual cannot be patched.
    """
    for pair in pairs:
        if len(ends := {prompt[-1] for prompt in pair.prompts.values()}) > 1:
            raise AlignmentError(
                f"the prompts of {pair.question[:60]!r} end in {len(ends)} different tokens.",
                "Their last token is where the first token of an answer is predicted: all must end alike.",
            )
    made, padding = [], pad_id(model.tokenizer)
    for start in range(0, len(pairs), pairs_at_once):
        some = tuple(pairs[start : start + pairs_at_once])
        responses = [pair.answers[side] for side in (0, 1) for pair in some]
        batches: dict[Arm, TokenBatch] = {
            arm: token_batch([pair.prompts[arm] for _ in (0, 1) for pair in some], responses, pad_id=padding)
            for arm in ARMS
        }
        made.append(Part(start, some, batches))
    return made
