"""Is a judge shown to work for a trait: on texts whose trait is known, and on the model's own prompted answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from persona_interp.arguments import checked
from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.traits import Exemplar, Trait
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.statistics import auc_intervals

Texts = Literal["hard pairs", "exemplars", "own answers"]
HARD_PAIRS: Texts = "hard pairs"
EXEMPLARS: Texts = "exemplars"
OWN_ANSWERS: Texts = "own answers"

LEAST_AUC = 0.7
"""A judge under this AUC on texts whose trait is known neither chooses a setting nor heads a result."""

RULE = (
    f"AUC of at least {LEAST_AUC} on texts whose trait is known, and an interval above 0.5 of the AUC on the model's"
    " own answers to positive against negative system prompts"
)
"""When a judge counts as shown to work."""


@dataclass(frozen=True)
class Validity:
    """How well one judge tells texts with a trait from texts without it.

    Args:
        texts: "hard pairs" (`hard_pairs`), "exemplars" (the trait's), or "own answers", which are those of the model
            under test to positive and to negative system prompts.
        auc: P(a text with the trait is rated higher), ties half; `low` and `high` its 95 % interval over pairs or
            questions. NaN where nothing could be rated.
        n: texts rated; `n_clusters` pairs, or questions.
    """

    trait: str
    judge: str
    texts: Texts
    auc: float
    low: float
    high: float
    n: int
    n_clusters: int


def rate_pairs(judge: Judge, trait: Trait, pairs: Sequence[Exemplar]) -> Float[np.ndarray, "2 pair"]:
    """A judge's scores of the answers with the trait, and of those without; NaN where it cannot tell."""
    questions = [pair.question for pair in pairs]
    rated = judge.rate(trait, questions * 2, [*(pair.pos for pair in pairs), *(pair.neg for pair in pairs)])
    return np.array([score.value for score in rated], dtype=float).reshape(2, len(pairs))


@checked
def scores_on_texts(judge: Judge, trait: Trait) -> pd.DataFrame:
    """A judge's scores of the hard pairs of a trait and of its exemplars: texts, pair, positive, score.

    An embedding judge is made of the exemplars, so only the hard pairs test it. A likelihood judge takes nothing but
    its scale from them, which no AUC sees.
    """
    sets: list[tuple[Texts, Sequence[Exemplar]]] = [(HARD_PAIRS, hard_pairs(trait))]
    if not isinstance(judge, EmbeddingJudge):
        sets.append((EXEMPLARS, trait.exemplars))
    tables = []
    for texts, pairs in sets:
        if pairs:
            sides = {"pair": list(range(len(pairs))) * 2, "positive": np.repeat([True, False], len(pairs))}
            scores = rate_pairs(judge, trait, pairs).ravel()
            tables.append(pd.DataFrame({"texts": texts, **sides, "score": scores}))
    none = {"texts": str, "pair": int, "positive": bool, "score": float}
    return pd.concat(tables or [pd.DataFrame(columns=list(none)).astype(none)], ignore_index=True)


@checked
def validity_on_texts(trait: str, judge: str, scores: pd.DataFrame) -> list[Validity]:
    """The AUC on each set of texts, from `scores_on_texts`; a pair of which not both could be rated is left out."""
    found = []
    for texts, rows in scores.groupby("texts", sort=False):
        rows = rows.assign(positive=rows["positive"].astype(bool))
        table = rows.pivot(index="pair", columns="positive", values="score").dropna()
        values = np.concatenate([table[True].to_numpy(float), table[False].to_numpy(float)])
        positive, pairs = np.repeat([True, False], len(table)), np.tile(table.index.to_numpy(int), 2)
        found.append(_of_sides(trait, judge, _texts(str(texts)), values, positive, pairs))
    return found


@checked
def validity_on_answers(
    judge: str,
    trait: str,
    scores: Float[np.ndarray, " answer"],
    positive: Bool[np.ndarray, " answer"],
    questions: Sequence[str],
) -> Validity:
    """The AUC of a judge's scores on a model's own answers, those to positive against those to negative prompts.

    Args:
        judge: its name.
        scores: NaN where it could not rate an answer, which is left out.
        positive: whether an answer was given under a positive system prompt. Leave out the answers to prompts that the
            judge reads itself (`prompts_read`): an answer is likelier under its own prompt whatever it says.
    """
    known = np.isfinite(scores)
    asked = np.unique(np.asarray(questions, dtype=str), return_inverse=True)[1]
    return _of_sides(trait, judge, OWN_ANSWERS, scores[known], positive[known], asked[known])


def prompts_read(judge: Judge) -> int:
    """How many of a trait's pairs of system prompts, from the first on, a judge compares answers with."""
    return judge.n_pairs if isinstance(judge, LikelihoodJudge) else 0


def why_not_shown(found: Sequence[Validity]) -> str | None:
    """Why a judge is not shown to work for a trait, in a few words; None where it is (`RULE`).

    Hard pairs count where there are any, else exemplars. Where there are neither, the AUC on the model's own answers
    has to be as high.
    """
    known, own = _known_and_own(found)
    known = known or own
    if own is None or known is None or not np.isfinite(own.auc):
        return "not tried on the model's own answers"
    if not known.auc >= LEAST_AUC:
        return f"AUC {known.auc:.2f} on {known.texts}, under {LEAST_AUC}"
    if not own.low > 0.5:
        return f"AUC {own.auc:.2f} [{own.low:.2f}, {own.high:.2f}] on the model's own answers, which may be 0.5"
    return None


def sees_texts(found: Sequence[Validity]) -> bool:
    """Whether a judge is shown to see a trait in texts whose trait is known."""
    known, _ = _known_and_own(found)
    return known is not None and known.auc >= LEAST_AUC


def sees_weakly(found: Sequence[Validity]) -> bool:
    """Whether a judge sees a trait at all: its intervals on known texts and on own answers lie above 0.5."""
    known, own = _known_and_own(found)
    return known is not None and own is not None and known.low > 0.5 and own.low > 0.5


def _known_and_own(found: Sequence[Validity]) -> tuple[Validity | None, Validity | None]:
    """The AUC on texts whose trait is known, hard pairs before exemplars, and that on the model's own answers."""
    by_texts = {one.texts: one for one in found}
    return by_texts.get(HARD_PAIRS, by_texts.get(EXEMPLARS)), by_texts.get(OWN_ANSWERS)


def headline_auc(found: Sequence[Validity]) -> float:
    """The one AUC that stands beside a judge's numbers: on hard pairs, else exemplars, else the model's own answers."""
    by_texts = {one.texts: one.auc for one in found if np.isfinite(one.auc)}
    return next((by_texts[texts] for texts in (HARD_PAIRS, EXEMPLARS, OWN_ANSWERS) if texts in by_texts), float("nan"))


def _texts(name: str) -> Texts:
    return next(texts for texts in (HARD_PAIRS, EXEMPLARS, OWN_ANSWERS) if texts == name)


def _of_sides(
    trait: str,
    judge: str,
    texts: Texts,
    scores: Float[np.ndarray, " text"],
    positive: Bool[np.ndarray, " text"],
    clusters: Int[np.ndarray, " text"],
) -> Validity:
    auc = low = high = float("nan")
    if 0 < positive.sum() < len(positive):
        ours, theirs = scores[positive][:, None], scores[~positive][:, None]
        (found,) = auc_intervals(ours, theirs, clusters[positive], clusters[~positive])
        auc, low, high = found.estimate, found.low, found.high
    return Validity(trait, judge, texts, auc, low, high, len(scores), len(np.unique(clusters)))
