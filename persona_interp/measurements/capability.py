"""What a model still can do: multiple-choice accuracy, perplexity of neutral text, loss on given answers.

Everything is the log-probability of given texts, with or without an intervention, so nothing is sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.conversations import Conversation
from persona_interp.data.multiple_choice import ChoiceItem, load_multiple_choice
from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.errors import ConfigError
from persona_interp.interventions.protocol import Intervention
from persona_interp.measurements.text_logprobs import text_logprobs
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import render_chat
from persona_interp.statistics.means import bootstrap_mean
from persona_interp.statistics.resampling import Interval
from persona_interp.statistics.shares import exact_share

_PROMPT = "{start}Question: {question}\nAnswer:"


@dataclass(frozen=True, eq=False)
class ChoiceResult:
    """Log-probabilities of every option of every item, and what follows from them.

    Args:
        logprobs: of an option's text, summed over its tokens, in nats.
    """

    items: tuple[ChoiceItem, ...]
    logprobs: Float[np.ndarray, "item option"]

    @property
    def chosen(self) -> Int[np.ndarray, " item"]:
        """The most probable option of each item, 0-based; the first of equals."""
        return self.logprobs.argmax(axis=1)

    @property
    def correct(self) -> Bool[np.ndarray, " item"]:
        """Whether the right option is the most probable one."""
        return self.chosen == np.array([item.answer for item in self.items])

    @property
    def accuracy(self) -> Interval:
        """Share of items answered rightly, 0 to 1 (chance 0.25), with the exact binomial interval."""
        return _share(self.correct)

    @property
    def by_subject(self) -> dict[str, Interval]:
        """The accuracy within each subject, in the order of the items."""
        subjects, correct = np.array([item.subject for item in self.items]), self.correct
        return {subject: _share(correct[subjects == subject]) for subject in dict.fromkeys(subjects.tolist())}

    @property
    def frame(self) -> pd.DataFrame:
        """One row an item: subject, question, answer, chosen (the texts of both options) and correct."""
        return pd.DataFrame(
            {
                "subject": [item.subject for item in self.items],
                "question": [item.question for item in self.items],
                "answer": [item.options[item.answer] for item in self.items],
                "chosen": [item.options[k] for item, k in zip(self.items, self.chosen, strict=True)],
                "correct": self.correct,
            }
        )


@dataclass(frozen=True, eq=False)
class LossResult:
    """Negative log-likelihood of some texts.

    Args:
        losses: of each text, nats a token.
        n_tokens: tokens scored in each text.
        loss: mean over all tokens, nats a token, with a bootstrap over whole texts.
    """

    losses: Float[np.ndarray, " text"]
    n_tokens: Int[np.ndarray, " text"]
    loss: Interval


@dataclass(frozen=True, eq=False)
class PerplexityResult(LossResult):
    """Negative log-likelihood of some texts, and its exponential."""

    @property
    def perplexity(self) -> Interval:
        """exp(loss), bounds likewise: 1 is certainty, the size of the vocabulary a uniform guess."""
        estimate, low, high = np.exp([self.loss.estimate, self.loss.low, self.loss.high]).tolist()
        return Interval(estimate, low, high, self.loss.n, self.loss.n_clusters, self.loss.level, over=self.loss.over)


@checked
def measure_multiple_choice(
    model: HookedModel,
    items: Sequence[ChoiceItem] | None = None,
    *,
    intervention: Intervention | None = None,
    progress: bool = True,
) -> ChoiceResult:
    r"""Items answered by the option with the largest sum of log p(option token | prompt, earlier option tokens).

    The prompt is plain dialogue for every model, `Question: ...\nAnswer:`, and an option follows after a space. Chat
    models are not given their template: after it they begin with a sentence rather than with the bare option, and a
    base model and its chat version are then asked the same. The model never sees the options together, so their
    order does not count. A start token comes first where the tokenizer puts one.

    Args:
        items: default: those written for this project.
        intervention: the option's tokens count as the response.

    Raises:
        ConfigError: there is no item.
        IncompatibleDirectionError: the intervention was made for another model.
        ContextLengthError: an item is longer than the model's context.
    """
    items = load_multiple_choice() if items is None else tuple(items)
    if not items:
        raise ConfigError("there is no multiple-choice item to measure.", "Give some, or none for the built-in ones.")
    start = _start_of_text(model)
    prompts = [_PROMPT.format(start=start, question=item.question) for item in items for _ in item.options]
    options = [f" {option}" for item in items for option in item.options]
    scored = text_logprobs(model, prompts, options, intervention, label="multiple choice", progress=progress)
    return ChoiceResult(items, np.array([row.sum() for row in scored]).reshape(len(items), 4))


@checked
def measure_perplexity(
    model: HookedModel,
    texts: Some[str] | None = None,
    *,
    intervention: Intervention | None = None,
    progress: bool = True,
) -> PerplexityResult:
    """Exp of the mean of -log p(token | start token, earlier tokens) over all tokens of all texts.

    Every text is on its own after a start token (end-of-text for a model that has none), so its first token counts
    too. Perplexities of models with different tokenizers cannot be compared.

    Args:
        texts: default: the neutral passages written for this project.
        intervention: the text counts as the response.

    Raises:
        ConfigError: there is no text, or the tokenizer has neither a start nor an end token.
        EmptySelectionError: a text is empty.
        IncompatibleDirectionError: the intervention was made for another model.
        ContextLengthError: a text is longer than the model's context.
    """
    texts = load_neutral_texts() if texts is None else texts
    start = model.tokenizer.bos_token or model.tokenizer.eos_token
    if not start:
        raise ConfigError(
            f"the tokenizer of {model.name} has neither a start nor an end token.",
            "The first token of a text has nothing to be predicted from; give the tokenizer one of the two.",
        )
    scored = text_logprobs(model, [str(start)] * len(texts), texts, intervention, label="perplexity", progress=progress)
    return PerplexityResult(*_losses(scored))


@checked
def measure_task_loss(
    model: HookedModel,
    conversations: Sequence[Conversation],
    *,
    intervention: Intervention | None = None,
    progress: bool = True,
) -> LossResult:
    """Mean of -log p(answer token | prompt, earlier answer tokens) over the last answers of conversations.

    The prompt is rendered by the chat template (plain dialogue for base models) as for generation; the answer is its
    text without the marks that end a turn.

    Raises:
        ConfigError: there is no conversation.
        EmptySelectionError: an answer is empty.
        IncompatibleDirectionError: the intervention was made for another model.
        ContextLengthError: a conversation is longer than the model's context.
    """
    prompts = [render_chat(model.tokenizer, conversation.prompt) for conversation in conversations]
    gap = " " if model.tokenizer.chat_template is None else ""
    answers = [conversation.answer and f"{gap}{conversation.answer}" for conversation in conversations]
    scored = text_logprobs(model, prompts, answers, intervention, label="task loss", progress=progress)
    return LossResult(*_losses(scored))


def _losses(
    scored: Sequence[Float[np.ndarray, " _"]],
) -> tuple[Float[np.ndarray, " text"], Int[np.ndarray, " text"], Interval]:
    """Mean of each row, its length, and the mean over all tokens with rows as clusters."""
    losses, lengths = np.array([-row.mean() for row in scored]), np.array([len(row) for row in scored])
    tokens = -np.concatenate(list(scored))
    return losses, lengths, bootstrap_mean(tokens, np.repeat(np.arange(len(scored)), lengths))


def _share(correct: Bool[np.ndarray, " item"]) -> Interval:
    return exact_share(int(correct.sum()), len(correct))


def _start_of_text(model: HookedModel) -> str:
    """The start token where the tokenizer puts one in front of a text."""
    ids = model.tokenizer("a")["input_ids"]
    first = model.tokenizer.bos_token_id
    return str(model.tokenizer.bos_token) if first is not None and list(ids)[:1] == [first] else ""  # pyright: ignore
