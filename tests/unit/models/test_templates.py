"""Options of chat templates, and templates that insert today's date."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from persona_interp.errors import ConfigError
from persona_interp.models.load import load_model
from persona_interp.models.templates import FIXED_DATE, set_template_options, template_hash
from persona_interp.models.tokens import render_chat, render_prompt
from persona_interp.reasoning import opens_reasoning
from persona_interp.types import Turn
from tests.contract.tiny import make_tokenizer
from tests.small import Tiny

REASONING = """
{%- macro block() %}{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}{% endmacro %}
{%- for message in messages %}
{{- '<' + message.role + '>' + (message.content if message.role == 'user' else message.content.split('</think>')[-1]) }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<assistant>' + block() }}{% endif %}"""
"""A model that reasons unless told not to; earlier reasoning is dropped from the conversation."""
ALWAYS = REASONING + "{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}"
DATED = "{{- 'Today is ' + strftime_now('%d %b %Y') + '.' }}{{ messages[0].content }}"


@pytest.fixture
def tokenizer() -> Iterator[PreTrainedTokenizerBase]:
    yield deepcopy(make_tokenizer())


def test_a_switch_of_the_template(tokenizer: PreTrainedTokenizerBase):
    tokenizer.chat_template = REASONING
    plain, before = render_prompt(tokenizer, "Why?"), template_hash(tokenizer)
    set_template_options(tokenizer, {})
    assert template_hash(tokenizer) == before
    set_template_options(tokenizer, {"enable_thinking": False})
    assert plain == "<user>Why?<assistant>"
    assert render_prompt(tokenizer, "Why?") == f"{plain}<think>\n\n</think>\n\n"
    assert template_hash(tokenizer) != before
    assert tokenizer.apply_chat_template(  # whoever renders follows it
        [{"role": "user", "content": "Why?"}], tokenize=False, add_generation_prompt=True
    ) == render_prompt(tokenizer, "Why?")


def test_a_template_that_always_opens_a_block(tokenizer: PreTrainedTokenizerBase):
    tokenizer.chat_template = ALWAYS
    assert opens_reasoning(render_prompt(tokenizer, "Why?"))
    turns = [Turn("user", "Why?"), Turn("assistant", "<think>a</think>so"), Turn("user", "How?")]
    assert render_chat(tokenizer, turns) == "<user>Why?<assistant>so<user>How?<assistant><think>\n"


@pytest.mark.parametrize(
    "value", [True, None, 3, 0.5, 'a "quoted"\n{%- text -%} 😀 \\n', ["a", 1], {"a": {"b": "x"}}, "%}"]
)
def test_values_of_options(tokenizer: PreTrainedTokenizerBase, value: Any):
    tokenizer.chat_template = "{{- option | tojson }}{{ messages[0].content }}"
    plain = deepcopy(tokenizer)
    set_template_options(tokenizer, {"option": value})
    message = [{"role": "user", "content": "?"}]
    assert render_prompt(tokenizer, "?") == plain.apply_chat_template(message, tokenize=False, option=value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"thinking": False}, "takes no option 'thinking'"),
        ({"enable_thinking": {1, 2}}, "must be a text, number, truth value, list or object of these, got"),
        ({"enable_thinking": float("nan")}, "must be a text, number"),
        ({"enable_thinking": "\ud800"}, "must be a text, number"),
        ({"messages": []}, "takes no option 'messages'"),
        ({"add_generation_prompt": True}, "takes no option 'add_generation_prompt'"),
        ({"x = 1 %}": 1}, "takes no option"),
        ({"": 1}, "takes no option ''"),
        ({"a" * 10_000: 1}, "takes no option"),
    ],
)
def test_options_that_cannot_be(tokenizer: PreTrainedTokenizerBase, options: dict[str, Any], says: str):
    tokenizer.chat_template = REASONING
    with pytest.raises(ConfigError, match=says) as caught:
        set_template_options(tokenizer, options)
    assert len(str(caught.value)) < 500 and tokenizer.chat_template == REASONING


def test_a_base_model_has_no_options(tokenizer: PreTrainedTokenizerBase):
    with pytest.raises(ConfigError, match=r"template_options \(enable_thinking\) were given for a model without"):
        set_template_options(tokenizer, {"enable_thinking": False})


def at(monkeypatch: pytest.MonkeyPatch, day: str) -> None:
    """Set the clock that templates of transformers see."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # noqa: ARG003
            return datetime.fromisoformat(day)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)


def test_prompts_do_not_depend_on_the_day(tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch):
    tokenizer.chat_template = DATED
    seen = []
    for day in ("2026-01-31", "2026-02-01"):
        at(monkeypatch, day)
        seen.append((render_prompt(tokenizer, "?"), template_hash(tokenizer)))
        raw = tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False)
        assert raw == f"Today is {datetime.fromisoformat(day):%d %b %Y}.?", "the clock was changed"
    assert seen[0] == seen[1] and seen[0][0] == f"Today is {datetime.fromisoformat(FIXED_DATE):%d %b %Y}.?"


def test_another_date_is_another_template(tokenizer: PreTrainedTokenizerBase):
    tokenizer.chat_template = DATED
    before = template_hash(tokenizer)
    set_template_options(tokenizer, {"strftime_now": "2026-01-31"})
    assert render_prompt(tokenizer, "?") == "Today is 31 Jan 2026.?" and template_hash(tokenizer) != before
    for wrong in ("31.1.2026", "2026-02-30", None, 20260131):
        with pytest.raises(ConfigError, match="strftime_now must be a date like 2024-07-26"):
            set_template_options(tokenizer, {"strftime_now": wrong})


def test_a_model_is_loaded_with_options(small: Tiny, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("reasons")
    for file in small.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat_template.jinja").write_text(REASONING)
    plain, quiet = (load_model(folder, "nnsight", template_options=o) for o in ({}, {"enable_thinking": False}))
    assert render_prompt(quiet.tokenizer, "Why?").endswith("</think>\n\n")
    assert plain.provenance.chat_template != quiet.provenance.chat_template
    assert plain.provenance.weights == quiet.provenance.weights
    with pytest.raises(ConfigError, match="takes no option 'reasoning'"):
        load_model(folder, "nnsight", template_options={"reasoning": "low"})
