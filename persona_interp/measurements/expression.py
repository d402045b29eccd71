"""Trait expression of a model: its answers to a trait's evaluation questions, and every judge's score of them."""

from pathlib import Path

import numpy as np
import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, Some, Temperature
from persona_interp.data.traits import Trait
from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.record import intervention_record
from persona_interp.io import sha256_json
from persona_interp.judges.protocol import Judge
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.rollouts.generate import answer, plain_requests
from persona_interp.statistics import Interval, bootstrap_mean
from persona_interp.types import NO_EDITS


@checked
def measure_expression(
    model: HookedModel,
    trait: Trait,
    judges: Some[Judge],
    *,
    questions: Some[str] | None = None,
    intervention: Intervention | None = None,
    n_samples: Count = 1,
    max_new_tokens: Count = 48,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """One row an answer and judge: trait, question, sample, answer, judge, score (0 to 100, NaN where it cannot tell).

    Without a system prompt. Two models, or one with and without an intervention, answer with common random numbers. A
    lexical judge is left out where the trait has no valence.

    Args:
        questions: default: the trait's evaluation questions.
        folder: where answers are kept; the same call goes on where an interrupted one stopped.

    Raises:
        ConfigError: there is no judge, or no question; or the folder holds answers of another configuration.
    """
    questions = trait.eval_questions if questions is None else tuple(questions)
    rating = [judge for judge in judges if judge.unable(trait) is None]
    if not rating or not questions:
        raise ConfigError(
            f"the expression of {trait.name} needs a judge and a question, got {len(rating)} and {len(questions)}.",
            "Give at least one of each; a lexical judge rates traits with a valence only.",
        )
    if intervention is not None:
        intervention.check(model)
    made = answer(
        model,
        plain_requests(questions),
        sampling=Sampling(max_new_tokens, temperature, n_samples=n_samples, seed=seed),
        trait=trait.name,
        trait_hash=trait.data_hash,
        edits=NO_EDITS if intervention is None else intervention.edits,
        edits_hash=None if intervention is None else sha256_json(intervention_record(intervention)),
        folder=folder,
        label=f"{trait.name}: answers",
        progress=progress,
    ).frame
    asked, answers = list(made["question"]), list(made["answer"])
    parts = []
    for judge in rating:
        scores = [score.value for score in judge.rate(trait, asked, answers)]
        parts.append(made[["question", "sample", "answer"]].assign(trait=trait.name, judge=judge.name, score=scores))
    return pd.concat(parts, ignore_index=True)


def mean_expression(table: pd.DataFrame, trait: str, judge: str, *, seed: int = 0) -> Interval:
    """Mean score of a trait by a judge, with a bootstrap interval over questions.

    Raises:
        EmptySelectionError: the judge rated no answer.
    """
    rows = table[(table["trait"] == trait) & (table["judge"] == judge) & table["score"].notna()]
    if rows.empty:
        raise EmptySelectionError(f"{judge} rated no answer for {trait}.", "Look at the answers: are they empty?")
    return bootstrap_mean(rows["score"].to_numpy(float), rows["question"].to_numpy(object).astype(str), seed=seed)


def expression_change(before: pd.DataFrame, after: pd.DataFrame, trait: str, judge: str, *, seed: int = 0) -> Interval:
    """Mean of after - before over answers to the same questions and samples, with a bootstrap over questions.

    Raises:
        EmptySelectionError: no answer was rated on both sides.
    """
    sides = [
        table[(table["trait"] == trait) & (table["judge"] == judge)].set_index(["question", "sample"])["score"]
        for table in (before, after)
    ]
    change = (sides[1] - sides[0]).dropna()
    if change.empty:
        raise EmptySelectionError(f"{judge} rated no answer for {trait} on both sides.", "Ask both the same questions.")
    questions = np.array([str(question) for question in change.index.get_level_values("question")])
    return bootstrap_mean(change.to_numpy(float), questions, seed=seed)
