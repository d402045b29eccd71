"""What preference pairs say together: the mean difference of their answers, and the pairs in its order."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float
from scipy.stats import t as student

from persona_interp.statistics import bootstrap_mean, permutation_test_paired
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.power import detectable_effect
from persona_interp.statistics.resampling import Interval
from persona_interp.statistics.rows import Labels, cluster_codes
from persona_interp.statistics.shares import clustered_share
from persona_interp.studies.screening.config import Channel
from persona_interp.studies.screening.forms import PAIR_SUMMARY, PAIRS
from persona_interp.studies.screening.pairs import SIDES, TOKENS, pair_column
from persona_interp.studies.screening.summary import MOST_RESAMPLED

FLIPPED, STUDENT = "signs of prompts flipped", "Student's t over prompts"
Side = Float[np.ndarray, " pair"]


def pair_table(table: pa.Table, channel: Channel) -> pd.DataFrame:
    """The usable pairs with the largest difference first, equal ones in the order of their rows."""
    chosen, rejected = sides_of(table, channel)
    order = np.argsort(-(chosen - rejected), kind="stable")
    kept = table.select(["row", "name", "prompt", *TOKENS]).take(pa.array(order)).to_pandas()
    found = kept.assign(direction=channel.name, layer=channel.layer, rank=np.arange(1, len(order) + 1))
    numbers = {"chosen": chosen[order], "rejected": rejected[order], "difference": (chosen - rejected)[order]}
    return found.assign(**numbers)[PAIRS.names]


def pair_summary(table: pa.Table, channels: tuple[Channel, ...]) -> pd.DataFrame:
    """One row a direction and layer: `pair_statistics` of all usable pairs."""
    prompts = table["prompt"].to_numpy(zero_copy_only=False)
    rows = []
    for channel in channels:
        place = {"direction": channel.name, "layer": channel.layer}
        rows.append(place | pair_statistics(*sides_of(table, channel), prompts))
    return PAIR_SUMMARY.checked(pd.DataFrame(rows, columns=PAIR_SUMMARY.names))


def sides_of(table: pa.Table, channel: Channel) -> tuple[Side, Side]:
    """The projections of the chosen and of the rejected answers."""
    chosen, rejected = (table[pair_column(channel, side)].to_numpy().astype(np.float64) for side in SIDES)
    return chosen, rejected


def pair_statistics(chosen: Side, rejected: Side, prompts: Labels) -> dict[str, Any]:
    """Mean of chosen minus rejected over pairs, its interval and p, and the share of pairs in which it is positive.

    Prompts are the unit: all pairs of one are drawn, and change their signs, together. The interval is that of
    `bootstrap_mean`, p (two-sided) that of `permutation_test_paired`; above 2,000 prompts both are Student's t on the
    same error. p is missing where no test is possible: with five prompts or fewer. The share's interval is
    `clustered_share`. Measured with 12 and 40 prompts of 1 to 3 pairs: without a difference p is at most 0.05 in .045
    to .053 where differences are normal, in .068 and .052 where they are exponential; the interval covers .95 to .98
    (tests/golden/levels/others.csv).
    """
    difference, n_prompts = chosen - rejected, len(np.unique(prompts))
    if n_prompts <= MOST_RESAMPLED:
        interval, kind, test = bootstrap_mean(difference, prompts), "bootstrap", FLIPPED
        p = permutation_test_paired(chosen, rejected, prompts).tested
    else:
        interval, kind, test = _normal_mean(difference, prompts), "normal", STUDENT
        error = interval.error
        p = float(2 * student.sf(abs(interval.estimate) / error, interval.freedom)) if error > 0 else float("nan")
    share = clustered_share(difference > 0, prompts)
    return {
        "n": len(difference),
        "n_prompts": n_prompts,
        "chosen": float(chosen.mean()),
        "rejected": float(rejected.mean()),
        **{"mean": interval.estimate, "low": interval.low, "high": interval.high, "interval": kind},
        "sd": float(difference.std(ddof=1)) if len(difference) > 1 else float("nan"),
        "p": p,
        "detectable": float(detectable_effect(interval.error, interval.freedom)),
        "test": test,
        **{"share_higher": share.estimate, "share_low": share.low, "share_high": share.high},
    }


def _normal_mean(values: Side, clusters: Labels) -> Interval:
    """Mean of all rows with Student's t on the error over clusters."""
    codes = cluster_codes((values, clusters))
    n, mean = int(codes.max()) + 1, float(values.mean())
    shares = np.bincount(codes, (values - mean) / len(values), n)
    error = float(np.sqrt(n / (n - 1) * (shares**2).sum()))
    half = float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return Interval(mean, mean - half, mean + half, len(values), n, over="prompt", error=error, freedom=n - 1.0)
