"""Families at the same strength: the coefficient that reaches a KL, answers there, and what the model still can do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame, concat

from persona_interp.data.multiple_choice import load_multiple_choice
from persona_interp.data.neutral_prompts import neutral_prompts
from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.data.traits import Trait
from persona_interp.errors import EmptySelectionError, first_line
from persona_interp.interventions.divergence import ANSWER_TOKENS, Divergence, UnsteeredAnswers, unsteered_answers
from persona_interp.interventions.prompt_divergence import prompt_kl
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.record import intervention_record
from persona_interp.interventions.strength import START, kl, strength_for_kl
from persona_interp.io import path_part, sha256_json
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.capability import measure_multiple_choice, measure_perplexity
from persona_interp.measurements.steering import score_coherence
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.rollouts.generate import answer, plain_requests
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.families.family import Family
from persona_interp.types import NO_EDITS

Row = dict[str, Any]
UNSTEERED = "unsteered"
TEXT, ITEM = "neutral text", "multiple-choice item"
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class Neutral:
    """The model's own answers to neutral prompts, made when they are first needed and shared by all families."""

    model: HookedModel
    folder: Path
    seed: int
    progress: bool

    @cached_property
    def texts(self) -> tuple[list[str], list[str]]:
        """Prompts and answers that are not empty."""
        made = answer(
            self.model,
            plain_requests(neutral_prompts()),
            sampling=Sampling(ANSWER_TOKENS, 1.0, seed=self.seed),
            folder=self.folder,
            label="unsteered answers to neutral prompts",
            progress=self.progress,
        ).frame
        made = made[made["answer"].str.strip() != ""]
        return list(made["question"]), list(made["answer"])

    @cached_property
    def unsteered(self) -> UnsteeredAnswers:
        """What the model predicted in them."""
        questions, answers = self.texts
        return unsteered_answers(self.model, questions, answers=answers, progress=self.progress)


def strength_rows(neutral: Neutral, family: Family, layer: int, targets: Sequence[float], *, seed: int) -> DataFrame:
    """A row a target: the coefficient that reaches it, or why none does; for a prompt the KL that it has."""
    if family.system is not None:
        tokens, numbers = prompt_kl(neutral.model, *neutral.texts, family.system)
        found = Divergence.of(tokens, numbers, seed=seed)
        return DataFrame([_strength(family, None, None, found)])
    rows, start = [], START
    for target in targets:
        try:
            (reached,) = strength_for_kl(
                neutral.model,
                lambda coefficient: family.intervention(layer, coefficient),
                kl(target),
                answers=neutral.unsteered,
                start=start,
                seed=seed,
            )
        except EmptySelectionError as error:
            rows.append(_strength(family, target, None, None) | {"why": first_line(error)})
            continue
        start = reached.coefficient * 1.7
        rows.append(_strength(family, target, reached.coefficient, reached.divergence))
    return DataFrame(rows)


def _strength(family: Family, target: float | None, coefficient: float | None, found: Divergence | None) -> Row:
    row: Row = {"family": family.name, "target": target, "coefficient": coefficient, "why": ""}
    ends = ("mean", "low", "high")
    return {**row, **{f"kl_{end}": None if found is None else getattr(found, end) for end in ends}}


@dataclass(frozen=True, eq=False)
class Arm:
    """One condition: a family at a target, a prompt, or nothing at all."""

    name: str
    target: float | None = None
    kl: float = 0.0
    intervention: Intervention | None = None
    system: str | None = None

    @property
    def place(self) -> str:
        """A name for a folder."""
        what = self.name.replace(",", "").replace(" ", "-")
        return path_part(what if self.target is None else f"{what}_kl-{self.target:g}", "family")

    @property
    def key(self) -> list[Any]:
        """What its answers depend on."""
        return [self.name, self.target, self.system, intervention_record(self.intervention)]


def arms_of(families: Sequence[Family], layer: int, strengths: DataFrame) -> list[Arm]:
    """The unsteered model, every family at every target that it reaches, and the prompts."""
    by_name = {family.name: family for family in families}
    arms = [Arm(UNSTEERED)]
    for row in strengths.to_dict("records"):
        family = by_name[row["family"]]
        if family.system is not None:
            arms.append(Arm(family.name, None, row["kl_mean"], None, family.system))
        elif row["coefficient"] == row["coefficient"] and row["coefficient"] is not None:
            steered = family.intervention(layer, float(row["coefficient"]))
            arms.append(Arm(family.name, row["target"], row["kl_mean"], steered))
    return arms


def answered(model: HookedModel, trait: Trait, arm: Arm, run: ComparisonRun, folder: Path, progress: bool) -> DataFrame:
    """Greedy answers to evaluation questions: family, target, kl, question, answer."""
    requests = plain_requests(trait.eval_questions[: run.n_eval]).assign(system=arm.system)
    steered = arm.intervention
    made = answer(
        model,
        requests,
        sampling=Sampling(run.max_new_tokens, 0.0, seed=run.seed),
        trait=trait.name,
        trait_hash=trait.data_hash,
        edits=NO_EDITS if steered is None else steered.edits,
        prefix=None if steered is None else steered.prefix,
        edits_hash=None if steered is None else sha256_json(intervention_record(steered))[:16],
        folder=folder / arm.place,
        label=f"{trait.name}: {arm.place}",
        progress=progress,
    ).frame
    return made[["question", "answer"]].assign(family=arm.name, target=arm.target, kl=arm.kl)


def capability_rows(model: HookedModel, arm: Arm, run: ComparisonRun, progress: bool) -> DataFrame:
    """Nats a token of every neutral text, and whether every item is answered rightly; none for prompts.

    A prompt stands in no place of these texts, so it is not measured.
    """
    texts, items = load_neutral_texts()[: run.n_texts], spread_items(run.n_items)
    lost = measure_perplexity(model, texts, intervention=arm.intervention, progress=progress)
    right = measure_multiple_choice(model, items, intervention=arm.intervention, progress=progress)
    rows = [{"what": TEXT, "unit": i, "value": loss} for i, loss in enumerate(lost.losses.tolist())]
    rows += [{"what": ITEM, "unit": i, "value": float(hit)} for i, hit in enumerate(right.correct.tolist())]
    return DataFrame(rows).assign(family=arm.name, target=arm.target)


def spread_items(n: int | None):
    """So many items spread over the subjects; all where there are not as many."""
    items = load_multiple_choice()
    if n is None or n >= len(items):
        return items
    return tuple(items[i] for i in np.linspace(0, len(items) - 1, n).round().astype(int))


def rated(
    answers: DataFrame,
    trait: Trait,
    judges: Sequence[Judge],
    others: Sequence[tuple[Trait, Judge]],
    coherence: CoherenceJudge,
) -> DataFrame:
    """Ratings in long form: a row an answer and what was rated; equal answers to a question are rated once.

    `what` is "expression" (with its judge), "off target" (with the other trait in `judge`), "coherence" or "coherent".
    """
    distinct = answers[["question", "answer"]].drop_duplicates()
    asked = list(distinct["question"]), list(distinct["answer"])
    columns: dict[tuple[str, str], Any] = {}
    for judge in judges:
        columns["expression", judge.name] = [score.value for score in judge.rate(trait, *asked)]
    for other, judge in others:
        columns["off target", other.name] = [score.value for score in judge.rate(other, *asked)]
    plain = answers[answers["family"] == UNSTEERED]
    unsteered = set(zip(plain["question"], plain["answer"], strict=True))
    is_plain = [pair in unsteered for pair in zip(*asked, strict=True)]
    gated, _ = score_coherence(
        distinct.reset_index(drop=True), DataFrame({"plain": is_plain})["plain"], coherence, trait=trait
    )
    columns["coherence", ""] = gated["coherence"].to_numpy(float)
    columns["coherent", ""] = gated["passes_gate"].to_numpy(float)
    parts = [
        answers.merge(distinct.assign(what=what, judge=judge, value=values), on=["question", "answer"])
        for (what, judge), values in columns.items()
    ]
    return concat(parts, ignore_index=True).drop(columns="answer")


def kept_arms(
    folder_cell: Callable[[str, Any, Callable[[], DataFrame]], DataFrame],
    arms: Sequence[Arm],
    what: str,
    make: Callable[[Arm], DataFrame],
) -> DataFrame:
    """A cell an arm, one after the other."""
    return concat(
        [folder_cell(f"{what} {arm.place}", [what, arm.key], lambda arm=arm: make(arm)) for arm in arms],
        ignore_index=True,
    )
