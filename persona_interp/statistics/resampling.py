"""Cluster bootstrap over one factor (questions) or two crossed ones (questions and seeds)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.stats import norm as normal
from scipy.stats import t as student

from persona_interp.errors import ConfigError
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.rows import Labels, Vector, cluster_codes
from persona_interp.statistics.streams import stream


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds, in the units of what was estimated; NaN bounds where none can be given.

    Args:
        n_also: levels of a second, crossed factor (seeds) that was resampled too; None without one.
        over: what a cluster is, in the singular: the interval is for new ones of these.
        fixed: what it is not for new ones of, where that is known: prompts, directions, layers, judge, training seed.
        error: the standard error on the scale where the interval is symmetric: Fisher's for Pearson's r, log-odds for
            an AUC, asinh(d / 2) for a standardised change, else the estimate's units; NaN where unknown (shares, AUCs
            of 0 or 1).
        freedom: its degrees of freedom; NaN where unknown.
    """

    estimate: float
    low: float
    high: float
    n: int
    n_clusters: int
    level: float = CONFIDENCE
    n_also: int | None = None
    over: str = "question"
    fixed: tuple[str, ...] = ()
    error: float = float("nan")
    freedom: float = float("nan")

    @property
    def row(self) -> dict[str, float]:
        """The columns `estimate`, `low`, `high` and `n` of a table."""
        return {"estimate": self.estimate, "low": self.low, "high": self.high, "n": self.n}

    def __str__(self) -> str:
        """`0.42 [0.31, 0.53] (n = 40, 20 questions x 3; judge fixed)`; the last two parts where there are any."""
        questions = f"{self.n_clusters} {self.over}{'' if self.n_clusters == 1 else 's'}"
        crossed = "" if self.n_also is None else f" x {self.n_also}"
        held = f"; {', '.join(self.fixed)} fixed" if self.fixed else ""
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}] (n = {self.n}, {questions}{crossed}{held})"


@dataclass(frozen=True, eq=False)
class Resampling:
    """How often every bootstrap draw contains every cluster, and every level of a crossed factor.

    A row's weight in a draw is the product of the two counts. Without a second factor all rows have its level 0,
    which every draw contains once.
    """

    codes: Int[np.ndarray, " _"]
    counts: Float[np.ndarray, "draw cluster"]
    also_codes: Int[np.ndarray, " _"]
    also_counts: Float[np.ndarray, "draw level"]
    crossed: bool

    @classmethod
    def of(
        cls, *sides: tuple[Num[np.ndarray, "..."], Labels, Labels | None], n_resamples: int, seed: int
    ) -> "Resampling":
        """Independent multinomial counts of each factor over the rows of all sides."""
        codes = cluster_codes(*((values, clusters) for values, clusters, _ in sides))
        counts = _multinomial_counts(codes, n_resamples, stream(seed, "clusters"))
        if all(also is None for *_, also in sides):
            return cls(codes, counts, np.zeros_like(codes), np.ones((n_resamples, 1)), False)
        if any(also is None for *_, also in sides):
            raise ConfigError("the second factor was given for one side only.", "Give it for both sides or for none.")
        also_codes = cluster_codes(*((values, also) for values, _, also in sides if also is not None))
        also_counts = _multinomial_counts(also_codes, n_resamples, stream(seed, "second factor"))
        return cls(codes, counts, also_codes, also_counts, True)

    def sums(self, values: Vector, rows: slice = slice(None)) -> Float[np.ndarray, " draw"]:
        """The weighted sum of the values of some rows, in every draw."""
        table = np.zeros((self.counts.shape[1], self.also_counts.shape[1]))
        np.add.at(table, (self.codes[rows], self.also_codes[rows]), values)
        return ((self.counts @ table) * self.also_counts).sum(axis=1)

    def means(self, values: Vector, rows: slice = slice(None)) -> Float[np.ndarray, " draw"]:
        """The weighted mean of the values of some rows, in every draw; NaN where a draw has none of them."""
        return ratio(self.sums(values, rows), self.sums(np.ones(len(values)), rows))

    def weights(self, draws: slice = slice(None)) -> Float[np.ndarray, "draw _"]:
        """How often each of these draws contains each row."""
        return self.counts[draws][:, self.codes] * self.also_counts[draws][:, self.also_codes]

    def interval(
        self,
        estimate: float,
        draws: Float[np.ndarray, " draw"],
        level: float,
        *,
        bounds: tuple[float, float] = (-np.inf, np.inf),
    ) -> Interval:
        """Percentiles of the draws that are not NaN, stretched around the estimate to the width of a t interval.

        The stretch is sqrt(n / (n - 1)) t_{n - 1} / z, n clusters, or levels of the second factor where these are
        fewer. The bounds are NaN where a factor has one level only, or where more than half of the draws are NaN.

        Args:
            bounds: of what is estimated; the interval ends there.

        Source: Hesterberg 2015, What Teachers Should Know About the Bootstrap.
        """
        check_level(level)
        n_clusters, n_also = self.counts.shape[1], self.also_counts.shape[1] if self.crossed else None
        low, high, error, freedom, kept = *[float("nan")] * 4, draws[~np.isnan(draws)]
        if n_clusters > 1 and n_also != 1 and 2 * len(kept) >= len(draws):
            n = n_clusters if n_also is None else min(n_clusters, n_also)
            wider, error, freedom = stretch(n, level), float(np.sqrt(n / (n - 1)) * kept.std()), n - 1.0
            ends = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
            low, high = (float(np.clip(estimate + wider * (end - estimate), *bounds)) for end in ends)
        counts = len(self.codes), n_clusters
        return Interval(estimate, low, high, *counts, level, n_also, error=error, freedom=freedom)


def stretch(n: int, level: float = CONFIDENCE) -> float:
    """How much wider a t interval of a mean of n is than the percentile interval of its bootstrap."""
    tail = (1 + level) / 2
    return float(np.sqrt(n / (n - 1)) * student.ppf(tail, n - 1) / normal.ppf(tail))


def check_level(level: float) -> None:
    """Refuse what is no level of an interval."""
    if not 0 < level < 1:
        raise ConfigError(f"the level of an interval must be between 0 and 1, got {level}.", "Use 0.95, for example.")


def bootstrap_statistic(
    statistic: Callable[..., float],
    columns: tuple[Vector, ...],
    clusters: Labels,
    *,
    also: Labels | None = None,
    n_resamples: int = 2000,
    level: float = CONFIDENCE,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    seed: int = 0,
) -> Interval:
    """`statistic(*columns)` with the stretched percentile interval of a cluster bootstrap over the rows.

    For statistics that have no function of their own here. Draws where the statistic is NaN (a constant column)
    are dropped; where that is more than half of them the bounds are NaN.

    Args:
        also: a second, crossed factor of each row, as in `bootstrap_mean`.
        bounds: of what is estimated; the interval ends there.
    """
    for column in columns[1:]:
        cluster_codes((column, clusters))  # which refuses what cannot be resampled; of the first, the next line does
    resampling = Resampling.of((columns[0], clusters, also), n_resamples=n_resamples, seed=seed)
    rows = np.arange(len(resampling.codes))
    drawn = (np.repeat(rows, resampling.weights(slice(i, i + 1))[0].astype(int)) for i in range(n_resamples))
    draws = np.array(
        [statistic(*(column[chosen] for column in columns)) if len(chosen) else np.nan for chosen in drawn], dtype=float
    )
    return resampling.interval(float(statistic(*columns)), draws, level, bounds=bounds)


def ratio(above: Float[np.ndarray, " draw"], below: Float[np.ndarray, " draw"]) -> Float[np.ndarray, " draw"]:
    """Quotient of every draw, NaN where `below` is not positive."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _multinomial_counts(
    codes: Int[np.ndarray, " _"], n_resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "draw cluster"]:
    """How often each draw contains each cluster: a row sums to the number of clusters."""
    if n_resamples < 1:
        raise ConfigError(f"n_resamples must be at least 1, got {n_resamples}.", "Use 1000 or more.")
    n_clusters = int(codes.max()) + 1
    shares = np.full(n_clusters, 1 / n_clusters)
    return rng.multinomial(n_clusters, shares, size=n_resamples).astype(float)
