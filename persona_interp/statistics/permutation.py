"""Permutation tests for clustered rows, and what many tests reported together ask for."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped
from scipy.special import gammaln
from scipy.stats import rankdata

from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.statistics.levels import ALPHA, NULL_QUANTILE
from persona_interp.statistics.rows import Labels, Vector, cluster_codes
from persona_interp.statistics.streams import stream

Alternative = Literal["two-sided", "greater", "less"]


def possible(p_floor: float) -> bool:
    """Whether a test is possible: the smallest p that it can give is 0.05 or less."""
    return p_floor <= ALPHA * (1 + 1e-9)


@dataclass(frozen=True)
class PermutationTest:
    """An estimate with its p-value, which is never zero: the observed arrangement counts as one.

    Args:
        n_permutations: arrangements that the p-value rests on, without the observed one.
        exact: all arrangements were counted.
        n_clusters: what was flipped or exchanged.
        p_floor: the smallest p-value that so many arrangements, and so many drawn ones, can give.
        null_95: 95th percentile of the arrangements, of their size where the test is two-sided.
    """

    estimate: float
    p_value: float
    n_permutations: int
    exact: bool
    n: int
    n_clusters: int
    alternative: Alternative
    p_floor: float
    null_95: float

    @property
    def tested(self) -> float:
        """The p-value; NaN where none could be 0.05 or less, so that no test is possible."""
        return self.p_value if possible(self.p_floor) else float("nan")


def permutation_test_paired(
    a: Vector,
    b: Vector,
    clusters: Labels,
    *,
    alternative: Alternative = "two-sided",
    n_permutations: int = 4999,
    seed: int = 0,
) -> PermutationTest:
    """Mean of a - b over paired rows, against the signs of whole clusters flipped.

    A cluster's differences keep their sizes and their likeness; all of them change sign at once. Exact where the
    clusters have no more arrangements than `n_permutations`. The smallest p that n clusters can give is
    2 / 2 ** n on two sides: five clusters never reach 0.05.

    Raises:
        AlignmentError: rows and labels do not match, or values are not finite.
    """
    codes, differences = cluster_codes((a, clusters), (b, clusters))[: len(a)], a - b
    totals = np.bincount(codes, weights=differences) / len(differences)
    n_clusters, observed = len(totals), float(totals.sum())
    exact = n_clusters < 60 and 2**n_clusters <= n_permutations + 1
    if exact:
        flips = (np.arange(1, 2**n_clusters)[:, None] >> np.arange(n_clusters)) & 1
    else:
        flips = stream(seed, "signs").integers(0, 2, (_at_least_one(n_permutations), n_clusters))
    log_arrangements = n_clusters * np.log(2)
    return _result(observed, (1 - 2 * flips) @ totals, exact, codes, alternative, log_arrangements, mirrored=True)


def permutation_test_two_samples(
    a: Vector,
    b: Vector,
    clusters_a: Labels,
    clusters_b: Labels,
    *,
    permute: Literal["within", "clusters"],
    alternative: Alternative = "two-sided",
    n_permutations: int = 4999,
    seed: int = 0,
) -> PermutationTest:
    """Mean of `a` minus mean of `b`, against sides dealt out anew.

    Args:
        permute: `within` deals the rows of each cluster to the sides anew: for questions that both sides answered,
            with rows that are alike only through their question. `clusters` deals whole clusters: for questions or
            models that are on one side each.

    Raises:
        AlignmentError: rows and labels do not match; no cluster has rows on both sides (`within`); or one has
            (`clusters`).
    """
    codes = cluster_codes((a, clusters_a), (b, clusters_b))
    values, sides = np.concatenate([a, b]).astype(float), np.arange(len(codes)) < len(a)
    rng, n = stream(seed, "sides"), _at_least_one(n_permutations)
    values -= values.mean()
    if permute == "within":
        dealt, sizes = shuffled_labels(sides, codes, n, rng), np.ones(len(values))
        available, chosen = np.bincount(codes), np.bincount(codes, weights=sides)
    else:
        if shared := len(np.intersect1d(codes[sides], codes[~sides])):
            raise AlignmentError(
                f"{shared} clusters have rows on both sides, so whole clusters cannot be dealt to them.",
                'Use permute="within", or permutation_test_paired on paired rows.',
            )
        cluster_sides = np.bincount(codes, weights=sides) > 0
        sizes, values = np.bincount(codes).astype(float), np.bincount(codes, weights=values)
        dealt = rng.permuted(np.broadcast_to(cluster_sides, (n, len(cluster_sides))), axis=1)
        available, chosen = np.array([len(cluster_sides)]), np.array([cluster_sides.sum()])
    draws = (dealt @ values) / (dealt @ sizes) - (~dealt @ values) / (~dealt @ sizes)
    observed, mirrored = float(np.mean(a) - np.mean(b)), bool((2 * chosen == available).all())
    return _result(observed, draws, False, codes, alternative, _log_deals(available, chosen), mirrored=mirrored)


def permutation_test_correlation(
    x: Vector,
    y: Vector,
    clusters: Labels,
    *,
    within: Labels | None = None,
    kind: Literal["pearson", "spearman"] = "pearson",
    alternative: Alternative = "two-sided",
    n_permutations: int = 4999,
    seed: int = 0,
) -> PermutationTest:
    """Correlation of `x` and `y`, against the `y` of whole clusters exchanged between clusters.

    A cluster's rows move together and keep their order, so what makes its rows alike is alike under the null too.
    Clusters of equal size are exchanged; give rows in the same order in every cluster.

    Args:
        within: strata such as conditions. The estimate is then the correlation after the means of each stratum are
            taken off (of the ranks, for `spearman`), and only clusters with the same strata are exchanged, row by row
            of the same stratum: the null keeps all that strata do.

    Raises:
        AlignmentError: rows and labels do not match, or no two clusters can be exchanged.
    """
    codes = cluster_codes((x, clusters), (y, clusters))[: len(x)]
    strata = np.zeros(len(x), dtype=int) if within is None else cluster_codes((x, within))
    columns = [rankdata(column) if kind == "spearman" else column.astype(float) for column in (x, y)]
    x, y = (column - (np.bincount(strata, column) / np.bincount(strata))[strata] for column in columns)
    scale = np.sqrt((x @ x) * (y @ y))
    orders, log_orders = _exchanged_rows(codes, strata, _at_least_one(n_permutations), stream(seed, "exchanges"))
    constant = min(x @ x / max(columns[0] @ columns[0], 1e-300), y @ y / max(columns[1] @ columns[1], 1e-300)) < 1e-24
    if constant:
        return _result(float("nan"), np.full(n_permutations, np.nan), False, codes, alternative, log_orders)
    return _result(float(x @ y / scale), (y[orders] @ x) / scale, False, codes, alternative, log_orders)


def shuffled_labels(
    labels: Bool[np.ndarray, " sample"],
    questions: Shaped[np.ndarray, " sample"],
    n_draws: int,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "draw sample"]:
    """Permutations of the labels within each question, which keeps how many positives a question has.

    Raises:
        AlignmentError: no question has rows of both labels, so every permutation is the identity.
    """
    codes = np.unique(questions, return_inverse=True)[1]
    if not np.intersect1d(codes[labels], codes[~labels]).size:
        raise AlignmentError(
            "labels cannot be shuffled within questions: no training question has a positive and a negative row.",
            "Keep both answers of a question when filtering, or give all rows one question to shuffle across them.",
        )
    return labels[shuffled_rows(codes, n_draws, rng)]


def shuffled_floor(
    labels: Bool[np.ndarray, " sample"], questions: Shaped[np.ndarray, " sample"], n_draws: int
) -> float:
    """The smallest one-sided p that `shuffled_labels` can give: of so many draws, and so many arrangements."""
    codes = np.unique(questions, return_inverse=True)[1]
    return _floor(_log_deals(np.bincount(codes), np.bincount(codes, weights=labels)), n_draws)


def shuffled_rows(
    codes: Int[np.ndarray, " sample"], n_draws: int, rng: np.random.Generator
) -> Int[np.ndarray, "draw sample"]:
    """Row numbers exchanged at random between rows of the same code."""
    order = np.argsort(codes + rng.random((n_draws, len(codes))), axis=1)
    rows = np.empty_like(order)
    np.put_along_axis(rows, order, np.broadcast_to(np.argsort(codes, kind="stable"), order.shape), axis=1)
    return rows


def permutation_p_value(observed: float, null: Vector) -> float:
    """(1 + #{null >= observed}) / (1 + n): one-sided, never zero; NaN if anything is NaN."""
    if np.isnan(observed) or np.isnan(null).any():
        return float("nan")
    return float((1 + np.sum(null >= observed)) / (1 + len(null)))


def _exchanged_rows(
    codes: Int[np.ndarray, " _"], strata: Int[np.ndarray, " _"], n: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "draw _"], float]:
    """For every draw, which row's value each row gets: rows of another cluster with the same strata, in order.

    And the logarithm of the number of such orders.
    """
    in_order = np.lexsort((strata, codes))
    blocks = np.split(in_order, np.flatnonzero(np.diff(codes[in_order])) + 1)
    alike: dict[tuple[int, ...], list[Int[np.ndarray, " _"]]] = {}
    for block in blocks:
        alike.setdefault(tuple(strata[block].tolist()), []).append(block)
    if all(len(group) == 1 for group in alike.values()):
        raise AlignmentError(
            f"none of {len(blocks)} clusters can be exchanged: no two have the same size and strata.",
            "Give every cluster rows in the same strata, or leave out what makes them differ.",
        )
    orders = np.broadcast_to(np.arange(len(codes)), (n, len(codes))).copy()
    for group in alike.values():
        rows = np.stack(group)
        dealt = rng.permuted(np.broadcast_to(np.arange(len(rows)), (n, len(rows))), axis=1)
        orders[:, rows.ravel()] = rows[dealt].reshape(n, -1)
    return orders, float(sum(gammaln(len(group) + 1) for group in alike.values()))


def _log_deals(sizes: Num[np.ndarray, " cluster"], chosen: Num[np.ndarray, " cluster"]) -> float:
    """The logarithm of the number of ways to choose so many of each."""
    return float((gammaln(sizes + 1) - gammaln(chosen + 1) - gammaln(sizes - chosen + 1)).sum())


def _floor(log_arrangements: float, n_draws: int, alike: int = 1) -> float:
    """The smallest p-value, where so many arrangements equal the observed one whatever the data."""
    return max(alike * float(np.exp(-log_arrangements)), 1 / (1 + n_draws))


def _at_least_one(n_permutations: int) -> int:
    if n_permutations < 1:
        raise ConfigError(f"n_permutations must be at least 1, got {n_permutations}.", "Use 1000 or more.")
    return n_permutations


def _result(
    observed: float,
    draws: Float[np.ndarray, " draw"],
    exact: bool,
    codes: Int[np.ndarray, " _"],
    alternative: Alternative,
    log_arrangements: float,
    *,
    mirrored: bool = False,
) -> PermutationTest:
    """The p-value, with draws that equal the observed value but for rounding counted as equal."""
    signed = {"greater": (observed, draws), "less": (-observed, -draws), "two-sided": (abs(observed), np.abs(draws))}
    if alternative not in signed:
        raise ConfigError(f"no alternative is called {alternative!r}.", f"Alternatives: {', '.join(signed)}.")
    ours, theirs = signed[alternative]
    p_value = permutation_p_value(ours - 1e-9 * abs(ours), theirs)
    alike = 2 if mirrored and alternative == "two-sided" else 1  # the sides exchanged give the same size
    floor = _floor(log_arrangements, len(draws), alike)
    upper = float(np.quantile(theirs, NULL_QUANTILE))
    counts = len(draws), exact, len(codes), int(codes.max()) + 1
    return PermutationTest(observed, p_value, *counts, alternative, floor, upper)
