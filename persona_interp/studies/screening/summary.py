"""What a screening says of a data set as a whole, and its samples in the order of a score."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from scipy.stats import norm

from persona_interp.errors import EmptySelectionError
from persona_interp.statistics import bootstrap_mean
from persona_interp.statistics.thresholds import exact_share
from persona_interp.studies.screening.config import Channel, Score, ScreenConfig
from persona_interp.studies.screening.forms import PERCENTILES

MOST_RESAMPLED = 2_000
"""Above so many samples the interval of a mean is the normal one, which needs no memory for draws."""

Values = Float[np.ndarray, " _"]


def usable(table: pa.Table) -> pa.Table:
    """The samples that have scores.

    Raises:
        EmptySelectionError: there is none.
    """
    kept = table.filter(pc.is_null(table["reason"]))
    if len(kept) == 0:
        reasons = table["reason"].slice(0, 3).to_pylist()
        raise EmptySelectionError(
            f"none of {len(table):,} rows could be screened.", *(f"Among the reasons: {reason}" for reason in reasons)
        )
    return kept


def unusable(table: pa.Table) -> pa.Table:
    """The rows that have none: row, name, reason."""
    return table.filter(pc.is_valid(table["reason"])).select(["row", "name", "reason"])


def score_values(table: pa.Table, channel: Channel, score: Score) -> Values:
    """The values of a score, in the order of the rows; NaN where a text judge could not tell."""
    return table[channel.column(score)].to_numpy().astype(np.float64)


def summarise(
    table: pa.Table,
    channels: Sequence[Channel],
    config: ScreenConfig,
    *,
    score: Score,
    thresholds: Mapping[Channel, float],
) -> pd.DataFrame:
    """One row a direction, layer and score: mean with its interval, spread, percentiles, share above the threshold.

    Args:
        table: usable samples.
        score: what the thresholds are for.
        thresholds: empty without clean data.
    """
    rows = []
    for channel in channels:
        for each in channel.scores(config):
            values = score_values(table, channel, each)
            limit = thresholds.get(channel) if each == score else None
            place = {"direction": channel.name, "layer": channel.layer, "score": each}
            rows.append(place | _moments(values[np.isfinite(values)]) | _above(values, limit))
    return pd.DataFrame(rows)


def rank(table: pa.Table, channel: Channel, score: Score, threshold: float | None) -> pd.DataFrame:
    """The samples with the largest score first, rows with equal scores in their order; unscored ones are left out."""
    values = score_values(table, channel, score)
    order = np.argsort(-values, kind="stable")[: int(np.isfinite(values).sum())]
    over = [None] * len(order) if threshold is None else values[order] > threshold
    return pd.DataFrame(
        {
            "direction": channel.name,
            "layer": channel.layer,
            "rank": np.arange(1, len(order) + 1, dtype=np.int64),
            "row": table["row"].to_numpy()[order],
            "name": table["name"].combine_chunks().take(order).to_pandas(),
            "score": values[order],
            "above_threshold": pd.array(over, dtype="boolean"),
        }
    )


def _moments(values: Values) -> dict[str, object]:
    n = len(values)
    if n == 0:
        return {"n": 0}
    mean, sd = float(values.mean()), float(values.std(ddof=1)) if n > 1 else float("nan")
    if n <= MOST_RESAMPLED:
        interval = bootstrap_mean(values, np.arange(n))
        low, high, kind = interval.low, interval.high, "bootstrap"
    else:
        half = float(norm.ppf(0.975)) * sd / math.sqrt(n)
        low, high, kind = mean - half, mean + half, "normal"
    quantiles = np.percentile(values, PERCENTILES)
    named = {f"p{p:02d}": float(q) for p, q in zip(PERCENTILES, quantiles, strict=True)}
    return {"n": n, "mean": mean, "low": low, "high": high, "interval": kind, "sd": sd, **named}


def _above(values: Values, threshold: float | None) -> dict[str, object]:
    if threshold is None:
        return {"threshold": None, "n_above": None, "share_above": None, "share_low": None, "share_high": None}
    finite = values[np.isfinite(values)]
    hits = int((finite > threshold).sum())
    share = exact_share(hits, len(finite))
    return {
        "threshold": threshold,
        "n_above": hits,
        "share_above": share.estimate,
        "share_low": share.low,
        "share_high": share.high,
    }
