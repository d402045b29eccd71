"""Vectors that make a frozen model emit given token sequences: the inner loop of trained style vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from persona_interp.errors import ConfigError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.row_edits import row_addition
from persona_interp.models.tokens import pad_id, token_batch
from persona_interp.types import Edit, Hookpoint, TokenBatch

_DECAYS = (0.9, 0.999)
_FLOOR = 1e-8

Vectors = Float[Tensor, "sentence layer d_model"]


@dataclass(frozen=True, eq=False)
class Emission:
    """One vector a sequence and hookpoint, as it was when the sequence was emitted, or at the end.

    Args:
        norms: mean residual norm of the sequence's tokens without the vectors.
        losses: cross-entropy with these vectors, summed over the tokens, nats.
        epochs: steps taken.
        matched: whether greedy decoding gives the sequence.
    """

    vectors: Vectors
    norms: Float[Tensor, "sentence layer"]
    losses: list[float]
    epochs: list[int]
    matched: list[bool]


def emission_vectors(
    model: HookedModel,
    sequences: Sequence[Sequence[int]],
    hookpoints: Sequence[Hookpoint],
    *,
    learning_rate: float,
    max_epochs: int,
    seeds: Sequence[Sequence[int]],
) -> Emission:
    """Vectors, added at every position of start token and sequence, that minimise the sequence's cross-entropy.

    Every sequence has its own vectors and its own state of Adam, so the result does not depend on what else is trained
    with it, beyond rounding. A sequence leaves the batch once it is emitted. Vectors start small: normal with variance
    2 / (1 + d_model).

    Args:
        seeds: of the first vectors, one a sequence.
    """
    vectors = _initial(seeds, len(hookpoints), model.d_model)
    moments = torch.zeros(2, *vectors.shape)
    losses, epochs, matched = [float("inf")] * len(sequences), [0] * len(sequences), [False] * len(sequences)
    active = torch.arange(len(sequences))
    for epoch in range(max_epochs + 1):
        now = vectors[active].requires_grad_()
        of_rows, emitted = _losses(model, _batch(model, [sequences[i] for i in active.tolist()]), now, hookpoints)
        for i, loss, done in zip(active.tolist(), of_rows.tolist(), emitted.tolist(), strict=True):
            losses[i], epochs[i], matched[i] = loss, epoch, done
        going = ~emitted
        if epoch == max_epochs or not going.any():
            break
        gradient = torch.autograd.grad(of_rows.sum(), now)[0]
        active = active[going]
        _step(vectors, moments, gradient[going], active, epoch + 1, learning_rate)
    batch = _batch(model, sequences)
    norms = model.run(batch, read=hookpoints, pool=("response_mean",), outputs="none").norms
    assert norms is not None, "pooled passes record norms"
    return Emission(vectors, norms.cpu(), losses, epochs, matched)


def start_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """What comes before a text: the beginning-of-text token, or end-of-text where there is none.

    Raises:
        ConfigError: the tokenizer has neither.
    """
    found = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not isinstance(found, int):
        raise ConfigError(
            "this tokenizer has no beginning-of-text and no end-of-text token.",
            "A model emits a sentence after one of them: set tokenizer.bos_token.",
        )
    return found


def _batch(model: HookedModel, sequences: Sequence[Sequence[int]]) -> TokenBatch:
    start = start_token(model.tokenizer)
    return token_batch([[start]] * len(sequences), sequences, pad_id=pad_id(model.tokenizer)).to(model.device)


def _losses(
    model: HookedModel, batch: TokenBatch, vectors: Vectors, hookpoints: Sequence[Hookpoint]
) -> tuple[Float[Tensor, " sentence"], Bool[Tensor, " sentence"]]:
    """Summed cross-entropy of every row under its own vectors, and whether each of its tokens is the likeliest."""
    edits = {h: (Edit(row_addition(vectors[:, k]), by_row=True),) for k, h in enumerate(hookpoints)}
    logits = model.run(batch, edits=edits, grad=True).logits
    assert logits is not None, "logits were asked for"
    rows, places = batch.response.nonzero(as_tuple=True)
    predicted, targets = logits[rows, places - 1].float(), batch.ids[rows, places]
    losses = torch.nn.functional.cross_entropy(predicted, targets, reduction="none")
    of_rows = torch.zeros(len(batch), device=losses.device).index_add(0, rows, losses)
    wrong = torch.zeros(len(batch), device=losses.device)
    wrong = wrong.index_add(0, rows, (predicted.argmax(-1) != targets).float())
    return of_rows.cpu(), (wrong == 0).cpu()


def _initial(seeds: Sequence[Sequence[int]], n_layers: int, d_model: int) -> Vectors:
    spread = (2 / (1 + d_model)) ** 0.5
    drawn = [np.random.default_rng(list(seed)).normal(0, spread, (n_layers, d_model)) for seed in seeds]
    return torch.from_numpy(np.stack(drawn)).float()


def _step(
    vectors: Vectors,
    moments: Float[Tensor, "two sentence layer d_model"],
    gradient: Float[Tensor, "active layer d_model"],
    active: Int[Tensor, " active"],
    step: int,
    learning_rate: float,
) -> None:
    """One step of Adam for the active rows, in place."""
    first, second = _DECAYS
    moments[0, active] = first * moments[0, active] + (1 - first) * gradient
    moments[1, active] = second * moments[1, active] + (1 - second) * gradient.square()
    mean, square = moments[0, active] / (1 - first**step), moments[1, active] / (1 - second**step)
    vectors[active] -= learning_rate * mean / (square.sqrt() + _FLOOR)
