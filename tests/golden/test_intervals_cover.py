"""Every interval covers its truth as often as it says, from few clusters to many and near its boundaries.

The slow test writes tests/golden/levels/intervals.csv; the short ones repeat some of its rows with fewer sets.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.streams import stream
from tests.golden.interval_sets import SETTINGS

TABLE = Path(__file__).parent / "levels" / "intervals.csv"
N_SETS = 1000


def coverage(setting: str, n_sets: int) -> dict[str, float]:
    one, hits, widths = SETTINGS[setting][1], [], []
    for seed in range(n_sets):
        found, truth = one(stream(seed, setting), seed)
        hits.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
    return {"found": float(np.mean(hits)), "median_width": float(np.median(widths))}


def least(setting: str, n_sets: int) -> float:
    """The lowest share that this many sets give by chance where the wanted coverage holds."""
    wanted = SETTINGS[setting][0]
    return wanted - 3 * np.sqrt(wanted * (1 - wanted) / n_sets)


@pytest.mark.parametrize(
    "setting",
    [
        "mean, exponential, 8 clusters",
        "mean over tokens of 16 answers",
        "ratio of sums over 8 texts",
        "difference, normal, 8 clusters",
        "mean over 20 questions x 5 seeds, a third each",
        "share 0.1, 12 clusters, 0.5 common",
        "AUC 0.97, 12 pairs",
        "AUC 0.9, 8 against 94",
        "AUC at the best of 30 layers, at most 0.65, 12 questions of 3 a side",
        "pearson r 0.5, 20 clusters of 4",
        "r 0.7 for new prompts, 8 prompts x 20 questions, 0.6 of the variance theirs",
        "within r 0.5, 8 prompts x 20 questions",
        "Hedges' g 0.8, 10 clusters",
        "alpha 0.5 of 2 raters, 20 clusters of 3, 0 missing",
        "slope 1.0 of two-valued labels, 20 clusters of 2",
        "standardised change 1.0, 3 judges, normal, 10 clusters",
    ],
)
def test_an_interval_covers_as_often_as_it_says(setting: str) -> None:
    assert coverage(setting, 100)["found"] >= least(setting, 100)


@pytest.mark.slow
def test_every_interval_covers_as_often_as_it_says() -> None:
    rows = []
    for setting, (wanted, _) in SETTINGS.items():
        rows.append({"what": setting, "nominal": CONFIDENCE, "wanted": wanted, **coverage(setting, N_SETS)})
    table = pd.DataFrame(rows).assign(n_sets=N_SETS)
    table.to_csv(TABLE, index=False, float_format="%.4g")
    short = [row["what"] for row in rows if row["found"] < least(row["what"], N_SETS)]
    assert not short, table[table["what"].isin(short)].to_string()
