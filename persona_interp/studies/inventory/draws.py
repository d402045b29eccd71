"""Bootstrap draws of a scale's score: items within each key, crossed with wordings; orders are fixed by design."""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.resampling import Interval
from persona_interp.statistics.streams import stream

Table = Float[np.ndarray, "item wording"]
Draws = Float[np.ndarray, " draw"]
LEVEL = CONFIDENCE
LEAST_A_KEY = 3
"""Items that a key needs for a test of its scale."""


def scale_score(values: Table, keys: Int[np.ndarray, " item"]) -> float:
    """Mean over the keys of the mean over their items: what agreeing with everything adds to one takes from the other.

    Without items keyed both ways, the plain mean.
    """
    return float(np.mean([values[keys == key].mean() for key in np.unique(keys)]))


def balanced(values: Float[np.ndarray, " item"], keys: Int[np.ndarray, " item"]) -> Float[np.ndarray, " item"]:
    """Values whose mean is `scale_score` and whose signs may be flipped to test it, whatever was agreed with.

    Each key's mean is taken off and the score put in its place, so that a change in yes-saying, which is opposite in
    the two keys, is neither in the score nor in its null; items of a rarer key weigh more. NaN with one or two items of
    a key, where that null is too narrow: with 8 and 2 items 0.11 of tests at 0.05 reject; with 3 or more 0.04 to 0.06.
    Items keyed one way alone are left as they are.
    """
    kinds, sizes = np.unique(keys, return_counts=True)
    if len(kinds) == 1:
        return values
    if sizes.min() < LEAST_A_KEY:
        return np.full(len(values), np.nan)
    score, found = scale_score(values[:, None], keys), np.zeros(len(values))
    for key, n in zip(kinds, sizes, strict=True):
        here = keys == key
        spread = (values[here] - values[here].mean()) * np.sqrt(n / (n - 1))
        found[here] = (score + spread) * len(values) / (len(kinds) * n)
    return found


def scale_draws(values: Table, keys: Int[np.ndarray, " item"], *, n_resamples: int, seed: int, scale: int = 0) -> Draws:
    r"""Draws of `scale_score`, items resampled within their key and wordings across; NaN where a key has one item.

    Deviations from the score are stretched by `sqrt(n / (n - g)) t_{n - g} / z`, n items in g keys, so that percentiles
    have the width of a t interval instead of the too narrow one of a plain bootstrap of few items. Orders of options
    are not resampled: both are there, and their difference is taken off by averaging.

    Args:
        scale: its place among several, so that each has its own items; wordings are drawn alike in all of them.

    Source: Hesterberg 2015, What teachers should know about the bootstrap (for the stretch); Owen 2007, The pigeonhole
    bootstrap (for crossed factors).
    """
    n_items, n_wordings = values.shape
    groups = [np.flatnonzero(keys == key) for key in np.unique(keys)]
    if min(map(len, groups)) < 2:
        return np.full(n_resamples, np.nan)
    of_wordings = stream(seed, "wordings").multinomial(
        n_wordings, np.full(n_wordings, 1 / n_wordings), size=n_resamples
    )
    rng = stream(seed, "items", scale)
    draws = np.zeros(n_resamples)
    for group in groups:
        n = len(group)
        of_items = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)
        draws += ((of_items @ values[group]) * of_wordings).sum(1) / (n * n_wordings * len(groups))
    score = scale_score(values, keys)
    return score + stretch(n_items, len(groups)) * (draws - score)


def stretch(n_items: int, n_groups: int) -> float:
    """How much wider a t interval of group means is than a percentile interval of their bootstrap."""
    free = n_items - n_groups
    return float(np.sqrt(n_items / free) * stats.t.ppf((1 + LEVEL) / 2, free) / stats.norm.ppf((1 + LEVEL) / 2))


def interval(
    score: float,
    draws: Draws,
    n_items: int,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    *,
    n_keys: int | None = None,
) -> Interval:
    """The percentile interval of `scale_draws`, cut off at the bounds of what was measured; NaN without draws.

    Args:
        n_keys: kinds of keys among the items, which the standard error needs: it has n_items - n_keys degrees of
            freedom.
    """
    low = high = error = freedom = float("nan")
    if np.isfinite(draws).all():
        low, high = (float(bound) for bound in np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).clip(*bounds))
        if n_keys is not None:
            tail, freedom = (1 + LEVEL) / 2, float(n_items - n_keys)
            error = float(draws.std() * stats.norm.ppf(tail) / stats.t.ppf(tail, freedom))
    return Interval(score, low, high, n_items, n_items, LEVEL, over="item", error=error, freedom=freedom)
