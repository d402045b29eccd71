"""Data sets in every form, encoding and tool's words, preference pairs, and files that are none."""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from persona_interp.data.conversations import Unusable, parse_row, read_conversations, stream_conversations
from persona_interp.data.preferences import parse_pair
from persona_interp.data.streams import count_rows, holds_preferences, source_hash
from persona_interp.data.turns import answer_positions
from persona_interp.studies.monitoring.transcript import read_transcript
from persona_interp.tables import read_table, write_table
from tests.integration.inputs.row import Call, Command, Given, Row

TALKS = [{"prompt": f"Question {k}?", "response": f"Answer {k}, \u00e9.\nMore."} for k in range(5)]
ANSWERS = [talk["response"] for talk in TALKS]
LONG = "x" * 200_000
USER, ANSWER = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
REPLY = {"role": "tool", "content": "4"}
PAIR = {"prompt": "Hi?", "chosen": "Yes.", "rejected": "No."}
HUMAN = "\n\nHuman: Hi?\n\nAssistant: "


def zstd(data: bytes) -> bytes:
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, "zstd") as stream:
        stream.write(data)
    return buffer.getvalue().to_pybytes()


def table(delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([list(TALKS[0]), *(list(talk.values()) for talk in TALKS)])
    return text.getvalue().encode()


def arrow(file: bool) -> bytes:
    buffer, rows = io.BytesIO(), pa.Table.from_pylist(TALKS)
    with (pa.ipc.new_file if file else pa.ipc.new_stream)(buffer, rows.schema) as stream:
        stream.write_table(rows, max_chunksize=2)
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(TALKS), buffer, row_group_size=2)
    return buffer.getvalue()


def doubled() -> bytes:
    buffer, column = io.BytesIO(), pa.array(["a"])
    pq.write_table(pa.Table.from_arrays([column] * 3, names=["prompt", "response", "prompt"]), buffer)
    return buffer.getvalue()


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


FORMS: dict[str, bytes] = {
    "jsonl": lines(*TALKS),
    "ndjson": lines(*TALKS).replace(b"\n{", b"\r\n{"),
    "json": json.dumps(TALKS).encode(),
    "csv": table(","),
    "tsv": table("\t"),
    "parquet": parquet(),
    "arrow": arrow(file=False),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstd}
OTHERS: dict[str, tuple[str, bytes]] = {
    "JSON written with indents": ("x.json", json.dumps(TALKS, indent=2).encode()),
    "JSON under a key": ("x.json", json.dumps({"version": 1, "data": TALKS}).encode()),
    "JSON lines named .json": ("x.json", lines(*TALKS)),
    "a JSON array named .jsonl": ("x.jsonl", json.dumps(TALKS).encode()),
    "an indented JSON array named .jsonl": ("x.jsonl", json.dumps(TALKS, indent=1).encode()),
    "Parquet named .jsonl": ("x.jsonl", parquet()),
    "Parquet named .csv.gz": ("x.csv.gz", parquet()),
    "JSON lines named .parquet": ("x.parquet", lines(*TALKS)),
    "JSON lines named .csv": ("x.csv", lines(*TALKS)),
    "a CSV table named .jsonl": ("x.jsonl", table(",")),
    "tabs in a file named .csv": ("x.csv", table("\t")),
    "semicolons in a file named .csv": ("x.csv", table(";")),
    "gzip without .gz": ("x.jsonl", gzip.compress(lines(*TALKS))),
    "plain text named .gz": ("x.jsonl.gz", lines(*TALKS)),
    "zstd named .gz": ("x.json.gz", zstd(json.dumps(TALKS).encode())),
    "gzip of gzip": ("x.jsonl.gz", gzip.compress(gzip.compress(lines(*TALKS)))),
    "two members of one gzip file": ("x.jsonl.gz", gzip.compress(lines(*TALKS[:2])) + gzip.compress(lines(*TALKS[2:]))),
    "an Arrow file": ("x.arrow", arrow(file=True)),
    "a name in capitals": ("X.JSONL", lines(*TALKS)),
    "UTF-8 with a mark": ("x.jsonl", b"\xef\xbb\xbf" + lines(*TALKS)),
    "CSV with a mark": ("x.csv", b"\xef\xbb\xbf" + table(",")),
    "JSON with a mark": ("x.json", b"\xef\xbb\xbf" + json.dumps(TALKS).encode()),
    "quotes that are no quotes": (
        "x.csv",
        table(",").replace(b"Question", b'5" Question').replace(b'5" Question 0?', b"Question 0?"),
    ),
    "a table without a last line break": ("x.csv", table(",").rstrip()),
    "blank lines between": ("x.jsonl", lines(*TALKS).replace(b"\n", b"\n \n\t\n")),
}
BROKEN: dict[str, tuple[str, bytes, str]] = {
    "no byte": ("x.jsonl", b"", r"x.jsonl is empty: 0 bytes"),
    "no byte of JSON": ("x.json", b"", r"x.json is empty: 0 bytes"),
    "blank lines alone": ("x.jsonl", b"\n\n \n", "is empty: it holds no row"),
    "a header alone": ("x.csv", b"prompt,response\n", "is empty: it holds no row"),
    "an empty array": ("x.json", b"[]", "is empty: it holds no row"),
    "an empty gzip file": ("x.jsonl.gz", gzip.compress(b""), "is empty: it holds no row"),
    "UTF-16 with a mark": ("x.jsonl", lines(*TALKS).decode().encode("utf-16"), "is UTF-16 text; UTF-8 was expected"),
    "UTF-16 without a mark": ("x.jsonl", lines(*TALKS).decode().encode("utf-16-le"), "is UTF-16 text"),
    "UTF-16, big end first": ("x.json", json.dumps(TALKS).encode("utf-16-be"), "iconv -f UTF-16 -t UTF-8 x.json"),
    "UTF-32": ("x.csv", table(",").decode().encode("utf-32"), "is UTF-32 text"),
    "UTF-32 without a mark": ("x.csv", table(",").decode().encode("utf-32-le"), "is UTF-32 text"),
    "a compressed UTF-16": ("x.csv.gz", gzip.compress(table(",").decode().encode("utf-16")), "is UTF-16 text"),
    "bytes": ("x.jsonl", bytes(range(256)) * 40, "is no text: it holds NUL bytes"),
    "zeros without end": ("x.jsonl.zst", zstd(bytes(2**24)), "is no text: it holds NUL bytes"),
    "JSON in Latin-1": ("x.json", json.dumps(TALKS, ensure_ascii=False).encode("latin-1"), "not valid UTF-8"),
    "lines in Latin-1": ("x.jsonl", lines(*TALKS).decode().encode("latin-1"), r"line 1: not valid UTF-8"),
    "CSV in Latin-1": ("x.csv", table(",").decode().encode("latin-1"), r"row 1: not valid UTF-8"),
    "a truncated gzip file": ("x.jsonl.gz", gzip.compress(os.urandom(9000))[:-2000], "could not read .*[Tt]runcated"),
    "a truncated zstd file": ("x.jsonl.zst", zstd(os.urandom(9000))[:-2000], "could not read .*[Tt]runcated"),
    "a truncated Parquet file": ("x.parquet", parquet()[:-40], "could not read .*x.parquet"),
    "a truncated Arrow file": ("x.arrow", arrow(file=True)[:-40], "could not read .*x.arrow"),
    "a truncated JSON array": ("x.json", json.dumps(TALKS).encode()[:-9], "x.json: not valid JSON"),
    "a number": ("x.json", b"7", "x.json holds a int"),
    "two arrays": ("x.json", b'{"train": [1], "test": [2]}', "holds 2 arrays: train, test"),
    "a ZIP archive": ("x.csv", b"PK\x03\x04....", "is a ZIP archive"),
    "a workbook named .csv": ("book.csv", b"PK\x03\x04xl/", "or an office document"),
    "bzip2": ("x.jsonl", b"BZh91AY", "is compressed by bzip2"),
    "xz": ("x.jsonl", b"\xfd7zXZ\x00..", "is compressed by xz"),
    "a pointer of Git LFS": ("x.parquet", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    "a web page": ("x.jsonl", b"<!DOCTYPE html><html>", "is a web page"),
    "a database": ("x.jsonl", b"SQLite format 3\0", "is an SQLite database"),
    "a pickle": ("x.jsonl", b"\x80\x04\x95\x00", "A pickle can run code"),
    "an old workbook named .csv": ("x.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(900), "is an old Excel"),
    "a tar archive": ("x.jsonl", b"a.jsonl".ljust(257, b"\0") + b"ustar".ljust(255, b"\0"), "is a tar archive"),
    "a compressed tar archive": (
        "x.jsonl.gz",
        gzip.compress(b"a.jsonl".ljust(257, b"\0") + b"ustar".ljust(255, b"\0")),
        "is a tar archive",
    ),
    "bytes with many zeros": ("x.jsonl", b"abcdefg".ljust(300, b"\0"), "is no text: it holds NUL bytes"),
    "numbers of four bytes": (
        "x.jsonl",
        b"".join(k.to_bytes(4, "little") for k in range(2**20, 2**20 + 200)) + b"\0" * 9000,
        "is no text",
    ),
    "an older pickle": ("x.jsonl", b"\x80\x02}q\0.", "A pickle can run code"),
    "an array of NumPy": ("x.jsonl", b"\x93NUMPY\x01\0", "is an array of NumPy"),
    "a model": ("x.jsonl", b"GGUF\x03\0\0\0", "is a GGUF model"),
    "LZ4": ("x.jsonl", b"\x04\x22\x4d\x18", "is compressed by LZ4"),
    "one column twice": ("x.csv", b"prompt,response,prompt\na,b,c\n", "has two columns 'prompt'"),
    "one column of Parquet twice": ("x.parquet", doubled(), "has two columns 'prompt'"),
    "a quote that is not closed": ("x.csv", b'prompt,response\na,"b\nc,d\n', "row 1: a quote in it is not closed"),
    "a table of other columns": ("x.csv", b"text,label\na,1\n", "row 1: none of the known forms.*'text', 'label'"),
    "another kind of name": ("x.txt", lines(*TALKS), "x.txt is not read as a data set"),
    "preference data": ("x.jsonl", lines(PAIR), "is preference data: x.jsonl, line 1.*\n.*screen"),
    "preference data in an array": ("x.json", json.dumps([PAIR]).encode(), "is preference data: x.json, row 1"),
    "preference data with messages": (
        "x.jsonl",
        lines({"messages": [USER, ANSWER], "chosen": [USER, ANSWER], "rejected": [USER, ANSWER]}),
        "is preference data",
    ),
    "calls of tools alone": ("x.jsonl", lines({"messages": [USER, CALL]}), "its only answer is a call of a tool"),
}
SAID: dict[str, tuple[object, str]] = {
    "human and gpt": ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "user assistant"),
    "USER and ASSISTANT": ({"messages": [{"role": "USER", "content": "a"}, {"role": "ASSISTANT", "content": "b"}]}, "user assistant"),
    "Human and bot": ({"messages": [{"role": "Human", "content": "a"}, {"role": "bot", "content": "b"}]}, "user assistant"),
    "user and model": ({"messages": [{"role": "user", "content": "a"}, {"role": "model", "content": "b"}]}, "user assistant"),
    "prompter and chatbot": ({"messages": [{"role": "prompter", "content": "a"}, {"role": "chatbot", "content": "b"}]}, "user assistant"),
    "a developer": ({"messages": [{"role": "developer", "content": "s"}, USER, ANSWER]}, "system user assistant"),
    "role and value": ({"messages": [{"role": "user", "value": "a"}, {"from": "ai", "content": "b"}]}, "user assistant"),
    "a bare list of turns": ([USER, ANSWER], "user assistant"),
    "pairs of texts": ({"conversations": [["a", "b"], ["c", "d"]]}, "user assistant user assistant"),
    "pairs of role and text": ({"conversations": [["human", "a"], ["gpt", "b"]]}, "user assistant"),
    "a list of Python's": ({"messages": str([USER, ANSWER])}, "user assistant"),
    "an object of lists": ({"messages": {"role": ["user", "assistant"], "content": ["a", "b"]}}, "user assistant"),
    "keys in capitals": ({"Instruction": "a", "Output": "b"}, "user assistant"),
    "parts": ({"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "b"}]}]}, "user assistant"),
    "what was thought before": (
        {"messages": [USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "a"}, {"type": "text", "text": "b"}]}]},
        "user assistant",
    ),
    "a tool": ({"messages": [USER, CALL, REPLY, ANSWER]}, "user tool_call tool assistant"),
    "a tool of ShareGPT": (
        {"conversations": [{"from": who, "value": "x"} for who in ("human", "function_call", "observation", "gpt")]},
        "user tool_call tool assistant",
    ),
    "words and a call": ({"messages": [USER, {**CALL, "content": "I look."}, REPLY, ANSWER]}, "user assistant tool_call tool assistant"),
    "an old function": (
        {"messages": [USER, {"role": "assistant", "function_call": {"name": "f"}}, {"role": "function", "content": "4"}, ANSWER]},
        "user tool_call tool assistant",
    ),
    "a reply of ipython": ({"messages": [USER, CALL, {"role": "ipython", "content": "4"}, ANSWER]}, "user tool_call tool assistant"),
    "a call in tags": ({"messages": [USER, {**ANSWER, "content": "<tool_call>{}</tool_call>"}, REPLY, ANSWER]}, "user tool_call tool assistant"),
    "parts of tools": (
        {"messages": [USER, {"role": "assistant", "content": [{"type": "tool_use", "name": "f"}]},
                      {"role": "user", "content": [{"type": "tool_result", "content": "4"}]}, ANSWER]},
        "user tool_call tool assistant",
    ),
    "a greeting": ({"messages": [ANSWER, USER, ANSWER]}, "assistant user assistant"),
    "a call at the end": ({"messages": [USER, ANSWER, USER, CALL]}, "user assistant"),
}  # fmt: skip
REFUSED: dict[str, tuple[object, str]] = {
    "a greeting alone": ({"messages": [ANSWER]}, "the assistant speaks first"),
    "a call and a blank answer": (
        {"messages": [USER, CALL, REPLY, {**ANSWER, "content": " "}]},
        "empty answer: turn 3",
    ),
    "a role of nobody": ({"messages": [{"role": "narrator", "content": "a"}]}, "the role 'narrator'"),
    "three texts": (["a", "b", "c"], "a list of 3 texts"),
    "an image": ({"messages": [{"role": "user", "content": [{"type": "image"}]}, ANSWER]}, "only text can be read"),
}
PAIRS: dict[str, object] = {
    "texts": PAIR,
    "lists": {"prompt": [USER], "chosen": [ANSWER], "rejected": [{**ANSWER, "content": "No."}]},
    "whole conversations": {"chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "No."}]},
    "a prompt and whole conversations": {"prompt": "Hi?", "chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "No."}]},
    "dialogues": {"chosen": f"{HUMAN}Yes.", "rejected": f"{HUMAN}No."},
    "a prompt of a dialogue": {"prompt": HUMAN, "chosen": " Yes.", "rejected": " No."},
    "a question": {"question": "Hi?", "chosen": "Yes.", "rejected": "No."},
    "cells of a CSV": {"prompt": "Hi?", "chosen": json.dumps([USER, ANSWER]), "rejected": json.dumps([USER, {**ANSWER, "content": "No."}])},
}  # fmt: skip
NO_PAIRS: dict[str, tuple[object, str]] = {
    "no prompt": ({"chosen": "a", "rejected": "b"}, "no prompt: chosen is an answer alone"),
    "one answer twice": ({**PAIR, "rejected": "Yes."}, "are the same"),
    "an empty answer": ({**PAIR, "rejected": " "}, "empty answer"),
    "one answer": ({"prompt": "a", "chosen": "b"}, "it lacks chosen or rejected"),
    "two prompts": ({"chosen": [USER, ANSWER], "rejected": [{**USER, "content": "Ho?"}, ANSWER]}, "differ before .* at turn 0"),
}  # fmt: skip


def put(given: Given, name: str, data: bytes) -> Path:
    path = given.tmp / name
    path.write_bytes(data)
    return path


def reads(name: str, data: bytes) -> Callable[[Given], Any]:
    """All answers of a file, twice: whole, and from the second row on."""

    def call(given: Given) -> Any:
        path = put(given, name, data)
        numbered = list(stream_conversations(path))
        assert list(stream_conversations(path, start=numbered[2][0])) == numbered[2:]
        return [talk.answer for talk in read_conversations(path).conversations]

    return call


def roles(row: object) -> Any:
    found = parse_row(row, "")
    return found.reason if isinstance(found, Unusable) else " ".join(turn.role for turn in found.turns)


def sides(row: object) -> Any:
    found = parse_pair(row, "")
    return found.reason if isinstance(found, Unusable) else (found.prompt[0].content, found.chosen.answer, found.rejected.answer)  # fmt: skip


def contains(words: str) -> Callable[[Any], bool]:
    import re

    return lambda value: bool(re.search(words, value))


def special(make: Callable[[Path], Any], source: str) -> Callable[[Given], Any]:
    def call(given: Given) -> Any:
        make(given.tmp)
        return list(stream_conversations(source.format(tmp=given.tmp)))

    return call


def circle(folder: Path) -> None:
    (folder / "a.jsonl").symlink_to(folder / "b.jsonl")
    (folder / "b.jsonl").symlink_to(folder / "a.jsonl")


def saved(folder: Path, *splits: str) -> None:
    from datasets import Dataset, DatasetDict

    data = Dataset.from_list(TALKS)
    (DatasetDict(dict.fromkeys(splits, data)) if splits else data).save_to_disk(folder / "saved")


def saved_answers(given: Given, *splits: str, source: str) -> list[str]:
    saved(given.tmp, *splits)
    return [talk.answer for talk in read_conversations(f"{given.tmp / 'saved'}{source}").conversations]


def folder_of_all(given: Given) -> int | None:
    for kind, data in FORMS.items():
        put(given, f"{kind}.{kind}", data)
    put(given, "dataset_info.json", b"{}")
    return len(read_conversations(given.tmp).conversations)


def cells(given: Given) -> list[str]:
    write_table(given.tmp / "t.csv", pd.DataFrame({"text": ["=1+1", "@x", "-5", "'=y"]}))
    return [*read_table(given.tmp / "t.csv")["text"], *(given.tmp / "t.csv").read_text().splitlines()[1:]]


def screened(given: Given) -> None:
    rows = [{"prompt": f"How is {k % 8}?", "chosen": f"It is {k}!", "rejected": f"So {k}."} for k in range(12)]
    put(given, "pairs.jsonl", lines(*rows))


SCREEN = (
    "screen",
    "{tmp}/pairs.jsonl",
    "--vectors",
    "{vector}",
    "--model",
    "{model}",
    "--dtype",
    "float32",
    "--out",
    "{tmp}/o",
)
FINETUNE = ("finetune", "{tmp}/pairs.jsonl", "--out", "{tmp}/o", "--model", "{model}")
MONITOR = (
    "monitor",
    "{tmp}/x.json",
    "--vector",
    "{vector}",
    "--layer",
    "1",
    "--model",
    "{model}",
    "--dtype",
    "float32",
)
ROWS: tuple[Row, ...] = (
    *(
        Call(f"reads {kind}{ending}", reads(f"x.{kind}{ending}", pack(data)), ANSWERS)
        for kind, data in FORMS.items()
        for ending, pack in PACKED.items()
    ),
    *(Call(f"reads {what}", reads(*file), ANSWERS) for what, file in OTHERS.items()),
    *(
        Call(f"refuses {what}", lambda given, n=name, d=data: read_conversations(put(given, n, d)), says=words)
        for what, (name, data, words) in BROKEN.items()
    ),
    *(Call(f"roles: {what}", lambda _, row=row: roles(row), said) for what, (row, said) in SAID.items()),
    *(Call(f"no row: {what}", lambda _, row=row: roles(row), contains(words)) for what, (row, words) in REFUSED.items()),
    *(Call(f"a pair: {what}", lambda _, row=row: sides(row), ("Hi?", "Yes.", "No.")) for what, row in PAIRS.items()),
    *(Call(f"no pair: {what}", lambda _, row=row: sides(row), contains(words)) for what, (row, words) in NO_PAIRS.items()),
    Call("a long field of a CSV", lambda g: [c.answer for c in read_conversations(put(g, "x.csv", f"prompt,response\na,{LONG}\n".encode())).conversations], [LONG]),
    Call("a folder of every form", folder_of_all, 5 * len(FORMS)),
    Call("what datasets saved", lambda g: saved_answers(g, source=""), ANSWERS),
    Call("its only split", lambda g: saved_answers(g, "train", source=""), ANSWERS),
    Call("a split by name", lambda g: saved_answers(g, "train", "test", source=":test"), ANSWERS),
    Call("which split?", lambda g: saved_answers(g, "train", "test", source=""), says="no split was named.\n.*Splits: train, test"),
    Call("no such split", lambda g: saved_answers(g, "train", source=":dev"), says="it has no split 'dev'"),
    Call("a split of what has none", lambda g: saved_answers(g, source=":dev"), says="has no splits"),
    Call("a named pipe", special(lambda t: os.mkfifo(t / "p.jsonl"), "{tmp}/p.jsonl"), says="is a named pipe, not a file"),
    Call("a device", special(lambda _: None, "/dev/zero"), says="is a device, not a file"),
    Call("links in a circle", special(circle, "{tmp}/a.jsonl"), says="links lead in a circle"),
    Call("a link to nothing", special(lambda t: (t / "l.jsonl").symlink_to(t / "no"), "{tmp}/l.jsonl"), says="which is not there"),
    Call("a folder of folders", special(lambda t: (t / "inner").mkdir(), "{tmp}"), says="holds no data set"),
    Call("a folder that holds itself", special(lambda t: (t / "self").symlink_to(t), "{tmp}"), says="holds no data set"),
    Call("a name without end", special(lambda _: None, "{tmp}/" + "n" * 5000), says="does not exist"),
    Call("a zero in a name", special(lambda _: None, "{tmp}/a\0b.jsonl"), says="does not exist"),
    Call("a start below zero", lambda g: list(stream_conversations(put(g, "x.jsonl", FORMS["jsonl"]), start=-1)), says="cannot start at row -1"),
    Call("rows are counted", lambda g: count_rows(put(g, "x.tsv.zst", zstd(FORMS["tsv"]))), 5),
    Call("a hash of a compressed file", lambda g: source_hash(put(g, "x.json.gz", gzip.compress(b"[]", mtime=0))), lambda h: len(h) == 64),
    Call("pairs are known", lambda g: holds_preferences(put(g, "x.jsonl", b"{broken\n" + lines(PAIR))), True),
    Call("conversations are no pairs", lambda g: holds_preferences(put(g, "x.jsonl", FORMS["jsonl"])), False),
    Call("tools are no answers", lambda _: answer_positions(parse_row({"messages": [ANSWER, USER, CALL, REPLY, ANSWER]}, "").turns), [4]),  # pyright: ignore
    Call("a transcript of an array", lambda g: [len(c.turns) for c in read_transcript(put(g, "x.json", json.dumps([{"messages": [USER, CALL, REPLY, ANSWER]}]).encode()))], [4]),
    Call("a transcript of a table", lambda g: len(read_transcript(put(g, "x.csv", FORMS["csv"]))), 5),
    Call("formulas in a CSV", cells, ["=1+1", "@x", "-5", "'=y", "'=1+1", "'@x", "-5", "''=y"]),
    Command("screen pairs", SCREEN, 0, "12 of 12 preference pairs screened, of 8 prompts(.|\n)*chosen answers of pairs.jsonl", screened),
    Command("screen pairs with clean data", (*SCREEN, "--clean", "{tmp}/pairs.jsonl"), 2, "--clean would do nothing: the data are preference pairs", screened),
    Command("screen an empty file", SCREEN, 1, "pairs.jsonl is empty: 0 bytes", lambda g: put(g, "pairs.jsonl", b"")),
    Command("screen UTF-16", SCREEN, 1, "is UTF-16 text", lambda g: put(g, "pairs.jsonl", FORMS["jsonl"].decode().encode("utf-16"))),
    Command("screen a pipe", SCREEN, 1, "is a named pipe", lambda g: os.mkfifo(g.tmp / "pairs.jsonl")),
    Command("finetune on pairs", FINETUNE, 1, "is preference data: pairs.jsonl, line 1", screened),
    Command("finetune on calls of tools", FINETUNE, 1, "its only answer is a call of a tool", lambda g: put(g, "pairs.jsonl", lines({"messages": [USER, CALL]}))),
    Command("monitor an array", MONITOR, 0, "cheerful", lambda g: put(g, "x.json", json.dumps([{"messages": [USER, CALL, REPLY, ANSWER]}]).encode())),
    Command("monitor what is no data", MONITOR, 1, "holds a int", lambda g: put(g, "x.json", b"7")),
)  # fmt: skip
