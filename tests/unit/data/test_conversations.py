"""Rows of a data set as conversations: every accepted form, every refusal, files with bad lines, round trips."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.data.conversations import (
    Conversation,
    Unusable,
    conversations_hash,
    parse_row,
    question_and_answer,
    read_conversations,
    write_conversations,
)
from persona_interp.data.turns import KNOWN_ROLES, answer_positions
from persona_interp.errors import ArtefactError, DataError
from persona_interp.types import Turn

TRANSCRIPTS = Path(__file__).parents[3] / ".." / "shared" / "data" / "assistant_axis" / "transcripts"
ASKED = (Turn("user", "Hi?"), Turn("assistant", "Yes."))
SYSTEM = Turn("system", "Be short.")
USER, ANSWER = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}
BLANK = {"role": "assistant", "content": " \n"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add", "arguments": "2, 2"}}]}
REPLY = {"role": "tool", "content": "4"}
ROLES = f"Roles: {KNOWN_ROLES}."
PREFERRED = "preference data: it holds a chosen and a rejected answer, not one conversation."
SAID = {"role": "system", "content": "Be short."}


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, ANSWER]},
        {"conversation": [USER, ANSWER], "id": 7},
        {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Yes."}]},
        {"messages": [{**USER, "from": None, "value": None}, ANSWER]},
        {"messages": json.dumps([USER, ANSWER])},
        {"messages": None, "prompt": "Hi?", "response": "Yes."},
        {"messages": "", "prompt": "Hi?", "response": "Yes."},
        {"prompt": "Hi?", "completion": "Yes.", "response": None},
        {"prompt": [USER], "completion": [ANSWER]},
        {"prompt": [USER], "response": "Yes."},
        {"question": "Hi?", "answer": "Yes."},
        {"instruction": "Hi?", "output": "Yes."},
        {"instruction": "Hi?", "input": "", "output": "Yes."},
        {"messages": [{"role": "user", "content": parts("Hi", "?")}, ANSWER]},
        {"messages": [USER, ANSWER, USER, USER]},
        [USER, ANSWER],
        ["Hi?", "Yes."],
        [["Hi?", "Yes."]],
        {"conversations": [["Hi?", "Yes."]]},
        {"conversations": [["human", "Hi?"], ["gpt", "Yes."]]},
        {"Prompt": "Hi?", "Response": "Yes."},
        {"messages": "[{'role': 'user', 'content': 'Hi?'}, {'role': 'assistant', 'content': 'Yes.'}]"},
        {"messages": {"role": ["user", "assistant"], "content": ["Hi?", "Yes."]}},
        *(
            {"messages": [{"role": user, "content": "Hi?"}, {"role": model, "content": "Yes."}]}
            for user, model in (
                ("human", "gpt"),
                ("USER", "ASSISTANT"),
                ("Human", "bot"),
                ("prompter", "Model"),
                ("user", "chatbot"),
                ("User", "AI"),
            )
        ),
    ],
)
def test_every_form_is_the_same_conversation(row: object) -> None:
    assert parse_row(row, "here") == Conversation("here", ASKED)


def read(row: object) -> Conversation:
    found = parse_row(row, "")
    assert isinstance(found, Conversation)
    return found


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        ([USER, CALL, REPLY, ANSWER], "user tool_call tool assistant"),
        ([USER, {**CALL, "content": "I look."}, REPLY, REPLY, ANSWER], "user assistant tool_call tool tool assistant"),
        (
            [
                {"from": "human", "value": "Hi?"},
                {"from": "function_call", "value": "f()"},
                {"from": "observation", "value": "4"},
                {"from": "gpt", "value": "Yes."},
            ],
            "user tool_call tool assistant",
        ),
        ([USER, {**ANSWER, "content": "<tool_call>{}</tool_call>\n"}, REPLY, ANSWER], "user tool_call tool assistant"),
        ([USER, {**ANSWER, "content": "<functioncall> {}"}, REPLY, ANSWER], "user tool_call tool assistant"),
        ([USER, {**ANSWER, "content": [{"type": "tool_use", "name": "f", "input": {}}]},
          {"role": "user", "content": [{"type": "tool_result", "content": "4"}]}, ANSWER],
         "user tool_call tool assistant"),
        ([{"role": "developer", "content": "Be short."}, USER, ANSWER], "system user assistant"),
        ([ANSWER, USER, ANSWER], "assistant user assistant"),
        ([USER, ANSWER, USER, CALL, REPLY], "user assistant"),
    ],
)  # fmt: skip
def test_tools_and_greetings_are_context_and_never_answers(messages: list, roles: str) -> None:
    found = read({"messages": messages})
    assert " ".join(turn.role for turn in found.turns) == roles
    said = [found.turns[k].content for k in answer_positions(found.turns)]
    assert found.answer == "Yes." and said == (["I look."] if "I look." in str(messages) else []) + ["Yes."]


def test_system_turns_input_and_longer_talk_are_kept() -> None:
    for row in (
        {"messages": [SAID, USER, ANSWER]},
        {"conversations": [{"from": "system", "value": "Be short."}, {"from": "user", "value": "Hi?"},
                           {"from": "assistant", "value": "Yes."}]},
        {"system": "Be short.", "prompt": "Hi?", "response": "Yes."},
        {"system": "Another.", "messages": [SAID, USER, ANSWER]},
    ):  # fmt: skip
        found = read(row)
        assert found.turns == (SYSTEM, *ASKED)
        assert found.prompt == (SYSTEM, ASKED[0]) and found.answer == "Yes."
    found = read({"instruction": "Sort.", "input": "b a", "output": "a b"})
    assert found.turns[0] == Turn("user", "Sort.\n\nb a")
    assert read({"messages": [SAID, USER, ANSWER, USER, ANSWER, USER]}).turns == (SYSTEM, *ASKED * 2)
    blank_before = {"messages": [USER, {**ANSWER, "content": ""}, USER, ANSWER]}
    assert read(blank_before).turns[1].content == ""


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([USER, 3], "not an object, nor a list of turns."),
        ([USER, ["Hi?"]], "turn 1 has the role None and a content of type NoneType. {ROLES}"),
        (["a", "b", "c"], "a list of 3 texts; a question and its answer were expected."),
        ("Hi?", "not an object but of type str."),
        (None, "not an object but of type NoneType."),
        ({}, "none of the known forms; keys with a value: none."),
        ({"text": "x", "prompt": "y", "answer": None}, "none of the known forms; keys with a value: 'text', 'prompt'."),
        ({"messages": "Human: hi"}, "messages is of type str, not a list of messages."),
        ({"messages": "[1, "}, "not valid JSON (Expecting value: line 1 column 5 (char 4))."),
        ({"messages": {"role": "user"}}, "messages is of type dict, not a list of messages."),
        (
            {"conversations": [{"from": "bard", "value": "4"}]},
            "turn 0 has the role 'bard' and a content of type str. {ROLES}",
        ),
        (
            {"messages": [{"role": ["user"], "content": "4"}]},
            "turn 0 has the role ['user'] and a content of type str. {ROLES}",
        ),
        (
            {"messages": ["Hi"]},
            "turn 0 has the role None and a content of type NoneType. {ROLES}",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": None}]},
            "turn 1 has the role 'assistant' and a content of type NoneType. The content must be a text.",
        ),
        ({"prompt": "Hi?", "response": 4}, "response is of type int, not a text."),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, ANSWER]},
            "turn 0 has a part of type 'image_url'; only text can be read.",
        ),
        (
            {"messages": [{"role": "user", "content": ["Hi?"]}, ANSWER]},
            "turn 0 has a part of type None; only text can be read.",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}, ANSWER]},
            "turn 0, a part's text is of type NoneType, not a text.",
        ),
        ({"prompt": "\ud83d", "response": "x"}, "prompt holds half a character (a lone surrogate) at 0."),
        ({"messages": []}, "no assistant turn."),
        ({"messages": [SAID, USER]}, "no assistant turn."),
        ({"messages": [USER, BLANK]}, "empty answer: turn 1, the last of the assistant, is blank."),
        ({"prompt": "Hi?", "response": ""}, "empty answer: turn 1, the last of the assistant, is blank."),
        ({"messages": [USER, USER, ANSWER]}, "turns 0 and 1 are both the user's."),
        ({"messages": [SAID, USER, ANSWER, ANSWER]}, "turns 2 and 3 are both the assistant's."),
        ({"messages": [SAID, ANSWER]}, "the assistant speaks first; a user turn was expected before the answer."),
        ({"messages": [USER, CALL]}, "its only answer is a call of a tool."),
        ({"messages": [USER, CALL, REPLY, BLANK]}, "empty answer: turn 3, the last of the assistant, is blank."),
        ({"chosen": "a", "rejected": "b", "prompt": "c", "response": "d"}, PREFERRED),
        ({"messages": [USER, SAID, ANSWER]}, "turn 1 is a system turn; only the first one can be."),
        ({"messages": [USER, ANSWER, SAID]}, "turn 2 is a system turn; only the first one can be."),
        ({"messages": [SAID, SAID, USER, ANSWER]}, "turn 1 is a system turn; only the first one can be."),
    ],
)  # fmt: skip
def test_every_refusal_says_why(row: object, reason: str) -> None:
    assert parse_row(row, "f.jsonl, line 7") == Unusable("f.jsonl, line 7", reason.replace("{ROLES}", ROLES))


def test_a_strangers_value_is_not_quoted_whole() -> None:
    row = {"messages": [{"role": "x" * 10_000, "content": ""}]}
    assert len(parse_row(row, "").reason) < 200  # pyright: ignore
    assert len(parse_row({f"{k}" * 100: k for k in range(500)}, "").reason) < 600  # pyright: ignore


def test_bad_lines_are_left_out_with_their_number_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = json.dumps({"messages": [USER, ANSWER]}).encode()
    deep = b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    number = b'{"messages": ' + b"9" * 5000 + b"}"
    bad = [b"{", b'{"prompt": "\xff", "response": "x"}', deep, number, b'{"a": 1}']
    path = tmp_path / "file.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([good, b"  ", *bad, b"", good]))
    found = read_conversations(path)
    assert [c.name for c in found.conversations] == ["file.jsonl, line 1", "file.jsonl, line 9"]
    assert {c.turns for c in found.conversations} == {ASKED}
    assert [u.name for u in found.unusable] == [f"file.jsonl, line {k}" for k in range(3, 8)]
    beginnings = ["not valid JSON (", "not valid UTF-8 (invalid start byte at byte 12).", "not valid JSON (nested"]
    beginnings += ["not valid JSON (Exceeds", "none of the known forms; keys with a value: 'a'."]
    assert all(u.reason.startswith(words) for u, words in zip(found.unusable, beginnings, strict=True))


def test_a_file_without_a_usable_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text('{"a": 1}\n\n[]\n3\n4\n')
    with pytest.raises(DataError) as caught:
        read_conversations(path)
    first, *more = str(caught.value).split("\n  ")
    assert first == f"{path} holds no usable conversation: 4 rows were left out."
    assert more[0] == "file.jsonl, line 1: none of the known forms; keys with a value: 'a'." and len(more) == 4
    assert more[-1].startswith("A row is a JSON object with messages")
    path.write_text("\n")
    with pytest.raises(ArtefactError, match="is empty: it holds no row"):
        read_conversations(path)
    with pytest.raises(ArtefactError, match="does not exist"):
        read_conversations(tmp_path / "none.jsonl")


answers = st.text(min_size=1).filter(str.strip)
talks = st.tuples(st.none() | st.text(), st.lists(st.tuples(st.text(), answers), min_size=1, max_size=3))


def conversation(system: str | None, pairs: list[tuple[str, str]]) -> Conversation:
    first = () if system is None else (Turn("system", system),)
    return Conversation("", first + tuple(t for u, a in pairs for t in (Turn("user", u), Turn("assistant", a))))


@given(st.lists(talks, min_size=1, max_size=4))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple]) -> None:
    written = [conversation(*talk) for talk in drawn]
    path = tmp_path_factory.getbasetemp() / "written.jsonl"
    write_conversations(path, written)
    found = read_conversations(path)
    assert [c.turns for c in found.conversations] == [c.turns for c in written] and not found.unusable


def test_line_separators_of_unicode_do_not_end_a_line(tmp_path: Path) -> None:
    write_conversations(tmp_path / "f.jsonl", [question_and_answer("a\u2028b\x85c\x0b", "d\u2029\r\n e", system="s")])
    assert [c.answer for c in read_conversations(tmp_path / "f.jsonl").conversations] == ["d\u2029\r\n e"]


keys = st.sampled_from(["messages", "prompt", "response", "role", "content", "from", "value", "type", "text"])
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["user", "assistant", "text"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner),
    max_leaves=20,
)


@given(junk)
def test_no_row_whatever_stops_the_reading(row: object) -> None:
    found = parse_row(row, "row")
    if isinstance(found, Conversation):
        assert found.turns[-1].role == "assistant" and found.answer.strip()
    else:
        assert found.reason


@pytest.mark.skipif(not TRANSCRIPTS.is_dir(), reason="optional data of the Assistant Axis")
def test_transcripts_of_the_assistant_axis_are_conversations() -> None:
    for path in sorted(TRANSCRIPTS.glob("*.json")):
        row = json.loads(path.read_bytes())
        found = read(row)
        said = [turn["content"] for turn in row["conversation"] if turn["role"] == "assistant"]
        assert len(said) > 1 and [t.content for t in found.turns if t.role == "assistant"] == said


def test_conversations_are_told_apart_by_every_turn_and_their_order():
    talks = [question_and_answer("Why?", answer, name="") for answer in ("So.", "So!")]
    assert len({conversations_hash(talks), conversations_hash(talks[:1]), conversations_hash(talks[::-1])}) == 3
