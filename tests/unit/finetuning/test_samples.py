"""Loss masks: exactly the answers and what closes them, in chat templates and plain dialogue; padding; rows left."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from persona_interp.data.conversations import Conversation, Unusable, question_and_answer
from persona_interp.errors import DataError
from persona_interp.finetuning.samples import IGNORED, Collator, Sample, encode_sample, encode_samples
from persona_interp.models.tokens import encode, render_chat, render_prompt
from persona_interp.types import Turn
from tests.contract.tiny import PAD, make_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}{{ m['role'] }}: "
    "{% if m['role'] == 'assistant' and not loop.last %}{{ m['content'].split('|')[-1] }}"
    "{% else %}{{ m['content'] }}{% endif %}#\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
"""Drops what stands before a bar in earlier answers, as templates drop earlier reasoning."""
STRICT = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}[{{ m['content'] }}]{% endfor %}"
)


def tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    made = make_tokenizer()
    made.chat_template = template
    if template == CHATML:
        made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return made


CHAT, PLAIN = tokenizer(CHATML), tokenizer(None)
TEXT = st.text("aeioust bcdr?!.", min_size=1, max_size=12).filter(str.strip)
DIALOGUES = st.tuples(st.none() | TEXT, st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))


def dialogue(system: str | None, pairs: Sequence[tuple[str, str]]) -> Conversation:
    first = [] if system is None else [Turn("system", system)]
    turns = [turn for asked, said in pairs for turn in (Turn("user", asked), Turn("assistant", said))]
    return Conversation("a dialogue", (*first, *turns))


def pieces(tokenizer: PreTrainedTokenizerFast, sample: Sample) -> list[tuple[bool, str]]:
    """The text of each run of tokens that are answers or not."""
    runs: list[tuple[bool, list[int]]] = []
    for token, answered in zip(sample.ids, sample.in_answer, strict=True):
        if not runs or runs[-1][0] != answered:
            runs.append((answered, []))
        runs[-1][1].append(token)
    return [(answered, str(tokenizer.decode(ids))) for answered, ids in runs]


@settings(max_examples=60, deadline=None)
@given(DIALOGUES)
def test_answers_and_their_closing_marks_are_trained_on_in_chatml(made: tuple) -> None:
    conversation = dialogue(*made)
    sample = encode_sample(CHAT, conversation)
    found = pieces(CHAT, sample)
    assert [text for answered, text in found if answered] == [f"{said}<|im_end|>\n" for _, said in made[1]]
    assert "".join(text for _, text in found) == render_chat(CHAT, conversation.turns, prompt=False)
    assert [answered for answered, _ in found] == [False, True] * len(made[1])


@settings(max_examples=60, deadline=None)
@given(DIALOGUES)
def test_answers_and_their_closing_marks_are_trained_on_in_plain_dialogue(made: tuple) -> None:
    conversation = dialogue(*made)
    sample = encode_sample(PLAIN, conversation)
    found = pieces(PLAIN, sample)
    assert [text for answered, text in found if answered] == [f" {said}\n\n" for _, said in made[1]]
    assert "".join(text for _, text in found) == render_chat(PLAIN, conversation.turns, prompt=False)


@pytest.mark.parametrize("tokens", [CHAT, PLAIN], ids=["chatml", "plain"])
@settings(max_examples=40, deadline=None)
@given(system=st.none() | TEXT, asked=TEXT, said=TEXT)
def test_the_prompt_is_the_one_of_inference(tokens, system: str | None, asked: str, said: str) -> None:
    sample = encode_sample(tokens, question_and_answer(asked, said, system=system))
    n = sample.in_answer.index(True)
    assert list(sample.ids[:n]) == encode(tokens, [render_prompt(tokens, asked, system=system)])[0]
    assert all(sample.in_answer[n:])


def test_what_a_template_rewrites_is_not_trained_on() -> None:
    tokens = tokenizer(FORGETFUL)
    conversation = dialogue(None, [("Why?", "so|yes"), ("And?", "then|no")])
    found = pieces(tokens, encode_sample(tokens, conversation))
    assert found == [(False, "user: Why?#\nassistant: yes#\nuser: And?#\nassistant: "), (True, "then|no#\n")]


def test_too_long_and_empty_samples_are_reported_with_their_reasons() -> None:
    rows = [
        question_and_answer("Why?", "So.", name="row 1"),
        question_and_answer("Why?", "So. " * 40, name="row 2"),
        question_and_answer("Why?", "  ", name="row 3"),
        Conversation("row 4", (Turn("user", "Why?"),)),
        question_and_answer("Who?", "I.", name="row 5"),
    ]
    made = encode_samples(CHAT, rows, max_tokens=60)
    assert len(made) == 2 and made[1] == encode_sample(CHAT, rows[4])
    n = len(encode_sample(CHAT, rows[1]).ids)
    assert made.unusable == (
        Unusable("row 2", f"{n} tokens, more than 60"),
        Unusable("row 3", "no answer to train on"),
        Unusable("row 4", "no answer to train on"),
    )


def test_a_sample_as_long_as_allowed_stays() -> None:
    row = question_and_answer("Why?", "So.")
    n = len(encode_sample(CHAT, row).ids)
    assert len(encode_samples(CHAT, [row], max_tokens=n)) == 1
    with pytest.raises(DataError, match=f"{n} tokens, more than {n - 1}"):
        encode_samples(CHAT, [row], max_tokens=n - 1)


def test_conversations_that_the_template_refuses_are_left_out() -> None:
    refused = Conversation("row 2", (Turn("user", "a"), Turn("user", "b"), Turn("assistant", "c")))
    first = Conversation("row 3", (Turn("assistant", "c"),))
    made = encode_samples(tokenizer(STRICT), [question_and_answer("a", "b"), refused, first], max_tokens=99)
    assert len(made) == 1
    assert [row.name for row in made.unusable] == ["row 2", "row 3"]
    assert "roles must alternate" in made.unusable[0].reason


def test_nothing_left_is_an_error_that_says_why() -> None:
    rows = [question_and_answer("Why?", "", name=f"row {i}") for i in range(5)]
    with pytest.raises(DataError) as raised:
        encode_samples(CHAT, rows, max_tokens=50)
    assert str(raised.value) == (
        "none of 5 conversations can be trained on.\n"
        "  row 0: no answer to train on; row 1: no answer to train on; row 2: no answer to train on\n"
        "  Raise max_tokens (the model's context is a bound too), or look at the data."
    )
    with pytest.raises(DataError, match="There is none"):
        encode_samples(CHAT, [], max_tokens=50)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(1, 99), st.booleans()), min_size=1, max_size=9), min_size=1, max_size=5))
def test_batches_are_padded_on_the_right(rows: list[list[tuple[int, bool]]]) -> None:
    samples = [Sample(tuple(t for t, _ in row), tuple(a for _, a in row)) for row in rows]
    batch = Collator.of(CHAT)(samples)
    width = max(map(len, rows))
    assert all(tensor.shape == (len(rows), width) and tensor.dtype == torch.long for tensor in batch.values())
    for i, row in enumerate(rows):
        fill = width - len(row)
        assert batch["input_ids"][i].tolist() == [t for t, _ in row] + [PAD] * fill
        assert batch["attention_mask"][i].tolist() == [1] * len(row) + [0] * fill
        assert batch["labels"][i].tolist() == [t if a else IGNORED for t, a in row] + [IGNORED] * fill


TOOLS = CHATML.replace("{% for m in messages %}", "{% for m in messages %}{% if m['role'] == 'tool' %}!{% endif %}", 1)
ASKED = (
    Turn("assistant", "hello"),
    Turn("user", "a sum?"),
    Turn("assistant", "i see"),
    Turn("tool_call", "add"),
    Turn("tool", "four"),
    Turn("tool", "sure"),
    Turn("assistant", "it is four"),
)


@pytest.mark.parametrize("template", [CHATML, TOOLS, None])
def test_tools_and_a_greeting_are_seen_and_never_trained_on(template: str | None) -> None:
    made = tokenizer(template)
    sample = encode_sample(made, Conversation("talk", ASKED))
    answers = [text.split("<|im_end|>")[0].strip() for answered, text in pieces(made, sample) if answered]
    assert answers == ["i see", "it is four"]
    seen = str(made.decode(list(sample.ids)))
    assert all(turn.content in seen for turn in ASKED)
    assert seen == render_chat(made, ASKED, prompt=False)
    if template is not None:
        assert ("tool\nfour" in seen) == (template == TOOLS) == ("user\nfour" not in seen)


def test_a_template_that_wants_roles_in_turn_gets_the_replies_of_tools_as_the_users_words() -> None:
    assert render_chat(tokenizer(STRICT), ASKED[1:2] + ASKED[3:]) == "[a sum?][add][four\n\nsure][it is four]"
