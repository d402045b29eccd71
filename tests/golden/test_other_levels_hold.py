"""Levels of tests and intervals that belong to one measurement; the slow test writes tests/golden/levels/others.csv.

Their short versions are beside their measurements, in tests/unit/studies: thresholds and cross-fitted regressions in
screening, inventories in inventory/test_statistics.py, slopes in psychadapter/test_expression.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from persona_interp.statistics import auc_intervals, correlation_interval, permutation_test_paired, spearman_p
from persona_interp.statistics.auc_interval import auc_p, auc_test, delta_p
from persona_interp.statistics.exceedances import exceedances
from persona_interp.statistics.levels import ALPHA, CONFIDENCE
from persona_interp.statistics.streams import stream
from persona_interp.statistics.thresholds import conformal_rank
from persona_interp.studies.inventory.draws import balanced
from persona_interp.studies.inventory.reliability import cronbach_alpha, feldt_bounds
from persona_interp.studies.psychadapter.expression_tables import effect_table
from persona_interp.studies.screening.cross_fitted import cross_fitted_auc
from persona_interp.studies.screening.detection import percentile_threshold
from persona_interp.studies.screening.pair_summary import pair_statistics

TABLE = Path(__file__).parent / "levels" / "others.csv"
Rng = np.random.Generator


def passing(n: int, per_group: int) -> Callable[[Rng, int], float]:
    def one(rng: Rng, seed: int) -> float:  # noqa: ARG001
        groups = np.repeat(np.arange(n), per_group)
        clean = rng.standard_normal(n)[groups] + 0.5 * rng.standard_normal(n * per_group)
        limit = percentile_threshold(clean, groups=groups)
        return float(np.mean(rng.standard_normal(400) + 0.5 * rng.standard_normal(400) > limit))

    return one


def exceeding(n_clean: int, n: int, decimals: int) -> Callable[[Rng, int], float]:
    def one(rng: Rng, seed: int) -> float:  # noqa: ARG001
        clean, data = (rng.standard_exponential(size).round(decimals) for size in (n_clean, n))
        hits = int((data > percentile_threshold(clean)).sum())
        found = exceedances(hits, n, n_reference=n_clean, k=conformal_rank(n_clean, 0.05))
        return float(found.p <= ALPHA)

    return one


def half(n: int, m: int, rows: int, alike: float) -> Callable[[Rng, int], float]:
    """The p of an AUC of one half, by its error on log-odds: clusters a side, answers a cluster, their correlation."""

    def one(rng: Rng, seed: int) -> float:  # noqa: ARG001
        sides = [_clustered(rng, size, rows, alike)[:, None] for size in (n, m)]
        clusters = [np.repeat(np.arange(size), rows) + start for size, start in ((n, 0), (m, n))]
        return float(auc_p(auc_intervals(*sides, *clusters)[0]) <= ALPHA)

    return one


def blind(n: int, m: int, rows: int, alike: float, values: int) -> Callable[[Rng, int], float]:
    """The p of an AUC of one half of scores of so few values that an AUC of 0 or 1 happens."""

    def one(rng: Rng, seed: int) -> float:  # noqa: ARG001
        sides = [np.floor(values * norm.cdf(_clustered(rng, size, rows, alike)))[:, None] for size in (n, m)]
        clusters = [np.repeat(np.arange(size), rows) + start for size, start in ((n, 0), (m, n))]
        return float(auc_test(auc_intervals(*sides, *clusters)[0]) <= ALPHA)

    return one


def unordered(n: int, rows: int, alike: float) -> Callable[[Rng, int], float]:
    """The p of a rank correlation of zero, of columns whose rows are alike within clusters."""

    def one(rng: Rng, seed: int) -> float:
        x, y = (_clustered(rng, n, rows, alike) for _ in "xy")
        clusters = np.repeat(np.arange(n), rows)
        found = correlation_interval(x, y, clusters, kind="spearman", n_resamples=400, seed=seed)
        return float(spearman_p(found) <= ALPHA)

    return one


def no_delta(n: int, rows: int, alike: float) -> Callable[[Rng, int], float]:
    """The p of a Cliff's delta of zero, by the rank sum of one answer a cluster."""

    def one(rng: Rng, seed: int) -> float:  # noqa: ARG001
        a, b = (_clustered(rng, n, rows, alike) for _ in range(2))
        return float(delta_p(2 * float((a[:, None] > b).mean()) - 1, n) <= ALPHA)

    return one


def _clustered(rng: Rng, n: int, rows: int, alike: float) -> np.ndarray:
    shared = np.repeat(rng.standard_normal(n), rows)
    return np.sqrt(alike) * shared + np.sqrt(1 - alike) * rng.standard_normal(n * rows)


def keys(up: int, down: int) -> Callable[[Rng, int], float]:
    def one(rng: Rng, seed: int) -> float:
        signs = np.repeat([1, -1], [up, down])
        values = balanced(1.0 * signs + rng.standard_normal(len(signs)), signs)
        items = np.arange(len(signs))
        p = permutation_test_paired(values, np.zeros(len(signs)), items, n_permutations=399, seed=seed).p_value
        return float(p <= ALPHA)

    return one


def slope(n_openings: int, differ: float) -> Callable[[Rng, int], float]:
    def one(rng: Rng, seed: int) -> float:
        cells = [
            {"trait": "a", "judged": "a", "judge": "j", "z": float(z), "opening": str(i), "sample": 0}
            | {"score": rng.exponential() + of_opening * z}
            for i in range(n_openings)
            for of_opening in (differ * rng.standard_normal(),)
            for z in range(-3, 4)
        ]
        found = effect_table(pd.DataFrame(cells), n_resamples=2, n_permutations=399, seed=seed)
        return float(found["p"].iloc[0] <= ALPHA)

    return one


def alpha(n: int, r: float) -> Callable[[Rng, int], float]:
    def one(rng: Rng, seed: int) -> float:  # noqa: ARG001
        k = 10
        rows = np.sqrt(r) * rng.standard_normal((n, 1)) + np.sqrt(1 - r) * rng.standard_normal((n, k))
        low, high = feldt_bounds(float(cronbach_alpha(rows)), n, k)
        return float(low <= k * r / (1 + (k - 1) * r) <= high)

    return one


def regression(n: int, k: int) -> Callable[[Rng, int], float]:
    def one(rng: Rng, seed: int) -> float:
        labels = np.arange(n) < 0.3 * n
        scores = {f"score {i}": rng.standard_normal(n) for i in range(k)}
        found, _ = cross_fitted_auc(scores, labels, n_permutations=30, seed=seed)
        return float(found.low <= 0.5 <= found.high)

    return one


def pairs(n_prompts: int, skewed: bool, alike: float, *, covered: bool) -> Callable[[Rng, int], float]:
    """Preference pairs without a mean difference, one to three of each prompt: the p of zero, or the interval."""

    def one(rng: Rng, seed: int) -> float:  # noqa: ARG001
        prompts = np.repeat(np.arange(n_prompts), rng.integers(1, 4, n_prompts))
        draw = (lambda size: rng.standard_exponential(size) - 1) if skewed else rng.standard_normal
        difference = np.sqrt(alike) * draw(n_prompts)[prompts] + np.sqrt(1 - alike) * draw(len(prompts))
        found: dict[str, Any] = pair_statistics(difference, np.zeros(len(prompts)), prompts)
        return float(found["low"] <= 0 <= found["high"] if covered else found["p"] <= ALPHA)

    return one


PASSED, REJECTED, COVERED = "share of new clean samples above", "rejected without an effect", "covered"
SETTINGS: dict[tuple[str, str], tuple[int, Callable[[Rng, int], float]]] = {
    **{(PASSED, f"threshold at percentile 95, {n} samples"): (1000, passing(n, 1)) for n in (19, 34, 49, 100)},
    (PASSED, "threshold at percentile 95, 24 questions of 4 answers"): (1000, passing(24, 4)),
    **{
        (REJECTED, f"exceedances of {n} samples, threshold of {n_clean} clean ones{ties}"): (
            2000,
            exceeding(n_clean, n, decimals),
        )
        for n_clean, n, decimals, ties in (
            *((19, 50, 12, ""), (40, 300, 12, ""), (100, 100, 12, ""), (400, 2000, 12, "")),
            (100, 300, 1, ", ties"),
        )
    },
    **{
        (REJECTED, f"AUC of one half, {n} against {m} clusters of {rows}, {alike:g} alike"): (
            2000,
            half(n, m, rows, alike),
        )
        for n, m, rows, alike in ((12, 12, 1, 0.0), (40, 40, 1, 0.0), (8, 94, 1, 0.0), (20, 20, 3, 0.5))
    },
    **{
        (REJECTED, f"AUC of one half, {n} against {m} clusters of {rows}, {alike:g} alike, {values} scores"): (
            2000,
            blind(n, m, rows, alike, values),
        )
        for n, m, rows, alike, values in ((3, 7, 1, 0.0, 100), (5, 5, 1, 0.0, 100), (20, 20, 2, 0.5, 3))
    },
    **{
        (REJECTED, f"rank correlation of zero, {n} clusters of {rows}, {alike:g} alike"): (
            1000,
            unordered(n, rows, alike),
        )
        for n, rows, alike in ((10, 1, 0.0), (20, 3, 0.5), (60, 1, 0.0))
    },
    **{
        (REJECTED, f"Cliff's delta of zero, {n} clusters of {rows} a side, {alike:g} alike"): (
            2000,
            no_delta(n, rows, alike),
        )
        for n, rows, alike in ((12, 1, 0.0), (20, 1, 0.0), (20, 4, 0.5), (20, 4, 0.95))
    },
    **{
        (REJECTED, f"inventories under yes-saying, {u} and {d} keys"): (1000, keys(u, d))
        for u, d in ((17, 7), (5, 5), (7, 3))
    },
    **{
        (REJECTED, f"slopes of {n} openings that differ by {differ:g}"): (500, slope(n, differ))
        for n in (8, 12)
        for differ in (0.0, 1.0)
    },
    **{
        (COVERED, f"Cronbach's alpha, {n} rows, 10 items, r {r:g}"): (2000, alpha(n, r))
        for n in (10, 30)
        for r in (0.0, 0.1, 0.5)
    },
    **{
        (what, f"preference pairs of {n} prompts, 1 to 3 each, {kind}"): (
            1000,
            pairs(n, kind == "exponential", 0.5, covered=what == COVERED),
        )
        for what in (REJECTED, COVERED)
        for n in (12, 40)
        for kind in ("normal", "exponential")
    },
    **{
        (COVERED, f"cross-fitted AUC without information, {n} samples, {k} scores"): (200, regression(n, k))
        for n, k in ((40, 2), (100, 6))
    },
}


@pytest.mark.slow
def test_every_level_holds() -> None:
    rows, missed = [], []
    for (what, setting), (n_sets, one) in SETTINGS.items():
        found = [one(stream(seed, setting), seed) for seed in range(n_sets)]
        nominal = CONFIDENCE if what == COVERED else ALPHA
        share, error = float(np.mean(found)), float(np.std(found) / np.sqrt(n_sets))
        rows.append({"what": what, "setting": setting, "nominal": nominal, "found": share, "n_sets": n_sets})
        bound = 3 * max(error, np.sqrt(nominal * (1 - nominal) / n_sets) if what != PASSED else 0.0)
        if (share < nominal - bound) if what == COVERED else (share > nominal + bound):
            missed.append(rows[-1])
    pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.4g")
    assert not missed
