"""Simulated rows with a known truth, for every interval: from few clusters to many and near its boundaries."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import norm

from persona_interp.statistics import (
    Interval,
    auc_intervals,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    correlation_interval,
    hedges_g_interval,
    standardised_change,
    within_condition_correlation,
)
from persona_interp.statistics.nested_auc import nested_auc, row_cell
from persona_interp.statistics.shares import clustered_share, share_difference
from tests.golden.label_sets import raters, slope

FAST: dict[str, Any] = {"n_resamples": 400}
Rng = np.random.Generator
Found = tuple[Interval, float]
"""An interval of simulated rows, and the truth behind them."""


def effects(rng: Rng, kind: str, n: int) -> np.ndarray:
    return rng.standard_normal(n) if kind == "normal" else rng.exponential(size=n) - 1


def mean(kind: str, n: int) -> Callable[[Rng, int], Found]:
    def one(rng: Rng, seed: int) -> Found:
        clusters = np.repeat(np.arange(n), 2)
        values = effects(rng, kind, n)[clusters] + 0.5 * effects(rng, kind, 2 * n)
        return bootstrap_mean(values, clusters, seed=seed, **FAST), 0.0

    return one


def token_mean(n: int) -> Callable[[Rng, int], Found]:
    """Skewed and positive, as the KL of tokens is: answers share a factor, and are of 2 to 32 tokens."""

    def one(rng: Rng, seed: int) -> Found:
        clusters = np.repeat(np.arange(n), rng.integers(2, 33, n))
        values = rng.lognormal(-0.08, 0.4, n)[clusters] * rng.lognormal(-0.5, 1.0, len(clusters))
        return bootstrap_mean(values, clusters, seed=seed, **FAST), 1.0

    return one


def ratio(n: int) -> Callable[[Rng, int], Found]:
    """The share of variance that is left in texts of 5 to 80 tokens: both their variances and their shares differ."""

    def one(rng: Rng, seed: int) -> Found:
        clusters = np.repeat(np.arange(n), rng.integers(5, 81, n))
        variances = rng.lognormal(0, 0.5, n)[clusters] * rng.lognormal(0, 0.7, len(clusters))
        shares = 0.3 * rng.lognormal(-0.045, 0.3, n)[clusters] * rng.lognormal(-0.08, 0.4, len(clusters))
        left, all_of_it = (np.bincount(clusters, column, n) for column in (variances * shares, variances))
        return bootstrap_ratio(left, all_of_it, np.arange(n), seed=seed, **FAST), 0.3

    return one


def difference(kind: str, n: int) -> Callable[[Rng, int], Found]:
    def one(rng: Rng, seed: int) -> Found:
        clusters = np.repeat(np.arange(n), 2)
        shared = effects(rng, kind, n)[clusters]
        a, b = (shared + effects(rng, kind, n)[clusters] + 0.5 * effects(rng, kind, 2 * n) for _ in "ab")
        return bootstrap_difference(a + 1, b, clusters, clusters, seed=seed, **FAST), 1.0

    return one


def two_factors(n: int, m: int, sizes: tuple[float, float, float]) -> Callable[[Rng, int], Found]:
    def one(rng: Rng, seed: int) -> Found:
        first, second = (codes.ravel() for codes in np.meshgrid(np.arange(n), np.arange(m), indexing="ij"))
        parts = rng.standard_normal(n)[first], rng.standard_normal(m)[second], rng.standard_normal(n * m)
        values = np.sum([size * part for size, part in zip(sizes, parts, strict=True)], axis=0)
        return bootstrap_mean(values, first, also=second, seed=seed, **FAST), 0.0

    return one


def share(truth: float, n: int, common: float) -> Callable[[Rng, int], Found]:
    def one(rng: Rng, seed: int) -> Found:  # noqa: ARG001
        clusters = np.repeat(np.arange(n), 2)
        drawn = np.sqrt(common) * rng.standard_normal(n)[clusters] + np.sqrt(1 - common) * rng.standard_normal(2 * n)
        return clustered_share(drawn < norm.ppf(truth), clusters), truth

    return one


def shares_apart(a: float, b: float, n: int, common: float) -> Callable[[Rng, int], Found]:
    """Two answers to each of n questions on either side; `common` is what a question gives to all four of them."""

    def one(rng: Rng, seed: int) -> Found:  # noqa: ARG001
        clusters = np.repeat(np.arange(n), 2)
        shared = np.sqrt(common) * rng.standard_normal(n)[clusters]
        one_side, other = (
            shared + np.sqrt(1 - common) * rng.standard_normal(2 * n) < norm.ppf(truth) for truth in (a, b)
        )
        return share_difference(one_side, other, clusters, clusters), a - b

    return one


def auc(truth: float, n: int, m: int, rows: int, common: float, *, paired: bool) -> Callable[[Rng, int], Found]:
    """Two normals a distance d apart in units of their spread have AUC Phi(d / sqrt 2)."""

    def one(rng: Rng, seed: int) -> Found:  # noqa: ARG001
        sides = []
        shared = rng.standard_normal(max(n, m))
        for count in (n, m):
            codes = np.repeat(np.arange(count), rows)
            of_cluster = shared[:count] if paired else rng.standard_normal(count)
            noise = rng.standard_normal(len(codes))
            sides.append((np.sqrt(common) * of_cluster[codes] + np.sqrt(1 - common) * noise, codes))
        (a, of_a), (b, of_b) = sides
        moved = a + np.sqrt(2) * norm.ppf(truth)
        return auc_intervals(moved[:, None], b[:, None], of_a, of_b if paired else of_b + n)[0], truth

    return one


def correlation(truth: float, n: int, kind: str) -> Callable[[Rng, int], Found]:
    def one(rng: Rng, seed: int) -> Found:
        clusters = np.repeat(np.arange(n), 4)
        x, e = (
            np.sqrt(0.5) * rng.standard_normal(n)[clusters] + np.sqrt(0.5) * rng.standard_normal(4 * n) for _ in "xy"
        )
        rows = x, truth * x + np.sqrt(1 - truth**2) * e
        wanted = truth if kind == "pearson" else 6 / np.pi * np.arcsin(truth / 2)
        return correlation_interval(*rows, clusters, kind=kind, seed=seed, **FAST), wanted  # pyright: ignore[reportArgumentType]

    return one


def new_prompts(truth: float, n_prompts: int, n_questions: int, of_prompts: float) -> Callable[[Rng, int], Found]:
    """Both columns have parts that prompts, questions and rows share; `truth` is their correlation in each part."""

    def one(rng: Rng, seed: int) -> Found:
        grid = np.meshgrid(np.arange(n_prompts), np.arange(n_questions), indexing="ij")
        prompts, questions = (codes.ravel() for codes in grid)
        sizes = np.sqrt(of_prompts), np.sqrt((1 - of_prompts) / 2), np.sqrt((1 - of_prompts) / 2)
        columns = []
        for _ in "xe":
            parts = (
                rng.standard_normal(n_prompts)[prompts],
                rng.standard_normal(n_questions)[questions],
                rng.standard_normal(len(prompts)),
            )
            columns.append(sum(size * part for size, part in zip(sizes, parts, strict=True)))
        x, e = columns
        rows = x, truth * x + np.sqrt(1 - truth**2) * e
        return correlation_interval(*rows, questions, also=prompts, seed=seed, **FAST), truth

    return one


def within_prompts(truth: float, n_prompts: int, n_questions: int) -> Callable[[Rng, int], Found]:
    """Prompts differ in their means, and in how the two columns go together: by 0.2 either side of the truth."""

    def one(rng: Rng, seed: int) -> Found:
        grid = np.meshgrid(np.arange(n_prompts), np.arange(n_questions), indexing="ij")
        prompts, questions = (codes.ravel() for codes in grid)
        r = (truth + 0.2 * rng.choice([-1, 1], n_prompts))[prompts]
        shared = rng.standard_normal((2, n_questions))[:, questions]
        x, e = np.sqrt(0.3) * shared + np.sqrt(0.7) * rng.standard_normal((2, len(prompts)))
        y = r * x + np.sqrt(1 - r**2) * e + 5 * prompts
        found = within_condition_correlation(
            x + 3 * prompts, 10 * y, prompts, clusters=questions, also=prompts, seed=seed, **FAST
        )
        return found, truth

    return one


def effect_size(truth: float, n: int) -> Callable[[Rng, int], Found]:
    def one(rng: Rng, seed: int) -> Found:
        clusters = np.repeat(np.arange(n), 2)
        shared = np.sqrt(0.3) * rng.standard_normal(n)[clusters]
        a, b = (shared + np.sqrt(0.7) * rng.standard_normal(2 * n) for _ in "ab")
        return hedges_g_interval(a + truth, b, clusters, clusters, seed=seed, **FAST), truth

    return one


def standardised(truth: float, n: int, n_judges: int, kind: str) -> Callable[[Rng, int], Found]:
    """Judges that share half of what they see; every one puts treated answers `truth` of its deviations higher."""

    def one(rng: Rng, seed: int) -> Found:
        clusters = np.repeat(np.arange(n), 2)
        shared = np.sqrt(0.3) * effects(rng, kind, n)[clusters]
        sides = []
        for _ in "ab":
            common = effects(rng, kind, 2 * n)
            own = [effects(rng, kind, 2 * n) for _ in range(n_judges)]
            sides.append(np.stack([shared + np.sqrt(0.35) * (common + part) for part in own], axis=1))
        scales = np.arange(1, n_judges + 1) * 10.0
        a, b = sides
        return standardised_change((a + truth) * scales, b * scales, clusters, clusters, seed=seed, **FAST), truth

    return one


def nested(top: float, n: int, rows: int) -> Callable[[Rng, int], Found]:
    """30 layers that resemble their neighbours; the AUC rises to `top` at one. Truth: that of the chosen layers."""
    truths = 0.5 + (top - 0.5) * np.exp(-(((np.arange(30) - 18) / 5) ** 2))

    def layers(rng: Rng, size: int) -> np.ndarray:
        noise = rng.standard_normal((size, 30))
        for k in range(1, 30):
            noise[:, k] = 0.9 * noise[:, k - 1] + np.sqrt(0.19) * noise[:, k]
        return noise

    def one(rng: Rng, seed: int) -> Found:  # noqa: ARG001
        questions = np.tile(np.repeat(np.arange(n), rows), 2)
        positive = np.repeat([True, False], n * rows)
        scores = np.sqrt(0.3) * layers(rng, n)[questions] + np.sqrt(0.7) * layers(rng, len(questions))
        cell = row_cell(scores + positive[:, None] * np.sqrt(2) * norm.ppf(truths), positive)
        found = nested_auc([cell], lambda _: [cell], questions)
        return found.interval, float(truths[found.layers].mean())

    return one


KINDS = ("normal", "exponential")
LEAST = 0.94
"""Wanted of means and differences."""

SETTINGS: dict[str, tuple[float, Callable[[Rng, int], Found]]] = {
    **{
        f"mean, {kind}, {n} clusters": (LEAST, mean(kind, n))
        for kind in ("normal", "exponential")
        for n in (8, 12, 20, 40)
    },
    **{f"mean over tokens of {n} answers": (LEAST, token_mean(n)) for n in (8, 16, 32)},
    **{f"ratio of sums over {n} texts": (LEAST, ratio(n)) for n in (8, 16, 40)},
    **{f"difference, {kind}, {n} clusters": (LEAST, difference(kind, n)) for kind in KINDS for n in (8, 20, 40)},
    **{
        f"mean over {n} questions x {m} seeds, {label}": (0.93 if m > 3 else 0.91, two_factors(n, m, sizes))
        for n, m in ((20, 3), (20, 5), (20, 10))
        for label, sizes in (("a third each", (1, 1, 1)), ("seeds do nothing", (1, 0, 1)))
    },
    **{
        f"share {truth}, {n} clusters, {common:g} common": (LEAST, share(truth, n, common))
        for truth in (0.02, 0.1, 0.5)
        for n in (12, 40)
        for common in (0.0, 0.5)
    },
    **{
        f"shares {a} against {b}, {n} clusters, {common:g} common": (LEAST, shares_apart(a, b, n, common))
        for a, b in ((0.02, 0.02), (0.1, 0.02), (0.3, 0.3), (0.5, 0.3))
        for n in (12, 48)
        for common in (0.0, 0.5)
    },
    **{f"AUC {t}, 12 pairs": (0.93, auc(t, 12, 12, 1, 0.3, paired=True)) for t in (0.5, 0.8, 0.9, 0.97, 0.99)},
    **{f"AUC {t}, 20 questions of 2 rows": (0.93, auc(t, 20, 20, 2, 0.3, paired=True)) for t in (0.5, 0.9, 0.97)},
    **{f"AUC {t}, 8 against 94": (0.93, auc(t, 8, 94, 1, 0.0, paired=False)) for t in (0.5, 0.8, 0.9, 0.97, 0.99)},
    **{f"AUC {t}, 12 clusters of 3 a side": (0.93, auc(t, 12, 12, 3, 0.5, paired=False)) for t in (0.5, 0.9, 0.97)},
    **{
        f"AUC at the best of 30 layers, at most {top}, {n} questions of {rows} a side": (0.93, nested(top, n, rows))
        for top in (0.5, 0.65, 0.8, 0.95)
        for n, rows in ((12, 1), (12, 3), (40, 2))
    },
    **{
        f"{kind} r {r}, {n} clusters of 4": (0.93, correlation(r, n, kind))
        for kind in ("pearson", "spearman")
        for r in (0.0, 0.5, 0.9)
        for n in (10, 20, 40)
    },
    **{
        f"r {r} for new prompts, {p} prompts x {q} questions, {of:g} of the variance theirs": (
            0.93,
            new_prompts(r, p, q, of),
        )
        for r in (0.0, 0.7)
        for p, q in ((8, 20), (16, 20))
        for of in (0.2, 0.6, 0.9)
    },
    **{
        f"within r {r}, {p} prompts x 20 questions": (0.93, within_prompts(r, p, 20))
        for r in (0.0, 0.5)
        for p in (8, 16)
    },
    **{f"Hedges' g {g}, {n} clusters": (0.93, effect_size(g, n)) for g in (0.0, 0.8) for n in (10, 20, 40)},
    **{
        f"alpha {t} of {k} raters, {n} clusters of {rows}, {missing:g} missing": (0.93, raters(t, n, rows, k, missing))
        for t in (0.0, 0.5, 0.9)
        for k, n, rows, missing in ((2, 12, 1, 0.0), (2, 60, 1, 0.2), (2, 20, 3, 0.0), (3, 20, 3, 0.2))
    },
    **{
        f"slope {t} of {kind} labels, {n} clusters of 2": (0.93, slope(t, n, kind))
        for t in (0.0, 1.0)
        for kind in ("two-valued", "graded")
        for n in (10, 20, 40)
    },
    **{
        f"standardised change {t}, {j} judges, {kind}, {n} clusters": (0.93, standardised(t, n, j, kind))
        for t in (0.0, 1.0, 3.0)
        for j in (1, 3)
        for kind in KINDS
        for n in (10, 20)
    },
    **{
        f"standardised change {t}, 3 judges, {kind}, 6 clusters": (0.93, standardised(t, 6, 3, kind))
        for t in (0.0, 3.0, 10.0)
        for kind in KINDS
    },
}
