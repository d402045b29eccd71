"""What is measured of any model: its answers and their emoji, and the mass of emoji tokens in given answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas import DataFrame

from persona_interp.interventions.protocol import Intervention
from persona_interp.measurements.emoji import emoji_start_ids, find_emoji
from persona_interp.measurements.token_mass import lens_log_mass, log_mass
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import render_prompt
from persona_interp.rollouts.generate import answer, plain_requests
from persona_interp.studies.emoji.config import EmojiRun
from persona_interp.studies.emoji.texts import INVITED, PLAIN, Question, as_response, ends_of_answers, sentence_ends
from persona_interp.tables import Column, Form, numbers, texts, wholes
from persona_interp.types import NO_EDITS

EVERYWHERE, SENTENCE_ENDS = "every token of the answer", "ends of sentences"
ANSWERS = Form(
    "emoji_answers",
    (*texts("trait arm condition kind question answer", filled=True), *wholes("repeat sample n_tokens n_emoji")),
)
MASSES = Form(
    "emoji_masses",
    (
        *texts("trait arm condition kind question place", filled=True),
        *wholes("repeat n_tokens"),
        *numbers("log_mass", unit="nats"),
    ),
)
LENS = Form(
    "emoji_lens",
    (
        *texts("trait arm condition kind question", filled=True),
        *wholes("repeat n_tokens"),
        Column("layer", "whole", filled=True),
        *numbers("log_mass", unit="nats"),
    ),
)


@dataclass(frozen=True, eq=False)
class Context:
    """A held-out question with an answer that holds no emoji, the same for every model."""

    question: Question
    answer: str


def answer_table(
    model: HookedModel,
    questions: Sequence[Question],
    run: EmojiRun,
    *,
    label: str,
    progress: bool,
    conditions: Sequence[str] = (PLAIN, INVITED),
    intervention: Intervention | None = None,
) -> DataFrame:
    """One row an answer to a question, as it is and with three emoji: its tokens and its emoji.

    Two models answer with the same random numbers, as far as they have the same tokens.
    """
    parts = []
    for condition in conditions:
        made = answer(
            model,
            plain_requests([question.put(condition) for question in questions]),
            edits=NO_EDITS if intervention is None else intervention.edits,
            sampling=Sampling(run.max_new_tokens, run.temperature, n_samples=run.n_samples, seed=run.seed),
            label=f"{label}: {condition}",
            progress=progress,
        ).frame
        asked = [question for question in questions for _ in range(run.n_samples)]
        parts.append(
            DataFrame(
                {
                    "condition": condition,
                    "kind": [question.kind for question in asked],
                    "question": [question.text for question in asked],
                    "sample": made["sample"].to_numpy(),
                    "answer": made["answer"].to_numpy(),
                    "n_tokens": [len(ids) for ids in made["response_ids"]],
                    "n_emoji": [len(find_emoji(text)) if text else 0 for text in made["answer"]],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def mass_table(model: HookedModel, contexts: Sequence[Context], *, label: str, progress: bool) -> DataFrame:
    """One row a context, condition and kind of place: the mean log mass of the tokens that begin an emoji, in nats.

    Given that the answer goes on: tuning on short answers makes them end sooner, which says nothing of emoji.
    """
    tokens, apart, rows = emoji_start_ids(model.tokenizer), ends_of_answers(model), []
    responses = [as_response(model.tokenizer, context.answer) for context in contexts]
    ends = [sentence_ends(model.tokenizer, response) for response in responses]
    for condition in (PLAIN, INVITED):
        prompts = [render_prompt(model.tokenizer, context.question.put(condition)) for context in contexts]
        said = f"{label}: mass of emoji"
        found = log_mass(model, prompts, responses, tokens, apart=apart, label=said, progress=progress)
        for context, masses, at in zip(contexts, found, ends, strict=True):
            for place, chosen in ((EVERYWHERE, np.ones_like(at)), (SENTENCE_ENDS, at)):
                if chosen.any():
                    rows.append(
                        {
                            "condition": condition,
                            "kind": context.question.kind,
                            "question": context.question.text,
                            "place": place,
                            "n_tokens": int(chosen.sum()),
                            "log_mass": float(masses[chosen].mean()),
                        }
                    )
    return DataFrame(rows, columns=["condition", "kind", "question", "place", "n_tokens", "log_mass"])


def lens_table(model: HookedModel, contexts: Sequence[Context], *, label: str, progress: bool) -> DataFrame:
    """One row a context that has a sentence end and a block: the mean log mass there, read from the block's output."""
    tokens, apart, rows = emoji_start_ids(model.tokenizer), ends_of_answers(model), []
    responses = [as_response(model.tokenizer, context.answer) for context in contexts]
    at = [np.flatnonzero(sentence_ends(model.tokenizer, response)) for response in responses]
    prompts = [render_prompt(model.tokenizer, context.question.put(PLAIN)) for context in contexts]
    said = f"{label}: logit lens"
    found = lens_log_mass(model, prompts, responses, tokens, at, apart=apart, label=said, progress=progress)
    for context, masses in zip(contexts, found, strict=True):
        if len(masses):
            shared = {"condition": PLAIN, "kind": context.question.kind, "question": context.question.text}
            means = masses.mean(axis=0).tolist()
            rows += [
                {**shared, "n_tokens": len(masses), "layer": layer, "log_mass": mean}
                for layer, mean in enumerate(means)
            ]
    return DataFrame(rows, columns=["condition", "kind", "question", "n_tokens", "layer", "log_mass"])
