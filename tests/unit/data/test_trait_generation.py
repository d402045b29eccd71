"""A trait written by a scripted model behind real HTTP: valid, broken, hostile and never valid."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.data.trait_checks import contrasts, question_check, similarity, text_problems
from persona_interp.data.trait_generation import generate_trait, generate_trait_file
from persona_interp.data.trait_prompts import Field, Poles
from persona_interp.data.trait_writer import outermost_object
from persona_interp.data.traits import load_trait, trait_to_dict
from persona_interp.endpoint.client import ChatClient, Endpoint
from persona_interp.errors import ConfigError, TraitError
from tests.author import ANSWERS, INSTRUCTIONS, QUESTIONS, TEXTS, Author, scripted_author

JOY = "Is full of joy."
GOOD = ("", "cheerful", INSTRUCTIONS[1][1], TEXTS["score_100"], ANSWERS[0])


@pytest.fixture
def author() -> Iterator[Author]:
    with scripted_author() as server:
        yield server


@pytest.fixture
def client(author: Author) -> Iterator[ChatClient]:
    made = ChatClient(Endpoint("scripted", author.url, ""), in_flight=1, max_retries=0, timeout_s=20.0, progress=False)
    yield made
    made.close()


def change(author: Author, key: str, value: object, *, times: int = 1) -> None:
    """The first `times` replies that have the key have this value there instead."""
    left = [times]

    def reply(texts: dict[str, Any], _request: dict[str, Any]) -> str:
        if key in texts and left[0]:
            left[0] -= 1
            texts[key] = value
        return json.dumps(texts)

    author.reply = reply


def test_a_trait_has_every_text_that_was_written_in_its_place(author: Author, client: ChatClient) -> None:
    trait = generate_trait("joy", JOY, client=client)
    assert (trait.name, trait.description, trait.positive, trait.negative) == ("joy", JOY, "cheerful", "gloomy")
    assert {(pair.pos, pair.neg) for pair in trait.instructions} == set(INSTRUCTIONS)
    assert sorted((*trait.questions, *trait.eval_questions)) == sorted(QUESTIONS[:40])
    assert len(trait.questions) == len(trait.eval_questions) == 20
    assert [e.question for e in trait.exemplars] == QUESTIONS[40:45]
    assert {(e.pos, e.neg) for e in trait.exemplars} == {ANSWERS}
    filled = trait.eval_prompt.format(question="Q?", answer="A.")
    assert all(TEXTS[key] in filled for key in ("look_for", "score_0", "score_50", "score_100"))
    assert "Question: Q?\nAnswer: A.\n" in filled
    assert len(author.requests) == 1 + 5 + 1 + 8 + 5


def test_requests_are_small_and_name_the_trait(author: Author, client: ChatClient) -> None:
    generate_trait("joy", JOY, client=client, n_instructions=1, n_questions=7, n_exemplars=1)
    for request in author.requests:
        form = request["response_format"]["json_schema"]["schema"]
        assert form["additionalProperties"] is False
        assert len(form["required"]) <= 5
        assert f"Trait: joy. {JOY}" in request["messages"][-1]["content"]
    assert "[positive]" not in json.dumps(author.requests)
    five, two = author.asked("question_")
    assert "Write 5 different" in five and "Write 2 different" in two
    assert five != two  # each is about another topic


def test_the_split_is_ours_and_the_seed_s(author: Author, client: ChatClient) -> None:
    halves = []
    for seed in (0, 0, 1):
        author.given.clear()
        trait = generate_trait("joy", JOY, client=client, n_instructions=1, n_questions=8, n_exemplars=1, seed=seed)
        halves.append(trait.questions)
        assert not set(trait.questions) & set(trait.eval_questions)
    assert halves[0] == halves[1] != halves[2]


BROKEN = [
    ("has_the_trait", "cheerful9", "is not an adjective of one to three words"),
    ("opposite", "cheerful", "Both adjectives are the same."),
    ("opposite", "", '"opposite" has 0 characters; 3 to 40 are allowed'),
    ("first", INSTRUCTIONS[1][1], "asks for nothing else than the first one"),
    ("first", ["Laugh", "often"], '"first" must be a text, got '),
    ("second", "Sigh " * 40, '"second" repeats itself'),
    ("look_for", "Look at {__class__} and {answer} in the text.", '"look_for" holds braces'),
    ("look_for", "Look for joy\u0007 and for delight in it.", "holds control characters ('\\x07')"),
    ("look_for", "Look for joy\u202e and for delight in it.", "holds control characters ('\\u202e')"),
    ("look_for", "a" * 3_000, '"look_for" has 3000 characters; at most 700 are allowed.'),
    ("score_50", TEXTS["score_100"], "is nearly the same as"),
    ("score_0", "The JSON has no trait in it at all.", "talks about the request instead of fulfilling it"),
    ("score_100", "What an answer does that is extremely cheerful.", "repeats the request or its example"),
    ("question_2", QUESTIONS[0].upper(), "is nearly the same as"),
    ("question_3", "Tell me about the museum.", "A question must end with a question mark"),
    ("question_1", "Why are some people so GLOOMY in winter?", 'A question must not mention "gloomy"'),
    ("question_4", "My parcel is three days late, what should I do?", "repeats the request or its example"),
    ("second_answer", ANSWERS[0], "Both answers say the same"),
]


@pytest.mark.parametrize(("key", "value", "told"), BROKEN, ids=[f"{row[0]}-{i}" for i, row in enumerate(BROKEN)])
def test_a_broken_text_is_named_and_asked_for_again(
    author: Author, client: ChatClient, key: str, value: Any, told: str
) -> None:
    change(author, key, value)
    trait = generate_trait("joy", JOY, client=client, n_instructions=2, n_questions=10, n_exemplars=2)
    reports = [m for request in author.requests if told in (m := request["messages"][-1]["content"])]
    assert len(reports) == 1
    assert "The last reply could not be used:" in reports[0]
    assert len(reports[0]) < 3000
    assert value in GOOD or str(value) not in json.dumps(trait_to_dict(trait))


def test_a_megabyte_of_text_is_a_failed_request_that_is_asked_again(author: Author, client: ChatClient) -> None:
    change(author, "look_for", "a" * 1_000_000)
    trait = generate_trait("joy", JOY, client=client, n_instructions=1, n_questions=2, n_exemplars=1)
    first, second = author.asked("look_for")
    assert first == second  # the model is not told of what never reached its checks
    assert "aaaa" not in trait.eval_prompt


def test_only_what_is_missing_is_asked_again_and_what_is_there_is_listed(author: Author, client: ChatClient) -> None:
    change(author, "question_3", "")
    trait = generate_trait("joy", JOY, client=client, n_instructions=1, n_questions=10, n_exemplars=1)
    (repair,) = [text for text in author.asked("question") if "Write 1 different" in text]
    kept = [q for q in (*trait.questions, *trait.eval_questions) if f"- {q}" in repair]
    assert len(kept) == 9
    assert len(author.asked("look_for")) == 1


@pytest.mark.parametrize(
    "wrap",
    [
        "```json\n{}\n```",
        "Here it is: {}\nI hope it helps {{you}}!",
        "Like {{this}}: {}",
        '{}\n{{"first": "Another one"}}',
        "\ufeff \n{}",
    ],
)
def test_prose_and_fences_around_the_object_do_no_harm(author: Author, client: ChatClient, wrap: str) -> None:
    author.reply = lambda texts, _request: wrap.format(json.dumps(texts, indent=2))
    trait = generate_trait("joy", JOY, client=client, n_instructions=1, n_questions=4, n_exemplars=1)
    assert sorted((*trait.questions, *trait.eval_questions)) == sorted(QUESTIONS[:4])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        "[]",
        '"text"',
        "[" * 100_000,
        '{"a":' * 20_000 + "1" + "}" * 20_000,
        "{" * 5_000,
        '{"question": ' + "9" * 5_000 + "}",
        '{"has_the_trait": "glad", "opposite": "sa',
        '{"name": "../../evil", "path": "/etc/passwd"}',
    ],
)
def test_what_is_never_valid_ends_in_an_error_and_no_file(
    author: Author, client: ChatClient, tmp_path: Path, text: str
) -> None:
    author.reply = lambda _texts, _request: text
    with pytest.raises(TraitError) as caught:
        generate_trait_file(tmp_path / "joy.json", "joy", JOY, client=client, max_repairs=2)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        f"scripted at {author.url} did not write the trait joy: of its adjectives, 0 of 1 were usable, and the last 3"
        " requests for the rest brought none."
    )
    assert lines[1].startswith("  Wrong at last: ")
    assert "No trait was written. Take a larger model" in lines[-1]
    assert len(str(caught.value)) < 1200
    assert str(caught.value).isprintable() or "\n" in str(caught.value)
    assert len(author.requests) == 3
    assert list(tmp_path.iterdir()) == []


def test_repairs_that_bring_something_are_not_counted_as_in_vain(author: Author, client: ChatClient) -> None:
    """One usable question a request: ten rounds for ten questions, though only one repair may be in vain."""

    def reply(texts: dict[str, str], _request: dict[str, Any]) -> str:
        return json.dumps(
            {k: v if k in ("question", "question_1") or "question" not in k else "" for k, v in texts.items()}
        )

    author.reply = reply
    trait = generate_trait("joy", JOY, client=client, n_instructions=1, n_questions=5, n_exemplars=1, max_repairs=1)
    assert len(trait.questions + trait.eval_questions) == 5
    assert len(author.asked("question_1")) == 4


def test_hostile_extra_keys_reach_neither_the_trait_nor_the_disk(
    author: Author, client: ChatClient, tmp_path: Path
) -> None:
    extra = {"name": "../../evil", "path": "../evil.json", "generated_by": {}, "__class__": "x"}
    author.reply = lambda texts, _request: json.dumps(texts | extra)
    generate_trait_file(tmp_path / "out" / "joy.json", "joy", JOY, client=client)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.json")] == ["out/joy.json"]
    assert "evil" not in (tmp_path / "out" / "joy.json").read_text()


def test_a_file_is_written_once_with_how_it_was_made(author: Author, client: ChatClient, tmp_path: Path) -> None:
    path = tmp_path / "joy.json"
    change(author, "score_0", "")
    trait = generate_trait_file(path, "joy", JOY, client=client)
    made = json.loads(path.read_text())["generated_by"]
    assert made == {
        "model": "scripted",
        "host": author.url.split("/")[2],
        "prompt_version": 1,
        "seed": 0,
        "temperature": 0.7,
        "requests": 21,
        "repairs": {"adjectives": 0, "instruction pairs": 0, "rubric": 1, "questions": 0, "exemplars": 0},
        "prompt_tokens": 210,
        "completion_tokens": 105,
    }
    asked, before = len(author.requests), path.read_bytes()
    assert load_trait(path) == trait == generate_trait_file(path, "joy", JOY, client=client)
    assert trait == generate_trait_file(path, "joy", f" {JOY}\n".replace(" ", "  "), client=client)
    assert (len(author.requests), path.read_bytes()) == (asked, before)
    with pytest.raises(TraitError, match=r"holds a trait with another description: 'Is full of joy\.'"):
        generate_trait_file(path, "joy", "Is full of gloom.", client=client)


@pytest.mark.parametrize("name", ["../../evil", "", "a/b", "x" * 65, "joy\n", ".hidden"])
def test_a_name_that_cannot_be_a_folder_is_refused_before_anything_is_asked(
    author: Author, client: ChatClient, name: str
) -> None:
    with pytest.raises(TraitError, match="A name becomes a folder"):
        generate_trait(name, JOY, client=client)
    assert author.requests == []


def test_counts_and_descriptions_that_cannot_be_are_refused(client: ChatClient) -> None:
    with pytest.raises(ConfigError, match="cannot write a trait of 5 instruction pairs, 1 questions"):
        generate_trait("joy", JOY, client=client, n_questions=1)
    with pytest.raises(TraitError, match="the description of joy has 0 characters"):
        generate_trait("joy", " \n", client=client)


def test_braces_in_the_user_s_own_description_do_not_reach_the_rubric(client: ChatClient) -> None:
    trait = generate_trait("joy", "Joy {question} {x}.", client=client, n_instructions=1, n_questions=2, n_exemplars=1)
    assert trait.eval_prompt.count("{") == 2
    assert trait.description == "Joy {question} {x}."


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_between_0_and_1(one: str, other: str) -> None:
    assert 0 <= similarity(one, other) == similarity(other, one) <= 1
    assert similarity(one, one) == 1
    assert not contrasts(one, one)


@given(st.dictionaries(st.text(max_size=5), st.text(), max_size=4), st.text(alphabet=" \n`abc:.", max_size=20))
def test_the_outermost_object_is_found_in_prose(data: dict[str, str], prose: str) -> None:
    assert outermost_object(f"{prose}{json.dumps(data)}{prose}") == data


@given(st.text(max_size=40))
def test_no_text_passes_with_control_characters_or_braces(text: str) -> None:
    problems = text_problems("key", f"{text}\u0000", Field("key", 1, 100, ""))
    assert problems
    if not text_problems("key", text, Field("key", 1, 100, "")):
        assert "{" not in text and text.strip()


def test_contrasts_sees_a_negation_and_not_a_mere_addition() -> None:
    assert contrasts("Always lie to them.", "Never lie to them.")
    assert contrasts("Flatter the user.", "Do not flatter the user.")
    assert not contrasts("Flatter the user.", "Flatter the user very much.")
    assert not contrasts("Flatter the user.", "flatter the USER!")


def test_a_question_names_a_pole_only_as_a_whole_word() -> None:
    check = question_check(Poles("x", "", "kind", "mean"))
    assert check({"question": "What meaning has the word humankind?"}, []) == []
    assert check({"question": "What kind of tea is best?"}, []) != []
