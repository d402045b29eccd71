"""Where in the tokens of an answer its reasoning block ends: afterwards, and while it is generated."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from persona_interp.reasoning import may_end, may_go_on, may_open, opens_reasoning, split_reasoning

_TAIL = 32
"""Tokens in which the mark that ends a block is looked for."""


def reasoning_lengths(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> list[int]:
    """How many tokens of each response come before its answer: 0 without a block, all where the block has no end.

    White space after the block belongs to it; a token that holds the block's end and the answer's beginning does not.
    """
    opened = opened_by(tokenizer, prompts)
    return [_length(tokenizer, ids, begun) for ids, begun in zip(responses, opened, strict=True)]


def opened_by(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]]) -> list[bool]:
    """Whether each prompt ends with the beginning of a block."""
    return [opens_reasoning(_text(tokenizer, ids[-_TAIL:])) for ids in prompts]


def parted(tokenizer: PreTrainedTokenizerBase, response: Sequence[int], n_reasoning: int) -> tuple[str, str]:
    """The texts of a response's reasoning and of its answer, without special tokens and white space around them."""
    parts = tokenizer.batch_decode(
        [list(response[:n_reasoning]), list(response[n_reasoning:])], skip_special_tokens=True
    )
    return parts[0].strip(), parts[1].strip()


class ReasoningRows:
    """Rows that are generated: which of them reason, and which begin their answer.

    Args:
        opened: whether the prompt of each row opened a block.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, opened: Sequence[bool]) -> None:
        self._tokenizer, self._opened = tokenizer, list(opened)
        self._undecided = set(range(len(self._opened)))
        self._reasoning: set[int] = set()
        self._ended: set[int] = set()
        self._begun: set[int] = set()

    def begin_answers(self, tokens: Sequence[Sequence[int]]) -> list[int]:
        """The rows whose newest token is the first of what may be their answer, after a block.

        Call it once for every token that is generated.
        """
        rows = [row for row in sorted(self._undecided) if tokens[row] and self._look(row, tokens[row])]
        self._begun.update(rows)
        return rows

    def unanswered(self) -> list[int]:
        """Rows of which nothing but reasoning was generated so far."""
        return sorted((self._reasoning & self._undecided) - self._begun)

    def _look(self, row: int, ids: Sequence[int]) -> bool:
        if row in self._reasoning and row not in self._ended and not may_end(_text(self._tokenizer, ids[-_TAIL:])):
            return False
        text = _text(self._tokenizer, ids)
        split = split_reasoning(text, opened=self._opened[row])
        if not split.reasoned:
            if not may_open(text):
                self._undecided.discard(row)
            return False
        self._reasoning.add(row)
        (self._ended.add if split.closed else self._ended.discard)(row)
        if not split.answer:
            self._begun.discard(row)
            return False
        if not may_go_on(split.answer):
            self._undecided.discard(row)
        return row not in self._begun


def _length(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], opened: bool) -> int:
    split = split_reasoning(_text(tokenizer, ids), opened=opened)
    if not split.reasoned:
        return 0
    if not split.answer:
        return len(ids)
    low, high = 0, len(ids)  # the first tokens of that number are no more than the block; those of that one are
    while high - low > 1:
        middle = (low + high) // 2
        within = len(_text(tokenizer, ids[:middle])) <= split.start
        low, high = (middle, high) if within else (low, middle)
    return low


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
