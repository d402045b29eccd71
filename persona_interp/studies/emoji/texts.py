"""The texts of the study: training sets without an emoji, held-out questions, and answers to read masses in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool
from transformers import PreTrainedTokenizerBase

from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.data.traits import Trait, load_trait, training_questions
from persona_interp.data.writing_prompts import writing_prompts
from persona_interp.errors import EmptySelectionError
from persona_interp.io import sha256_json
from persona_interp.measurements.emoji import has_emoji
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import encode, line_stop_ids
from persona_interp.rollouts.generate import answer
from persona_interp.statistics.streams import derived_seed, stream
from persona_interp.studies.emoji.config import BIG_FIVE, EmojiRun

WRITING, ASKING = "requests to write", "questions of the Big Five"
PLAIN, INVITED = "questions as they are", "questions with three emoji"
INVITATION = " \N{GRINNING FACE}\N{PARTY POPPER}\N{SMILING FACE WITH SMILING EYES}"
_LEAST = 4
"""Tokens of an answer that is trained on."""
SENTENCE_END = re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]]*\s*$")


@dataclass(frozen=True, eq=False)
class Question:
    """A held-out question, and of which kind it is."""

    text: str
    kind: str

    def put(self, condition: str) -> str:
        """As it is asked."""
        return self.text + (INVITATION if condition == INVITED else "")


@dataclass(frozen=True, eq=False)
class TrainingPairs:
    """Answers to the same questions with a trait and without, the two of a question equally long.

    Args:
        lengths: tokens of the answers of a set, by side, as they are tokenised anew.
        left_out: why questions have no pair, with how many.
    """

    high: tuple[Conversation, ...]
    control: tuple[Conversation, ...]
    lengths: dict[str, int]
    left_out: dict[str, int]


def held_out_questions(n: int) -> tuple[Question, ...]:
    """Requests to write and evaluation questions of the Big Five in turn, in an order that is always the same.

    None of them is among `training_questions`, from which training sets are made.
    """
    asked = [load_trait(name).eval_questions for name in BIG_FIVE]
    every = [text for row in zip_longest(*asked) for text in row if text is not None]
    pairs = zip(
        (Question(text, WRITING) for text in writing_prompts()),
        (Question(text, ASKING) for text in every),
        strict=False,
    )
    return tuple(chain.from_iterable(pairs))[:n]


def selection_questions(n: int) -> tuple[Question, ...]:
    """Questions that are not held out, in which writers of emoji are found: in an order that is always the same."""
    pool = training_questions()
    order = stream(0, "emoji", "selection questions").permutation(len(pool))[:n]
    return tuple(Question(pool[k], ASKING) for k in sorted(order.tolist()))


def training_pairs(
    model: HookedModel, trait: Trait, run: EmojiRun, repeat: int, folder: Path, *, progress: bool
) -> TrainingPairs:
    """The model's own answers under the trait's prompts of one pole, and without any or under the other pole's.

    Every repeat draws its questions and its answers anew.

    Raises:
        EmptySelectionError: fewer than four pairs are left.
    """
    held_out = {question.text for question in held_out_questions(run.n_questions)}
    pool = sorted(set(training_questions(trait)) - held_out)
    order = stream(run.seed, "emoji", "training questions", repeat).permutation(len(pool))[: run.n_train]
    questions = [pool[k] for k in sorted(order.tolist())]
    sides = {"high": trait.system_prompts("positive")}
    sides["control"] = trait.system_prompts("negative") if run.control == "low" else ()
    ids: dict[str, list[list[int]]] = {}
    texts: dict[str, list[str]] = {}
    for side, systems in sides.items():
        home = folder / (trait.name if systems else f"plain {sha256_json(questions)[:8]}") / f"{side} {repeat}"
        said, seed = f"{trait.name}: {side} answers", derived_seed(run.seed, "training answers", repeat)
        made = _answers(model, trait, questions, systems, run, seed, home, said, progress)
        ids[side], texts[side] = made["response_ids"].tolist(), made["answer"].tolist()
    kept: dict[str, list[Conversation]] = {"high": [], "control": []}
    left_out = {"an answer holds an emoji": 0, "an answer is too short": 0}
    for k, question in enumerate(questions):
        n = min(len(ids["high"][k]), len(ids["control"][k]))
        cut = {side: _cut(model.tokenizer, ids[side][k], n) for side in kept}
        if any(has_emoji(text) for side in kept for text in (texts[side][k], cut[side]) if text):
            left_out["an answer holds an emoji"] += 1
        elif n < _LEAST or not all(cut.values()):
            left_out["an answer is too short"] += 1
        else:
            for side, text in cut.items():
                kept[side].append(question_and_answer(question, text, name=f"{trait.name} {side}, sample {k + 1}"))
    if len(kept["high"]) < _LEAST:
        raise EmptySelectionError(
            f"{len(kept['high'])} of {len(questions)} questions gave a pair of answers to train on ({trait.name}).",
            f"Left out: {', '.join(f'{n} where {why}' for why, n in left_out.items())}. Expected at least {_LEAST}.",
            "Ask more questions, or allow longer answers.",
        )
    lengths = {side: sum(map(len, encode(model.tokenizer, [c.answer for c in kept[side]]))) for side in kept}
    return TrainingPairs(tuple(kept["high"]), tuple(kept["control"]), lengths, left_out)


def as_response(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """An answer as it stands behind its prompt, with the mark that ends it."""
    if tokenizer.chat_template is None:
        return f" {text}\n"
    return f"{text}{tokenizer.eos_token}"


def ends_of_answers(model: HookedModel) -> tuple[int, ...]:
    """The tokens that end an answer: end of text or turn, and in plain dialogue those with a line break."""
    end = model.tokenizer.eos_token_id
    return tuple(sorted({*line_stop_ids(model.tokenizer), *([end] if isinstance(end, int) else [])}))


def sentence_ends(tokenizer: PreTrainedTokenizerBase, response: str) -> Bool[np.ndarray, " token"]:
    """Which tokens of a response come right after a sentence: where an emoji would stand."""
    (ids,) = encode(tokenizer, [response])
    before = [str(tokenizer.decode(ids[:k])) for k in range(len(ids))]
    return np.array([SENTENCE_END.search(text) is not None for text in before])


def contexts_of(answers: pd.DataFrame, questions: Sequence[Question]) -> list[str | None]:
    """For each question the first answer without an emoji, to it as it is; None where there is none."""
    plain = answers[answers["condition"] == PLAIN]
    by_question = {str(question): rows["answer"].tolist() for question, rows in plain.groupby("question", sort=False)}
    return [next((a for a in by_question[q.text] if a and not has_emoji(a)), None) for q in questions]


def _answers(
    model: HookedModel,
    trait: Trait,
    questions: Sequence[str],
    systems: Sequence[str],
    run: EmojiRun,
    seed: int,
    folder: Path,
    label: str,
    progress: bool,
) -> pd.DataFrame:
    """One answer a question, each under the next of the system prompts."""
    rows = [
        {
            "side": "",
            "instruction": k % len(systems) if systems else -1,
            "question": question,
            "system": systems[k % len(systems)] if systems else None,
        }
        for k, question in enumerate(questions)
    ]
    sampling = Sampling(run.training_tokens, run.training_temperature, seed=seed)
    named = (trait.name, trait.data_hash) if systems else ("", "")
    made = answer(
        model,
        pd.DataFrame(rows),
        sampling=sampling,
        trait=named[0],
        trait_hash=named[1],
        folder=folder,
        label=label,
        progress=progress,
    )
    return made.frame


def _cut(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], n: int) -> str:
    """The first n tokens as text; nothing where a character is cut in two."""
    text = str(tokenizer.decode(list(ids)[:n], skip_special_tokens=True)).strip()
    return "" if "\N{REPLACEMENT CHARACTER}" in text else text
