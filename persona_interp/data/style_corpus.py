"""`StyleCorpus`: sentences told apart by class, checked, split and drawn from."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Seed
from persona_interp.data.style_files import Row
from persona_interp.data.traits import ContrastPair
from persona_interp.errors import ConfigError, DataError
from persona_interp.io import sha256_json


@checked
@dataclass(frozen=True)
class StyleCorpus:
    """Sentences of several styles, told apart by class: at least two styles, at least two sentences each.

    Args:
        sentences: style -> its sentences, in a fixed order.
        descriptions: style -> article and adjective, as in "Write the answer in an angry manner.": "an angry".
        instructions: style -> contrastive system prompts; a style may have none.
        source: where the sentences come from, and what was left out.
        parallel: sentence i of every style says the same thing.

    Raises:
        DataError: too few styles or sentences, a sentence of two styles, or parallel styles of unequal length.
    """

    name: str
    sentences: Mapping[str, tuple[str, ...]]
    descriptions: Mapping[str, str]
    instructions: Mapping[str, tuple[ContrastPair, ...]]
    source: str
    parallel: bool = False

    def __post_init__(self) -> None:
        """Refuse what the arguments exclude."""
        _check(self)

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles, in the order of the corpus."""
        return tuple(self.sentences)

    @cached_property
    def data_hash(self) -> str:
        """Hash of sentences, descriptions and instructions, for provenance."""
        return sha256_json(
            {
                "sentences": {style: list(texts) for style, texts in self.sentences.items()},
                "descriptions": dict(self.descriptions),
                "instructions": {s: [[p.pos, p.neg] for p in pairs] for s, pairs in self.instructions.items()},
                "parallel": self.parallel,
            }
        )[:16]

    @checked
    def split(self, *, held_out: Between0And1 = 0.3, seed: Seed = 0) -> tuple["StyleCorpus", "StyleCorpus"]:
        """A corpus to fit on and one held out, stratified by style: round(held_out · n) sentences of each style.

        At least two sentences a style go to either side. Styles of equal length are cut at the same positions, so
        that sentences of parallel or matched corpora stay on one side.

        Raises:
            ConfigError: `held_out` is not between 0 and 1.
            DataError: a style has fewer than four sentences.
        """
        small = {style: len(texts) for style, texts in self.sentences.items() if len(texts) < 4}
        if small:
            shown = ", ".join(f"{style} has {n}" for style, n in small.items())
            raise DataError(f"cannot split the corpus {self.name}: {shown}.", "Give at least 4 sentences a style.")
        first, second = {}, {}
        for style, order in self._orders(seed).items():
            n = min(max(round(held_out * len(order)), 2), len(order) - 2)
            second[style], first[style] = order[:n], order[n:]
        return self._pick(first), self._pick(second)

    @checked
    def take(self, n: Count, *, seed: Seed = 0) -> "StyleCorpus":
        """At most n sentences of each style, drawn without replacement, in the order of the corpus.

        Raises:
            ConfigError: n is less than 2.
        """
        if n < 2:
            raise ConfigError(f"cannot take {n} sentences a style from {self.name}.", "Expected at least 2.")
        return self._pick({style: order[:n] for style, order in self._orders(seed).items()})

    def _orders(self, seed: int) -> dict[str, np.ndarray]:
        """A random order of each style's sentences: one for all styles of equal length, so that matched ones meet."""
        return {style: np.random.default_rng(seed).permutation(len(texts)) for style, texts in self.sentences.items()}

    def _pick(self, chosen: Mapping[str, np.ndarray]) -> "StyleCorpus":
        return replace(
            self, sentences={style: tuple(self.sentences[style][i] for i in sorted(chosen[style])) for style in chosen}
        )


def corpus_of_rows(
    rows: Iterable[Row], *, name: str, source: str, descriptions: Mapping[str, str] | None = None
) -> StyleCorpus:
    """A corpus of (place, text, style) rows; repeats within a style are left out and counted in its source.

    Raises:
        DataError: a text is empty, a style has an unusable name, a sentence has two styles, too few of them.
    """
    found: dict[str, dict[str, str]] = {}
    seen: dict[str, tuple[str, str]] = {}
    repeats = 0
    for place, text, style in rows:
        if not text.strip():
            raise DataError(f"{place}: the text is empty.", "Delete the line, or write a sentence there.")
        if not re.fullmatch(r"\w[\w .-]{0,63}", style):
            raise DataError(f"{place}: the style is {style[:80]!r}.", "Expected a short name: letters, digits, space.")
        before, where = seen.setdefault(same_text(text), (style, place))
        if before != style:
            raise DataError(f"{place}: {_two(text, before, style)}", f"It was first seen at {where}.", _ONE)
        texts = found.setdefault(style, {})
        repeats += same_text(text) in texts
        texts.setdefault(same_text(text), text.strip())
    left_out = f" ({repeats} repeated sentences left out)" if repeats else ""
    return StyleCorpus(
        name,
        {style: tuple(texts.values()) for style, texts in found.items()},
        dict(descriptions or {style: with_article(style) for style in found}),
        {style: () for style in found},
        source + left_out,
    )


def same_text(text: str) -> str:
    """What two texts share that differ in case and spaces only."""
    return " ".join(text.split()).casefold()


def with_article(adjective: str) -> str:
    """`an angry` of `angry`."""
    return f"{'an' if adjective[:1].lower() in 'aeiou' else 'a'} {adjective}"


def _check(corpus: StyleCorpus) -> None:
    sizes = {style: len(texts) for style, texts in corpus.sentences.items()}
    shown = ", ".join(f"{style} ({n})" for style, n in sizes.items()) or "none"
    if len(sizes) < 2:
        raise DataError(f"{corpus.source} has fewer than two styles: {shown}.", "A style is told apart from others.")
    if min(sizes.values()) < 2:
        raise DataError(f"{corpus.source} has a style of fewer than 2 sentences: {shown}.", "Add sentences to it.")
    if corpus.parallel and len(set(sizes.values())) > 1:
        raise DataError(f"{corpus.source} is parallel, but its styles differ in length: {shown}.", "Align them.")
    without = [style for style in sizes if len(corpus.descriptions.get(style, "").split()) < 2]
    if without:
        raise DataError(
            f"{corpus.source} describes {', '.join(without)} by no article and adjective.", "As in: an angry"
        )
    seen: dict[str, str] = {}
    for style, texts in corpus.sentences.items():
        for text in texts:
            if not text.strip():
                raise DataError(f"{corpus.source}: a text of the style {style} is empty.", "Leave it out.")
            if seen.setdefault(same_text(text), style) != style:
                raise DataError(f"{corpus.source}: {_two(text, seen[same_text(text)], style)}", _ONE)


_ONE = "A sentence of two styles tells them apart in neither: keep it in one, or delete both."


def _two(text: str, first: str, second: str) -> str:
    return f"{text.strip()[:80]!r} is in {first} and in {second}."
