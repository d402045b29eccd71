"""How the scores of texts follow the trait values they were written at: means, slopes, off-target effects, nulls."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.errors import EmptySelectionError
from persona_interp.statistics import bootstrap_mean, correlation_interval, permutation_test_paired
from persona_interp.statistics.families import in_families
from persona_interp.statistics.power import detectable_effect


def expression_table(scored: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Mean score of every trait value, judged trait and judge, with a bootstrap interval over openings."""
    rows = []
    for (trait, judged, judge, z), cell in scored.groupby(["trait", "judged", "judge", "z"], sort=False):
        found = bootstrap_mean(
            cell["score"].to_numpy(float), cell["opening"].to_numpy(str), n_resamples=n_resamples, seed=seed
        )
        rows.append({"trait": trait, "judged": judged, "judge": judge, "z": z, **found.row})
    return pd.DataFrame(rows).sort_values(["judge", "trait", "judged", "z"], kind="stable", ignore_index=True)


def effect_table(
    scored: pd.DataFrame, *, n_resamples: int = 2000, n_permutations: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """How the score of every trait follows the value of every trait: points of 100 for one standard deviation of z.

    `estimate` is the mean over openings of the least-squares slope within an opening, its interval over openings; `p`
    (two-sided) turns the slopes of whole openings round, since openings may follow z each in its own way, and `null_95`
    is the 95th percentile of the slope's size then. p is NaN with fewer than six openings, which cannot reach 0.05.
    `spearman` (with bounds) is the rank correlation of score and z over all texts,
    `rising` the share of steps from one value of z to the next at which the mean score rises. `q` corrects over the
    on-target effects by the judge whose scores come first (`declared`: primary) and, apart from them, over all others,
    where a trait's effect on a trait is one claim (`in_families`). `detectable`: the least slope found in 80 % of
    repetitions.

    Measured: without an effect on average .04 to .06 have p <= 0.05, with 8 or 12 openings whose slopes differ or not
    (tests/golden/levels/others.csv).

    Raises:
        EmptySelectionError: no opening was scored at every value of a trait.
    """
    rows = [
        {"trait": trait, "judged": judged, "judge": judge, "on_target": trait == judged}
        | _effect(cell, n_resamples, n_permutations, seed)
        for (trait, judged, judge), cell in scored.groupby(["trait", "judged", "judge"], sort=False)
    ]
    table = pd.DataFrame(rows)
    primary = table["on_target"] & (table["judge"] == table["judge"].iloc[0])
    table = in_families(table, ["trait", "judged"], primary=primary.to_numpy(bool))
    return table.sort_values(["judge", "trait", "judged"], kind="stable", ignore_index=True)


def slopes(scores: Float[np.ndarray, "draw row z"], z: Float[np.ndarray, " z"]) -> Float[np.ndarray, "draw row"]:
    """Least-squares slope of every row of scores over the values of z."""
    centred = z - z.mean()
    return scores @ centred / (centred @ centred)


def _effect(cell: pd.DataFrame, n_resamples: int, n_permutations: int, seed: int) -> dict[str, float]:
    wide = cell.pivot_table(index=["opening", "sample"], columns="z", values="score").dropna()
    if wide.empty:
        raise EmptySelectionError(
            f"no opening was scored at every value of {cell['trait'].iloc[0]} by {cell['judge'].iloc[0]}.",
            "Look at the texts: are they empty?",
        )
    z, values = wide.columns.to_numpy(float), wide.to_numpy(float)
    openings = wide.index.get_level_values("opening").to_numpy(object).astype(str)
    own = slopes(values[None], z)[0]
    found = bootstrap_mean(own, openings, n_resamples=n_resamples, seed=seed)
    ranks = correlation_interval(
        np.tile(z, len(values)),
        values.ravel(),
        np.repeat(openings, len(z)),
        kind="spearman",
        n_resamples=n_resamples,
        seed=seed,
    )
    turned = permutation_test_paired(own, np.zeros(len(own)), openings, n_permutations=n_permutations, seed=seed)
    return {
        **found.row,
        "n_openings": found.n_clusters,
        "p": turned.tested,
        "null_95": turned.null_95,
        "spearman": ranks.estimate,
        "spearman_low": ranks.low,
        "spearman_high": ranks.high,
        "rising": float(np.mean(np.diff(values.mean(axis=0)) > 0)),
        "detectable": detectable_effect(found.error, found.freedom),
    }
