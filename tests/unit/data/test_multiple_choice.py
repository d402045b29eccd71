"""The multiple-choice items written here, and what a file of items must be."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from persona_interp.data.multiple_choice import ChoiceItem, load_multiple_choice
from persona_interp.errors import ArtefactError, DataError

FORM = 'Expected {"question": text, "options": four different texts, "answer": 0 to 3}.'
ROW = {"question": "One?", "options": ["a", "b", "c", "d"], "answer": 2}


def saved(folder: Path, data: Any) -> Path:
    path = folder / "items.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_items_of_ten_subjects():
    counts = Counter(item.subject for item in load_multiple_choice())
    assert len(counts) == 10 and min(counts.values()) >= 20 and counts.total() >= 220


def test_right_options_are_at_every_place_equally_often():
    places = Counter(item.answer for item in load_multiple_choice())
    assert sorted(places) == [0, 1, 2, 3]
    assert max(places.values()) - min(places.values()) <= 1


def test_the_right_option_is_no_longer_than_the_others():
    items = load_multiple_choice()
    longest = sum(
        len(i.options[i.answer]) > max(len(o) for k, o in enumerate(i.options) if k != i.answer) for i in items
    )
    assert 0.15 < longest / len(items) < 0.4
    assert all(max(map(len, item.options)) - min(map(len, item.options)) <= 16 for item in items)


def test_options_are_of_one_case_and_questions_end_as_such():
    for item in load_multiple_choice():
        assert item.question.endswith("?") and item.question == item.question.strip()
        assert len({option[0].isupper() or not option[0].isalpha() for option in item.options}) == 1, item.question


def test_arithmetic_items_are_right():
    checked = 0
    forms = {" times ": "*", " plus ": "+", " minus ": "-"}
    for item in load_multiple_choice(subjects=["mathematics"]):
        for word, sign in forms.items():
            left, found, right = item.question.removeprefix("What is ").removesuffix("?").partition(word)
            if found and left.isdigit() and right.isdigit():
                value = {"*": int(left) * int(right), "+": int(left) + int(right), "-": int(left) - int(right)}[sign]
                assert item.options[item.answer] == str(value)
                checked += 1
    assert checked >= 3


def test_subjects_are_chosen_in_the_order_of_the_file(tmp_path: Path):
    path = saved(tmp_path, {"b": [ROW], "a": [{**ROW, "question": " Two? "}], "c": [{**ROW, "question": "Three?"}]})
    assert load_multiple_choice(path, subjects=["a", "b"]) == (
        ChoiceItem("b", "One?", ("a", "b", "c", "d"), 2),
        ChoiceItem("a", "Two?", ("a", "b", "c", "d"), 2),
    )
    with pytest.raises(DataError) as caught:
        load_multiple_choice(path, subjects=["a", "d"])
    assert str(caught.value) == f"{path} has no subject 'd'.\n  Subjects: b, a, c."


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("One?", "got str."),
        ({**ROW, "question": " "}, "there is no question."),
        ({**ROW, "options": "abcd"}, "the options are not texts."),
        ({**ROW, "options": ["a", "b", "c", 4]}, "the options are not texts."),
        ({**ROW, "options": ["a", "b", "c", "a "]}, "got 3 different options."),
        ({**ROW, "options": ["a", "b", "c", "d", "e"]}, "got 5 different options."),
        ({**ROW, "answer": 4}, "the answer is 4."),
        ({**ROW, "answer": -1}, "the answer is -1."),
        ({**ROW, "answer": True}, "the answer is True."),
        ({**ROW, "answer": "b"}, "the answer is 'b'."),
    ],
)
def test_a_bad_item_is_named(tmp_path: Path, row: object, said: str):
    path = saved(tmp_path, {"maths": [{**ROW, "question": "Zero?"}, row]})
    with pytest.raises(DataError) as caught:
        load_multiple_choice(path)
    assert str(caught.value) == f"{path}, maths, item 2: {said}\n  {FORM}"


def test_bad_files(tmp_path: Path):
    for data in ([ROW], {"maths": ROW}):
        with pytest.raises(DataError, match="does not hold multiple-choice items"):
            load_multiple_choice(saved(tmp_path, data))
    with pytest.raises(DataError, match=r"asks 'One\?' more than once"):
        load_multiple_choice(saved(tmp_path, {"a": [ROW], "b": [ROW]}))
    for data, subjects in (({}, None), ({"a": []}, None), ({"a": [ROW]}, [])):
        with pytest.raises(DataError, match="holds no multiple-choice item of these"):
            load_multiple_choice(saved(tmp_path, data), subjects=subjects)
    with pytest.raises(ArtefactError, match="does not exist"):
        load_multiple_choice(tmp_path / "none.json")
