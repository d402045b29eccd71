"""Agreement among human raters and of each judge with them, as effects and claims of the study "raters"."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Source, run_id_of, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics import alpha_interval, auc_intervals, correlation_interval, spearman_p
from persona_interp.studies.persona.raters.answers import RatedRun
from persona_interp.studies.persona.rows import ALPHA_RATERS, AUC_RATERS, RATERS, RHO_RATERS
from persona_interp.tables import rows_of

MIDDLE = 50.0
"""The rating from which on an answer counts as having the trait."""
LEAST = 10
"""Answers that raters and a judge rated, below which nothing is said of their agreement."""
FAMILY = "judges against human raters"
AGREES = (
    "rank correlation of the judge's scores with the mean rating of human raters, corrected over judges and traits of"
    " the run: q is at most 0.05; and the interval over questions lies above zero"
)


def source_of(rated: RatedRun, ratings: DataFrame) -> Source:
    """Where the effects come from: the run and these ratings."""
    about = rated.provenance
    run_id = run_id_of([rated.identity, rows_of(ratings)])
    seed = rated.config.get("seed")
    return Source(RATERS, run_id, about.get("model"), about.get("backend"), about.get("dtype"), seed)


def rater_effects(rated: RatedRun, ratings: DataFrame) -> list[Effect]:
    """How raters agree with each other, and every judge with the mean rating of each answer.

    Args:
        ratings: rater, id, rating, and the columns of the key: trait, part, row, question.
    """
    return [effect for trait in rated.answers for effect in _of_trait(rated, trait, ratings)]


def rater_claims(effects: Sequence[Effect], q: Sequence[float]) -> list[Claim]:
    """One claim a judge and trait: that it orders the answers as human raters do.

    Args:
        q: of every effect, in the same order; NaN where there was no test.
    """
    made = []
    for effect, corrected in zip(effects, q, strict=True):
        if effect.metric != RHO_RATERS or effect.estimate is None:
            continue
        known = None if np.isnan(corrected) else float(corrected)
        found = verdict(known, effect.low, effect.high)
        verb = "orders" if found == "holds" else "is not shown to order"
        tested = f"q {number(known)}" if known is not None else "without a test"
        sentence = (
            f"{effect.judge} {verb} answers by {effect.trait} as {effect.reference} do: Spearman's rho"
            f" {interval(effect.estimate, effect.low, effect.high)}, {tested}, n = {effect.n} answers to"
            f" {effect.n_cluster} questions."
        )
        made.append(effect.claimed(f"{effect.judge} orders answers as human raters do", sentence, AGREES, found))
    return made


def _of_trait(rated: RatedRun, trait: str, ratings: DataFrame) -> Iterator[Effect]:
    own = ratings[ratings["trait"] == trait]
    if own.empty:
        return
    wide = own.pivot_table(index=["part", "row"], columns="rater", values="rating")
    answers = rated.answers[trait].set_index(["part", "row"]).loc[wide.index]
    people = f"{wide.shape[1]} human rater{'' if wide.shape[1] == 1 else 's'}"
    plain = Effect(metric=ALPHA_RATERS, role="control", trait=trait, data="answers of the run", cluster="question")
    paired = int((wide.notna().sum(axis=1) > 1).sum())
    if paired >= LEAST:
        found = alpha_interval(wide.to_numpy(float).T, answers["question"].to_numpy(str))
        yield replace(plain, reference=people, fixed="raters, sheet").estimated(found)
    else:
        why = f"{paired} answers have two ratings, at least {LEAST} are needed"
        yield replace(plain, reference=people, condition=f"not computed: {why}", n=paired)
    for judge in rated.judges(trait):
        yield from _of_judge(replace(plain, judge=judge, reference=people), answers, wide.mean(axis=1))


def _of_judge(plain: Effect, answers: DataFrame, mean: "pd.Series[float]") -> Iterator[Effect]:
    both = answers[plain.judge].notna().to_numpy(bool)
    scores, people = answers.loc[both, plain.judge].to_numpy(float), mean[both].to_numpy(float)
    questions = answers.loc[both, "question"].to_numpy(str)
    fixed = "raters, judge, sheet"
    if len(scores) < LEAST or np.ptp(scores) == 0 or np.ptp(people) == 0:
        why = f"{len(scores)} answers rated by both" if len(scores) < LEAST else "scores or ratings are all the same"
        yield replace(plain, metric=RHO_RATERS, condition=f"not computed: {why}", n=len(scores))
        return
    found = correlation_interval(scores, people, questions, kind="spearman")
    tested = {"test": "Student's t of the bootstrap error", "null_kind": "no relation", "family": FAMILY}
    yield replace(replace(plain, metric=RHO_RATERS, fixed=fixed).estimated(found), p=spearman_p(found), **tested)
    high = people >= MIDDLE
    if 0 < high.sum() < len(high):
        (auc,) = auc_intervals(scores[high][:, None], scores[~high][:, None], questions[high], questions[~high])
        counted = f"{int(high.sum())} answers with a mean rating of at least {MIDDLE:g}, {int((~high).sum())} below"
        yield replace(plain, metric=AUC_RATERS, condition=counted, fixed=fixed).estimated(auc)
