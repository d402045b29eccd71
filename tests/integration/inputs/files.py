"""Places that are no files, traits, inventories, styles, texts with scores, tables and folders of results."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from persona_interp.data.inventories import load_inventory
from persona_interp.data.style_sources import read_tweets
from persona_interp.data.styles import load_styles
from persona_interp.data.trait_texts import read_trait_texts
from persona_interp.data.traits import load_trait
from persona_interp.directions.direction import Direction
from persona_interp.effects.files import load_effects
from persona_interp.lock import NAME, locked
from persona_interp.measurements.frame import Measurements
from persona_interp.studies.persona.results import load_results
from persona_interp.tables import read_table
from persona_interp.texts import clean_text, path_part
from tests.hostile import (
    DIGITS,
    INVENTORY,
    NESTED,
    described,
    folder,
    huge,
    loop,
    many_rows,
    measured,
    parquet,
    pipe,
    put,
    two_columns_of_one_name,
)
from tests.integration.conftest import TRAIT
from tests.integration.inputs.row import Call, Command, Given, Row
from tests.small import direction


def a_trait(label: str, says: str, **changes: Any) -> Call:
    return Call(
        f"trait: {label}", lambda g: load_trait(put(g.tmp / "mine.json", json.dumps(TRAIT | changes))), says=says
    )


def an_inventory(name: str, data: bytes | str, says: str, suffix: str = ".json") -> Call:
    return Call(f"inventory: {name}", lambda g: load_inventory(put(g.tmp / f"i{suffix}", data)), says=says)


def some_styles(name: str, data: bytes | str, says: str, suffix: str = ".csv") -> Call:
    return Call(f"styles: {name}", lambda g: load_styles(put(g.tmp / f"s{suffix}", data)), says=says)


def scores(name: str, data: bytes | str, says: str, suffix: str = ".csv") -> Call:
    return Call(f"texts with scores: {name}", lambda g: read_trait_texts(put(g.tmp / f"t{suffix}", data)), says=says)


def sibling(name: str, data: str, says: str) -> Call:
    def call(g: Given) -> Any:
        own = {key: TRAIT[key] for key in ("instruction", "questions", "eval_prompt")}
        put(g.tmp / "trait_data_eval" / "x.json", data)
        return load_trait(put(g.tmp / "trait_data_extract" / "x.json", json.dumps(own)))

    return Call(f"trait beside its evaluation file: {name}", call, says=says)


def shows(name: str, data: bytes | str, says: str) -> Command:
    return Command(
        f"traits show: {name}", ("traits", "show", "{tmp}/t.json"), 1, says, make=lambda g: put(g.tmp / "t.json", data)
    )


PLACES: tuple[Row, ...] = (
    *(
        Call(f"place: {kind} where {name} is read", lambda g, m=make, r=read: r(m(g.tmp / "x.json")), says=says)
        for kind, make, says in (
            ("a pipe", pipe, "x.json is a pipe"),
            ("a loop of links", loop, "Too many levels of symbolic links.*\n.*give the file itself"),
            ("3 GB", huge, "was not read: it has 3,072 MiB"),
        )
        for name, read in (("a trait", load_trait), ("an inventory", load_inventory))
    ),
    *(
        Call(
            f"place: a device where {name} are read",
            lambda _, r=read: r(Path("/dev/zero")),
            says="/dev/zero is a device",
        )
        for name, read in (("vectors", Direction.load), ("tables", read_table), ("tweets", read_tweets))
    ),
    Call("place: a folder", lambda g: Direction.load(g.tmp), says="is a folder"),
    Call(
        "place: a file for a folder",
        lambda g: Direction.load(put(g.tmp / "a", b"") / "b"),
        says="is a file, not a folder",
    ),
    Call("place: a name of 300", lambda g: Direction.load(g.tmp / ("a" * 300)), says="File name too long.*\n.*shorter"),
    Call(
        "place: NUL in a path",
        lambda g: Direction.load(g.tmp / "a\0b"),
        says="path must be text without the character NUL",
    ),
    Call(
        "place: half a pair in a path",
        lambda g: Direction.load(g.tmp / "a\ud800"),
        says="path must be text without lone surrogates",
    ),
    Call(
        "place: bytes that are not UTF-8",
        lambda g: Direction.load(g.tmp / "a\udcff"),
        says="path must be text without lone surrogates",
    ),
    Call("place: trait of 5,000 letters", lambda _: load_trait("a" * 5000), says="no trait is called 'aaa"),
    Call("place: styles of 5,000 letters", lambda _: load_styles("a" * 5000), says="no style corpus is called 'aaa"),
    Call("place: inventory of 5,000 letters", lambda _: load_inventory("a" * 5000), says="no inventory is called 'aaa"),
    Call(
        "place: results in a name of 300",
        lambda g: load_results(g.tmp / ("a" * 300)),
        says="effects.parquet does not exist",
    ),
    Call(
        "place: effects of a name of 300",
        lambda g: load_effects(g.tmp / ("a" * 300)),
        says="there is no effects.parquet in",
    ),
    Call(
        "place: effects of an unknown user",
        lambda _: load_effects("~nobody-of-that-name"),
        says="there is no effects.parquet",
    ),
    Call(
        "place: written through a loop",
        lambda g: direction(torch.ones(3, 4)).save(loop(g.tmp / "a") / "b.x"),
        says="could not write",
    ),
    Call(
        "place: written below a file",
        lambda g: direction(torch.ones(3, 4)).save(put(g.tmp / "a", b"") / "b.x"),
        says="Move the",
    ),
    Call(
        "place: written under a name of 300",
        lambda g: direction(torch.ones(3, 4)).save(g.tmp / ("a" * 300)),
        says="Give a shorter",
    ),
    Call(
        "place: written where nothing can be",
        lambda _: direction(torch.ones(3, 4)).save("/proc/x.safetensors"),
        says="could not write",
    ),
    Call(
        "place: written with NUL",
        lambda g: direction(torch.ones(3, 4)).save(g.tmp / "a\0b"),
        says="without the character NUL",
    ),
    Call("lock: in a loop of links", lambda g: _lock(loop(g.tmp / "a") / "b"), says="could not write .*symbolic links"),
    Call("lock: in a name of 300", lambda g: _lock(g.tmp / ("a" * 300)), says="could not write .*File name too long"),
    Call("lock: NUL in a path", lambda g: _lock(g.tmp / "a\0b"), says="is no path"),
    Call(
        "lock: a folder in its place",
        lambda g: _lock(folder(g.tmp / NAME).parent),
        says="is a folder.*\n.*move it away",
    ),
    Call("lock: a pipe in its place is taken over", lambda g: _lock(pipe(g.tmp / NAME).parent), gives=True),
    Call("lock: one nested 100,000 deep is taken over", lambda g: _lock(put(g.tmp / NAME, NESTED).parent), gives=True),
    Call(
        "text: half a pair",
        lambda _: clean_text("a\udcff", "--system"),
        says=r"--system .* character 2 is half of a pair \(U\+DCFF\)",
    ),
    Call("text: NUL", lambda _: clean_text("a\0", "--system"), says="its character 2 is NUL"),
    Call(
        "text: too long", lambda _: clean_text("aaaa", "x", longest=3), says="it has 4 characters, at most 3 are taken"
    ),
    Call("text: a number", lambda _: clean_text(3, "--system"), says="--system is a int.*\n.*Expected a text"),
    Call("text: any other comes back", lambda _: clean_text("naïve\n🙂", "--system"), gives="naïve\n🙂"),
    Call("name: 5 MB", lambda _: path_part("a" * 5_000_000, "trait"), says="'aaa.*' cannot be the name of a trait"),
)


def _lock(place: Path) -> bool:
    with locked(place):
        return (place / NAME).is_file()


TRAITS: tuple[Row, ...] = (
    a_trait("name a number", "name of .* is a int", name=3),
    a_trait("name empty", "names its trait ''", name=""),
    a_trait("name a path", "names its trait '../x'", name="../x"),
    a_trait("name of 300", "names its trait 'aaa", name="a" * 300),
    a_trait("name a device", "'con' cannot be the name of a trait", name="con"),
    a_trait("half a pair in a question", "half of a surrogate pair", questions=["Why \ud800?", "How?"]),
    a_trait("NUL in a question", "number 1 of questions of .* character 5 is NUL", questions=["Why \0?", "How?"]),
    a_trait("a question of 5 MB", "number 1 of questions .* 5,000,000 characters", questions=["a" * 5_000_000, "b"]),
    a_trait("questions as one text", "questions of .* must be a list", questions="Why?"),
    a_trait(
        "an instruction with a number",
        "instruction of .* must be a list of objects",
        instruction=[{"pos": 1, "neg": 2}],
    ),
    a_trait("description a list", "description of .* is a list", description=[]),
    a_trait("rubric null", "eval_prompt of .* is a NoneType", eval_prompt=None),
    sibling("a list", "[1]", "x.json holds a list"),
    sibling("without questions", "{}", "x.json lacks questions"),
    sibling("questions a number", '{"questions": 3}', "questions of .*trait_data_eval.* must be a list"),
    sibling("nested", NESTED.decode(), "nested too deep"),
    shows("nested 100,000 deep", NESTED, "t.json is not valid JSON: nested too deep"),
    shows("5,000 digits", DIGITS, "Exceeds the limit"),
    shows("UTF-16", "{}".encode("utf-16"), "it is UTF-16: save it as UTF-8"),
    shows("a list", b"[]", "t.json holds a list"),
    shows("empty", b"", "is not valid JSON"),
    shows("half a pair", json.dumps(TRAIT | {"description": "\ud800"}), "half of a surrogate pair"),
)
TABLES: tuple[Row, ...] = (
    an_inventory("nested 100,000 deep", NESTED, "nested too deep"),
    an_inventory("a list", b"[]", "holds a list"),
    an_inventory("kind a list", json.dumps(INVENTORY | {"kind": []}), r"is of kind \[\]"),
    an_inventory("wordings a number", json.dumps(INVENTORY | {"wordings": 3}), "wordings of .* are a int"),
    an_inventory("scales an object", json.dumps(INVENTORY | {"scales": {"a": 1}}), "scales of .* are a dict"),
    an_inventory(
        "a text that is a list",
        json.dumps({"items": [{"text": ["a"], "scale": "n", "key": 1}]}),
        "the text of .* is a list",
    ),
    an_inventory("key of 5,000 digits", "text,scale,key\na,b," + "9" * 5000 + "\n", "has the key '999", ".csv"),
    an_inventory("not UTF-8", b"text,scale,key\n\xe9,b,1\n", "line 2 is not UTF-8: found byte 0xe9", ".csv"),
    an_inventory("NUL", b"text,scale,key\na\0,b,1\n", "line 2 holds a NUL", ".csv"),
    an_inventory("ragged", "text,scale,key\na,b\n", "line 2 has 2 fields; the header names 3", ".csv"),
    an_inventory("gzip", gzip.compress(b"text,scale,key\n"), "is packed with gzip, not UTF-8", ".csv"),
    an_inventory("no archive", b"x", "could not read .* as an archive", ".tgz"),
    some_styles(
        "a field of 200,000 is read, one style is not enough",
        "text,style\n" + "a" * 200_000 + ",b\n",
        "fewer than two styles",
    ),
    some_styles("NUL", "text,style\na,b\nc\0,d\n", "line 3 holds a NUL"),
    some_styles("ragged", "text,style\na,b,c\n", "line 2 has 3 fields"),
    some_styles("a column twice", "text,text\na,b\n", "Expected a first line that names each column once"),
    some_styles("a line nested 100,000 deep", NESTED, "line 1 is not JSON: nested too deep", ".jsonl"),
    some_styles("half a pair", '{"text": "\\ud800", "style": "a"}', "line 1 is not JSON: .* surrogate pair", ".jsonl"),
    some_styles("UTF-16", "text,style\n".encode("utf-16"), "is UTF-16, not UTF-8"),
    scores("NUL", "text,joy\na\0,1\n", "holds a NUL character"),
    scores("a number of 5,000 digits", '{"text": "a", "scores": {"joy": ' + "1" * 5000 + "}}", "line 1", ".jsonl"),
    scores("infinite", "text,joy\na,1e999\n", "column joy: '1e999' is no score"),
    scores("words", "text,joy\na,much\n", "column joy: 'much' is no score"),
    scores("ragged", "text,joy\na\n", "row 1: 1 fields; the header names 2"),
    Call(
        "measurements: another schema",
        lambda g: Measurements.load(described(measured(g.tmp), parquet(pd.DataFrame({"a": [1]})))),
        says="does not hold measurements",
    ),
    Call(
        "measurements: words for values",
        lambda g: Measurements.load(measured(g.tmp, value="much")),
        says="column 'value' of measurements holds 'much'",
    ),
    Call(
        "measurements: infinite", lambda g: Measurements.load(measured(g.tmp, value=np.inf)), says="holds inf in row 0"
    ),
    Call(
        "measurements: damaged",
        lambda g: Measurements.load(described(measured(g.tmp), b"PAR1xxxxPAR1")),
        says="is not a whole Parquet file",
    ),
    Call(
        "table: two columns of one name",
        lambda g: read_table(put(g.tmp / "a.parquet", two_columns_of_one_name())),
        says="two columns of one name",
    ),
    Call(
        "table: 30 million rows in 100 kB",
        lambda g: read_table(put(g.tmp / "a.parquet", many_rows())),
        says="30,000,000 rows of 1 columns",
    ),
    Call(
        "effects: another table",
        lambda g: load_effects(put(g.tmp / "effects.parquet", parquet(pd.DataFrame({"a": [1]})))),
        says="effects.parquet: ",
    ),
    Call(
        "effects: damaged",
        lambda g: load_effects(put(g.tmp / "effects.parquet", b"PAR1")),
        says="is not a whole Parquet file",
    ),
    Call("results: an empty folder", lambda g: load_results(g.tmp), says="effects.parquet does not exist"),
)


ROWS: tuple[Row, ...] = (*PLACES, *TRAITS, *TABLES)
