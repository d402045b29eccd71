"""Inventories: the packaged ones, users' files, and what is refused."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.data.inventories import (
    ForcedChoice,
    Inventory,
    Item,
    PoleOption,
    Scale,
    Wording,
    list_inventories,
    load_inventory,
    paired,
    read_ipip_neo_120,
)
from persona_interp.data.inventory_wordings import CHOICE_WORDINGS, RATING_WORDINGS, spoken
from persona_interp.errors import ArtefactError, DataError

ROWS = [
    {"text": "talk a lot", "scale": "talk", "key": 1},
    {"text": "stay silent", "scale": "talk", "key": -1},
]
PAIR = {
    "scale": "AB",
    "options": [{"text": "like apples", "pole": "A"}, {"text": "like bread", "pole": "B"}],
}


def likert(**changes: Any) -> Inventory:
    plain = {
        "name": "mine",
        "kind": "likert",
        "items": (Item("talk a lot", "talk", 1), Item("stay silent", "talk", -1)),
        "scales": (Scale("talk"),),
        "wordings": RATING_WORDINGS,
        "source": "here",
        "licence": "none",
    }
    return Inventory(**{**plain, **changes})


def forced(*items: ForcedChoice, **changes: Any) -> Inventory:
    plain = {"kind": "forced_choice", "items": items, "scales": (Scale("AB", "", ("A", "B")),)}
    return likert(**{**plain, "wordings": CHOICE_WORDINGS, **changes})


def test_packaged_inventories_have_the_items_they_promise() -> None:
    assert list_inventories() == ["big_five_50", "big_five_choices_50", "types_32"]
    big_five, types = load_inventory("big_five_50"), load_inventory("types_32")
    assert [scale.name for scale in big_five.scales] == [
        *("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
    ]
    for scale in big_five.scales:
        keys = [item.key for item in big_five.statements if item.scale == scale.name]
        assert (keys.count(1), keys.count(-1)) == (5, 5)
    assert big_five.one_way == ()
    assert (big_five.n_options, big_five.bounds, types.n_options, types.bounds) == (5, (1, 5), 2, (0, 1))
    assert [(s.name, s.poles) for s in types.scales] == [(n, tuple(n)) for n in ("EI", "SN", "TF", "JP")]
    for scale in types.scales:
        firsts = [item.options[0].pole for item in types.choices if item.scale == scale.name]
        assert sorted(firsts) == sorted(4 * list(scale.poles))
    assert "not the MBTI" in types.description
    assert "not validated" in types.source


def test_no_statement_is_in_two_packaged_items_of_one_kind() -> None:
    for name in ("types_32", "big_five_choices_50"):
        texts = [option.text for item in load_inventory(name).choices for option in item.options]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("Worry about things", "I worry about things.", "You worry about things."),
        ("Am sure of my plans", "I am sure of my plans.", "You are sure of your plans."),
        ("do what I said", "I do what I said.", "You do what you said."),
        ("I like it", "I like it", "I like it"),
        ("They like me.", "They like me.", "They like me."),
        ("feel at home with myself", "I feel at home with myself.", "You feel at home with yourself."),
    ],
)
def test_items_are_spoken_as_sentences(text: str, first: str, second: str) -> None:
    assert (spoken(text, "I"), spoken(text, "You")) == (first, second)


@given(st.lists(st.sampled_from(["walk", "my", "dog", "I", "me", "am", "merry", "army"]), min_size=1, max_size=6))
def test_the_second_person_changes_whole_words_only(words: list[str]) -> None:
    said = spoken("go " + " ".join(words), "You")
    assert said.count("army") == words.count("army")
    assert said.count("merry") == words.count("merry")
    assert not {"my", "I", "me", "am"} & set(said.rstrip(".").split())


def test_listed_options_are_marked_and_answered_by_their_marks() -> None:
    numbers, letters, words = RATING_WORDINGS
    listed = list(numbers.labels[::-1])
    assert numbers.codes(listed) == tuple("12345")
    assert "1. Very accurate\n" in numbers.prompt(listed, "I walk.")
    assert "A) Strongly disagree\nB) Disagree" in letters.prompt(letters.labels, "I walk.")
    assert words.codes(words.labels) == words.labels
    assert '"You walk." Answer with one of these words: Never; Rarely;' in words.prompt(words.labels, "You walk.")
    assert [wording.format for wording in (*RATING_WORDINGS, *CHOICE_WORDINGS)] == [
        *("rating",) * 3,
        *("statement",) * 3,
        *("choice",) * 2,
    ]


def test_json_and_csv_files_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(json.dumps({"items": ROWS}))
    (tmp_path / "talk.csv").write_text("text,scale,key\ntalk a lot,talk,1\nstay silent,talk,-1\n")
    made, read = load_inventory(tmp_path / "talk.json"), load_inventory(tmp_path / "talk.csv")
    assert made.items == read.items == likert().items
    assert made.wordings == RATING_WORDINGS
    (tmp_path / "ab.csv").write_text("scale,text_a,pole_a,text_b,pole_b\nAB,like apples,A,like bread,B\n")
    assert load_inventory(tmp_path / "ab.csv").choices[0].options[1] == PoleOption("like bread", "B")


def test_a_file_may_bring_its_own_wordings(tmp_path: Path) -> None:
    wording = {"name": "yes", "frame": "{statement} {options}", "answer": "label", "labels": ["No", "Yes"]}
    (tmp_path / "talk.json").write_text(json.dumps({"items": ROWS, "wordings": [wording]}))
    assert load_inventory(tmp_path / "talk.json").bounds == (1, 2)


def refusal(path: Path, data: Any) -> str:
    path.write_text(json.dumps(data))
    with pytest.raises(DataError) as caught:
        load_inventory(path)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "FILE has no list of items."),
        ([], "FILE holds a list."),
        ({"items": [{"text": "talk", "scale": "talk"}]}, "FILE, item 1 lacks key."),
        ({"items": [{**ROWS[0], "key": 2}]}, "FILE, item 1 has the key 2."),
        ({"items": [{**ROWS[0], "key": True}]}, "FILE, item 1 has the key True."),
        ({"items": [{**ROWS[0], "text": "  "}]}, "mine, item 1 has an empty text."),
        ({"items": ROWS, "scales": ["talk", "walk"]}, "no item of mine loads on walk."),
        ({"items": ROWS, "scales": ["walk"]}, "mine, item 1 loads on 'talk'.\n  Scales: walk."),
        ({"items": [ROWS[0], ROWS[0]]}, "mine has the item 'talk a lot' more than once."),
        ({"items": []}, "mine has no item."),
        ({"items": ROWS, "kind": "essay"}, "FILE is of kind 'essay'."),
        ({"items": ROWS, "scales": [{"name": "talk", "poles": ["a", "a"]}]}, "FILE has a scale"),
        ({"items": ROWS, "wordings": [{"name": "x"}]}, "FILE has a wording"),
        ({"items": [{**PAIR, "options": PAIR["options"][:1]}], "kind": "forced_choice"}, "FILE, item 1 is"),
        (
            {"items": [PAIR], "kind": "forced_choice", "scales": [{"name": "AB", "poles": ["A", "C"]}]},
            "mine, item 1 offers the poles A and B.\n  Expected one option for each pole of AB: A and C.",
        ),
    ],
)
def test_files_whose_keys_do_not_match_their_items_are_refused(tmp_path: Path, data: Any, said: str) -> None:
    named = {"name": "mine", **data} if isinstance(data, dict) else data
    assert refusal(tmp_path / "bad.json", named).startswith(said)


def test_a_forced_choice_between_two_statements_of_one_pole_is_refused() -> None:
    item = ForcedChoice("AB", (PoleOption("like apples", "A"), PoleOption("like pears", "A")))
    with pytest.raises(DataError, match="offers the poles A and A"):
        forced(item)


def test_a_csv_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("statement,scale\nhello,talk\n")
    with pytest.raises(DataError, match="has the columns scale, statement"):
        load_inventory(tmp_path / "bad.csv")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DataError) as caught:
        load_inventory("mbti")
    assert str(caught.value).splitlines()[:2] == [
        "no inventory is called 'mbti'.",
        "  Inventories of the package: big_five_50, big_five_choices_50, types_32.",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frame": "{options}"}, "its frame needs {statement}"),
        ({"frame": "{statement}"}, "its frame needs {options}"),
        ({"labels": ("No",)}, "it needs two to nine labels"),
        ({"labels": ("Like", "Like me")}, "no label may begin another one"),
    ],
)
def test_wordings_that_cannot_ask_are_refused(change: dict[str, Any], said: str) -> None:
    wording = Wording("odd", "{statement} {options}", "label", ("No", "Yes"))
    with pytest.raises(DataError, match="the wording 'odd' of mine cannot ask likert items") as caught:
        likert(wordings=(replace(wording, **change),))
    assert said in str(caught.value)


def test_wordings_need_as_many_labels_as_one_another_and_names_of_their_own() -> None:
    wording = Wording("odd", "{statement} {options}", "label", ("No", "Yes"))
    with pytest.raises(DataError, match="have 2 and 5 labels"):
        likert(wordings=(wording, RATING_WORDINGS[0]))
    with pytest.raises(DataError, match="two wordings of mine are called 'odd'"):
        likert(wordings=(wording, wording))


def test_statements_are_paired_by_key_and_one_way_scales_are_not() -> None:
    made = paired(likert())
    assert [option.pole for option in made.choices[0].options] == ["high", "low"]
    one_way = likert(items=(Item("talk a lot", "talk", 1), Item("chatter", "talk", 1)))
    assert one_way.one_way == ("talk",)
    with pytest.raises(DataError, match="talk of mine is keyed one way only"):
        paired(one_way)
    with pytest.raises(DataError, match="has statements to rate, not pairs"):
        _ = one_way.choices


def ipip_archive(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path, data = folder / "ipip.tgz", json.dumps(rows).encode()
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("package/data/en/questions.json")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return path


def test_the_ipip_package_is_read_from_its_tarball_or_folder(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "text": f"Do thing {n}", "keyed": key, "domain": domain, "facet": 1 + n % 6}
        for n, (domain, key) in enumerate((d, k) for d in "NEOAC" for k in ("plus", "minus"))
    ]
    path = ipip_archive(tmp_path, rows)
    read = load_inventory(path)
    assert (read.items[0], len(read.items), read.licence[:20]) == (
        Item("Do thing 0", "neuroticism", 1, "N1"),
        10,
        "items: public domain",
    )
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    assert read_ipip_neo_120(tmp_path / "package").items == read_ipip_neo_120(tmp_path).items == read.items


def test_what_is_not_the_ipip_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="holds no inventory"):
        load_inventory(tmp_path)
    (tmp_path / "broken.tgz").write_bytes(b"no archive")
    with pytest.raises(ArtefactError, match="npm pack"):
        load_inventory(tmp_path / "broken.tgz")
    path = ipip_archive(tmp_path, [{"text": "Do it", "keyed": "up", "domain": "N", "facet": 1}])
    with pytest.raises(DataError, match="item 1 of"):
        load_inventory(path)
