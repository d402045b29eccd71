"""What a chat template is given besides the conversation: its own switches, and a date that stays the same."""

import json
import re
import reprlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from transformers import PreTrainedTokenizerBase

from persona_interp.errors import ConfigError
from persona_interp.io import sha256_bytes

FIXED_DATE = "2024-07-26"
"""Today, for every template that asks: prompts do not depend on the day. Llama's templates name it where none is known.

`template_options={"strftime_now": "2026-01-31"}` makes it another.
"""

_CLOCK = "strftime_now"
_TAKEN = ("messages", "add_generation_prompt")
_TODAY = re.compile(r"\{#- today: (\d{4}-\d{2}-\d{2}) -#\}")


def set_template_options(tokenizer: PreTrainedTokenizerBase | None, options: Mapping[str, Any]) -> None:
    """Give a tokenizer's chat template values for its variables, such as `enable_thinking`.

    They become the template's first lines, so that whatever renders a conversation follows them, and the template's
    hash tells results apart.

    Raises:
        ConfigError: there is no chat template, it has no such variable, or a value is no JSON.
    """
    if not options:
        return
    template = None if tokenizer is None else tokenizer.chat_template
    if tokenizer is None or template is None:
        raise ConfigError(
            f"template_options ({_listed(options)}) were given for a model without a chat template.",
            "A base model's dialogue has no options.",
        )
    head = "".join(_line(name, value, str(template)) for name, value in options.items())
    if isinstance(template, dict):
        tokenizer.chat_template = {name: head + text for name, text in template.items()}
    else:
        tokenizer.chat_template = head + template


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Short hash of the chat template and the date it is given (`plain dialogue` where there is none)."""
    template = tokenizer.chat_template
    if template is None:
        return "plain dialogue"
    date = f"\n{_date(str(template))}" if asks_for_date(tokenizer) else ""
    return sha256_bytes(f"{template}{date}".encode())[:16]


def asks_for_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template inserts today's date."""
    return _CLOCK in str(tokenizer.chat_template)


def apply_template(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], *, prompt: bool) -> str:
    """The chat template applied to messages, on the fixed date."""
    template = None
    if asks_for_date(tokenizer):
        template = tokenizer.get_chat_template()
        template = _clock(_date(template)) + template
    return str(
        tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=prompt)
    )


def _clock(date: str) -> str:
    """A macro that stands in for the clock of templates: `strftime` of that date's midnight, by replacement."""
    day = datetime.fromisoformat(date)
    forms = [f"%{flag}{letter}" for flag in ("-", "") for letter in "aAbBcdHIjmMpSyYxX"]
    filled = "".join(f" | replace({form!r}, {day.strftime(form)!r})" for form in forms)
    return f"{{%- macro {_CLOCK}(form) -%}}{{{{- form{filled} | replace('%%', '%') -}}}}{{%- endmacro %}}"


def _date(template: str) -> str:
    found = _TODAY.search(template)
    return FIXED_DATE if found is None else found.group(1)


def _line(name: str, value: Any, template: str) -> str:
    if not (isinstance(name, str) and name.isidentifier()) or name in _TAKEN or not re.search(rf"\b{name}\b", template):
        raise ConfigError(
            f"the chat template takes no option {reprlib.repr(name)}.",
            "Options are variables that the template names, such as enable_thinking; the model's card lists them.",
        )
    if name == _CLOCK:
        return f"{{#- today: {_checked_date(value)} -#}}"
    try:
        literal = json.dumps(value, ensure_ascii=False, allow_nan=False)
        literal.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"the template option {name} must be a text, number, truth value, list or object of these, got"
            f" {reprlib.repr(value)}."
        ) from error
    return f"{{%- set {name} = {'none' if value is None else literal} %}}"


def _checked_date(value: Any) -> str:
    try:
        return datetime.strptime(value, "%Y-%m-%d").date().isoformat()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the template option {_CLOCK} must be a date like {FIXED_DATE}, got {reprlib.repr(value)}."
        ) from error


def _listed(options: Mapping[str, Any]) -> str:
    return reprlib.repr(", ".join(map(str, options)))[1:-1]
