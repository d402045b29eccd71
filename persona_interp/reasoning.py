"""Blocks in which a model reasons before it answers, found in text; `models/reasoning.py` finds them in tokens.

A block stands at the start of an answer: `<think>…</think>` of Qwen3 and DeepSeek-R1, `<reasoning>`, `<thinking>`,
`<thought>`, `<seed:think>`, Magistral's `[THINK]…[/THINK]`, Command A's `<|START_THINKING|>…<|END_THINKING|>`, and the
analysis channel of gpt-oss. Several may follow one another. Tags further on are words like any others.
"""

import re
from dataclasses import dataclass
from typing import Literal

Reasoning = Literal["skip", "include"]
"""Whether what is pooled begins after an answer's reasoning block, or with it."""

ONLY_REASONING = "only reasoning: the answer was cut off before it began"
"""What is noted of an answer whose reasoning block has no end."""

_NAMES = ("think", "thinking", "reasoning", "thought", "seed:think")
_TAGS = (
    *((f"<{name}>", f"</{name}>") for name in _NAMES),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
)
_CLOSING = dict(_TAGS)
_FINAL_HEADER = "<|channel|>final<|message|>"
_FINAL = re.compile(r"\s*<\|channel\|>final(?: ?<\|constrain\|>\w+)?<\|message\|>\s*")
_FRAME = re.compile(rf"\s*(?:<\|start\|>assistant)?(?:{_FINAL.pattern})?\s*")
"""What stands between the block and the answer: white space, and the header of gpt-oss' final channel."""


@dataclass(frozen=True)
class Split:
    """An answer in its two parts.

    Args:
        start: the character with which the answer begins; 0 where there is no block.
        closed: False where the block has no end, so that all is reasoning.
    """

    reasoning: str
    answer: str
    start: int = 0
    closed: bool = True

    @property
    def reasoned(self) -> bool:
        """Whether there is a block, be it empty."""
        return self.start > 0 or not self.closed


def split_reasoning(text: str, *, opened: bool | None = None) -> Split:
    """The reasoning and the answer of a text; a text without a block is the answer as it is.

    Args:
        opened: whether the prompt opened a block (`opens_reasoning`), so that the text holds the end of it alone. None:
            the prompt is not known, and an end without a beginning counts as one.
    """
    start = _end_of_first(text, opened)
    while start is not None and (opening := _opening(text, start)) is not None:
        start = _after(text, text.index(opening, start) + len(opening), _CLOSING[opening])
    if start is None:
        return Split(text.strip(), "", len(text), closed=False)
    return Split(text[:start].strip(), text[start:], start)


def answer_after(text: str) -> str:
    """The answer without its reasoning: the same text where there is none, empty where it is nothing else."""
    return split_reasoning(text).answer


def opens_reasoning(prompt: str) -> bool:
    """Whether a prompt ends with the beginning of a block, as templates of models that always reason do."""
    return prompt.rstrip().endswith(tuple(_CLOSING))


def closed_prompt(prompt: str) -> str:
    """The prompt with an empty reasoning block where it opened one, so that an answer may follow; else as it is."""
    if not opens_reasoning(prompt):
        return prompt
    begun = prompt.rstrip()
    closing = next(closing for opening, closing in _TAGS if begun.endswith(opening))
    return f"{begun}\n\n{closing}\n\n"


def continued(prompt: str, answer: str) -> tuple[str, str]:
    """A prompt and a given answer as one follows the other, where the prompt opened a block; else as they are.

    The block is closed where the answer has no reasoning, and is opened once where it has its own.
    """
    if not opens_reasoning(prompt):
        return prompt, answer
    if not split_reasoning(answer).reasoned:
        return closed_prompt(prompt), answer
    opening = _opening(answer, 0)
    return prompt, answer if opening is None else answer.split(opening, 1)[1].lstrip()


def may_open(text: str) -> bool:
    """Whether a text could still grow into one that starts with a block."""
    begun = text.lstrip()
    return any(opening.startswith(begun) for opening in (*_CLOSING, _FINAL_HEADER))


def may_end(text: str) -> bool:
    """Whether a text holds a mark that ends a block."""
    return any(mark in text for mark in (*_CLOSING.values(), _FINAL_HEADER))


def may_go_on(answer: str) -> bool:
    """Whether what came after a block so far could still become another block, or the header of the answer."""
    return may_open(answer) or f"<|start|>assistant{_FINAL_HEADER}".startswith(answer.strip())


def _end_of_first(text: str, opened: bool | None) -> int | None:
    """Where what follows a block that the prompt opened begins: 0 where it opened none, None where it has no end."""
    if (final := _FINAL.match(text)) is not None:
        return final.end()
    if opened is False or _opening(text, 0) is not None:
        return 0
    ends = [(text.find(closing), opening, closing) for opening, closing in _TAGS[:-1] if closing in text]
    if not ends:
        return None if opened else 0
    at, opening, closing = min(ends)
    return 0 if opened is None and opening in text[:at] else _after(text, at, closing)


def _opening(text: str, start: int) -> str | None:
    begin = len(text) - len(text[start:].lstrip())
    return next((opening for opening in _CLOSING if text.startswith(opening, begin)), None)


def _after(text: str, start: int, closing: str) -> int | None:
    """Where what follows a block begins; None where it has no end."""
    at = text.find(closing, start)
    match = None if at < 0 else _FRAME.match(text, at + len(closing))
    return None if match is None else match.end()
