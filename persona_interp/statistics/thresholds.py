"""Thresholds for alerts, set on neutral traffic so that false alarms have a stated rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.resampling import Interval
from persona_interp.statistics.shares import clustered_share, exact_share

Per = Literal["answer", "token"]
"""What a false alarm is counted over: whole answers (any of their tokens), or single tokens."""

Tokens = Float[np.ndarray, " _"]


@dataclass(frozen=True)
class Threshold:
    """An alert is raised where a score is above `value`.

    Args:
        false_alarm_rate: no more than this share of neutral answers (or tokens) raises one, on average over draws of
            the neutral traffic; None where the value was simply given.
        n: neutral answers it was set on, or clusters of them.
        mean: of all neutral scores, token by token; `sd` is their standard deviation. A z-score is relative to them.
    """

    value: float
    false_alarm_rate: float | None = None
    per: Per = "answer"
    n: int = 0
    mean: float = float("nan")
    sd: float = float("nan")


@checked
def calibrate_threshold(
    answers: Sequence[Tokens],
    *,
    false_alarm_rate: Between0And1 = 0.01,
    per: Per = "answer",
    clusters: Sequence[str] | None = None,
) -> Threshold:
    """Smallest score that a new neutral answer's maximum (or a token of it) passes with at most this probability.

    A conformal quantile (`conformal_threshold`): it holds for every n and every distribution, as long as neutral
    answers and the traffic to come are exchangeable. Per token, every answer has the same weight however long it is, so
    tokens of one answer may depend on each other.

    Args:
        answers: the scores of each neutral answer, token by token, smoothed as they will be when monitoring.
        clusters: what answers share, one a row (the question of several answers, the conversation of
            several turns), of which new traffic brings others; n is then their number. Default: each answer its own.

    Raises:
        AlignmentError: not one cluster an answer, or scores that are not finite.
        ConfigError: too few answers or clusters for the rate (n must be at least 1 / rate - 1), or a rate outside
            (0, 1).
        EmptySelectionError: an answer has no token.
    """
    _check(answers)
    if clusters is not None and len(clusters) != len(answers):
        raise AlignmentError(f"expected one cluster for each of {len(answers)} answers, got {len(clusters)}.")
    counted = [np.array([scores.max()]) if per == "answer" else scores for scores in answers]
    names = np.arange(len(answers)) if clusters is None else np.array(clusters, dtype=str)
    codes = np.unique(names, return_inverse=True)[1]
    shares = 1 / np.bincount(codes)[codes]
    weights = np.concatenate([np.full(len(one), share / len(one)) for one, share in zip(counted, shares, strict=True)])
    n, every = int(codes.max()) + 1, np.concatenate(list(answers))
    value = conformal_threshold(np.concatenate(counted), weights, n, false_alarm_rate)
    return Threshold(value, false_alarm_rate, per, n, float(every.mean()), float(every.std(ddof=1)))


def conformal_threshold(values: Tokens, weights: Tokens, n: int, rate: float) -> float:
    """The score above which a score of a new cluster is with at most this probability.

    With one score a cluster, of weight 1, the k-th smallest, k = ceil((n + 1)(1 - rate)).

    Args:
        weights: of the scores; those of each of the n clusters sum to 1, and so will those of a new one.

    Raises:
        ConfigError: too few clusters for the rate, or a rate outside (0, 1).

    Source: Vovk et al. 2005, Algorithmic Learning in a Random World; Lee, Barber and Willett 2023, Distribution-free
    inference with hierarchical data.
    """
    if not 0 < rate < 1:
        raise ConfigError(f"a false-alarm rate must be between 0 and 1, got {rate}.", "Use 0.01, for example.")
    if n < (needed := fewest_samples(rate)):
        raise ConfigError(
            f"a threshold for a false-alarm rate of {rate:g} needs at least {needed} independent neutral samples"
            f" (1 / rate - 1), got {n}.",
            "Give more of them, or allow a larger rate.",
        )
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / (n + 1) >= 1 - rate - 1e-9
    return float(values[order][int(np.argmax(reached))])


def conformal_rank(n: int, rate: float) -> int:
    """The rank k of `conformal_threshold` among n scores of as many clusters, 1 the smallest."""
    return int(np.ceil((n + 1) * (1 - rate - 1e-9)))


def fewest_samples(rate: float) -> int:
    """Independent neutral samples that a threshold for this false-alarm rate needs: 19 for 0.05, 99 for 0.01."""
    return int(np.ceil(1 / rate - 1 - 1e-9))


def measure_false_alarms(threshold: Threshold, answers: Sequence[Tokens], *, level: float = CONFIDENCE) -> Interval:
    """The share of other neutral answers (or of their tokens) that raise an alert.

    Answers are independent, so their interval is the exact binomial one; tokens are not, so theirs is that of
    `clustered_share`.

    Raises:
        EmptySelectionError: an answer has no token.
    """
    _check(answers)
    if threshold.per == "answer":
        return exact_share(sum(bool(scores.max() > threshold.value) for scores in answers), len(answers), level=level)
    alarms = np.concatenate([scores > threshold.value for scores in answers])
    clusters = np.repeat(np.arange(len(answers)), [len(scores) for scores in answers])
    return clustered_share(alarms, clusters, level=level)


def _check(answers: Sequence[Tokens]) -> None:
    if not answers or any(len(scores) == 0 for scores in answers):
        empty = sum(len(scores) == 0 for scores in answers)
        raise EmptySelectionError(
            f"neutral traffic must be answers of at least one token, got {len(answers)}, {empty} of them empty.",
            "Leave empty answers out.",
        )
    if bad := sum(int(np.sum(~np.isfinite(scores))) for scores in answers):
        raise AlignmentError(f"{bad} scores of the neutral traffic are not finite.", "Leave those answers out.")
