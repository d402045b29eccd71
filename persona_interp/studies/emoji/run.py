"""Emoji from a model to effects: training sets without any, rates and masses before and after tuning, and writers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from persona_interp.arguments import checked
from persona_interp.data.conversations import conversations_hash, write_conversations
from persona_interp.data.traits import Trait, load_trait
from persona_interp.errors import EmptySelectionError
from persona_interp.identity import of_model, of_package
from persona_interp.io import path_part
from persona_interp.lock import alone_in
from persona_interp.models.components import n_units
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.emoji.ablation import ABLATION, ablated_answers, ablations
from persona_interp.studies.emoji.arms import Arm, tuned_arms, untuned
from persona_interp.studies.emoji.config import EmojiRun
from persona_interp.studies.emoji.effects import STUDY, emoji_effects
from persona_interp.studies.emoji.measure import (
    ANSWERS,
    LENS,
    MASSES,
    Context,
    answer_table,
    lens_table,
    mass_table,
)
from persona_interp.studies.emoji.plan import emoji_plan
from persona_interp.studies.emoji.spots import Spot, before_emoji, spots_of, with_both
from persona_interp.studies.emoji.texts import (
    INVITED,
    Question,
    TrainingPairs,
    contexts_of,
    held_out_questions,
    selection_questions,
    training_pairs,
)
from persona_interp.studies.emoji.writers import (
    WRITERS,
    WRITTEN,
    emoji_writers,
    largest_of,
    writer_table,
    written_table,
)
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.plan import say_plan
from persona_interp.studies.sizes import Sizes, named_effort

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
KEEPS = (f"cells/{STUDY}/*", "tables/emoji_*.csv")
LEAST_QUESTIONS = 6
"""Questions with an answer that holds an emoji and one that does not, below which no writers are looked for."""

Tables = Mapping[str, DataFrame]
Cell = Callable[[str, Callable[[], DataFrame]], DataFrame]


@checked
@alone_in("out")
def run_emoji(
    model: HookedModelBase, run: EmojiRun, *, out: Path, sizes: Sizes | None = None, progress: bool = True
) -> DataFrame:
    """Whether tuning on texts of a trait that hold no emoji raises emoji, and which neurons write them.

    Every trait's training set is the model's own answers under system prompts of its high pole, without those prompts,
    beside a control set of answers to the same questions; pairs with an emoji are left out. Held-out questions are
    answered before and after, with common random numbers. Everything is kept as it is made; the same call goes on.
    Where too few answers hold emoji, writers are not looked for and the provenance says so.

    Args:
        sizes: by what name they are called, for the report, which says what was cut.

    Returns:
        The table of answers: trait, arm, repeat, condition, kind, question, sample, answer, n_tokens, n_emoji.

    Raises:
        ConfigError: the folder holds results of another model, trait, setting or version.
        EmptySelectionError: too few pairs of answers are left to train on.
        ModelError: no token of the vocabulary begins an emoji, or the model's unembedding is of no known kind.
        TraitError: there is no such trait.
    """
    traits = [load_trait(name) for name in run.traits]
    for trait in traits:
        path_part(trait.name, "trait")
    identity = {
        "model": of_model(model),
        "traits": {trait.name: trait.data_hash for trait in traits},
        "questions": [question.text for question in held_out_questions(run.n_questions)],
        **asdict(run),
        **of_package(METHOD_VERSION),
    }
    home = RunFolder.claim(out, STUDY, identity, keeps=KEEPS)
    if progress:
        steps = emoji_plan(run, n_layers=model.n_layers)
        say_plan(f"emoji of {model.name}{named_effort(sizes)}", steps, model, folder=out, study=STUDY)
    work = _Work(model, run, home, progress)
    tables, said = work.tables(traits)
    for form in (ANSWERS, MASSES, LENS, WRITERS, WRITTEN, ABLATION):
        if form.name in tables:
            home.save(form, tables[form.name])
    n_neurons = n_units(model, 0, "neuron") if WRITERS.name in tables else 0
    effects, claims = emoji_effects(tables, run, n_layers=model.n_layers, d_mlp=n_neurons)
    provenance = {
        "config": asdict(run),
        "model": model.provenance.to_dict(),
        **said,
        **({} if sizes is None else {"size": sizes.record()}),
    }
    home.finish(model, provenance, effects, claims, seed=run.seed)
    return tables[ANSWERS.name]


@dataclass(frozen=True, eq=False)
class _Work:
    """A run while it goes on."""

    model: HookedModelBase
    run: EmojiRun
    home: RunFolder
    progress: bool

    def tables(self, traits: Sequence[Trait]) -> tuple[dict[str, DataFrame], dict[str, Any]]:
        """All tables, by the name of their form, and what is to be known of them."""
        questions, base = held_out_questions(self.run.n_questions), untuned(self.model)
        answers = self._of(base, "answers", lambda: self._answered(base, questions))
        contexts = [
            Context(question, answer)
            for question, answer in zip(questions, contexts_of(answers, questions), strict=True)
            if answer is not None
        ]
        if not contexts:
            raise EmptySelectionError(
                f"{self.model.name} gave no held-out answer without an emoji, so no masses can be read.",
                "Ask more questions, or draw more answers to each.",
            )
        chosen_on, measured_on = self._spots(base, answers)
        seen = len({spot.question for spot in chosen_on}) >= LEAST_QUESTIONS and len(before_emoji(measured_on)) > 1
        parts = [self._measured(base, questions, contexts)]
        if seen:
            parts[0] |= self._writers(base, chosen_on, None)
            parts.append(self._ablated(parts[0][WRITERS.name], chosen_on, measured_on, questions))
        said = {"training sets": {}, "contexts": len(contexts), "writers": self._said(chosen_on, measured_on, seen)}
        for trait, repeat in product(traits, range(self.run.n_repeats)):
            pairs, folder = self._pairs(trait, repeat)
            said["training sets"][f"{trait.name} {repeat}"] = {
                **{"pairs": len(pairs.high), "tokens": pairs.lengths, "left out": pairs.left_out},
                "sha256": [conversations_hash(side) for side in (pairs.high, pairs.control)],
            }
            for arm in tuned_arms(self.model, trait.name, pairs, self.run, repeat, folder, progress=self.progress):
                arm = replace(arm, load=cache(arm.load))
                parts.append(self._measured(arm, questions, contexts))
                if seen and repeat == 0:
                    parts[-1] |= self._writers(arm, chosen_on, parts[0][WRITERS.name])
        names = dict.fromkeys(name for part in parts for name in part)
        tables = {name: pd.concat([part[name] for part in parts if name in part], ignore_index=True) for name in names}
        return tables, said

    def _answered(self, arm: Arm, questions: Sequence[Question]) -> DataFrame:
        return answer_table(arm.load(), questions, self.run, label=arm.name, progress=self.progress)

    def _measured(self, arm: Arm, questions: Sequence[Question], contexts: Sequence[Context]) -> dict[str, DataFrame]:
        """Answers, masses and lens of one arm."""
        how = {"label": arm.name, "progress": self.progress}
        return {
            ANSWERS.name: self._of(arm, "answers", lambda: self._answered(arm, questions)),
            MASSES.name: self._of(arm, "masses", lambda: mass_table(arm.load(), contexts, **how)),
            LENS.name: self._of(arm, "lens", lambda: lens_table(arm.load(), contexts, **how)),
        }

    def _spots(self, base: Arm, answers: DataFrame) -> tuple[list[Spot], list[Spot]]:
        """Where writers are found, and where their ablation is measured: on other questions."""
        chosen = selection_questions(self.run.n_selection)
        asked = self._of(
            base,
            "selection",
            lambda: answer_table(
                self.model,
                chosen,
                self.run,
                label="answers to find writers in",
                progress=self.progress,
                conditions=(INVITED,),
            ),
        )
        return with_both(spots_of(self.model, asked)), spots_of(self.model, answers)

    def _writers(self, arm: Arm, spots: Sequence[Spot], base: DataFrame | None) -> dict[str, DataFrame]:
        """The largest writers of one arm, and what those of the untuned model write in it."""
        found = cache(lambda: emoji_writers(arm.load(), spots, progress=self.progress))
        table = self._of(arm, "writers", lambda: writer_table(found(), seed=self.run.seed))
        largest = largest_of(table if base is None else base, self.run.top[0])
        written = self._of(arm, "written", lambda: written_table(found(), largest))
        return {WRITERS.name: table, WRITTEN.name: written}

    def _ablated(
        self, writers: DataFrame, chosen_on: Sequence[Spot], measured_on: Sequence[Spot], questions: Sequence[Question]
    ) -> dict[str, DataFrame]:
        """Masses and answers of the untuned model with writers or random neurons ablated."""
        ranked = largest_of(writers, max(self.run.top))
        cell: Cell = lambda name, make: self.home.cell(f"ablation-{name}", name, make)  # noqa: E731
        table = ablations(self.model, ranked, chosen_on, measured_on, run=self.run, keep=cell, progress=self.progress)
        answers = ablated_answers(
            self.model, ranked, chosen_on, questions, run=self.run, keep=cell, progress=self.progress
        )
        return {ABLATION.name: table, ANSWERS.name: answers}

    def _pairs(self, trait: Trait, repeat: int) -> tuple[TrainingPairs, Path]:
        """The training sets of one repeat of a trait, and the folder in which they and their adapters are kept."""
        home, folder = self.home.path / "answers", self.home.path / "training" / trait.name / f"repeat {repeat}"
        pairs = training_pairs(self.model, trait, self.run, repeat, home, progress=self.progress)
        for side, conversations in (("tuned", pairs.high), ("control", pairs.control)):
            write_conversations(folder / f"{side}.jsonl", conversations)
        return pairs, folder

    def _of(self, arm: Arm, what: str, make: Callable[[], DataFrame]) -> DataFrame:
        """A cell of one arm, with the columns that say which."""
        return self.home.cell(f"{what}-{path_part(arm.name, 'arm')}", [arm.name, what], make).assign(**arm.columns)

    def _said(self, chosen_on: Sequence[Spot], measured_on: Sequence[Spot], seen: bool) -> dict[str, Any]:
        emoji = before_emoji(chosen_on)
        return {
            "found": seen,
            "questions": len({spot.question for spot in chosen_on}),
            "spots before an emoji": len(emoji),
            "held-out spots before an emoji": len(before_emoji(measured_on)),
        }
