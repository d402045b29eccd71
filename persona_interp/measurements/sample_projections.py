"""Projections of training samples on directions: one pass a batch that stops at the deepest layer needed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from persona_interp.activations.extract import length_chunks
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Some
from persona_interp.data.conversations import Conversation
from persona_interp.data.turns import answer_positions
from persona_interp.directions.direction import Direction, check_direction, unit_vectors
from persona_interp.errors import ConfigError, ContextLengthError, DataError, EmptySelectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.reasoning import reasoning_lengths
from persona_interp.models.recorder import Segment
from persona_interp.models.tokens import encode, pad_id, render_chat, token_batch
from persona_interp.progress import track
from persona_interp.reasoning import continued
from persona_interp.types import Hookpoint

Projected = Float[np.ndarray, "sample direction layer"]


@dataclass(frozen=True, eq=False)
class SampleProjections:
    """Projection a.v/|v| of every sample's answer and of its last prompt token, in residual units.

    Larger means more of the direction's positive pole. All are float32.

    Args:
        response: mean over the answer's tokens; NaN where there is none.
        tokens: of every token of each answer, where they were kept.
        token_ids: the tokens of each answer, where they were kept.
    """

    response: Projected
    prompt_last: Projected
    n_prompt_tokens: Int[np.ndarray, " sample"]
    n_answer_tokens: Int[np.ndarray, " sample"]
    tokens: tuple[Float[np.ndarray, "_ direction layer"], ...] | None = None
    token_ids: tuple[tuple[int, ...], ...] | None = None

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.response)


def conversation_ids(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> tuple[list[int], list[int]]:
    """Token ids of a conversation up to where its last answer begins, and of that answer without the marks that end it.

    Each is tokenised by itself, so the ids of both may be joined and the border between them is exact. White space
    around the answer is left out, as it is around generated ones. An answer's reasoning block is in its ids; where it
    has none and the template opens one, the prompt closes it.

    Raises:
        DataError: nothing comes before the answer, or the chat template refuses the order of roles.
    """
    prompt, answer = conversation.prompt, conversation.answer.strip()
    last = len(conversation.turns) - 1
    if conversation.turns[-1].role != "assistant" or (answer and last not in answer_positions(conversation.turns)):
        raise DataError(
            f"{conversation.name or 'a conversation'} is not a prompt with an answer.",
            "Expected at least a user turn, and the assistant's last.",
        )
    try:
        rendered = render_chat(tokenizer, prompt)
    except ConfigError as error:
        raise DataError(f"{conversation.name or 'a conversation'}: {error}") from error
    if tokenizer.chat_template is None and answer:
        answer = f" {answer}"  # plain dialogue ends in "Answer:"
    prompt_ids, answer_ids = encode(tokenizer, list(continued(rendered, answer)))
    return prompt_ids, answer_ids


@checked
def project_samples(
    model: HookedModel,
    conversations: Sequence[Conversation],
    directions: Some[Direction],
    layers: Some[int],
    *,
    keep_tokens: bool = False,
    tokens_at_once: Count = 16_384,
    progress: bool = True,
) -> SampleProjections:
    """Mean projection of the last answer's tokens, and that of the last prompt token, on directions at layers.

    What comes before the end of a reasoning block is passed through the model and not read. Samples are batched by
    length, no residual is kept and no logits are computed. The result does not depend on the batching beyond rounding.

    Args:
        layers: 0-based blocks whose output is read.
        keep_tokens: keep the projections of every answer token too.
        tokens_at_once: padded tokens of a batch.

    Raises:
        ContextLengthError: a sample is longer than the model's context; it is named.
        DataError: a conversation has no prompt, or the chat template refuses it.
        EmptySelectionError: there is no conversation.
        HookpointError: the model, or a direction, has no such layer.
        IncompatibleDirectionError: a direction belongs to another model.
    """
    ids = [conversation_ids(model.tokenizer, conversation) for conversation in conversations]
    names = [conversation.name or f"sample {i}" for i, conversation in enumerate(conversations)]
    check_fits(model, names, [len(prompt) + len(answer) for prompt, answer in ids])
    reading = _Reading(model, directions, layers)
    if not ids:
        raise EmptySelectionError("there is no sample to project.", "Look at what was filtered out.")
    prompts, answers = [prompt for prompt, _ in ids], [answer for _, answer in ids]
    skipped = reasoning_lengths(model.tokenizer, prompts, answers)
    chunks = length_chunks(prompts, answers, tokens_at_once)
    response, prompt_last = np.empty((2, len(ids), len(directions), len(layers)), dtype=np.float32)
    tokens: list[Float[np.ndarray, "_ direction layer"]] = [response[0]] * len(ids)
    for chunk in track(chunks, "project samples", total=len(chunks), show=progress):
        batch = token_batch(
            [prompts[i] for i in chunk],
            [answers[i] for i in chunk],
            pad_id=pad_id(model.tokenizer),
            n_reasoning=[skipped[i] for i in chunk],
        )
        model.run(batch, outputs="none", watch=reading)
        lengths = [len(answers[i]) - skipped[i] for i in chunk]
        response[chunk], prompt_last[chunk] = reading.means(lengths), reading.last
        if keep_tokens:
            for i, piece in zip(chunk, reading.of_answers(lengths), strict=True):
                tokens[i] = piece
    return SampleProjections(
        response=response,
        prompt_last=prompt_last,
        n_prompt_tokens=np.array([len(prompt) for prompt in prompts]),
        n_answer_tokens=np.array([len(answer) - n for answer, n in zip(answers, skipped, strict=True)]),
        tokens=tuple(tokens) if keep_tokens else None,
        token_ids=tuple(tuple(answer[n:]) for answer, n in zip(answers, skipped, strict=True)) if keep_tokens else None,
    )


def check_fits(model: HookedModel, names: Sequence[str], lengths: Sequence[int], *, more: int = 0) -> None:
    """Refuse samples that, with so many more tokens, the model's context does not hold.

    Raises:
        ContextLengthError: names the first of them and how many there are.
    """
    limit = getattr(model, "max_positions", None)  # a model without it refuses them itself
    if limit is None:
        return
    long = [i for i, length in enumerate(lengths) if length + more > limit]
    if long:
        generated = f", and {more} are to be generated" if more else ""
        raise ContextLengthError(
            f"{names[long[0]]} is {lengths[long[0]]} tokens long{generated}; {model.name} holds {limit}.",
            f"{len(long)} of {len(names)} samples do not fit.",
            "Leave them out, or take a model with a longer context; nothing was truncated.",
        )


class _Reading:
    """A watch of `run` that keeps projections of answer tokens and last prompt tokens, and nothing of the residuals.

    Tokens that rows share are prompt tokens before the last, so both are in the pass that holds every row.
    """

    def __init__(self, model: HookedModel, directions: Sequence[Direction], layers: Sequence[int]) -> None:
        for direction in directions:
            check_direction(direction, model)
        self._layers = tuple(Hookpoint(layer) for layer in layers)
        self.hookpoints = tuple(dict.fromkeys(self._layers))
        self._units = {hookpoint: unit_vectors(directions, hookpoint).to(model.device) for hookpoint in self.hookpoints}
        self._shape = (len(directions), len(layers))
        self.start()

    def start(self) -> None:
        """A batch begins."""
        self.last = np.empty((0, *self._shape), dtype=np.float32)
        self.answers = self.last

    def begin(self, segment: Segment, rows: Int[Tensor, " active"] | None) -> None:
        """Find the tokens that are read: last prompt tokens, then those of the answers row by row."""
        assert rows is None, "all rows are in every pass of run"
        found = [mask.nonzero(as_tuple=True) for mask in (segment.last, segment.pooled("response_mean"))]
        self._n_last = len(found[0][0])
        self._rows, self._positions = (torch.cat(axes) for axes in zip(*found, strict=True))
        self._read: dict[Hookpoint, Float[Tensor, "token direction"]] = {}

    def observe(self, hookpoint: Hookpoint, residual: Float[Tensor, "batch pos d_model"]) -> None:
        """Project the tokens that are read."""
        if self._n_last == 0:
            return
        rows, positions = self._rows.to(residual.device), self._positions.to(residual.device)
        units = self._units[hookpoint] = self._units[hookpoint].to(residual.device)
        self._read[hookpoint] = residual.detach()[rows, positions].float() @ units.T

    def end(self) -> None:
        """Keep what was read."""
        if self._n_last == 0:
            return
        projected = torch.stack([self._read[hookpoint].cpu() for hookpoint in self._layers], dim=-1).numpy()
        self.last, self.answers = projected[: self._n_last], projected[self._n_last :]

    def expand(self, parent: Int[Tensor, " row"]) -> None:  # noqa: ARG002
        """Rows go on as others: nothing that is read came before."""
        assert not len(self.last), "what is read is in the last pass"

    def of_answers(self, lengths: Sequence[int]) -> list[Float[np.ndarray, "_ direction layer"]]:
        """The projections of each row's answer tokens."""
        ends = np.cumsum(lengths)
        return [self.answers[end - n : end].copy() for n, end in zip(lengths, ends, strict=True)]

    def means(self, lengths: Sequence[int]) -> Projected:
        """Means over each row's answer; NaN where it has no token."""
        sums = np.zeros((len(lengths), *self._shape))
        np.add.at(sums, np.repeat(np.arange(len(lengths)), lengths), self.answers)
        counts = np.array(lengths, dtype=float)[:, None, None]
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0).astype(np.float32)
