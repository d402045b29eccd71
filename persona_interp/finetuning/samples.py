"""From conversations to token ids with the loss on answers only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import commonprefix

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from persona_interp.data.conversations import Conversation, Unusable
from persona_interp.data.turns import answer_positions
from persona_interp.errors import ConfigError, DataError
from persona_interp.models.tokens import encode, pad_id, render_chat

IGNORED = -100
"""The label of a position that is not trained on."""


@dataclass(frozen=True)
class Sample:
    """Token ids of a conversation, and which of them are answers (with the marks that end them)."""

    ids: tuple[int, ...]
    in_answer: tuple[bool, ...]


@dataclass(frozen=True)
class Samples(Dataset):
    """What is trained on, and what was left out and why."""

    samples: tuple[Sample, ...]
    unusable: tuple[Unusable, ...] = field(default=())

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        """One of them."""
        return self.samples[index]


def encode_samples(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Conversation], *, max_tokens: int
) -> Samples:
    """Every conversation as token ids, the loss on all its answers.

    Left out are those too long, those without an answer in words, and those that the chat template refuses.

    Raises:
        DataError: no conversation can be trained on.
    """
    kept, unusable = [], []
    for conversation in conversations:
        try:
            sample = encode_sample(tokenizer, conversation)
        except ConfigError as error:
            unusable.append(Unusable(conversation.name, str(error).splitlines()[0]))
            continue
        if len(sample.ids) > max_tokens:
            unusable.append(Unusable(conversation.name, f"{len(sample.ids)} tokens, more than {max_tokens}"))
        elif not any(sample.in_answer):
            unusable.append(Unusable(conversation.name, "no answer to train on"))
        else:
            kept.append(sample)
    if not kept:
        reasons = "; ".join(f"{row.name}: {row.reason}" for row in unusable[:3])
        raise DataError(
            f"none of {len(conversations)} conversations can be trained on.",
            reasons or "There is none.",
            "Raise max_tokens (the model's context is a bound too), or look at the data.",
        )
    return Samples(tuple(kept), tuple(unusable))


def encode_sample(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> Sample:
    """Token ids in pieces that are joined, never tokenised across the border of an answer (`answer_positions`).

    Calls of tools, what they give back, blank turns and a greeting before the first question are not trained on.
    A template that rewrites earlier turns (one that drops earlier reasoning, say) is followed: what it rewrites is not
    trained on.
    """
    text, pieces = "", []
    for i in answer_positions(conversation.turns):
        head = render_chat(tokenizer, conversation.turns[:i])
        whole = render_chat(tokenizer, conversation.turns[: i + 1], prompt=False)
        if not head.startswith(text):
            text, pieces = "", []
        head = commonprefix([head, whole])
        pieces += [(head[len(text) :], False), (whole[len(head) :], True)]
        text = whole
    ids: list[int] = []
    in_answer: list[bool] = []
    for (piece, is_answer), tokens in zip(pieces, encode(tokenizer, [p for p, _ in pieces]), strict=True):
        assert piece or not tokens, "an empty piece has no token"
        ids += tokens
        in_answer += [is_answer] * len(tokens)
    return Sample(tuple(ids), tuple(in_answer))


@dataclass(frozen=True)
class Collator:
    """Right-padded batches, so that positions count from the first token in every architecture."""

    pad: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Collator":
        """With a tokenizer's padding."""
        return cls(pad_id(tokenizer))

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Int[Tensor, "batch pos"]]:
        """Ids, attention mask, and labels that are ids in answers."""
        width = max(len(sample.ids) for sample in samples)
        ids = torch.full((len(samples), width), self.pad, dtype=torch.long)
        mask = torch.zeros(len(samples), width, dtype=torch.long)
        answers: Bool[Tensor, "batch pos"] = torch.zeros(len(samples), width, dtype=torch.bool)
        for i, sample in enumerate(samples):
            ids[i, : len(sample.ids)] = torch.tensor(sample.ids)
            mask[i, : len(sample.ids)] = 1
            answers[i, : len(sample.ids)] = torch.tensor(sample.in_answer)
        return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(~answers, IGNORED)}
