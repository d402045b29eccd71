"""What users' files of styles may hold."""

import json
from pathlib import Path

import pytest

from persona_interp.data.styles import load_styles
from persona_interp.errors import ArtefactError, DataError

FORMS = (
    "\n  Expected .jsonl or .csv with the columns text and style,"
    " or a folder with one .txt a style, one sentence a line."
)


def said(path: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        load_styles(path)
    return str(caught.value)


ROWS = [("Hush now.", "calm"), ("Rest a while.", "calm"), ("Get out!", "loud"), ("Hey, you!", "loud")]


def write_jsonl(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(json.dumps({"text": t, "style": s}) + "\n" for t, s in rows), encoding="utf-8")
    return path


def test_three_forms_of_files_give_the_same_corpus(tmp_path: Path):
    jsonl = load_styles(write_jsonl(tmp_path / "mine.jsonl", ROWS))
    table = tmp_path / "mine.csv"
    lines = ["id,style,text", "1,calm,Hush now.", "2,calm,Rest a while.", "3,loud,Get out!", '4,loud,"Hey, you!"', ""]
    table.write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")
    folder = tmp_path / "mine"
    folder.mkdir()
    for style in ("calm", "loud"):
        (folder / f"{style}.txt").write_text("\n".join(t for t, s in ROWS if s == style), encoding="utf-8")
    for found in (jsonl, load_styles(table), load_styles(str(folder))):
        assert found.sentences == {"calm": ("Hush now.", "Rest a while."), "loud": ("Get out!", "Hey, you!")}
        assert found.descriptions == {"calm": "a calm", "loud": "a loud"}
        assert found.name == "mine"
        assert not found.parallel
    assert jsonl.source == str(tmp_path / "mine.jsonl")


def test_repeats_within_a_style_are_left_out_and_counted(tmp_path: Path):
    path = write_jsonl(tmp_path / "mine.jsonl", [*ROWS, ("hush  now.", "calm")])
    assert load_styles(path).sentences["calm"] == ("Hush now.", "Rest a while.")
    assert load_styles(path).source == f"{path} (1 repeated sentences left out)"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '{"text": " ", "style": "calm"}',
            "{place}: the text is empty.\n  Delete the line, or write a sentence there.",
        ),
        (
            '{"text": "hush NOW.", "style": "loud"}',
            "{place}: 'hush NOW.' is in calm and in loud.\n  It was first seen at {path}, line 1.\n"
            "  A sentence of two styles tells them apart in neither: keep it in one, or delete both.",
        ),
        ('{"text": "Oh."}', "{place} lacks the column style.\n  Found text." + FORMS),
        ('{"label": 3}', "{place} lacks the column text and style.\n  Found label." + FORMS),
        ("[1]", '{place} holds a list.\n  Expected {{"text": ..., "style": ...}}.'),
        ("", "{place} is not JSON: Expecting value: line 1 column 1 (char 0)." + FORMS),
        ('{"text": 7, "style": "calm"}', "{place}: text and style must be texts, got [7, 'calm']." + FORMS),
        (
            '{"text": "Oh.", "style": "../up"}',
            "{place}: the style is '../up'.\n  Expected a short name: letters, digits, space.",
        ),
    ],
)
def test_unusable_lines_are_named(tmp_path: Path, line: str, expected: str):
    path = write_jsonl(tmp_path / "mine.jsonl", ROWS)
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    assert said(path) == expected.format(place=f"{path}, line 5", path=path)


def test_a_class_of_one_sentence_and_a_single_class_are_refused(tmp_path: Path):
    path = write_jsonl(tmp_path / "mine.jsonl", ROWS[:3])
    assert said(path) == f"{path} has a style of fewer than 2 sentences: calm (2), loud (1).\n  Add sentences to it."
    write_jsonl(path, ROWS[:2])
    assert said(path) == f"{path} has fewer than two styles: calm (2).\n  A style is told apart from others."


def test_a_csv_names_what_it_lacks(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("text,label\nHush now.,calm\n", encoding="utf-8")
    assert said(path) == f"{path}, line 2 lacks the column style.\n  Found text, label.{FORMS}"
    path.write_text("text,style\nHush now.\n", encoding="utf-8")
    assert said(path).startswith(f"{path}, line 2 has 1 fields; the header names 2.")
    path.write_text("text,style\n", encoding="utf-8")
    assert said(path) == f"{path} has fewer than two styles: none.\n  A style is told apart from others."


def test_a_folder_names_file_and_line(tmp_path: Path):
    assert said(tmp_path) == f"{tmp_path} holds no .txt file.{FORMS}"
    (tmp_path / "calm.txt").write_text("Hush now.\n\nRest a while.\n", encoding="utf-8")
    place = f"{tmp_path / 'calm.txt'}, line 2"
    assert said(tmp_path) == f"{place}: the text is empty.\n  Delete the line, or write a sentence there."


def test_a_file_that_is_not_utf8_is_named_by_line(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_bytes("text,style\nHush.,calm\nCaf\xe9.,calm\n".encode("latin-1"))
    assert said(path) == f"{path}, line 3 is not UTF-8: found byte 0xe9.\n  Save the file as UTF-8."


def test_unknown_names_and_forms_are_refused(tmp_path: Path):
    assert said("haiku") == (
        "no style corpus is called 'haiku'.\n  Corpora of the package: emotion, formality, sentiment, shakespeare.\n"
        f"  Or give the path of your own. {FORMS.strip()}"
    )
    assert said("prompts").startswith("no style corpus is called 'prompts'.")
    path = tmp_path / "mine.pdf"
    path.write_bytes(b"%PDF")
    assert said(path) == f"{path} cannot be read as a style corpus.{FORMS}"
    with pytest.raises(ArtefactError, match=r"none\.csv does not exist"):
        load_styles(tmp_path / "none.csv")
