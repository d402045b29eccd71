"""Texts as a model sees them, to train dictionaries on: those of this package, rollouts, and conversations."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Seed
from persona_interp.data.conversations import Conversation
from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.data.own_texts import own_texts
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import render_chat, render_prompt
from persona_interp.rollouts.generate import Rollouts
from persona_interp.statistics.streams import stream


@dataclass(frozen=True)
class Corpus:
    """Texts to train on, and others to measure on."""

    texts: tuple[str, ...]
    held_out: tuple[str, ...]


@checked
def corpus_texts(model: HookedModel, *, held_out: Between0And1 = 0.1, seed: Seed = 0) -> Corpus:
    """The texts of this package (`own_texts`) as the model sees them, some of them and the neutral passages held out.

    Texts that answer one question are all trained on or all held out.
    """
    several = own_texts()
    groups = list(dict.fromkeys(one.group for one in several))
    order = stream(seed, "held out").permutation(len(groups))[: round(held_out * len(groups))]
    apart = {groups[k] for k in order}
    rendered = [(one.group in apart, _rendered(model.tokenizer, one.text, one.question, one.system)) for one in several]
    trained = [text for is_held_out, text in rendered if not is_held_out]
    measured = [text for is_held_out, text in rendered if is_held_out]
    measured = list(dict.fromkeys([*load_neutral_texts(), *measured]))
    mixed = stream(seed, "order of held-out texts").permutation(len(measured))  # the first are measured
    known = set(measured)
    trained = dict.fromkeys(text for text in trained if text not in known)
    return Corpus(tuple(trained), tuple(measured[k] for k in mixed))


@checked
def rollout_texts(rollouts: Rollouts) -> list[str]:
    """Every prompt with its answer, as the model saw it."""
    return [f"{row['prompt']}{row['answer']}" for row in rollouts.frame[["prompt", "answer"]].to_dict("records")]


@checked
def conversation_texts(model: HookedModel, conversations: Sequence[Conversation]) -> list[str]:
    """Conversations up to their last answer, by the model's chat template."""
    return [f"{render_chat(model.tokenizer, one.prompt)}{_gap(model.tokenizer)}{one.answer}" for one in conversations]


def _rendered(tokenizer: PreTrainedTokenizerBase, text: str, question: str | None, system: str | None) -> str:
    if question is None:
        return text
    prompt = render_prompt(tokenizer, question, system=system)
    return f"{prompt}{_gap(tokenizer) if text else ''}{text}"


def _gap(tokenizer: PreTrainedTokenizerBase) -> str:
    """What stands between a prompt and its answer: a space in plain dialogue."""
    return " " if tokenizer.chat_template is None else ""
