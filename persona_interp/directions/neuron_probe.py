"""How distributed a trait is over neurons: a probe on the k best of them, against all of them, and against any k.

On the training folds neurons are ordered by an l1-penalised logistic regression (those that enter first), and the first
k are fitted again without it. If a handful tells the trait as well as the dense direction does, the trait is structured
in neurons; if k random neurons do it as well, it is diffuse: it can be read nearly anywhere.

Source: Gurnee et al. 2023, Finding Neurons in a Haystack (arXiv 2305.01610), k-sparse probing.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Seed, Some
from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.progress import track
from persona_interp.statistics import auc_intervals
from persona_interp.statistics.draws import LEAST_FOR_A_RANGE
from persona_interp.statistics.streams import stream

KS = (1, 2, 4, 8, 16, 32, 64, 128)
SCREENED = 256
"""Neurons with the largest |t| on the training folds, of which the l1 path is made."""
_PENALTIES = tuple(float(c) for c in np.geomspace(0.003, 1.0, 9))


@dataclass(frozen=True, eq=False)
class _Fold:
    train: Bool[np.ndarray, " sample"]
    test: Bool[np.ndarray, " sample"]


@checked
def neuron_probe(
    neurons: Float[np.ndarray, "sample neuron"],
    residuals: Float[np.ndarray, "sample d_model"],
    positive: Bool[np.ndarray, " sample"],
    questions: Shaped[np.ndarray, " sample"],
    *,
    ks: Some[Count] = KS,
    n_folds: Count = 5,
    n_permutations: CountOrNone = 100,
    n_random: CountOrNone = 100,
    seed: Seed = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Held-out AUC of probes of k neurons and of the dense direction: readout, k, auc, low, high, null_high, p, n_null.

    Folds hold out whole questions. `sparse`: the first k neurons of the l1 path; its null shuffles which pole is which
    within questions and makes everything anew. `random`: the mean over draws of k neurons, its range the middle 95 %
    of the draws. `direction`: the mean difference of the residuals (the persona vector's way), and `all`: a ridge
    logistic regression on all residual dimensions; both with their null too. Intervals are over questions and hold the
    fitted probes fixed. For `sparse` the column p_random ranks it among the random draws.

    Args:
        neurons: pooled activations of all blocks that write, side by side.
        residuals: pooled residuals at the direction's place, of the same samples.

    Raises:
        AlignmentError: lengths differ, a number is not finite, a pole has no sample outside of a fold, or there are
            fewer questions than folds.
        EmptySelectionError: more neurons asked than there are, or none that differs between samples.
    """
    lengths = [len(neurons), len(residuals), len(positive), len(questions)]
    if len(set(lengths)) > 1:
        raise AlignmentError(f"neurons, residuals, positive and questions must be of one length, got {lengths}.")
    if not 2 <= n_folds <= (n_questions := len(np.unique(questions))):
        raise AlignmentError(f"n_folds must be 2 or more, up to the {n_questions} questions, got {n_folds}.")
    if max(ks) > neurons.shape[1]:
        raise EmptySelectionError(f"k must be at most the {neurons.shape[1]} neurons that there are, got {max(ks)}.")
    if not (np.isfinite(neurons).all() and np.isfinite(residuals).all()):
        raise AlignmentError("neurons and residuals must be finite.", "Leave out samples without a token.")
    if not (neurons.std(0) > 0).any():
        raise EmptySelectionError("no neuron differs between samples.", "Look at what was extracted.")
    asked = [set(questions[side].tolist()) for side in (positive, ~positive)]
    if min(map(len, asked)) < 2 or not all(
        positive[fold.train].any() and not positive[fold.train].all() for fold in _folds(questions, n_folds, seed)
    ):
        raise AlignmentError(
            f"a probe needs samples of both poles outside of every fold; they are of {len(asked[0])} and"
            f" {len(asked[1])} questions.",
            "Ask both sides of every question.",
        )
    folds = list(_folds(questions, n_folds, seed))
    rng, nulls = stream(seed, "shuffled poles"), []
    rounds = range(n_permutations + 1)
    for k in track(rounds, "neuron probes", total=len(rounds), show=progress):
        labels = positive if k == 0 else _shuffled(positive, questions, rng)
        nulls.append(_scores(neurons, residuals, labels, folds, ks) | {"labels": labels})
    rows = []
    for readout, k in [*(("sparse", k) for k in ks), ("direction", 0), ("all", 0)]:
        found = _auc(nulls[0][readout, k], positive, questions)
        under = np.array([_plain_auc(null[readout, k], null["labels"]) for null in nulls[1:]])
        p, high = _rank(found["auc"], under)
        rows.append({"readout": readout, "k": k or None, **found, "p": p, "null_high": high, "n_null": len(under)})
    for k, own in zip(ks, list(rows), strict=False):
        sets = _random_sets(neurons, k, n_random, stream(seed, f"random neurons {k}"))
        draws = np.array([_plain_auc(_fitted(neurons[:, some], positive, folds), positive) for some in sets])
        own["p_random"] = _rank(own["auc"], draws)[0]
        if len(draws):
            low, high = np.quantile(draws, [0.025, 0.975]) if len(draws) >= LEAST_FOR_A_RANGE else (np.nan, np.nan)
            rows.append(
                {"readout": "random", "k": k, "auc": draws.mean(), "low": low, "high": high, "n_null": len(draws)}
            )
    columns = ["readout", "k", "auc", "low", "high", "null_high", "p", "p_random", "n_null", "n", "n_questions"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _rank(auc: float, draws: np.ndarray) -> tuple[float, float]:
    """The p of an AUC among draws and their 95th percentile; NaN with fewer than 19."""
    if len(draws) < 19:
        return float("nan"), float("nan")
    return (1 + int((draws >= auc).sum())) / (1 + len(draws)), float(np.quantile(draws, 0.95))


def _folds(questions: np.ndarray, n_folds: int, seed: int) -> Iterator[_Fold]:
    names = stream(seed, "folds").permutation(np.unique(questions))
    for part in np.array_split(names, n_folds):
        test = np.isin(questions, part)
        yield _Fold(~test, test)


def _shuffled(positive: np.ndarray, questions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    made = positive.copy()
    for question in np.unique(questions):
        rows = np.flatnonzero(questions == question)
        made[rows] = rng.permutation(made[rows])
    return made


def _scores(
    neurons: np.ndarray, residuals: np.ndarray, positive: np.ndarray, folds: Sequence[_Fold], ks: Sequence[int]
) -> dict:
    """Held-out scores of every readout, each fold's standardised by its training rows."""
    made = {("sparse", k): np.full(len(positive), np.nan) for k in ks}
    made |= {(name, 0): np.full(len(positive), np.nan) for name in ("direction", "all")}
    for fold in folds:
        labels = positive[fold.train]
        order = _path(neurons[fold.train], labels, max(ks))
        for k in ks:
            made["sparse", k][fold.test] = _held_out(neurons[:, order[:k]], positive, fold)
        mean = residuals[fold.train][labels].mean(0) - residuals[fold.train][~labels].mean(0)
        along = residuals @ mean
        made["direction", 0][fold.test] = _standardised(along, fold)
        made["all", 0][fold.test] = _held_out(residuals, positive, fold)
    return made


def _path(values: np.ndarray, positive: np.ndarray, n: int) -> np.ndarray:
    """The first n neurons to enter an l1-penalised logistic regression as its penalty falls, by size within a step."""
    sides = values[positive], values[~positive]
    spread = np.sqrt(sum(side.var(0) / len(side) for side in sides)) + 1e-12
    screened = np.argsort(-np.abs(sides[0].mean(0) - sides[1].mean(0)) / spread, kind="stable")[: max(SCREENED, n)]
    scaled = _scaled(values[:, screened], values[:, screened])
    order: list[int] = []
    for penalty in _PENALTIES:
        if len(order) >= n:
            break
        weights = np.abs(_logistic(scaled, positive, penalty, l1=True))
        entered = [int(i) for i in np.argsort(-weights, kind="stable") if weights[i] > 0 and i not in order]
        order += entered
    order += [i for i in range(len(screened)) if i not in set(order)]
    return screened[order[:n]]


def _fitted(values: np.ndarray, positive: np.ndarray, folds: Sequence[_Fold]) -> np.ndarray:
    made = np.full(len(positive), np.nan)
    for fold in folds:
        made[fold.test] = _held_out(values, positive, fold)
    return made


def _held_out(values: np.ndarray, positive: np.ndarray, fold: _Fold) -> np.ndarray:
    scaled = _scaled(values, values[fold.train])
    weights = _logistic(scaled[fold.train], positive[fold.train], 0.1)
    return _standardised(scaled @ weights, fold)


def _standardised(scores: np.ndarray, fold: _Fold) -> np.ndarray:
    """Scores of the held-out rows in standard deviations of the training rows, so that folds can be pooled."""
    own = scores[fold.train]
    return (scores[fold.test] - own.mean()) / (own.std() + 1e-12)


def _scaled(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    return (values - by.mean(0)) / (by.std(0) + 1e-9)


def _logistic(values: np.ndarray, positive: np.ndarray, penalty: float, *, l1: bool = False) -> np.ndarray:
    solver, ratio = ("liblinear", 1.0) if l1 else ("lbfgs", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        made = LogisticRegression(C=penalty, l1_ratio=ratio, solver=solver, max_iter=200).fit(values, positive)
    return made.coef_[0]


def _random_sets(neurons: np.ndarray, k: int, n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    moving = np.flatnonzero(neurons.std(0) > 0)
    for _ in range(n):
        yield rng.choice(moving, size=min(k, len(moving)), replace=False)


def _auc(scores: np.ndarray, positive: np.ndarray, questions: np.ndarray) -> dict[str, float]:
    sides = [scores[side][:, None] for side in (positive, ~positive)]
    clusters = [questions[side].astype(str) for side in (positive, ~positive)]
    found = auc_intervals(sides[0], sides[1], *clusters)[0]
    return {
        "auc": found.estimate,
        "low": found.low,
        "high": found.high,
        "n": len(positive),
        "n_questions": len(np.unique(questions)),
    }


def _plain_auc(scores: np.ndarray, positive: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, scores))
