"""Conversations that are read from files, and the table of their turns."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import ArtefactError, EmptySelectionError
from persona_interp.studies.monitoring.transcript import read_transcript, turn_table
from persona_interp.types import Hookpoint


def lines(folder: Path, *rows: object) -> Path:
    path = folder / "talk.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]}


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ('{"messages": [', ArtefactError, "line 3: not valid JSON"),
        ([1], ArtefactError, "line 3: not an object, nor a list of turns."),
        (
            {"messages": [{"content": "x"}]},
            ArtefactError,
            "line 3: turn 0 has the role None and a content of type str.",
        ),
        ({"messages": [{"role": "user"}]}, ArtefactError, "turn 0 has the role 'user' and a content of type NoneType."),
        ({"messages": GOOD["messages"][:1]}, EmptySelectionError, "line 3: no assistant turn to monitor."),
        ({"messages": GOOD["messages"][1:]}, EmptySelectionError, "line 3: no assistant turn to monitor."),
    ],
)
def test_bad_transcripts_are_named_with_their_line(tmp_path: Path, bad: object, error: type, words: str) -> None:
    with pytest.raises(error) as caught:
        read_transcript(lines(tmp_path, GOOD, "", bad))
    assert words in str(caught.value).splitlines()[0]


def test_transcripts_of_both_layouts_are_read(tmp_path: Path) -> None:
    found = read_transcript(lines(tmp_path, GOOD, GOOD))
    assert [c.name for c in found] == [f"{tmp_path / 'talk.jsonl'}, line {i}" for i in (1, 2)]
    other = tmp_path / "talk.json"
    other.write_text(json.dumps({"model": "x", "conversation": GOOD["messages"]}))
    assert read_transcript(other)[0].turns == found[0].turns
    with pytest.raises(ArtefactError, match="talk.jsonl is empty: 0 bytes"):
        read_transcript(lines(tmp_path, ""))
    with pytest.raises(ArtefactError, match="does not exist"):
        read_transcript(tmp_path / "none.jsonl")


def test_turns_end_with_the_last_answer_and_lines_only_at_line_feeds(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Hi\u2028there"}, {"role": "user", "content": "?"}, GOOD["messages"][1]]
    path = tmp_path / "talk.jsonl"
    path.write_text(json.dumps({"messages": [*talk, talk[0]]}, ensure_ascii=False), encoding="utf-8")
    (found,) = read_transcript(path)
    assert [turn.content for turn in found.turns] == ["Hi\u2028there", "?", "Yes."]


def test_a_turn_is_summed_up() -> None:
    shared = {"conversation": "c", "turn": 1, "trait": "loud", "layer": 0}
    rows = [
        shared | {"token_index": k, "projection": value, "score": score, "alert": alert}
        for k, value, score, alert in ((-1, 9.0, np.nan, False), (0, 1.0, 1.0, False), (1, 4.0, 2.5, True))
    ]
    row = turn_table(pd.DataFrame(rows)).iloc[0]
    assert (row["n_tokens"], row["before"], row["mean"], row["max"], row["alerts"]) == (2, 9.0, 2.5, 2.5, 1)
    assert Hookpoint(0).stream == "resid_post"
