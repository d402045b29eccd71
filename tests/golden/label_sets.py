"""Simulated ratings and labels with a known truth, for the intervals of agreement and of calibration."""

from collections.abc import Callable

import numpy as np

from persona_interp.statistics import Interval, alpha_interval, slope_interval

Rng = np.random.Generator
Found = tuple[Interval, float]


def raters(truth: float, n: int, rows: int, n_raters: int, missing: float) -> Callable[[Rng, int], Found]:
    """Ratings whose variance is shared by raters in this part; items of a cluster share half of that."""

    def one(rng: Rng, seed: int) -> Found:
        clusters = np.repeat(np.arange(n), rows)
        common = 0.0 if rows == 1 else 0.5
        of_item = np.sqrt(common) * rng.standard_normal(n)[clusters]
        of_item = of_item + np.sqrt(1 - common) * rng.standard_normal(n * rows)
        noise = rng.standard_normal((n_raters, n * rows))
        ratings = 50 + 20 * (np.sqrt(truth) * of_item + np.sqrt(1 - truth) * noise)
        ratings[rng.random(ratings.shape) < missing] = np.nan
        return alpha_interval(ratings, clusters, seed=seed, n_resamples=400), truth

    return one


def slope(truth: float, n: int, kind: str) -> Callable[[Rng, int], Found]:
    """Scores whose line on is a label's: a chance of it (two-valued), or a noisy one whose noise clusters share."""

    def one(rng: Rng, seed: int) -> Found:
        clusters = np.repeat(np.arange(n), 2)
        x = np.sqrt(0.5) * rng.uniform(-1, 1, n)[clusters] + np.sqrt(0.5) * rng.uniform(-1, 1, 2 * n)
        score = 50 + 35 * x
        if kind == "two-valued":
            label = 100.0 * (rng.random(2 * n) < 0.5 + truth * (score - 50) / 100)
        else:
            label = truth * score + 10 * (rng.exponential(size=n)[clusters] - 1 + rng.standard_normal(2 * n))
        return slope_interval(score, label, clusters, seed=seed, n_resamples=400), truth

    return one
