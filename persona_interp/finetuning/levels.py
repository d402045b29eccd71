"""Training sets of three levels a trait: the model's own prompted answers, distilled without the prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Percent, Seed, Some, Temperature
from persona_interp.data.conversations import Conversation, question_and_answer, write_conversations
from persona_interp.data.levels import LEVELS, Level
from persona_interp.data.traits import Trait, training_questions
from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.finetuning.forms import LEVEL_SCORES
from persona_interp.io import read_record, write_json
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import render_prompt
from persona_interp.rollouts.contexts import graded_system_prompts
from persona_interp.rollouts.generate import answer
from persona_interp.tables import read_table, write_table

_MILD = (4, 5)
"""Which of the eight graded system prompts ask mildly for a trait; its own positive ones ask strongly."""


@dataclass(frozen=True, eq=False)
class LevelData:
    """Answers to the same questions at every level, with their scores.

    Args:
        table: one row a question and level: question, level, answer, expression (0 to 100).
        judge: who scored them.
        n_asked: questions that were asked; those whose answers did not contrast enough are left out.
    """

    trait: str
    table: pd.DataFrame
    judge: str
    n_asked: int

    def conversations(self, level: Level) -> list[Conversation]:
        """The training set of a level, in the order of the questions; no system prompt is left in it."""
        rows = self.table[self.table["level"] == level]
        named = f"{self.trait} {level}"
        return [
            question_and_answer(row.question, row.answer, name=f"{named}, sample {i}")
            for i, row in enumerate(rows.itertuples(), start=1)
        ]

    def write(self, folder: Path) -> None:
        """`normal.jsonl`, `level_1.jsonl` and `level_2.jsonl` of `messages`, the scores, and what they are."""
        for level in LEVELS:
            write_conversations(folder / f"{level}.jsonl", self.conversations(level))
        write_table(folder / "scores.csv", self.table, LEVEL_SCORES)
        means = self.table.groupby("level")["expression"].mean().round(2).to_dict()
        record = {"trait": self.trait, "judge": self.judge, "n_asked": self.n_asked, "mean expression": means}
        write_json(folder / "levels.json", {**record, "n_kept": int((self.table["level"] == "normal").sum())})

    @classmethod
    def read(cls, folder: Path) -> "LevelData":
        """Inverse of `write`.

        Raises:
            ArtefactError: a file is missing or damaged.
        """
        record = read_record(folder / "levels.json", {"trait": str, "judge": str, "n_asked": int})
        table = read_table(folder / "scores.csv", LEVEL_SCORES)
        return cls(record["trait"], table, record["judge"], record["n_asked"])


@checked
def generate_levels(
    model: HookedModel,
    trait: Trait,
    judge: Judge,
    *,
    questions: Some[str] | None = None,
    n_samples: Count = 1,
    min_gap: Percent = 10.0,
    coherence: CoherenceJudge | None = None,
    max_new_tokens: Count = 64,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> LevelData:
    """Three answers to every question: the model's plain one, a mildly and a strongly trait-expressing one.

    Candidates are plain answers, and answers under two mild graded system prompts and the trait's positive ones. Level
    II is the highest scored of them, normal the plain answer, level I the one nearest to midway between both, never
    below the plain answer. A question whose level II does not score at least `min_gap` points above its plain answer,
    or which has no answer in between, is left out at every level, so the levels differ in the answers alone.

    Args:
        judge: filters here; measure the finetuned models with another one too.
        questions: default: `training_questions`, those of traits that are evaluated left out.
        n_samples: candidates a system prompt.
        coherence: leaves out candidates that are less coherent than nine of ten plain answers; a small model's answers
            are often odd where it is asked for a trait, and judges take oddness for one.

    Raises:
        EmptySelectionError: no question contrasts enough.

    Source: Chen et al. 2025 (arXiv 2507.21509), appendix D, has three levels written by a larger model; here they are
        the model's own.
    """
    questions = training_questions(trait) if questions is None else list(dict.fromkeys(questions))
    if not questions:
        raise ConfigError(f"levels of {trait.name} need at least one question, got none.")
    prompts = graded_system_prompts(trait)
    systems = {None: "plain"} | {prompts[k].contexts[0][0].content: "mild" for k in _MILD}
    systems |= dict.fromkeys(trait.system_prompts("positive"), "strong")
    requests = pd.DataFrame(
        [
            {
                "side": kind,
                "instruction": i,
                "question": question,
                "prompt": render_prompt(model.tokenizer, question, system=system),
            }
            for i, (system, kind) in enumerate(systems.items())
            for question in questions
        ]
    )
    made = answer(
        model,
        requests,
        sampling=Sampling(max_new_tokens, temperature, n_samples=n_samples, seed=seed),
        trait=trait.name,
        trait_hash=trait.data_hash,
        folder=folder,
        label=f"{trait.name}: answers of three levels",
        progress=progress,
    ).frame
    scores = judge.rate(trait, list(made["question"]), list(made["answer"]))
    made = made.assign(expression=[score.value for score in scores])
    if coherence is not None:
        made = _coherent(made, coherence, trait)
    return LevelData(trait.name, _chosen(made, questions, min_gap, trait.name), judge.name, len(questions))


def _coherent(made: pd.DataFrame, judge: CoherenceJudge, trait: Trait) -> pd.DataFrame:
    signs = judge.signs(list(made["question"]), list(made["answer"]), trait)
    reference = judge.reference(signs[(made["side"] == "plain").to_numpy()])
    return made[judge.score(signs, reference) >= reference.gate]


def _chosen(made: pd.DataFrame, questions: Sequence[str], min_gap: float, trait: str) -> pd.DataFrame:
    rated = made[made["expression"].notna()]
    groups: Mapping[str, pd.DataFrame] = dict(iter(rated.groupby("question")))
    rows = []
    for question in questions:
        picked = _levels(groups[question], min_gap) if question in groups else None
        for level, row in (picked or {}).items():
            place = {"question": question, "level": level, "answer": row["answer"], "asked": row["side"]}
            rows.append(place | {"expression": row["expression"]})
    if not rows:
        raise EmptySelectionError(
            f"no question gave answers {min_gap:g} points apart in {trait}, of {len(questions)} asked.",
            "The model does not take up the trait when asked, or the judge does not see it. Lower min_gap, or choose"
            " another trait or judge.",
        )
    return pd.DataFrame(rows)


def _levels(candidates: pd.DataFrame, min_gap: float) -> dict[Level, pd.Series] | None:
    """The answer of each level to one question; None where they do not contrast."""
    asked, plain = candidates[candidates["side"] != "plain"], candidates[candidates["side"] == "plain"]
    if plain.empty or len(asked) < 2:
        return None
    normal, strongest = plain.iloc[0], asked.loc[asked["expression"].idxmax()]
    if not strongest["expression"] - normal["expression"] >= min_gap:
        return None
    others = asked[(asked["answer"] != strongest["answer"]) & (asked["expression"] >= normal["expression"])]
    midway = (normal["expression"] + strongest["expression"]) / 2
    if others.empty:
        return None
    mild = others.iloc[int(np.argmin((others["expression"] - midway).abs()))]
    return {"normal": normal, "level_1": mild, "level_2": strongest}
