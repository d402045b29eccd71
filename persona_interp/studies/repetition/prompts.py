"""Four sentences of which 0, 1, 2 or 4 state an opinion, the others being fillers of equally many tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from transformers import PreTrainedTokenizerBase

from persona_interp.data.opinions import Topic
from persona_interp.errors import EmptySelectionError
from persona_interp.models.tokens import encode, render_prompt

Condition = Literal["verbatim", "paraphrased", "neutral repeated"]
"""The opinion in the same words, in other words each time, or once beside a neutral sentence that is repeated."""

CONDITIONS: tuple[Condition, ...] = get_args(Condition)
N_SLOTS = 4
_ORDER = (0, 2, 1, 3)
FRAMES = ("I think that {}.", "In my view, {}.", "I am sure that {}.", "For me, {}.")
QUESTION = "What is your own opinion on this?"
ANSWER = "I think that {}."
_ADJECTIVES = ("old", "small", "green", "round", "plain", "heavy", "clean", "long", "light")
_NOUNS = ("chair", "table", "box", "door", "clock", "lamp", "bag", "cup", "wall", "shelf", "bench", "wheel")
_PLACES = ("is here", "is in the hall", "stands near the window", "is by the wall", "was made in May", "is for sale")


@dataclass(frozen=True)
class Stated:
    """A prompt with an opinion stated `count` times.

    Args:
        topic: its number; `side` the opinion that the user holds, 0 or 1.
        prompt: as the model sees it; `spans` the first and past-the-last token of every sentence in it.
        stated: which of the sentences state the opinion.
    """

    topic: int
    name: str
    side: int
    condition: Condition
    count: int
    prompt: str
    spans: tuple[tuple[int, int], ...]
    stated: tuple[int, ...]


class Fillers:
    """Neutral sentences by their number of tokens, after a space."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._by_length: dict[int, list[str]] = {}
        made = [
            f"The {' '.join([*_ADJECTIVES[:k], noun])} {place}."
            for k, noun, place in product(range(len(_ADJECTIVES) + 1), _NOUNS, _PLACES)
        ]
        for text, ids in zip(made, encode(tokenizer, [f" {text}" for text in made]), strict=True):
            self._by_length.setdefault(len(ids), []).append(text)

    def of(self, length: int, number: int) -> str:
        """A sentence of so many tokens; another for every number.

        Raises:
            EmptySelectionError: there is none of this length.
        """
        if length not in self._by_length:
            known = ", ".join(map(str, sorted(self._by_length)))
            raise EmptySelectionError(f"no filler has {length} tokens: they have {known}.", "Use shorter opinions.")
        some = self._by_length[length]
        return some[(number * 7) % len(some)]


def slots_of(topic: int, count: int) -> tuple[int, ...]:
    """Which sentences state the opinion, first the one that does at every count: its place goes round with the topics.

    Every other topic is evaluated, so places go on after two. More statements take the places of fillers, and those
    that were there stay.
    """
    return tuple((topic // 2 + step) % N_SLOTS for step in _ORDER[:count])


def sentences(topic: Topic, number: int, side: int, condition: Condition, count: int, fillers: "Filled") -> list[str]:
    """The four sentences; each is as long at every count."""
    opinion, stated = topic.opinions[side], slots_of(number, count)
    own = {
        slot: _statement(opinion.said, opinion.again, condition, k) for k, slot in enumerate(slots_of(number, N_SLOTS))
    }
    lengths = dict(zip(own, fillers.lengths(list(own.values())), strict=True))
    made = {slot: fillers.fillers.of(lengths[slot], number * N_SLOTS + slot) for slot in range(N_SLOTS)}
    for k, slot in enumerate(stated):
        repeats_neutral = condition == "neutral repeated" and k > 0
        made[slot] = fillers.fillers.of(lengths[slot], number + 1000) if repeats_neutral else own[slot]
    return [made[slot] for slot in range(N_SLOTS)]


@dataclass(frozen=True, eq=False)
class Filled:
    """Fillers and the tokenizer that counts them."""

    tokenizer: PreTrainedTokenizerBase
    fillers: Fillers

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Filled":
        """For a tokenizer."""
        return cls(tokenizer, Fillers(tokenizer))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of sentences after a space."""
        return [len(ids) for ids in encode(self.tokenizer, [f" {text}" for text in texts])]


def stated_prompts(
    tokenizer: PreTrainedTokenizerBase,
    topics: Sequence[tuple[int, Topic]],
    condition: Condition,
    counts: Sequence[int],
) -> Iterator[Stated]:
    """Every topic with each of its opinions as the user's, at every count.

    Raises:
        EmptySelectionError: no filler is as long as an opinion.
    """
    filled = Filled.of(tokenizer)
    for (number, topic), side, count in product(topics, (0, 1), counts):
        parts = sentences(topic, number, side, condition, count, filled)
        prompt = render_prompt(tokenizer, f"Hello. {' '.join(parts)} {QUESTION}")
        yield Stated(
            number,
            topic.name,
            side,
            condition,
            count,
            prompt,
            _spans(tokenizer, prompt, parts),
            slots_of(number, count),
        )


def _statement(said: str, again: str, condition: Condition, k: int) -> str:
    """The k-th statement: of a paraphrased opinion every other one has its other wording, and each another frame."""
    if condition != "paraphrased":
        return FRAMES[0].format(said)
    return FRAMES[k].format(said if k % 2 == 0 else again)


def _spans(tokenizer: PreTrainedTokenizerBase, prompt: str, parts: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Tokens of every sentence in the prompt: from the first after the text before it to the last of its own."""
    spans, at = [], 0
    for part in parts:
        start = prompt.index(part, at)
        at = start + len(part)
        before, upto = encode(tokenizer, [prompt[: start - 1], prompt[:at]])
        spans.append((len(before), len(upto)))
    return tuple(spans)
