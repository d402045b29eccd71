"""Token-level activations of texts, in chunks, so that memory does not grow with the number of texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.types import Hookpoint, TokenBatch

CONTEXT = 256
"""Tokens of a row: longer texts are cut into several."""
TEXTS_AT_ONCE = 128
TOKENS_AT_ONCE = 8192
"""Padded tokens of a pass, at most."""
_WIDER, _WORTHWHILE = 1.3, {"cpu": 512}
"""How much longer the longest row of a pass may be than its shortest, once the pass has so many tokens."""
_NORMS_OF = 32
"""Texts that norms are measured on."""
MASSIVE = 10.0
"""Times the median norm, from which on a position counts as massive: its norm is no part of what texts are about."""


@dataclass(frozen=True)
class Row:
    """Tokens of a text, or of a part of a long one, after a start token.

    Args:
        text: number of the text; `place` of its first token in it, the start token not counted.
        first: the first position that counts: those before it are the start token and a beginning that the row shares
            with the one before it, whose activations are the same numbers.
    """

    text: int
    place: int
    ids: tuple[int, ...]
    first: int


@dataclass(frozen=True, eq=False)
class TokenActivations:
    """Activations at every position of some rows, left-padded; those that count are the batch's response."""

    rows: Sequence[Row]
    batch: TokenBatch
    values: Mapping[Hookpoint, Float[Tensor, "row pos width"]]

    def kept(self, hookpoint: Hookpoint, limit: float | None) -> Bool[Tensor, "row pos"]:
        """The positions that count and whose norm at a hookpoint is no larger than the limit."""
        values = self.values[hookpoint]
        counted = self.batch.response.to(values.device)
        return counted if limit is None else counted & (values.float().norm(dim=-1) <= limit)

    def texts(self, kept: Bool[Tensor, "row pos"]) -> Int[Tensor, " token"]:
        """The text of every position that is kept."""
        of_rows = torch.tensor([row.text for row in self.rows], device=kept.device)
        return of_rows[kept.nonzero()[:, 0]]


def text_rows(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], numbers: Sequence[int]) -> list[Row]:
    """Rows of some texts in their order, each after the start token, no longer than `CONTEXT`.

    A text that begins with the start token, as a rendered chat does, is not given a second one.

    Args:
        numbers: which texts of all they are.
    """
    start = _start_token(tokenizer)
    rows: list[Row] = []
    for number, ids in zip(numbers, encode(tokenizer, texts), strict=True):
        ids = ids[1:] if ids[:1] == [start] else ids
        for place in range(0, len(ids), CONTEXT - 1):
            row = (start, *ids[place : place + CONTEXT - 1])
            before = rows[-1].ids if rows else ()
            rows.append(Row(number, place, row, max(1, _shared(before, row))))
    return rows


def token_activations(
    model: HookedModel,
    rows: Sequence[Row],
    hookpoints: Sequence[Hookpoint],
    *,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> Iterator[TokenActivations]:
    """Activations of rows at hookpoints, rows of similar length together."""
    for batch, chunk in row_batches(model, rows, tokens_at_once):
        made = model.run(batch, read=hookpoints, outputs="none")
        yield TokenActivations(chunk, batch, made.residuals)


def row_batches(
    model: HookedModel, rows: Sequence[Row], tokens_at_once: int = TOKENS_AT_ONCE
) -> Iterator[tuple[TokenBatch, list[Row]]]:
    """Batches of rows of similar length; what counts of a row is the response, what comes before it the prompt."""
    worthwhile = min(tokens_at_once, _WORTHWHILE.get(model.device.type, TOKENS_AT_ONCE // 2))
    chunks: list[list[Row]] = []
    n_tokens = 0
    for row in sorted((row for row in rows if row.first < len(row.ids)), key=lambda row: len(row.ids)):
        length, chunk = len(row.ids), chunks[-1] if chunks else []
        wide = chunk and length > _WIDER * len(chunk[0].ids) and n_tokens >= worthwhile
        if not chunk or wide or (len(chunk) + 1) * length > tokens_at_once:
            chunks.append([row])
            n_tokens = length
        else:
            chunk.append(row)
            n_tokens += length
    for chunk in chunks:
        prompts, responses = [row.ids[: row.first] for row in chunk], [row.ids[row.first :] for row in chunk]
        yield token_batch(prompts, responses, pad_id=pad_id(model.tokenizer)), chunk


def all_rows(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Iterator[list[Row]]:
    """Rows of all texts, some texts at a time."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        numbers = range(start, min(start + TEXTS_AT_ONCE, len(texts)))
        yield text_rows(tokenizer, [texts[k] for k in numbers], numbers)


def first_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], most: int) -> list[str]:
    """The first texts up to so many tokens; at least one."""
    kept, n = [], 0
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[start : start + TEXTS_AT_ONCE]
        for text, ids in zip(some, encode(tokenizer, some), strict=True):
            n += len(ids)
            if kept and n > most:
                return kept
            kept.append(text)
    return kept


def massive_limit(model: HookedModel, texts: Sequence[str], hookpoint: Hookpoint) -> float:
    """The norm above which a position at a hookpoint counts as massive: ten times the median of the first texts.

    Raises:
        EmptySelectionError: they have no token.
    """
    return MASSIVE * float(_norms(model, texts, hookpoint).median())


def mean_norm_at(model: HookedModel, texts: Sequence[str], hookpoint: Hookpoint) -> float:
    """Mean norm of the positions of the first texts at a hookpoint that are not massive."""
    norms = _norms(model, texts, hookpoint)
    return float(norms[norms <= MASSIVE * norms.median()].mean())


def _norms(model: HookedModel, texts: Sequence[str], hookpoint: Hookpoint) -> Float[Tensor, " token"]:
    some = texts[:_NORMS_OF]
    rows = text_rows(model.tokenizer, some, range(len(some)))
    made = token_activations(model, rows, [hookpoint])
    found = [one.values[hookpoint][one.kept(hookpoint, None)].float().norm(dim=-1) for one in made]
    norms = torch.cat(found) if found else torch.zeros(0)
    if not len(norms):
        raise EmptySelectionError("the texts have no token after the start token.", "Give texts that are not empty.")
    return norms


def _start_token(tokenizer: PreTrainedTokenizerBase) -> int:
    for found in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(found, int):
            return found
    raise ConfigError("this tokenizer has no beginning-of-text and no end-of-text token.", "Set tokenizer.bos_token.")


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two rows have in common."""
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
