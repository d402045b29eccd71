"""A trait's writers: the heads and neurons that add more along its direction in answers with the trait than without."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed
from persona_interp.directions.attribution import Attribution
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.models.components import UnitKind
from persona_interp.statistics.max_t import sign_flip_max_t
from persona_interp.statistics.means import bootstrap_mean_columns
from persona_interp.statistics.resampling import Interval

N_NEAREST = 20
"""Units of nearly the same size among which one is drawn at random."""


@dataclass(frozen=True, eq=False)
class Writers:
    """Differences of shares, positive minus negative answers, a row a question.

    Args:
        questions: the groups that both attributions have.
        projection: difference of the whole projection, which all parts add up to.
    """

    trait: str
    layer: int
    questions: tuple[str, ...]
    projection: Float[np.ndarray, " question"]
    embedding: Float[np.ndarray, " question"]
    attention: Float[np.ndarray, "question layer"]
    mlps: Float[np.ndarray, "question layer"]
    heads: Float[np.ndarray, "question layer head"]
    neurons: Float[np.ndarray, "question layer neuron"]

    def of(self, kind: UnitKind) -> Float[np.ndarray, "question layer unit"]:
        """Of heads or of neurons."""
        return self.heads if kind == "head" else self.neurons

    @checked
    def ranked(self, kind: UnitKind) -> list[tuple[int, int]]:
        """(layer, index) of every unit, by the mean difference of its share, the largest first.

        Those that write most toward the trait come first; those that write against it last.
        """
        mean = self.of(kind).mean(0)
        order = np.argsort(-mean, axis=None, kind="stable")
        return [(int(i) // mean.shape[1], int(i) % mean.shape[1]) for i in order]

    @checked
    def table(self, kind: UnitKind, *, n: Count = 20, seed: Seed = 0) -> pd.DataFrame:
        """The n units that write most: rank, layer, index, share, low, high, part, t, p.

        `share` is the mean difference in residual units with a bootstrap interval over questions that is not corrected
        for the ranking, `part` what that is of the whole difference, and p corrected over all units by sign flips of
        questions (NaN with fewer than 6).
        """
        values, places = self.of(kind), self.ranked(kind)[:n]
        found = sign_flip_max_t(values.reshape(len(values), -1), seed=seed)
        rows = np.array([layer * values.shape[2] + index for layer, index in places])
        chosen = values.reshape(len(values), -1)[:, rows]
        low, high = bootstrap_mean_columns(chosen, seed=seed)
        return pd.DataFrame(
            {
                "rank": np.arange(1, len(places) + 1),
                "layer": [layer for layer, _ in places],
                "index": [index for _, index in places],
                "share": chosen.mean(0),
                "low": low,
                "high": high,
                "part": chosen.mean(0) / self.projection.mean(),
                "t": found.t[rows],
                "p": found.p[rows],
            }
        )

    @checked
    def parts(self, *, seed: Seed = 0) -> pd.DataFrame:
        """Embedding, attention and MLP of every block: part, layer (missing for the embedding), share, low, high."""
        rows = [("embedding", None, self.embedding[:, None])]
        rows += [("attention", layer, self.attention[:, [layer]]) for layer in range(self.attention.shape[1])]
        rows += [("mlp", layer, self.mlps[:, [layer]]) for layer in range(self.mlps.shape[1])]
        values = np.concatenate([values for *_, values in rows], axis=1)
        low, high = bootstrap_mean_columns(values, seed=seed)
        return pd.DataFrame(
            {
                "part": [part for part, *_ in rows],
                "layer": pd.array([layer for _, layer, _ in rows], dtype="Int64"),
                "share": values.mean(0),
                "low": low,
                "high": high,
            }
        )

    def units_for(self, kind: UnitKind, share: float = 0.5) -> float:
        """How many of the units, the largest first, write a share of all that is written toward the trait.

        Of the sum of positive mean differences of all units of the kind; NaN where none is positive.
        """
        mean = np.sort(self.of(kind).mean(0), axis=None)[::-1]
        toward = np.cumsum(mean[mean > 0])
        return float("nan") if not len(toward) else float(np.searchsorted(toward, share * toward[-1]) + 1)

    @property
    def total(self) -> Interval:
        """The mean difference of the projection, with a bootstrap interval over questions."""
        low, high = bootstrap_mean_columns(self.projection[:, None])
        n = len(self.projection)
        return Interval(float(self.projection.mean()), float(low[0]), float(high[0]), n, n, 0.95)


@checked
def find_writers(positive: Attribution, negative: Attribution) -> Writers:
    """Shares in positive answers minus those in negative ones, question by question.

    Args:
        positive: with questions as its groups; only those that both have count.

    Raises:
        AlignmentError: the attributions are of different directions or places.
        EmptySelectionError: they share no question.
    """
    if (positive.trait, positive.hookpoint) != (negative.trait, negative.hookpoint):
        raise AlignmentError(
            f"got shares of {positive.trait} at {positive.hookpoint} and of {negative.trait} at {negative.hookpoint}.",
            "Both must be of one direction at one place.",
        )
    both = [group for group in positive.groups if group in negative.groups]
    if not both:
        raise EmptySelectionError("positive and negative answers share no question.", "Give groups=questions.")
    one, other = positive.select(both), negative.select(both)

    def difference(name: str) -> np.ndarray:
        return (getattr(one, name) - getattr(other, name)).double().numpy()

    return Writers(
        trait=positive.trait,
        layer=positive.hookpoint.layer,
        questions=tuple(both),
        **{name: difference(name) for name in ("projection", "embedding", "attention", "mlps", "heads", "neurons")},
    )


@checked
def matched_units(
    sizes: Float[np.ndarray, "layer unit"], places: Sequence[tuple[int, int]], *, seed: Seed, draws: Count
) -> list[list[tuple[int, int]]]:
    """Random sets of units, each as large as the given one and of units of nearly the same size, none of them in it.

    Every given unit is replaced by one of the 20 of its own layer that are nearest to it in size, drawn without
    repetition within a set; where its layer has none left (few heads), by one of the nearest layers that have.

    Args:
        sizes: of every unit: the norm of what it typically writes, say.

    Raises:
        ConfigError: a unit that does not exist, or a size that is not finite.
        EmptySelectionError: there are too few other units.
    """
    n_layers, n_units = sizes.shape
    if beyond := [place for place in places if not (0 <= place[0] < n_layers and 0 <= place[1] < n_units)]:
        raise ConfigError(f"units must be of layers 0 to {n_layers - 1} and 0 to {n_units - 1} there, got {beyond[0]}.")
    if not np.isfinite(sizes).all():
        raise ConfigError("sizes of units must be finite, got NaN or infinity.", "Look at what they were made of.")
    taken, rng, made = set(places), np.random.default_rng([seed, 16]), []
    near = {place: _nearest(sizes, place, place[0], taken) for place in places}
    for _ in range(draws):
        drawn: list[tuple[int, int]] = []
        for place in places:
            free = [other for other in near[place] if other not in drawn][:N_NEAREST]
            for layer in sorted(range(len(sizes)), key=lambda other, own=place[0]: abs(other - own)):
                if free:
                    break
                free = [unit for unit in _nearest(sizes, place, layer, taken) if unit not in drawn][:N_NEAREST]
            if not free:
                raise EmptySelectionError(
                    f"{sizes.size} units are too few to draw {len(places)} others at random.", "Take fewer units."
                )
            drawn.append(free[int(rng.integers(len(free)))])
        made.append(drawn)
    return made


def _nearest(
    sizes: Float[np.ndarray, "layer unit"], place: tuple[int, int], layer: int, taken: set[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Units of a layer that are not taken, the nearest in size to one first."""
    gaps = np.abs(np.log(sizes[layer] + 1e-12) - np.log(sizes[place] + 1e-12))
    order = [(layer, int(i)) for i in np.argsort(gaps, kind="stable")]
    return [unit for unit in order if unit not in taken][: N_NEAREST + len(taken)]
