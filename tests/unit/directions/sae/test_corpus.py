"""Texts as a model sees them: rollouts and conversations joined with their prompts, and texts that are held out."""

import pandas as pd
import torch

from persona_interp.data.conversations import question_and_answer
from persona_interp.directions.sae.corpus import conversation_texts, corpus_texts, rollout_texts
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import render_chat
from tests.small import rollouts


def test_rollouts_are_prompts_with_their_answers() -> None:
    frame = pd.DataFrame({"prompt": ["Q: a\nA:", "Q: b\nA:"], "answer": [" yes", " no"], "side": ["positive"] * 2})
    assert rollout_texts(rollouts(frame, torch.zeros(2, 1, 4))) == ["Q: a\nA: yes", "Q: b\nA: no"]


def test_conversations_end_with_their_last_answer(model: HookedModelBase) -> None:
    talk = question_and_answer("Why?", "Because.", system="Be kind.")
    (text,) = conversation_texts(model, [talk])
    assert text == f"{render_chat(model.tokenizer, talk.prompt)} Because."


def test_what_is_held_out_follows_from_the_seed(model: HookedModelBase) -> None:
    first, again, other = (corpus_texts(model, seed=seed) for seed in (0, 0, 1))
    assert first == again and first.held_out != other.held_out
    assert len(first.texts) + len(first.held_out) == len(other.texts) + len(other.held_out)
