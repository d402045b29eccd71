"""Pairs of antonyms on three axes."""

import json
from pathlib import Path

import pytest

from persona_interp.data.antonyms import AXES, load_antonyms
from persona_interp.errors import DataError


def test_every_axis_has_twelve_pairs_of_its_own_words() -> None:
    pairs = load_antonyms()
    assert {axis: len(found) for axis, found in pairs.items()} == dict.fromkeys(AXES, 12)
    assert sum(map(len, pairs.values())) >= 28
    assert pairs["potency"][0].sentences == ("It is strong.", "It is weak.")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("activity"), "must have the axes"),
        (lambda data: data["activity"].__delitem__(slice(0, 6)), "activity must be 8 pairs"),
        (lambda data: data["activity"].append(["one"]), "activity must be 8 pairs"),
        (lambda data: data["activity"].append(["kind", "hard"]), "has the word 'kind' twice"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change, said: str) -> None:
    data = {axis: [[pair.high, pair.low] for pair in pairs] for axis, pairs in load_antonyms().items()}
    change(data)
    path = tmp_path / "antonyms.json"
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=said):
        load_antonyms(path)
