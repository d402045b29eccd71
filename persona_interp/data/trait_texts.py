"""Texts with a score for each trait: what an adapter is trained on. Standardised scores, splits, and users' files.

Files: CSV as published with PsychAdapter, `message_id,message,<a column a trait>` (`ope_z,con_z,ext_z,agr_z,neu_z`,
`dep_score`, `swl`, ...); or JSONL, a line a text: {"text": ..., "scores": {trait: number, ...}}, where `id` and
`estimated` may stand beside them. `text` is as good as `message`, and `id` as `message_id`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Seed, Some
from persona_interp.data.trait_text_rows import FORM, RATED_PARTS, ScoredRow, rated_rows, scored_rows
from persona_interp.errors import DataError
from persona_interp.io import atomic_write_bytes, path_part, sha256_json

BIG_FIVE = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation (of a population) of every trait's scores: z = (score - mean) / std."""

    traits: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, data: "TraitTexts") -> "Standard":
        """The standard that these texts set.

        Raises:
            DataError: there is one text, or all have the same score of a trait.
        """
        check_varied(data, data.source)
        mean, std = data.scores.mean(axis=0), data.scores.std(axis=0)
        return cls(data.traits, tuple(map(float, mean)), tuple(map(float, std)))

    def z(self, scores: Float[np.ndarray, "text trait"]) -> Float[np.ndarray, "text trait"]:
        """Scores in standard deviations from the mean."""
        return (scores - np.array(self.mean)) / np.array(self.std)


@checked
@dataclass(frozen=True, eq=False)
class TraitTexts:
    """Texts with a score for each trait.

    Args:
        scores: as given, or in standard deviations where `standard` is there.
        estimated: the scores come from a model, not from people.
        also: scores of the same texts and traits by other judges, by the judge's name; never standardised.
        ids: one a text; the texts' numbers where none are given.
        standard: what the scores were standardised by.
    """

    texts: tuple[str, ...]
    scores: Float[np.ndarray, "text trait"]
    traits: tuple[str, ...]
    source: str
    estimated: bool
    also: Mapping[str, Float[np.ndarray, "_ _"]] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    standard: Standard | None = None

    def __post_init__(self) -> None:
        """Refuse scores that do not fit the texts, blank texts and scores that are no numbers."""
        if not self.ids:
            object.__setattr__(self, "ids", tuple(map(str, range(1, len(self.texts) + 1))))
        _check_form(self)
        for trait in self.traits:
            path_part(trait, f"trait in {self.source}")

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.texts)

    @property
    def data_hash(self) -> str:
        """Hash of texts, traits and scores, for provenance."""
        return sha256_json([self.texts, self.traits, self.scores.tolist()])[:16]

    @checked
    def standardised(self, reference: Standard | None = None) -> "TraitTexts":
        """The same texts with z-scores: by their own mean and standard deviation, or by those of `reference`.

        Texts that are standardised already stay as they are where no other reference is given.

        Raises:
            DataError: a trait's scores are all the same, the reference has other traits, or other scores were z.
        """
        if self.standard is not None and reference in (None, self.standard):
            return self
        if self.standard is not None:
            raise DataError(f"the scores of {self.source} are z-scores already.", "Standardise them as given.")
        standard = Standard.of(self) if reference is None else reference
        if standard.traits != self.traits:
            raise DataError(
                f"{self.source} has scores for {', '.join(self.traits)}.",
                f"The reference has {', '.join(standard.traits)}. Give the same traits, in the same order.",
            )
        return replace(self, scores=standard.z(self.scores), standard=standard)

    @checked
    def rows(self, chosen: Sequence[int] | Int[np.ndarray, " _"]) -> "TraitTexts":
        """Some of the texts, by number.

        Raises:
            DataError: none is chosen.
        """
        index = np.asarray(chosen, dtype=int)
        return replace(
            self,
            texts=tuple(self.texts[i] for i in index),
            ids=tuple(self.ids[i] for i in index),
            scores=self.scores[index],
            also={judge: scores[index] for judge, scores in self.also.items()},
        )

    @checked
    def split(self, *, held_out: Between0And1 = 0.2, seed: Seed = 0) -> tuple["TraitTexts", "TraitTexts"]:
        """Texts to train on and texts held out, at random but the same for a seed; equal texts stay on one side.

        Raises:
            DataError: a side would be empty.
        """
        different = sorted(set(self.texts))
        n_out = round(held_out * len(different))
        if not 0 < n_out < len(different):
            raise DataError(
                f"cannot hold out {held_out:g} of {len(different)} different texts ({self.source}).",
                "Both sides need a text: give more texts, or a share well inside 0..1.",
            )
        order = np.random.default_rng(seed).permutation(len(different))
        out = {different[i] for i in order[:n_out]}
        sides = [[i for i, text in enumerate(self.texts) if (text in out) is side] for side in (False, True)]
        return self.rows(sides[0]), self.rows(sides[1])

    @checked
    def take(self, n: Count, *, seed: Seed = 0) -> "TraitTexts":
        """At most `n` of the texts, at random but the same for a seed, in their own order."""
        if n >= len(self):
            return self
        return self.rows(np.sort(np.random.default_rng(seed).permutation(len(self))[: max(n, 0)]))

    @checked
    def save(self, path: str | Path) -> None:
        """JSONL that `read_trait_texts` reads back: scores as they stand, without other judges' scores."""
        lines = [
            json.dumps(
                {"id": i, "text": text, "scores": dict(zip(self.traits, row, strict=True)), "estimated": self.estimated}
            )
            for i, text, row in zip(self.ids, self.texts, self.scores.tolist(), strict=True)
        ]
        atomic_write_bytes(Path(path), ("\n".join(lines) + "\n").encode())


@checked
def read_trait_texts(path: str | Path, *, estimated: bool | None = None) -> TraitTexts:
    """Texts and scores of a CSV or JSONL file.

    Args:
        estimated: the scores come from a model; by default what the file says, and False where it does not say.

    Raises:
        ArtefactError: the file is missing or of another kind.
        DataError: a text is empty, a score is no number or the same in every row, an id comes twice, there is one row
            or no trait; the message names the row and the column.
    """
    path = Path(path)
    return _gathered(scored_rows(path), path, estimated)


@checked
def read_vader_ratings(source: str | Path, *, parts: Some[str] = tuple(RATED_PARTS)) -> TraitTexts:
    """Snippets of reviews, news and tweets with their mean sentiment rating by 20 people or more, -4 to 4.

    Larger means more positive. They are in the source distribution of the package vaderSentiment 3.3.2, not in its
    wheel: `pip download --no-deps --no-binary :all: vaderSentiment==3.3.2` brings it.

    Args:
        source: that .tar.gz, the `additional_resources/hutto_ICWSM_2014.tar.gz` in it, or a folder of what is in it.
        parts: film (10,605 snippets), product (3,708), news (5,190), tweet (4,200).

    Raises:
        ArtefactError: they are not there.
        ConfigError: a part is unknown.

    Source: Hutto and Gilbert 2014, VADER (ICWSM).
    """
    return _gathered(rated_rows(Path(source), parts), Path(source), estimated=False)


def check_varied(data: TraitTexts, where: str) -> None:
    """Refuse scores from which nothing can be learnt.

    Raises:
        DataError: one text, or a trait with the same score everywhere.
    """
    if len(data) < 2:
        raise DataError(f"{where} holds one text.", "Expected two or more.")
    for trait, column in zip(data.traits, data.scores.T, strict=True):
        if np.ptp(column) == 0:
            raise DataError(
                f"{where}, column {trait}: all {len(data)} scores are {column[0]:g}.",
                "A constant score says nothing about the texts. Leave the column out, or give scores that differ.",
            )


def _gathered(rows: Iterable[ScoredRow], path: Path, estimated: bool | None) -> TraitTexts:
    """The rows of a file as one object, after looking at what they must have in common."""
    found, seen = [], set()
    for row in rows:
        names = list(found[0].scores) if found else list(row.scores)
        if set(row.scores) != set(names):
            raise DataError(f"{row.where}: scores for {', '.join(row.scores)}.", f"The first row: {', '.join(names)}.")
        if row.row_id is not None and row.row_id in seen:
            raise DataError(f"{row.where}: every text must have its own id, got {row.row_id!r} twice.")
        seen.add(row.row_id)
        found.append(row)
    if not found:
        raise DataError(f"{path} holds no text.", FORM)
    traits = tuple(found[0].scores)
    data = TraitTexts(
        texts=tuple(row.text for row in found),
        scores=np.array([[row.scores[trait] for trait in traits] for row in found], dtype=float),
        traits=traits,
        source=path.name,
        estimated=any(row.estimated for row in found) if estimated is None else estimated,
        ids=tuple(str(k) if row.row_id is None else row.row_id for k, row in enumerate(found, start=1)),
    )
    check_varied(data, str(path))
    return data


def _check_form(data: TraitTexts) -> None:
    n, source = len(data.texts), data.source
    if n == 0:
        raise DataError(f"there is no text ({source}).", "Give some, or look at what was left out.")
    if not data.traits or len(set(data.traits)) < len(data.traits):
        raise DataError(f"the traits of {source} are {list(data.traits)}.", "Expected one or more different names.")
    if len(data.ids) != n:
        raise DataError(f"got {n} texts and {len(data.ids)} ids ({source}).", "Give one each.")
    for judge, scores in {"": data.scores, **data.also}.items():
        if scores.shape != (n, len(data.traits)):
            by = f" by {judge}" if judge else ""
            raise DataError(
                f"got {n} texts with {len(data.traits)} traits and scores of shape {scores.shape}{by} ({source})."
            )
        if len(bad := np.argwhere(~np.isfinite(scores))):
            row, column = bad[0]
            raise DataError(
                f"{source}, text {row + 1}, {data.traits[column]}: the score is {scores[row, column]}.",
                "Expected a finite number. Leave the text out.",
            )
    if blank := next((i for i, text in enumerate(data.texts, start=1) if not text.strip()), None):
        raise DataError(f"{source}, text {blank}: the text is empty.", "Leave it out.")
