"""From text to left-padded token ids, and from a question to the prompt as the model sees it."""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from persona_interp.arguments import checked
from persona_interp.bounds import Text
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.models.templates import apply_template
from persona_interp.types import Role, TokenBatch, Turn

_AS_SPOKEN: Mapping[Role, Role] = {"tool_call": "assistant", "tool": "user"}


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts that hold their own special tokens (a rendered chat template does)."""
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []  # pyright: ignore


def token_batch(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]] | None = None,
    *,
    pad_id: int = 0,
    n_reasoning: Sequence[int] | None = None,
) -> TokenBatch:
    """Left-padded batch of prompts, each followed by its response.

    Ids are joined, never re-tokenised across the border, so the response mask is exact.

    Args:
        n_reasoning: how many first tokens of each response come before its answer; those are not pooled.

    Raises:
        EmptySelectionError: there is no row, or a prompt without tokens.
        AlignmentError: prompts and responses differ in number.
    """
    responses = [[]] * len(prompts) if responses is None else responses
    if len(prompts) != len(responses):
        raise AlignmentError(f"got {len(prompts)} prompts and {len(responses)} responses.", "Give one each.")
    if not prompts or not all(prompts):
        raise EmptySelectionError("cannot make a batch: there is no prompt, or one without a token.")
    rows = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask, in_response = torch.zeros(2, len(rows), width, dtype=torch.bool)
    for i, (row, response) in enumerate(zip(rows, responses, strict=True)):
        ids[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = True
        in_response[i, width - len(response) :] = len(response) > 0
    skipped = torch.tensor(n_reasoning) if n_reasoning is not None and any(n_reasoning) else None
    return TokenBatch(ids, mask, in_response, skipped)


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that padding gets; masked everywhere, so any would do."""
    found = tokenizer.pad_token_id
    return found if isinstance(found, int) else 0


def text_batch(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], responses: Sequence[str] | None = None
) -> TokenBatch:
    """`token_batch` of texts."""
    encoded = None if responses is None else encode(tokenizer, responses)
    return token_batch(encode(tokenizer, prompts), encoded, pad_id=pad_id(tokenizer))  # pyright: ignore


@checked
def render_prompt(tokenizer: PreTrainedTokenizerBase, user: Text, *, system: Text | None = None) -> str:
    """The prompt as the model sees it: by its chat template, or as plain dialogue for a base model.

    A template that refuses a system turn (Gemma's) gets the system prompt in front of the user's words.
    """
    turns = [Turn("user", user)] if system is None else [Turn("system", system), Turn("user", user)]
    return render_chat(tokenizer, turns)


@checked
def render_chat(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], *, prompt: bool = True) -> str:
    """A conversation as the model sees it: by its chat template, or as plain dialogue for a base model.

    A template that refuses a system turn gets the system prompt in front of the user's first words. A call of a tool is
    written as the assistant's words; what the tool gave back has the role `tool` where the template names that, else it
    is the user's. Where a template refuses them, neighbours that have one role by this are joined. A template that
    inserts today's date is given the same date every day (`models/templates.py`).

    Args:
        prompt: end where the next answer begins.

    Raises:
        ConfigError: there is no turn, or the template refuses this order of roles.
    """
    if not turns:
        raise ConfigError("cannot render a conversation without a turn.", "Give at least the user's words.")
    if tokenizer.chat_template is None:
        return (str(tokenizer.bos_token) if _adds_bos(tokenizer) else "") + _dialogue(turns, prompt=prompt)
    try:
        return _template(tokenizer, turns, prompt=prompt)
    except TemplateError as error:
        simpler = _without_tools(turns) or _merge_system(turns)
        if simpler is not None:
            return render_chat(tokenizer, simpler, prompt=prompt)
        raise ConfigError(
            f"the chat template refuses this conversation ({', '.join(turn.role for turn in turns[:6])}): {error}.",
            "Most templates want user and assistant in turn, after at most one system prompt.",
        ) from error


def line_stop_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Tokens that hold a line break: where the answer of a base model in plain dialogue ends. None for chat models."""
    if tokenizer.chat_template is not None:
        return ()
    marks = ("\n", "Ċ", "<0x0A>")
    return tuple(sorted(i for token, i in tokenizer.get_vocab().items() if any(mark in token for mark in marks)))


def _template(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], *, prompt: bool) -> str:
    knows_tools = bool(re.search(r"""["']tool["']""", str(tokenizer.chat_template)))
    spoken = {"tool_call": "assistant", "tool": "tool" if knows_tools else "user"}
    messages = [{"role": spoken.get(turn.role, turn.role), "content": turn.content} for turn in turns]
    return apply_template(tokenizer, messages, prompt=prompt)


def _merge_system(turns: Sequence[Turn]) -> list[Turn] | None:
    """The system prompt put in front of the user's first words; None where there is none to merge."""
    if len(turns) < 2 or turns[0].role != "system" or turns[1].role != "user":
        return None
    return [Turn("user", f"{turns[0].content}\n\n{turns[1].content}"), *turns[2:]]


def _without_tools(turns: Sequence[Turn]) -> list[Turn] | None:
    """Calls of tools as the assistant's words, replies as the user's, neighbours joined; None where there is none."""
    if not any(turn.role in _AS_SPOKEN for turn in turns):
        return None
    plain = [Turn(_AS_SPOKEN.get(turn.role, turn.role), turn.content) for turn in turns]
    groups = [list(group) for _, group in groupby(plain, key=lambda turn: turn.role)]
    return [Turn(group[0].role, "\n\n".join(turn.content for turn in group)) for group in groups]


def _dialogue(turns: Sequence[Turn], *, prompt: bool) -> str:
    forms = {"system": "{}\n\n", "user": "Question: {}\n", "assistant": "Answer: {}\n\n"}
    forms |= {"tool_call": forms["assistant"], "tool": forms["user"]}
    text = "".join(forms[turn.role].format(turn.content) for turn in turns if turn.role != "system" or turn.content)
    return f"{text}Answer:" if prompt else text


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    return bool(tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id])  # pyright: ignore
