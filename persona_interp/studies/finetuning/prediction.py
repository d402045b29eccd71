"""What foretells a finetuned model's expression: the shift inside it, and what its data say before training."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.progress import track
from persona_interp.statistics import (
    Interval,
    correlation_interval,
    pearson,
    permutation_test_correlation,
)
from persona_interp.statistics.families import in_families
from persona_interp.statistics.nulls import NullBattery, battery_table, correlation_statistic, null_battery
from persona_interp.statistics.paired import correlation_difference
from persona_interp.statistics.permutation import Alternative
from persona_interp.statistics.power import detectable_correlation, detectable_effect
from persona_interp.studies.finetuning.prediction_grid import Grid

__all__ = ["SHIFT", "Grid", "compare_predictors", "predictor_table", "shift_correlations", "shift_nulls"]

SHIFT = "finetuning shift"
"""Name of the shift among what a predictor is held against."""


@checked
def shift_correlations(
    grid: Grid,
    *,
    named_layers: Mapping[str, int],
    n_resamples: Count = 2000,
    n_permutations: Count = 4999,
    seed: Seed = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Pearson r of finetuning shift and change of expression over cells, a row a direction, outcome, judge and layer.

    The shift is that on the outcome trait's probe prompts, so rows of one outcome differ in the direction alone:
    `same_trait` is the trait's own, and the others say how specific it is. Intervals are bootstraps over data sets;
    the seeds of a data set stay together. p exchanges whole data sets (those with equally many seeds), one-sided for a
    trait's own direction (larger shift, more expression) and two-sided for others; NaN where too few can be exchanged.
    `detectable` is the least r found in 80 % of repetitions.
    q corrects over the primary rows (`declared`: a trait's own direction at its named layer, by the judge that comes
    first in the grid) and apart from them over all others, the map, in which the layers and judges of a direction and
    outcome are one claim (`in_families`). Cells that a judge could not rate are left out of its rows.

    Args:
        named_layers: by trait of the direction, the layer named before these data were seen; `named` marks its rows.
            Any other layer picked from this table was picked on evaluation data.

    Raises:
        ConfigError: a direction's layer was not named, or the grid does not have it.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), section 4 and its appendix on other traits.
    """
    for trait in grid.directions:
        _named(grid, named_layers, trait)
    tests = {"n_resamples": n_resamples, "n_permutations": n_permutations, "seed": seed}
    pairs = [(trait, key) for trait in grid.directions for key in grid.expression]
    rows = []
    for trait, (judge, outcome) in track(pairs, "correlate shifts", total=len(pairs), show=progress):
        projected, change = grid.projected(trait, outcome)[grid.order], grid.expression[judge, outcome][grid.order]
        alternative: Alternative = "greater" if trait == outcome else "two-sided"
        for k, layer in enumerate(grid.layers):
            rows.append({"direction_trait": trait, "outcome_trait": outcome, "judge": judge, "layer": layer})
            rows[-1] |= {"same_trait": trait == outcome, "named": layer == named_layers[trait]}
            rows[-1] |= _correlated(projected[:, k], change, grid.data[grid.order], alternative, **tests)
    table = pd.DataFrame(rows)
    primary = table["same_trait"] & table["named"] & (table["judge"] == _first_judge(grid))
    return in_families(table, ["direction_trait", "outcome_trait"], primary=primary.to_numpy(bool))


@checked
def shift_nulls(
    grid: Grid, *, n_draws: Count = 200, seed: Seed = 0, progress: bool = True
) -> tuple[pd.DataFrame, dict[str, NullBattery]]:
    """Each direction's best r over layers against other directions' best, and the batteries that the table rests on.

    The layer is chosen on these data for the direction and for every member of the null alike, so the p-values are
    fair although the best r itself is optimistic. One test a trait and judge, named "TRAIT, JUDGE"; see `null_battery`
    for the families. A judge's test needs three rated cells.

    Raises:
        AlignmentError: a rated trait has a direction and no training activations.
    """
    batteries = {}
    tested = [(judge, trait) for judge, trait in grid.expression if trait in grid.directions]
    for judge, trait in track(tested, "null directions", total=len(tested), show=progress):
        change = grid.expression[judge, trait]
        rated = np.isfinite(change)
        if rated.sum() < 3:
            continue
        if trait not in grid.training:
            raise AlignmentError(f"{trait} was given without the activations that its direction was extracted from.")
        batteries[f"{trait}, {judge}"] = null_battery(
            grid.directions[trait].vectors.numpy(),
            grid.training[trait],
            grid.shifts[trait][rated],
            change[rated],
            correlation_statistic,
            other_vectors={name: d.vectors.numpy() for name, d in grid.directions.items() if name != trait},
            n_draws=n_draws,
            seed=seed,
        )
    if not batteries:
        raise EmptySelectionError("no trait of the grid has three rated cells and a direction.", "Train more cells.")
    return battery_table(batteries), batteries


@checked
def predictor_table(
    grid: Grid,
    predictors: Mapping[str, Mapping[str, Float[np.ndarray, " _"]]],
    *,
    named_layers: Mapping[str, int],
    n_resamples: Count = 2000,
    n_permutations: Count = 4999,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Pearson r of what is known before training with the shift that follows and with the change of expression.

    A predictor is the same for every seed of a data set, so the unit is the data set: seeds are averaged first, over
    the cells where both numbers are there. `against` is `SHIFT` (its own trait, at the named layer; no judge) or
    "expression". Intervals are bootstraps over data sets, p one-sided (larger predictor, more of the trait) against
    data sets exchanged, q over the primary rows (`declared`: the shift, and expression by the judge that comes first in
    the grid) and apart from them over the other judges'.

    Args:
        predictors: by name (projection difference, raw projection, ...) and trait, a value a cell; NaN where unknown.
        named_layers: by trait, the layer of the shift, named before these data were seen.

    Raises:
        AlignmentError: a predictor's trait has no direction or shifts, or not one value a cell.
        ConfigError: a trait's layer was not named, or the grid does not have it.
    """
    tests = {"n_resamples": n_resamples, "n_permutations": n_permutations, "seed": seed}
    rows = []
    for name, by_trait in predictors.items():
        for trait, values in by_trait.items():
            _checked(grid, name, trait, values)
            layer = _named(grid, named_layers, trait)
            outcomes = {(SHIFT, None): grid.projected(trait, trait)[:, grid.layers.index(layer)]}
            outcomes |= {("expression", judge): y for (judge, rated), y in grid.expression.items() if rated == trait}
            for (against, judge), outcome in outcomes.items():
                rows.append({"predictor": name, "trait": trait, "against": against, "judge": judge, "layer": layer})
                x, y, data = _by_data(values, outcome, grid.data)
                rows[-1] |= _correlated(x, y, data, "greater", **tests)
    if not rows:
        raise EmptySelectionError("at least one predictor is needed, by name and trait, got none.")
    table = pd.DataFrame(rows)
    primary = table["judge"].isna() | (table["judge"] == _first_judge(grid))
    return in_families(table, ["predictor", "trait", "against"], primary=primary.to_numpy())


@checked
def compare_predictors(
    grid: Grid,
    predictors: Mapping[str, Mapping[str, Float[np.ndarray, " _"]]],
    *,
    named_layers: Mapping[str, int],
) -> pd.DataFrame:
    """Whether one predictor tells the change of expression better than another: paired over the same data sets.

    The shift at the named layer is one of the predictors (`SHIFT`). One row a trait, judge and pair, over the data sets
    where both predictors and the expression are there, seeds averaged: r_a, r_b, and `estimate` with its interval, the
    difference of the correlations on Fisher's scale (`correlation_difference`), above 0 where a is the better one. p is
    two-sided, NaN with fewer than eight data sets, q over the primary rows (`declared`: pairs with the shift, by the
    judge that comes first in the grid) and apart from them over the others. `detectable` is the least difference found
    in 80 % of repetitions.

    Args:
        predictors: as in `predictor_table`.

    Raises:
        AlignmentError, ConfigError: as in `predictor_table`.
        EmptySelectionError: no pair of predictors of a trait that was rated.
    """
    rows = []
    for (judge, trait), change in grid.expression.items():
        if trait not in grid.directions:
            continue
        shift = grid.projected(trait, trait)[:, grid.layers.index(_named(grid, named_layers, trait))]
        given = {SHIFT: shift} | {
            name: _checked(grid, name, trait, of[trait]) for name, of in predictors.items() if trait in of
        }
        for a, b in combinations(given, 2):
            there = np.isfinite(given[a]) & np.isfinite(given[b])
            y = np.where(there, change, np.nan)
            x_a, expressed, _ = _by_data(given[a], y, grid.data)
            x_b = _by_data(given[b], y, grid.data)[0]
            found = correlation_difference(x_a, x_b, expressed)
            rows.append({"trait": trait, "judge": judge, "a": a, "b": b})
            rows[-1] |= {"r_a": pearson(x_a, expressed), "r_b": pearson(x_b, expressed), "estimate": found.estimate}
            rows[-1] |= {"low": found.low, "high": found.high, "p": found.p, "n_data": found.n}
            rows[-1] |= {"detectable": detectable_effect(found.error, found.freedom)}
    if not rows:
        raise EmptySelectionError("predictors of rated traits are needed, by name, got none.")
    table = pd.DataFrame(rows)
    primary = (table["a"] == SHIFT) & (table["judge"] == _first_judge(grid))
    return in_families(table, ["trait", "a", "b"], primary=primary.to_numpy())


def _first_judge(grid: Grid) -> str | None:
    """The judge that comes first in the grid, whose rows are primary; None where nothing was rated."""
    return next((judge for judge, _ in grid.expression), None)


def _checked(grid: Grid, name: str, trait: str, values: Float[np.ndarray, " _"]) -> Float[np.ndarray, " cell"]:
    """A predictor's values, one a cell, of a trait that the grid has."""
    if trait not in grid.directions or trait not in grid.shifts:
        raise AlignmentError(f"{name} was given for {trait}, which has no direction or shifts in the grid.")
    if len(values) != len(grid.cells):
        raise AlignmentError(f"{name} of {trait} has {len(values)} values for {len(grid.cells)} cells.")
    return values


def _named(grid: Grid, named_layers: Mapping[str, int], trait: str) -> int:
    named = named_layers.get(trait)
    if named is None or named not in grid.layers:
        raise ConfigError(f"no layer of this grid was named in advance for {trait}: got {named}.")
    return named


def _by_data(
    x: Float[np.ndarray, " cell"], y: Float[np.ndarray, " cell"], data: Shaped[np.ndarray, " cell"]
) -> tuple[Float[np.ndarray, " data"], Float[np.ndarray, " data"], Shaped[np.ndarray, " data"]]:
    """Both columns averaged over the cells of each data set that have both."""
    both = np.isfinite(x) & np.isfinite(y)
    names, codes = np.unique(data[both], return_inverse=True)
    sizes = np.bincount(codes, minlength=len(names))
    means = (np.bincount(codes, column[both], minlength=len(names)) / sizes for column in (x, y))
    return next(means), next(means), names


def _correlated(
    x: Float[np.ndarray, " row"],
    y: Float[np.ndarray, " row"],
    data: Shaped[np.ndarray, " row"],
    alternative: Alternative,
    *,
    n_resamples: int,
    n_permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Pearson r over the rows that have both numbers, with its interval over data sets and its p.

    Seeds come in the same order in every data set.
    """
    there = np.isfinite(x) & np.isfinite(y)
    x, y, data = x[there], y[there], data[there]
    interval, p = Interval(*(float("nan"),) * 3, n=0, n_clusters=0), float("nan")
    if len(x):
        interval = correlation_interval(x, y, data, n_resamples=n_resamples, seed=seed)
        if _exchangeable(data):
            test = permutation_test_correlation(
                x, y, data, alternative=alternative, n_permutations=n_permutations, seed=seed
            )
            p = test.tested
    return {
        **{"estimate": interval.estimate, "low": interval.low, "high": interval.high},
        **{"n": interval.n, "n_data": interval.n_clusters, "p": p, "alternative": alternative},
        "detectable": detectable_correlation(interval.error, interval.freedom),
    }


def _exchangeable(data: Shaped[np.ndarray, " row"]) -> bool:
    """Whether two data sets have equally many rows."""
    sizes = np.unique(data, return_counts=True)[1]
    return len(np.unique(sizes)) < len(sizes)
