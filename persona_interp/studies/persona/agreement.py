"""Do the judges agree? Rank correlation of every pair, and Krippendorff's alpha over all of them."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import rankdata

from persona_interp.data.traits import Trait
from persona_interp.judges.protocol import Judge
from persona_interp.rollouts.generate import Rollouts
from persona_interp.statistics import alpha_interval, correlation_interval, krippendorff_alpha_interval

ALL = "all answers"
CONDITIONS = {
    ALL: ("positive prompt", "negative prompt", "steered"),
    "prompted": ("positive prompt", "negative prompt"),
    "steered": ("steered",),
}
MAX_RESAMPLES = 500
"""Draws of these intervals: there are many of them, and none decides anything."""

LEAST = 3
"""Answers below which nothing is said about agreement."""


def rated_answers(trait: Trait, test: Rollouts, steered: pd.DataFrame, judges: Sequence[Judge]) -> pd.DataFrame:
    """The held-out and the steered answers with a column a judge: trait, condition, question, JUDGE, ...

    A judge that scored none of them has no column.
    """
    names = [judge.name for judge in judges]
    prompted = test.frame.assign(condition=test.frame["side"] + " prompt")
    columns = ["condition", "question", *names]
    both = [prompted.reindex(columns=columns), steered.assign(condition="steered").reindex(columns=columns)]
    answers = pd.concat(both, ignore_index=True).assign(trait=trait.name)
    return answers[["trait", "condition", "question", *(name for name in names if answers[name].notna().any())]]


def judge_names(answers: pd.DataFrame) -> list[str]:
    """The judges that rated some of these answers."""
    return [str(name) for name in answers.columns if name not in ("trait", "condition", "question")]


def judge_pair_rows(answers: pd.DataFrame) -> pd.DataFrame:
    """Scores of the same answers by every two judges: the points of the scatter plots."""
    tables = [pd.DataFrame(columns=["value_a", "value_b", "question", "trait", "condition", "judge_a", "judge_b"])]
    for a, b in combinations(judge_names(answers), 2):
        table = answers[[a, b, "question", "trait", "condition"]].dropna()
        table.columns = pd.Index(["value_a", "value_b", "question", "trait", "condition"])
        tables.append(table.assign(judge_a=a, judge_b=b))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def agreement_rows(answers: pd.DataFrame, *, n_resamples: int) -> pd.DataFrame:
    """Spearman's rho and Krippendorff's alpha of every two judges, over the answers that both rated.

    Rho has the interval of a bootstrap over questions. Alpha is that of the two judges' scores (0..100), so it asks
    for equal scores where rho asks for an equal order.
    """
    columns = ("trait", "condition", "judge_a", "judge_b", "spearman", "low", "high", "alpha", "n", "n_questions")
    rows = []
    for a, b in combinations(judge_names(answers), 2):
        for condition, parts in CONDITIONS.items():
            both = answers[answers["condition"].isin(parts)].dropna(subset=[a, b])
            if len(both) < LEAST:
                continue
            values = both[[a, b]].to_numpy(float).T
            rho = correlation_interval(
                values[0], values[1], both["question"].to_numpy(), kind="spearman", n_resamples=_draws(n_resamples)
            )
            rows.append(
                {
                    "trait": both["trait"].iloc[0],
                    "condition": condition,
                    "judge_a": a,
                    "judge_b": b,
                    **{"spearman": rho.estimate, "low": rho.low, "high": rho.high},
                    "alpha": krippendorff_alpha_interval(values),
                    **{"n": rho.n, "n_questions": rho.n_clusters},
                }
            )
    return pd.DataFrame(rows, columns=pd.Index(columns))


def alpha_rows(answers: pd.DataFrame, *, n_resamples: int) -> pd.DataFrame:
    """Krippendorff's alpha (interval metric) over all judges, on the answers that every one of them rated.

    On `scores` (0..100) it asks for equal scores. On `ranks` each judge's scores are replaced by their ranks among
    these answers (0..100, ties at their mean), so judges of different scales can agree. A bootstrap over questions
    gives the intervals; ranks are those of the whole set in every draw.
    """
    names = judge_names(answers)
    columns = ("trait", "condition", "scale", "alpha", "low", "high", "n", "n_questions", "n_judges")
    rows = []
    for condition, parts in CONDITIONS.items():
        rated = answers[answers["condition"].isin(parts)].dropna(subset=names)
        if len(names) < 2 or len(rated) < LEAST:
            continue
        scores = rated[names].to_numpy(float).T
        for scale, values in (("scores", scores), ("ranks", percentile_ranks(scores))):
            alpha = alpha_interval(values, rated["question"].to_numpy(), n_resamples=_draws(n_resamples))
            rows.append(
                {
                    "trait": rated["trait"].iloc[0],
                    "condition": condition,
                    "scale": scale,
                    **{"alpha": alpha.estimate, "low": alpha.low, "high": alpha.high},
                    **{"n": alpha.n, "n_questions": alpha.n_clusters, "n_judges": len(names)},
                }
            )
    return pd.DataFrame(rows, columns=pd.Index(columns))


def percentile_ranks(scores: Float[np.ndarray, "judge answer"]) -> Float[np.ndarray, "judge answer"]:
    """Ranks within each judge as 0..100, ties at their mean rank."""
    return 100.0 * (rankdata(scores, axis=1) - 0.5) / scores.shape[1]


def _draws(n_resamples: int) -> int:
    return min(n_resamples, MAX_RESAMPLES)
