"""The neutral passages written here, and what a file of texts must be."""

import json
from pathlib import Path

import pytest

from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.errors import ArtefactError, DataError


def test_passages_are_many_short_and_different():
    texts = load_neutral_texts()
    assert len(texts) >= 40
    assert all(60 <= len(text.split()) <= 90 for text in texts)
    assert len({text[:25] for text in texts}) == len(texts)


def test_passages_are_neutral():
    for text in load_neutral_texts():
        assert "!" not in text and "?" not in text
        assert not {"i", "you", "we"} & set(text.lower().split()[:5])


def test_a_file_of_ones_own(tmp_path: Path):
    path = tmp_path / "texts.json"
    path.write_text(json.dumps(["Eins.", "Zwei."]), encoding="utf-8")
    assert load_neutral_texts(path) == ("Eins.", "Zwei.")
    for data, said in (
        ({"a": "b"}, f"{path} holds no texts.\n  Expected a JSON list of texts."),
        ([], f"{path} holds no texts.\n  Expected a JSON list of texts."),
        (["a", " "], f"{path}, text 2: got ' '.\n  Expected a text that is not empty."),
        ([3], f"{path}, text 1: got 3.\n  Expected a text that is not empty."),
    ):
        path.write_text(json.dumps(data), encoding="utf-8")
        with pytest.raises(DataError) as caught:
            load_neutral_texts(path)
        assert str(caught.value) == said
    with pytest.raises(ArtefactError, match="does not exist"):
        load_neutral_texts(tmp_path / "none.json")
