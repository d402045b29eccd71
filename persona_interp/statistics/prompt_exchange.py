"""Separation with the system prompt as the unit: prompts held out when testing, and whole prompts exchanged."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from math import comb, prod

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from persona_interp.errors import AlignmentError
from persona_interp.statistics.contrast import Contrast

Signs = Bool[np.ndarray, " prompt"]
Wins = Float[np.ndarray, "layer positive negative"]


@dataclass(frozen=True, eq=False)
class HeldOutPrompts:
    """Projections of the test rows on the training mean of every prompt, from which all held-out directions follow.

    Args:
        projections: layer, test row, prompt; zero for a prompt without training rows.
        positive: which prompts are of the positive pole.
        trained: which have training rows; rows: the test rows of each.
    """

    projections: Float[np.ndarray, "layer test prompt"]
    positive: Signs
    trained: Signs
    rows: tuple[Int[np.ndarray, " _"], ...]

    @classmethod
    def of(cls, training: Contrast, test: Contrast) -> "HeldOutPrompts":
        """Prompts are the pairs of `Contrast.prompts`, a positive and a negative prompt each."""
        names, codes = np.unique(np.concatenate([_names(training), _names(test)]), return_inverse=True)
        ours, theirs = codes[: len(training.labels)], codes[len(training.labels) :]
        counts = np.bincount(ours, minlength=len(names))
        means = np.eye(len(names))[ours].T / np.maximum(counts, 1)[:, None]
        offset = training.values.mean(axis=0, dtype=np.float64)
        projections = [
            (test.values[:, layer] - offset[layer]) @ (means @ (training.values[:, layer] - offset[layer])).T
            for layer in range(test.values.shape[1])
        ]
        positive = np.array([str(name).startswith("+") for name in names])
        rows = tuple(np.flatnonzero(theirs == code) for code in range(len(names)))
        return cls(np.stack(projections), positive, counts > 0, rows)

    @property
    def tested(self) -> Signs:
        """Which prompts have test rows."""
        return np.array([len(rows) > 0 for rows in self.rows])

    @property
    def disjoint(self) -> bool:
        """No prompt has both training and test rows; otherwise each is left out in turn (cross-fitted)."""
        return not (self.trained & self.tested).any()

    def possible(self, positive: Signs | None = None, without: tuple[int, ...] = ()) -> bool:
        """Whether both poles have a prompt to test, and one more to train on when it is left out."""
        signs, left = self.positive if positive is None else positive, np.ones(len(self.rows), dtype=bool)
        left[list(without)] = False
        return all(
            (pole & left & self.tested).any()
            and (pole & left & self.trained).sum() > int((pole & left & self.trained & self.tested).any())
            for pole in (signs, ~signs)
        )

    def cells(self, without: tuple[int, ...] = ()) -> Iterator[tuple[int, int, Wins]]:
        """Every positive against every negative test prompt, along the direction of all other prompts."""
        left = np.ones(len(self.rows), dtype=bool)
        left[list(without)] = False
        ours, theirs = (np.flatnonzero(pole & left & self.tested).tolist() for pole in (self.positive, ~self.positive))
        for i, j in product(ours, theirs):
            weights = self._weights(self.positive[None] & left, ~self.positive[None] & left, i, j)
            yield i, j, self._wins(i, j, weights)[..., 0]

    def aucs(self, arrangements: Bool[np.ndarray, "arrangement prompt"]) -> Float[np.ndarray, "arrangement layer"]:
        """Held-out AUC of every arrangement of the poles: the mean over its pairs of prompts."""
        total, count = np.zeros((len(arrangements), len(self.projections))), np.zeros((len(arrangements), 1))
        for i, j in product(np.flatnonzero(self.tested).tolist(), repeat=2):
            here = arrangements[:, i] & ~arrangements[:, j]
            if i != j and here.any():
                signs = arrangements[here]
                total[here] += self._wins(i, j, self._weights(signs, ~signs, i, j)).mean(axis=(1, 2)).T
                count[here] += 1
        return np.round(total / count, 12)  # mirror images are equal, not equal but for rounding

    def _weights(
        self, ours: Bool[np.ndarray, "draw prompt"], theirs: Bool[np.ndarray, "draw prompt"], i: int, j: int
    ) -> Float[np.ndarray, "two draw prompt"]:
        """Of the prompts' means in both sides of each direction, prompts i and j left out."""
        sides = np.stack([ours, theirs]) & self.trained
        sides[0, :, i] = sides[1, :, j] = False
        return sides / sides.sum(axis=2, keepdims=True)

    def _wins(
        self, i: int, j: int, weights: Float[np.ndarray, "two draw prompt"]
    ) -> Float[np.ndarray, "layer positive negative draw"]:
        a, b = (
            self.projections[:, self.rows[k]] @ weights[0].T - self.projections[:, self.rows[k]] @ weights[1].T
            for k in (i, j)
        )
        a, b = a[:, :, None], b[:, None]
        return (a > b) + 0.5 * (a == b)


def prompt_arrangements(
    positive: Signs, strata: Shaped[np.ndarray, " prompt"], n_draws: int, rng: np.random.Generator
) -> tuple[Bool[np.ndarray, "arrangement prompt"], bool]:
    """Other ways to deal the poles to whole prompts, within strata; all of them (True) where they are at most n_draws.

    Five positive and five negative prompts have 252 arrangements, the observed one among them.
    """
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    sizes = [(len(group), int(positive[group].sum())) for group in groups]
    if prod(comb(*size) for size in sizes) > n_draws + 1:
        drawn = np.empty((n_draws, len(positive)), dtype=bool)
        for group in groups:
            drawn[:, group] = rng.permuted(np.broadcast_to(positive[group], (n_draws, len(group))), axis=1)
        return drawn, False
    choices = [
        [group[list(chosen)] for chosen in combinations(range(n), k)]
        for group, (n, k) in zip(groups, sizes, strict=True)
    ]
    every = np.zeros((prod(len(choice) for choice in choices), len(positive)), dtype=bool)
    for row, parts in zip(every, product(*choices), strict=True):
        row[np.concatenate(parts)] = True
    return every[(every != positive).any(axis=1)], True


def _names(contrast: Contrast) -> Shaped[np.ndarray, " sample"]:
    if contrast.prompts is None:
        raise AlignmentError("prompts cannot be held out without their labels.", "Give the prompt pair of every row.")
    return np.char.add(np.where(contrast.labels, "+", "-"), contrast.prompts)
