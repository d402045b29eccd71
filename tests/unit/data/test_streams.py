"""Data sets as streams: every format the same rows, resuming, numbering, broken files, fingerprints."""

import csv
import gzip
import io
import json
import os
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persona_interp.data.conversations import Conversation, Unusable, question_and_answer, stream_conversations
from persona_interp.data.hub import HubSource, hub_rows, hub_source
from persona_interp.data.streams import count_rows, source_hash
from persona_interp.errors import ArtefactError, ConfigError, DataError

FORMATS = ("jsonl", "jsonl.gz", "parquet", "csv")
OTHERS = ("ndjson", "jsonl.zst", "json", "json.gz", "json.zst", "tsv", "tsv.gz", "csv.zst", "parquet.gz", "arrow")


def write(path: Path, rows: Sequence[dict[str, object]]) -> str:
    """Rows that all have the same keys, in the format that the name says."""
    kind = path.name.split(".")[1]
    if kind == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows)), buffer, row_group_size=3)
        data = buffer.getvalue()
    elif kind == "arrow":
        buffer, table = io.BytesIO(), pa.Table.from_pylist(list(rows))
        with pa.ipc.new_stream(buffer, table.schema) as stream:
            stream.write_table(table, max_chunksize=3)
        data = buffer.getvalue()
    elif kind in ("csv", "tsv"):
        text = io.StringIO(newline="")
        table = csv.writer(text, delimiter="," if kind == "csv" else "\t")
        table.writerow(rows[0])
        for row in rows:
            table.writerow([v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in row.values()])
        data = text.getvalue().encode()
    elif kind == "json":
        data = json.dumps(list(rows), ensure_ascii=False, indent=1).encode()
    else:
        data = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
    path.write_bytes({".gz": gzip.compress, ".zst": zstd}.get(path.suffix, bytes)(data))
    return str(path)


def zstd(data: bytes) -> bytes:
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, "zstd") as stream:
        stream.write(data)
    return buffer.getvalue().to_pybytes()


def talk(k: int) -> dict[str, object]:
    said = [("user", f"Question {k}?"), ("assistant", f"Answer {k}.\r\nMore." if k % 5 else "")]
    return {"messages": [{"role": role, "content": content} for role, content in said], "source": f"s{k}"}


def without_names(rows: Iterable[tuple[int, Conversation | Unusable]]) -> list[tuple[int, object]]:
    return [(k, row.reason if isinstance(row, Unusable) else row.turns) for k, row in rows]


@pytest.fixture(scope="module", params=[*FORMATS, *OTHERS, "folder"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eleven rows, of which 0, 5 and 10 have no answer."""
    folder, rows = tmp_path_factory.mktemp(request.param.replace(".", "")), [talk(k) for k in range(11)]
    if request.param != "folder":
        return write(folder / f"data.{request.param}", rows)
    for name, part in (("a.parquet", rows[:4]), ("b.csv", rows[4:5]), ("c.jsonl", rows[5:9]), ("d.jsonl.gz", rows[9:])):
        write(folder / name, part)
    (folder / "readme.txt").write_text("not data")
    (folder / ".e.jsonl.tmp").write_text("{}")
    return str(folder)


def test_every_format_gives_the_same_rows(source: str) -> None:
    found = without_names(stream_conversations(source))
    assert [k for k, _ in found] == list(range(11))
    assert [k for k, row in found if isinstance(row, str)] == [0, 5, 10]
    expected = question_and_answer("Question 7?", "Answer 7.\r\nMore.").turns
    assert found[7][1] == expected and "empty answer" in str(found[5][1])
    assert count_rows(source) == 11


@pytest.mark.parametrize("start", [0, 1, 3, 4, 6, 10, 11, 40])
def test_a_later_start_is_the_tail(source: str, start: int) -> None:
    whole = list(stream_conversations(source))
    assert list(stream_conversations(source, start=start)) == whole[start:]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_any_text_is_the_same_in_every_format(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    pairs: list[dict[str, object]] = [{"prompt": prompt, "response": response} for prompt, response in rows]
    first, *others = (without_names(stream_conversations(write(tmp_path / f"x.{kind}", pairs))) for kind in FORMATS)
    assert len(first) == len(rows) and all(other == first for other in others)


def test_lines_are_numbered_with_blank_and_bad_ones(tmp_path: Path) -> None:
    good = json.dumps(talk(1)).encode()
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join([good, b"", b'{"prompt": "\xff"}', b"{", b" \t", good, b"[1]", b"", b""]))
    found = list(stream_conversations(str(path)))
    assert [(k, row.name) for k, row in found] == [(k, f"x.jsonl, line {k + 1}") for k in (0, 2, 3, 5, 6)]
    assert [isinstance(row, Conversation) for _, row in found] == [True, False, False, True, False]
    assert "not valid UTF-8" in found[1][1].reason and "not valid JSON" in found[2][1].reason  # pyright: ignore
    assert list(stream_conversations(str(path), start=3)) == found[2:]
    assert count_rows(str(path)) == 8
    (tmp_path / "y.jsonl").write_bytes(good)
    assert [k for k, _ in stream_conversations(str(tmp_path))] == [0, 2, 3, 5, 6, 8]
    assert [k for k, _ in stream_conversations(str(tmp_path), start=7)] == [8]


def test_a_bad_csv_record_is_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    lines = [b"\xef\xbb\xbfprompt,response", b"a,b", b"", b"a,b,c", b"a", b"\xff,b", b'"x\n""y""",b', b'"a,b', b"c,d"]
    path.write_bytes(b"\n".join(lines))
    found = list(stream_conversations(str(path)))
    assert [k for k, _ in found] == [0, 2, 3, 4, 5, 6] and found[0][1].name == "x.csv, row 1"
    assert [getattr(row, "reason", "") for _, row in found] == [
        "",
        "3 fields; the header names 2.",
        "1 fields; the header names 2.",
        "not valid UTF-8.",
        "",
        "a quote in it is not closed: the rest of the file is in it.",
    ]
    assert found[4][1].turns[0].content == 'x\n"y"'  # pyright: ignore
    assert list(stream_conversations(str(path), start=3)) == found[2:]
    long = tmp_path / "long.csv"
    long.write_bytes(b'prompt,response\n"' + b"x" * (17 * 2**20) + b"\na,b\n" + b"c," + b"d" * 300_000)
    kept = list(stream_conversations(str(long)))
    assert isinstance(kept[0][1], Unusable) and "not valid CSV" in kept[0][1].reason
    assert kept[1][1].answer == "b" and len(kept[2][1].answer) == 300_000  # pyright: ignore
    assert list(stream_conversations(str(long), start=1)) == kept[1:] and count_rows(str(long)) == 3


def test_parquet_of_other_columns_and_types_is_refused_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), path)
    ((_, row),) = stream_conversations(str(path))
    assert row == Unusable("x.parquet, row 1", "none of the known forms; keys with a value: 'text', 'label'.")
    spoiled = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff"))
    pq.write_table(pa.table({"prompt": spoiled, "response": ["b", "b"]}), path)
    first, second = stream_conversations(str(path))
    assert isinstance(first[1], Conversation) and "not valid UTF-8" in second[1].reason  # pyright: ignore
    pq.write_table(pa.table({"prompt": [b"a"], "response": ["b"]}), path)
    ((_, row),) = stream_conversations(str(path))
    assert row == Unusable("x.parquet, row 1", "prompt is of type bytes, not a text.")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl.gz", gzip.compress(b'{"prompt": "a", "response": "b"}\n' * 1000)[:-20]),
        ("x.jsonl.zst", b"\x28\xb5\x2f\xfdno"),
        ("x.parquet", b"PAR1 no"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=f"could not read .*{name}"):
        list(stream_conversations(str(tmp_path / name)))
    with pytest.raises(ArtefactError, match=f"could not read .*{name}"):
        count_rows(str(tmp_path / name))


def test_what_is_not_there_or_of_another_kind_is_refused_at_once(tmp_path: Path) -> None:
    for source in (str(tmp_path / "none.parquet"), "none/data.jsonl", "no data", "hf://datasets/x"):
        with pytest.raises(ArtefactError, match="does not exist"):
            stream_conversations(source)
    (tmp_path / "x.txt").write_text("[]")
    with pytest.raises(ArtefactError, match="is not read as a data set"):
        stream_conversations(str(tmp_path / "x.txt"))
    with pytest.raises(ArtefactError, match="holds no data set"):
        source_hash(str(tmp_path))
    with pytest.raises(ConfigError, match="cannot start at row -1"):
        stream_conversations(str(tmp_path), start=-1)
    for empty in ("x.jsonl", "x.csv"):
        (tmp_path / empty).write_text("")
        assert count_rows(str(tmp_path / empty)) == 0
        with pytest.raises(ArtefactError, match=f"{empty} is empty: 0 bytes"):
            list(stream_conversations(str(tmp_path / empty)))


def test_the_fingerprint_follows_the_content_not_the_place(tmp_path: Path) -> None:
    content = bytearray(b"x" * (3 * 2**20))
    places = [tmp_path / place / "x.jsonl" for place in "ab"]
    for place in places:
        place.parent.mkdir()
        place.write_bytes(content)
    first = source_hash(str(places[0]))
    assert source_hash(str(places[1])) == first == source_hash(str(tmp_path / "a"))
    for spoil in (lambda c: c[:-1], lambda c: c[:-1] + b"y", lambda c: b"y" + c[1:]):
        places[1].write_bytes(spoil(content))
        assert source_hash(str(places[1])) != first
    places[1].write_bytes(content)
    (tmp_path / "b" / "y.jsonl").write_bytes(b"")
    assert source_hash(str(tmp_path / "b")) != first
    assert source_hash("org/name") == source_hash("hf://datasets/org/name") != source_hash("org/name:test")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("org/name", HubSource("org/name")),
        ("hf://datasets/org/name.v2:train_sft", HubSource("org/name.v2", "train_sft")),
        ("org/name@refs/pr/1:test", HubSource("org/name", "test", "refs/pr/1")),
        ("name", None),
        ("../org/name", None),
        ("/org/name", None),
        ("org/name:", None),
    ],
)
def test_names_of_the_hub(source: str, expected: HubSource | None) -> None:
    assert hub_source(source) == expected
    assert expected is None or hub_source(str(expected)) == expected


def test_a_data_set_is_streamed_by_its_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", [talk(k) for k in range(6)])
    whole = list(hub_rows(HubSource(str(folder)), 0))
    assert [k for k, _ in whole] == list(range(6)) and whole[2][1] == talk(2)
    assert list(hub_rows(HubSource(str(folder)), 4)) == whole[4:] and not list(hub_rows(HubSource(str(folder)), 6))
    write(folder / "test.jsonl", [talk(9)])
    assert [row for _, row in hub_rows(HubSource(str(folder), "test"), 0)] == [talk(9)]
    assert list(hub_rows(HubSource(str(folder)), 0)) == whole
    with pytest.raises(DataError, match="it has no split 'dev'.\n  Splits: t"):
        next(hub_rows(HubSource(str(folder), "dev"), 0))
    with pytest.raises(DataError, match="could not open the data set org/no-such-set"):
        next(stream_conversations("org/no-such-set"))
    (folder / "test.jsonl").write_text(json.dumps(talk(1)) + "\n{\n")
    with pytest.raises(DataError, match="broke off|could not open"):
        list(hub_rows(HubSource(str(folder), "test"), 0))
    assert count_rows("org/no-such-set") is None


def test_a_data_set_of_the_hub_is_a_stream_of_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from its own folder, `org/name` is a folder; the hub's reader gives the same rows for it."""
    folder = tmp_path / "org" / "name"
    folder.mkdir(parents=True)
    write(folder / "train.parquet", [talk(k) for k in range(4)])
    monkeypatch.chdir(tmp_path)
    found = list(stream_conversations("hf://datasets/org/name", start=1))
    assert [k for k, _ in found] == [1, 2, 3] and found[0][1].name == "org/name, row 2"
    assert without_names(found) == without_names(stream_conversations("org/name", start=1))


@pytest.mark.parametrize("kind", [*FORMATS, *OTHERS])
def test_any_start_of_any_form_is_the_tail_whatever_its_name_says(kind: str, tmp_path: Path) -> None:
    """JSON, Parquet and Arrow, and their compressions, are known by what they hold."""
    path = Path(write(tmp_path / f"data.{kind}", [talk(k) for k in range(11)]))
    other = path.rename(tmp_path / f"other{'.tsv' if kind.startswith('tsv') else '.jsonl'}")
    whole = without_names(stream_conversations(other))
    assert [k for k, _ in whole] == list(range(11)) and count_rows(other) == 11
    assert without_names(stream_conversations(other, start=7)) == whole[7:]


@pytest.mark.parametrize(
    ("name", "begin", "words"),
    [
        ("x.jsonl", b'{"prompt": "', "line 1, is longer than 1 MiB"),
        ("x.jsonl", b'{"prompt": "a", "response": "b"}\n', "line 2, is longer than 1 MiB"),
        ("x.csv", b"prompt,response\n", "has a line longer than 1 MiB"),
        ("x.json", b"[" + b" " * 100, "holds more than 4 MiB"),
    ],
)
def test_what_expands_without_end_is_refused_within_bounds(
    name: str, begin: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty-four MiB of one line in 64 KiB: no more than the bound of it is ever held."""
    monkeypatch.setattr("persona_interp.data.file_bytes.LONGEST_LINE", 2**20)
    monkeypatch.setattr("persona_interp.data.file_rows.LONGEST_LINE", 2**20)
    monkeypatch.setattr("persona_interp.data.file_bytes.LARGEST_WHOLE", 2**22)
    for pack, ending in ((gzip.compress, "gz"), (zstd, "zst")):
        path = tmp_path / f"{name}.{ending}"
        path.write_bytes(pack(begin + b"a" * 2**26))
        tracemalloc.start()
        with pytest.raises(ArtefactError, match=words):
            list(stream_conversations(path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 * 2**20


def test_what_datasets_saved_is_read_by_its_splits(tmp_path: Path) -> None:
    data = Dataset.from_list([talk(k) for k in range(6)])
    data.save_to_disk(tmp_path / "one", num_shards=2)
    whole = list(stream_conversations(tmp_path / "one"))
    assert [k for k, _ in whole] == list(range(6)) and whole[4][1].name == "data-00001-of-00002.arrow, row 2"
    assert list(stream_conversations(tmp_path / "one", start=4)) == whole[4:] and count_rows(tmp_path / "one") == 6
    DatasetDict(train=data, test=data.select([1])).save_to_disk(tmp_path / "two")
    assert len(list(stream_conversations(f"{tmp_path / 'two'}:test"))) == 1
    assert source_hash(f"{tmp_path / 'two'}:test") != source_hash(f"{tmp_path / 'two'}:train")
    with pytest.raises(ArtefactError, match="no split was named.\n  Splits: train, test. Name one: .*two:train"):
        stream_conversations(tmp_path / "two")
    with pytest.raises(ArtefactError, match="it has no split 'dev'"):
        stream_conversations(f"{tmp_path / 'two'}:dev")
    with pytest.raises(ArtefactError, match="has no splits, so none is called train"):
        stream_conversations(f"{tmp_path / 'one'}:train")


def test_what_cannot_be_read_twice_or_leads_in_a_circle_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "b.jsonl")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    (tmp_path / "c.jsonl").symlink_to(tmp_path / "nowhere")
    for source, words in (
        (tmp_path / "pipe.jsonl", "is a named pipe, not a file"),
        (tmp_path / "a.jsonl", "its symbolic links lead in a circle"),
        (tmp_path / "c.jsonl", "is a link to .*nowhere, which is not there"),
        (Path("/dev/zero"), "is a device, not a file"),
        (tmp_path / ("x" * 3000), "3.{3} characters. does not exist"),
        (f"{tmp_path}/a\0b", "does not exist"),
    ):
        with pytest.raises(ArtefactError, match=words) as caught:
            stream_conversations(source)
        assert len(str(caught.value)) < 1000
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []
    with pytest.raises(ArtefactError, match="holds no data set"):
        stream_conversations(tmp_path)
