"""Answers with a trait and without it, rated by judges: scores of every pair, and the AUC of each judge."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame
from scipy.stats import rankdata

from persona_interp.data.traits import load_trait
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.protocol import Judge
from persona_interp.statistics import auc_intervals, corrected, permutation_test_paired

HARD, PLAIN = "hard pairs", "exemplars"
Pairs = Sequence[Mapping[str, Any]]
"""A question and two answers to it each: `question`, `pos` (with the trait) and `neg` (without it)."""


def judge_scores(judges: Mapping[str, Judge], hard: Mapping[str, Pairs]) -> DataFrame:
    """One row a pair, trait, set of answers and judge: the raw score of its answer with the trait and without.

    Beside the hard pairs stand the trait's exemplars, which are plain and longer. A likelihood judge only takes its
    scale from them, so its AUC on them is a fair test; an embedding judge is made of them and left out there.

    Args:
        judges: by the name that they have in the table.
        hard: pairs by the name of a trait of the package.
    """
    rows = []
    for label, judge in judges.items():
        for name, given in hard.items():
            trait = load_trait(name)
            exemplars = [asdict(exemplar) for exemplar in trait.exemplars]
            sets = {HARD: given} if isinstance(judge, EmbeddingJudge) else {HARD: given, PLAIN: exemplars}
            for kind, pairs in sets.items():
                answers = [str(pair[side]) for side in ("pos", "neg") for pair in pairs]
                questions = [str(pair["question"]) for pair in pairs]
                raw = np.array([score.raw for score in judge.rate(trait, questions * 2, answers)])
                scores = {"pair": range(len(pairs)), "with_trait": raw[: len(pairs)], "without": raw[len(pairs) :]}
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
