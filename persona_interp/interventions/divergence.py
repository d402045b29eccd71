"""How far an intervention moves a model: the KL divergence of its next-token distributions from the unsteered ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, Some, Temperature, Text
from persona_interp.data.neutral_prompts import neutral_prompts
from persona_interp.errors import AlignmentError, EmptySelectionError, ModelError
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.record import intervention_record
from persona_interp.io import sha256_json
from persona_interp.judges.scoring import Row, plan_passes
from persona_interp.models.kept_prompts import KeptPrompts
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.rollouts.generate import answer, plain_requests, prompts_of
from persona_interp.statistics import bootstrap_mean
from persona_interp.types import NO_EDITS, TokenBatch

ANSWER_TOKENS = 32
_COPIES = 3
"""Of the logits of a pass: as the model gives them, those of the answers, and those of the unsteered model."""
_KEPT_LOGITS = 150_000_000
"""Unsteered logits that are kept; where there are more, every pass computes them again."""


@dataclass(frozen=True)
class Divergence:
    """KL(unsteered || steered) of next-token distributions, in nats a token.

    Args:
        mean: over all tokens of the answers; `median` and `p95`, the 95th percentile, are over the same tokens.
        low: of the 95 % interval of the mean over new prompts, and `high`; the intervention, and so its coefficient,
            is held fixed. NaN with one prompt.
    """

    mean: float
    low: float
    high: float
    median: float
    p95: float
    n_tokens: int
    n_prompts: int

    @classmethod
    def of(cls, values: Float[np.ndarray, " token"], prompts: Int[np.ndarray, " token"], *, seed: int) -> "Divergence":
        """From the divergence of every token and the number of the prompt that it answers.

        The interval is `bootstrap_mean` over prompts; no bound lies below 0. Measured coverage at level 0.95 with 8 to
        32 answers of 2 to 32 skewed tokens: 0.95 to 0.97 (tests/golden/levels/intervals.csv).
        """
        interval = bootstrap_mean(values, prompts, seed=seed)
        low, median, p95 = np.maximum(interval.low, 0), np.median(values), np.percentile(values, 95)
        found = (interval.estimate, low, interval.high, median, p95)
        return cls(*map(float, found), n_tokens=interval.n, n_prompts=interval.n_clusters)


@dataclass(eq=False)
class _Part:
    """Answers that one pass holds, the number of the prompt of each of their tokens, and what is computed once."""

    batch: TokenBatch
    prompts: Int[np.ndarray, " token"]
    kept: KeptPrompts = field(default_factory=KeptPrompts)
    unsteered: Float[Tensor, "token d_vocab"] | None = None


@checked
@dataclass(frozen=True, eq=False)
class UnsteeredAnswers:
    """A model's own answers, and what it predicted at each of their tokens: made once, for many interventions.

    Args:
        baseline: what counts as unsteered, where it is not the model alone.
    """

    model: HookedModel
    baseline: Intervention | None
    parts: tuple[_Part, ...]
    keeps_logits: bool

    @property
    def prompts(self) -> Int[np.ndarray, " token"]:
        """The number of the prompt of every token."""
        return np.concatenate([part.prompts for part in self.parts])

    @checked
    def token_kl(self, intervention: Intervention) -> Float[np.ndarray, " token"]:
        """KL(unsteered || steered) in nats at every token of the answers, given all that stands before it.

        Raises:
            ModelError: a divergence is not finite.
        """
        intervention.check(self.model)
        values = []
        for part in self.parts:
            unsteered = self._logits(part, self.baseline) if part.unsteered is None else part.unsteered
            if self.keeps_logits:
                part.unsteered = unsteered
            values.append(token_kl(unsteered, self._logits(part, intervention)).numpy())
        found = np.concatenate(values)
        if wrong := int((~np.isfinite(found)).sum()):
            raise ModelError(
                f"the KL divergence is not finite at {wrong} of {len(found)} tokens of {self.model.name}.",
                f"It computes in {self.model.provenance.dtype}: use a smaller coefficient or a wider dtype.",
            )
        return found

    def _logits(self, part: _Part, intervention: Intervention | None) -> Float[Tensor, "token d_vocab"]:
        logits = self.model.run(
            part.batch,
            outputs="response_logits",
            edits=NO_EDITS if intervention is None else intervention.edits,
            prefix=None if intervention is None else intervention.prefix,
            kept=part.kept,
        ).response_logits
        assert logits is not None, "logits were asked for"
        return logits


@checked
def unsteered_answers(
    model: HookedModel,
    prompts: Some[Text] | None = None,
    *,
    answers: Some[Text] | None = None,
    baseline: Intervention | None = None,
    max_new_tokens: Count = ANSWER_TOKENS,
    temperature: Temperature = 1.0,
    seed: Seed = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> UnsteeredAnswers:
    """One answer of the unsteered model to each prompt, sampled at temperature 1 with a seed; empty ones are left out.

    Sampled as the model predicts, so that the divergences of an answer's tokens add up, in expectation, to that of
    whole answers. The token that ends an answer is not among them.

    Args:
        prompts: default: sixteen neutral questions (`neutral_prompts`).
        answers: texts to take in place of the model's own, one a prompt.
        baseline: what counts as unsteered in place of the model alone, such as a TraitPrefix at 0.
        folder: where the answers are kept.

    Raises:
        AlignmentError: not one answer a prompt.
        EmptySelectionError: every answer is empty.
    """
    asked = neutral_prompts() if prompts is None else tuple(prompts)
    if answers is not None and len(answers) != len(asked):
        raise AlignmentError(f"got {len(asked)} prompts and {len(answers)} answers.", "Give one each.")
    if baseline is not None:
        baseline.check(model)
    rendered = plain_requests(asked)
    if answers is None:
        made = answer(
            model,
            rendered,
            sampling=Sampling(max_new_tokens, temperature, seed=seed),
            edits=NO_EDITS if baseline is None else baseline.edits,
            prefix=None if baseline is None else baseline.prefix,
            edits_hash=None if baseline is None else sha256_json(intervention_record(baseline))[:16],
            folder=folder,
            label="unsteered answers to neutral prompts",
            progress=progress,
        ).frame
        texts, ids = list(made["prompt"]), list(made["response_ids"])
    else:
        texts, ids = prompts_of(model, rendered), encode(model.tokenizer, answers)
    rows = [
        Row(0, tuple(prompt), tuple(response))
        for prompt, response in zip(encode(model.tokenizer, texts), ids, strict=True)
        if len(response)
    ]
    if not rows:
        raise EmptySelectionError(
            f"every unsteered answer of {model.name} to {len(asked)} prompts is empty: no token is predicted.",
            "Give other prompts, or answers of your own.",
        )
    return UnsteeredAnswers(model, baseline, *_parts(model, rows))


@checked
def kl_divergence(
    model: HookedModel, intervention: Intervention, *, answers: UnsteeredAnswers | None = None, seed: Seed = 0
) -> Divergence:
    """Mean KL(unsteered || steered) of next-token distributions over the tokens of unsteered answers, in nats.

    0 where the intervention changes no prediction. An answer's first token is predicted at the last prompt token.

    Args:
        answers: of `unsteered_answers`; default: to the neutral prompts of the package, with this seed.

    Raises:
        AlignmentError: the answers are of another model.
        ModelError: a divergence is not finite.
    """
    used = answers_of(model, answers, seed)
    return Divergence.of(used.token_kl(intervention), used.prompts, seed=seed)


def answers_of(model: HookedModel, answers: UnsteeredAnswers | None, seed: int) -> UnsteeredAnswers:
    """The answers that were given, or new ones.

    Raises:
        AlignmentError: they are of another model.
    """
    if answers is None:
        return unsteered_answers(model, seed=seed)
    if answers.model is not model:
        raise AlignmentError(
            f"the unsteered answers are of {answers.model.name} ({answers.model.backend}), and another model was given:"
            f" {model.name} ({model.backend}).",
            "Make them with this one: unsteered_answers(model).",
        )
    return answers


def token_kl(
    unsteered: Float[Tensor, "token d_vocab"], steered: Float[Tensor, "token d_vocab"], *, numbers_at_once: int = 2**20
) -> Float[Tensor, " token"]:
    """KL(unsteered || steered) of each token's distribution from logits, in nats; softmax in float32, a part at a time.

    A token that the unsteered model excludes (a logit of minus infinity) adds nothing.
    """
    at_once = max(1, numbers_at_once // unsteered.shape[-1])
    parts = []
    for start in range(0, len(unsteered), at_once):
        p, q = (logits[start : start + at_once].float().log_softmax(-1) for logits in (unsteered, steered))
        parts.append(torch.where(p == -torch.inf, 0, p.exp() * (p - q)).sum(-1))
    return torch.cat(parts).clamp(min=0).cpu().double()  # below 0 by rounding alone


def _parts(model: HookedModel, rows: Sequence[Row]) -> tuple[tuple[_Part, ...], bool]:
    """The rows in passes that fit the memory, and whether all their logits do."""
    vocabulary = model.tokenizer.vocab_size
    number = {prompt: i for i, prompt in enumerate(dict.fromkeys(row.prompt for row in rows))}
    parts = []
    for chunk in plan_passes(rows, vocabulary=_COPIES * vocabulary):
        batch = token_batch(
            [row.prompt for row in chunk], [row.response for row in chunk], pad_id=pad_id(model.tokenizer)
        )
        numbers = np.repeat([number[row.prompt] for row in chunk], [len(row.response) for row in chunk])
        parts.append(_Part(batch, numbers))
    return tuple(parts), sum(len(row.response) for row in rows) * vocabulary <= _KEPT_LOGITS
