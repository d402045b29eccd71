"""Intervals that `analyses/from_summaries.py` makes of saved summaries; the slow test writes levels/summaries.csv."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "analyses"))

from from_summaries import auc_ends, exact, p_of_zero, stretched  # noqa: E402

from persona_interp.statistics import auc  # noqa: E402
from persona_interp.statistics.levels import CONFIDENCE  # noqa: E402
from persona_interp.statistics.streams import stream  # noqa: E402

TABLE = Path(__file__).parent / "levels" / "summaries.csv"
Rng = np.random.Generator


def widened(rng: Rng, n: int) -> pd.DataFrame:
    """One mean of 0 with the percentile interval of its bootstrap, widened."""
    values = rng.standard_normal(n)
    low, high = np.quantile(values[rng.integers(0, n, (1000, n))].mean(axis=1), [0.025, 0.975])
    return stretched(pd.DataFrame({"estimate": [values.mean()], "low": low, "high": high}), [n])


def mean(n: int) -> Callable[[Rng], float]:
    def one(rng: Rng) -> float:
        table = widened(rng, n)
        return float(table["low"].iloc[0] <= 0 <= table["high"].iloc[0])

    return one


def accepted(n: int) -> Callable[[Rng], float]:
    def one(rng: Rng) -> float:
        table = widened(rng, n)
        estimate, low, high = (table[name].to_numpy() for name in ("estimate", "low", "high"))
        return float(p_of_zero(estimate, low, high, [n])[0] > 0.05)

    return one


def area(n: int, truth: float, shared: float) -> Callable[[Rng], float]:
    """Two rows a cluster and side, this share of the variance common to both."""
    from scipy.stats import norm

    def one(rng: Rng) -> float:
        sides = [
            np.sqrt(shared) * np.repeat(rng.standard_normal(n), 2) + np.sqrt(1 - shared) * rng.standard_normal(2 * n)
            for _ in range(2)
        ]
        low, high = auc_ends(auc(sides[0] + np.sqrt(2) * norm.ppf(truth), sides[1]), n)
        return float(low <= truth <= high)

    return one


WANTED = {7: 0.945}
"""Seven clusters cover a little less than the nominal level."""

CASES: dict[str, tuple[Callable[[Rng], float], float]] = {
    **{f"widened percentiles of a mean, {n} clusters": (mean(n), WANTED.get(n, CONFIDENCE)) for n in (7, 12, 16, 20)},
    **{f"p of a mean of 0 above 0.05, {n} clusters": (accepted(n), WANTED.get(n, CONFIDENCE)) for n in (7, 12, 16, 20)},
    **{
        f"AUC {truth}, {n} clusters of two a side, {shared} common": (area(n, truth, shared), CONFIDENCE)
        for n, truth, shared in ((12, 0.7, 1.0), (20, 0.5, 0.5), (20, 0.9, 1.0), (20, 0.97, 0.5), (23, 0.99, 1.0))
    },
}


def least(name: str, n_sets: int) -> float:
    """The lowest share that this many sets give by chance where the wanted coverage holds."""
    wanted = CASES[name][1]
    return wanted - 3 * np.sqrt(wanted * (1 - wanted) / n_sets)


def found(name: str, n_sets: int) -> float:
    rng = stream(0, name)
    return float(np.mean([CASES[name][0](rng) for _ in range(n_sets)]))


@pytest.mark.parametrize("name", list(CASES)[1::3])
def test_intervals_of_summaries_cover(name: str):
    assert found(name, 300) >= max(least(name, 300), 0.9)


def test_percentiles_that_are_not_widened_do_not_cover_and_shares_are_exact():
    rng, n = stream(1, "plain"), 7
    hits = []
    for _ in range(400):
        values = rng.standard_normal(n)
        low, high = np.quantile(values[rng.integers(0, n, (500, n))].mean(axis=1), [0.025, 0.975])
        hits.append(low <= 0 <= high)
    assert np.mean(hits) < 0.9
    table = exact(pd.DataFrame({"estimate": [0.0, 0.75], "n": [12, 12]}))
    np.testing.assert_allclose(table["high"], [1 - 0.025 ** (1 / 12), 0.94514], atol=1e-4)
    assert table["low"].iloc[0] == 0


@pytest.mark.slow
def test_the_table_of_levels_of_summaries():
    n_sets = 2000
    rows = [
        {"what": name, "nominal": 0.95, "wanted": wanted, "found": found(name, n_sets), "n_sets": n_sets}
        for name, (_, wanted) in CASES.items()
    ]
    table = pd.DataFrame(rows)
    table.to_csv(TABLE, index=False, float_format="%.4g", lineterminator="\n")
    bounds = [max(least(name, n_sets), 0.93) for name in CASES]
    assert (table["found"] >= bounds).all(), table
