"""Answers with a trait and without it, rated by judges: scores of every pair, the AUC of each judge, and their mean."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from pandas import DataFrame
from scipy.stats import rankdata

from persona_interp.data.traits import Exemplar, load_trait
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.protocol import Judge
from persona_interp.judges.validity import EXEMPLARS, HARD_PAIRS, rate_pairs
from persona_interp.statistics import Interval, auc, auc_intervals, bootstrap_mean, corrected, permutation_test_paired
from persona_interp.statistics.effects import first_largest

HARD, PLAIN = HARD_PAIRS, EXEMPLARS


def judge_scores(judges: Mapping[str, Judge], hard: Mapping[str, Sequence[Exemplar]]) -> DataFrame:
    """One row a pair, trait, set of answers and judge: the score of its answer with the trait and without.

    A judge that cannot rate a trait has no rows of it.

    Beside the hard pairs stand the trait's exemplars, which are plain and longer. A likelihood judge only takes its
    scale from them, so its AUC on them is a fair test; an embedding judge is made of them and left out there.

    Args:
        judges: by the name that they have in the table.
        hard: pairs by the name of a trait of the package.
    """
    rows = []
    for label, judge in judges.items():
        for name, of_trait in hard.items():
            trait = load_trait(name)
            if judge.unable(trait) is not None:
                continue
            plain = () if isinstance(judge, EmbeddingJudge) else trait.exemplars
            for kind, pairs in ((HARD, of_trait), (PLAIN, plain)):
                if not pairs:
                    continue
                given, without = rate_pairs(judge, trait, pairs)
                scores = {"pair": range(len(pairs)), "with_trait": given, "without": without}
                rows.append(DataFrame({"trait": name, "answers": kind, "judge": label, **scores}))
    return pd.concat(rows, ignore_index=True)


def judge_validity(scores: DataFrame) -> DataFrame:
    """One row a trait, set of answers and judge: AUC, interval over pairs, number of pairs, p and q over the table.

    p is of an AUC of at least the one seen where the two answers of every pair are exchanged at random: ranks over all
    answers stay, so that their paired mean difference orders the exchanges as the AUC does.

    Args:
        scores: as `judge_scores` gives them.
    """
    rows = []
    for (trait, answers, judge), cell in scores.groupby(["trait", "answers", "judge"], sort=False):
        positive, negative = (cell[side].to_numpy(float) for side in ("with_trait", "without"))
        clusters, n = cell["pair"].to_numpy(), len(cell)
        found = auc_intervals(positive[:, None], negative[:, None], clusters, clusters)[0]
        ranks = rankdata(np.concatenate([positive, negative]))
        p = permutation_test_paired(ranks[:n], ranks[n:], clusters, alternative="greater").p_value
        named = {"trait": trait, "answers": answers, "judge": judge}
        rows.append({**named, "auc": found.estimate, "low": found.low, "high": found.high, "n_pairs": n, "p": p})
    return corrected(DataFrame(rows))


def consensus_gain(scores: DataFrame, judges: Sequence[str], *, n_folds: int = 6) -> tuple[DataFrame, Interval]:
    """What the mean of several judges gains in AUC over the best one of them, on the hard pairs: a row a trait.

    The best judge of a fold of pairs is the one with the highest AUC on the other folds, so that it is not chosen by
    what it is tested on. Every score is in standard deviations of that judge's answers without the trait, of the other
    folds too. The interval is of the mean gain over traits, which it takes as drawn from many.

    Args:
        scores: as `judge_scores` gives them; only traits that all of these judges rated count.

    Returns:
        trait, consensus, best, gain; and the mean gain.
    """
    rows = []
    for trait, cell in scores[scores["answers"] == HARD].groupby("trait", sort=False):
        of_judge = {name: rows_ for name, rows_ in cell.groupby("judge") if name in judges}
        if len(of_judge) < len(judges):
            continue
        sides = [
            np.stack([of_judge[name][side].to_numpy(float) for name in judges]) for side in ("with_trait", "without")
        ]
        fold = np.arange(sides[0].shape[1]) % n_folds
        found = [_fold(sides, fold == k) for k in range(n_folds)]
        mean, best = np.mean(found, axis=0)
        rows.append({"trait": trait, "consensus": mean, "best": best, "gain": mean - best})
    table = DataFrame(rows)
    gain = bootstrap_mean(table["gain"].to_numpy(float), table["trait"].to_numpy(str))
    return table, replace(gain, over="trait", fixed=("pairs", "judges"))


def _fold(sides: Sequence[Float[np.ndarray, "judge pair"]], tested: Bool[np.ndarray, " pair"]) -> tuple[float, float]:
    """AUC of the consensus and of the judge that is best on the other pairs, on the tested pairs."""
    known = [auc(a[~tested], b[~tested]) for a, b in zip(*sides, strict=True)]
    best = first_largest(np.array(known))
    without = sides[1][:, ~tested]
    scaled = [(side - without.mean(1, keepdims=True)) / without.std(1, ddof=1, keepdims=True) for side in sides]
    return auc(*(side.mean(0)[tested] for side in scaled)), auc(*(side[best, tested] for side in scaled))
