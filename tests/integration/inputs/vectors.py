"""Vectors, activations, their manifests and other tools' files of vectors."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.directions.direction import Direction
from persona_interp.directions.formats import ForeignFormat, load_foreign
from persona_interp.gguf_header import check_gguf
from tests.hostile import (
    DIGITS,
    LONG,
    NESTED,
    SHAPE,
    TRUTHS,
    Changes,
    Make,
    gguf,
    gguf_array,
    half,
    huge,
    in_place,
    long_gguf,
    loop,
    nul_styles,
    pipe,
    pooled,
    put,
    spec,
    torch_file,
    truths,
    vector,
    zip_bomb,
)
from tests.integration.inputs.row import Call, Command, Given, Row
from tests.small import direction


def read_vector(name: str, says: str, changes: Changes | None = None, **tensors: Tensor) -> Call:
    return Call(f"vector: {name}", lambda g: Direction.load(vector(g.tmp, changes=changes, **tensors)), says=says)


def read_pooled(name: str, says: str, changes: Changes | None = None, **tensors: Tensor) -> Call:
    return Call(
        f"activations: {name}", lambda g: Activations.load(pooled(g.tmp, changes=changes, **tensors)), says=says
    )


def manifest(name: str, data: bytes, says: str) -> Call:
    def call(g: Given) -> Direction:
        path = vector(g.tmp)
        path.with_suffix(".json").write_bytes(data)
        return Direction.load(path)

    return Call(f"manifest: {name}", call, says=says)


def foreign(name: str, kind: ForeignFormat, make: Make, says: str, **options: Any) -> Call:
    given = {"trait": "loud", **options}
    return Call(f"{kind}: {name}", lambda g: load_foreign(make(g.tmp), kind, SHAPE, **given), says=says)


def a_gguf(name: str, data: bytes, says: str) -> Call:
    return Call(f"gguf: {name}", lambda g: check_gguf(put(g.tmp / "v.gguf", data)), says=says)


def converts(name: str, make: Callable[[Given], Any], kind: str, source: str, says: str, code: int = 1) -> Command:
    shape = ("--model", "{model}", "--trait", "loud")
    numbered = ("--convention", "block_output") if kind in ("gguf", "easysteer") else ()
    options = ("--from", kind, "--to", "native", *shape, *numbered)
    argv = ("convert", "{tmp}/" + source, "{tmp}/out.safetensors", *options)
    return Command(f"convert from {kind}: {name}", argv, code, says, make=make)


def float32(loaded: Direction) -> bool:
    return loaded.vectors.dtype == torch.float32 and torch.equal(loaded.vectors, torch.full((3, 4), 0.5))


VECTORS: tuple[Row, ...] = (
    *(
        Call(
            f"vector: {dtype} is read",
            lambda g, t=dtype: Direction.load(vector(g.tmp, vectors=half(t))),
            gives=float32,
        )
        for dtype in (torch.float16, torch.bfloat16, torch.float64)
    ),
    read_vector("bool", "vectors of .* holds bool values", vectors=torch.ones(3, 4, dtype=torch.bool)),
    read_vector("int8", "vectors of .* holds int8 values", vectors=torch.ones(3, 4, dtype=torch.int8)),
    read_vector("int64", "vectors of .* holds int64 values", vectors=torch.ones(3, 4, dtype=torch.int64)),
    read_vector("float8", "holds float8_e4m3fn values", vectors=torch.ones(3, 4).to(torch.float8_e4m3fn)),
    read_vector("beyond float32", "too large for float32", vectors=half(torch.float64) * 1e300),
    read_vector("NaN", "has values that are not finite", vectors=half(torch.float32) * torch.nan),
    read_vector("infinite", "has values that are not finite", vectors=half(torch.float16) / 0),
    read_vector("one axis", r"has shape \[4\]", vectors=torch.ones(4)),
    read_vector("no rows", "a vector for each hookpoint, got 0 for 3", vectors=torch.ones(0, 4)),
    read_vector("no width", "its width must be 4, got 0", vectors=torch.ones(3, 0)),
    read_vector("norms NaN", "norms must be positive and finite", residual_norms=torch.full((3,), torch.nan)),
    read_vector("norms negative", "norms must be positive and finite", residual_norms=-torch.ones(3)),
    read_vector("norms in two axes", r"residual_norms of .* has shape \[3, 1\]", residual_norms=torch.ones(3, 1)),
    read_vector("norms too few", "one residual norm a vector, got 2 for 3", residual_norms=torch.ones(2)),
    read_vector("trait a number", "trait is a whole number, 3.*\n.*Expected a name", {("trait",): 3}),
    read_vector("trait a list", "trait is a list", {("trait",): ["loud"]}),
    read_vector("trait null", "trait is null", {("trait",): None}),
    read_vector("trait of 5 MB", "trait is a text of 5,000,000 characters", {("trait",): "a" * 5_000_000}),
    read_vector("trait with NUL", r"trait is a text, 'a\\x00b'", {("trait",): "a\0b"}),
    read_vector("trait a path", "trait is a text, '../../x'", {("trait",): "../../x"}),
    read_vector("trait a device", "trait is a text, 'NUL'", {("trait",): "NUL"}),
    read_vector("trait half a pair", r"half of a surrogate pair \(.ud800\)", {("trait",): "\ud800"}),
    read_vector("method an object", "method is an object", {("method",): {}}),
    read_vector("pole with escapes", r"positive_pole is a text, '\\x1b\[2J'", {("positive_pole",): "\x1b[2J"}),
    read_vector("hookpoints null", "hookpoints is null", {("hookpoints",): None}),
    read_vector("layer infinite", r"hookpoints\[1\].layer is a number, inf", {("hookpoints", 1, "layer"): torch.inf}),
    read_vector("layer a fraction", r"hookpoints\[1\].layer is a number, 1.5", {("hookpoints", 1, "layer"): 1.5}),
    read_vector("layer true", r"hookpoints\[1\].layer is true or false", {("hookpoints", 1, "layer"): True}),
    read_vector("layer negative", r"hookpoints\[1\].layer is a whole number, -1", {("hookpoints", 1, "layer"): -1}),
    read_vector("layer of no block", "its layers must be 0 to 2, got 7", {("hookpoints", 1, "layer"): 7}),
    read_vector("layer twice", "its hookpoints must differ, got one twice", {("hookpoints", 1, "layer"): 0}),
    read_vector(
        "unknown stream", "stream is a text, 'up'.*\n.*Expected resid_pre", {("hookpoints", 0, "stream"): "up"}
    ),
    read_vector("model a number", "provenance.model is a whole number", {("provenance", "model"): 3}),
    read_vector("no layers", "provenance.n_layers is a whole number, 0", {("provenance", "n_layers"): 0}),
    read_vector("versions a list", "provenance.versions is a list", {("provenance", "versions"): []}),
    read_vector("seed a text", "provenance.seed is a text, 'one'", {("provenance", "seed"): "one"}),
    read_vector("newer", "has version 99, and this version .* reads up to 1", {("manifest_version",): 99}),
    read_vector("another kind", "describes 'activations'", {("kind",): "activations"}),
    Call(
        "vector: unknown keys are passed over",
        lambda g: Direction.load(vector(g.tmp, changes={("more",): 1, ("provenance", "more"): []})).trait,
        gives="loud",
    ),
    Call(
        "vector: norms that are no unit, in Python",
        lambda _: replace(direction(torch.ones(3, 4)), residual_norms=torch.tensor([1.0, -1.0, 1.0])),
        says="the residual norms of loud must be positive and finite",
    ),
    Call(
        "vector: a trait that cannot name a file is not saved",
        lambda g: direction(torch.ones(3, 4), trait="a/b").save(g.tmp / "v.safetensors"),
        says="'a/b' cannot be the name of a trait",
    ),
    manifest("nested 100,000 deep", NESTED, "is not valid JSON: nested too deep"),
    manifest("a number of 5,000 digits", DIGITS, "is not valid JSON: Exceeds the limit"),
    manifest("empty", b"", "is not valid JSON: Expecting value"),
    manifest("UTF-16", '{"kind": "direction"}'.encode("utf-16"), "it is UTF-16: save it as UTF-8"),
    manifest("Latin-1", b'{"kind": "\xe9"}', "it is not UTF-8 .* if it is Latin-1"),
    manifest("a key twice", b'{"kind": "a", "kind": "b"}', "an object has the key 'kind' twice"),
    manifest("null", b"null", "holds null.*\n.*Expected an object"),
    manifest("kind a list", b'{"kind": []}', "kind is a list"),
    Call(
        "vector: saved into a pipe",
        lambda g: Direction.load(vector(g.tmp)).save(pipe(g.tmp / "p.safetensors")),
        says="it is a pipe, which would be replaced",
    ),
    Call("manifest: a pipe", lambda g: _manifest_at(g, pipe), says="loud.json is a pipe"),
    Call("manifest: a loop of links", lambda g: _manifest_at(g, loop), says="Too many levels of symbolic links"),
    Call("manifest: 3 GB", lambda g: _manifest_at(g, huge), says="it has 3,072 MiB, at most 64 are expected"),
    read_pooled("bool", "values of .* holds bool values", values=torch.ones(2, 3, 4, dtype=torch.bool)),
    read_pooled("two axes", r"values of .* has shape \[3, 4\]", values=torch.ones(3, 4)),
    read_pooled("another number of samples", "with 2 samples and 3 hookpoints", values=torch.ones(5, 3, 4)),
    read_pooled("norms of another shape", "with norms of shape", norms=torch.ones(2, 2)),
    read_pooled("unknown pooling", "pooling is a text, 'median'", {("pooling",): "median"}),
    read_pooled("no hookpoints", "hookpoints is a list.*\n.*a list of 1 to", {("hookpoints",): []}),
)


def _manifest_at(g: Given, make: Make) -> Direction:
    path = vector(g.tmp)
    path.with_suffix(".json").unlink()
    make(path.with_suffix(".json"))
    return Direction.load(path)


FOREIGN: tuple[Row, ...] = (
    foreign(
        "bool", "persona-vectors", lambda t: torch_file(t / "a.pt", torch.ones(4, 4) > 0), "a.pt holds bool values"
    ),
    foreign(
        "sparse",
        "assistant-axis",
        lambda t: torch_file(t / "a.pt", torch.ones(3, 4).to_sparse()),
        "holds a sparse tensor",
        trait=None,
    ),
    foreign(
        "without values",
        "persona-vectors",
        lambda t: torch_file(t / "a.pt", torch.ones(4, 4, device="meta")),
        "without values",
    ),
    foreign("compressed", "persona-vectors", lambda t: zip_bomb(t / "a.pt"), "its record a/data.pkl is compressed"),
    foreign("3 GB", "persona-vectors", lambda t: huge(t / "a.pt"), "it has 3,072 MiB, at most 1,024 are expected"),
    foreign("empty", "persona-vectors", lambda t: put(t / "a.pt", b""), "a.pt is not a whole .pt file"),
    foreign("a pipe", "persona-vectors", lambda t: pipe(t / "a.pt"), "a.pt is a pipe"),
    foreign(
        "a pickle",
        "steering-vectors",
        lambda t: put(t / "a.pt", b"\x80\x04c" + b"os\nmkdir\n."),
        "nothing of this one was run",
    ),
    foreign(
        "layer of 31 digits", "steering-vectors", lambda t: torch_file(t / "a.pt", {10**30: torch.ones(4)}), "a.pt"
    ),
    foreign(
        "role a path",
        "assistant-axis",
        lambda t: torch_file(t / "a.pt", {"vector": torch.ones(3, 4), "type": "x", "role": "../x"}),
        "'../x' cannot be the name of a role",
        trait=None,
    ),
    foreign(
        "trait a path",
        "persona-vectors",
        lambda t: torch_file(t / "a.pt", torch.ones(4, 4)),
        "'../x' cannot be the name",
        trait="../x",
    ),
    Call(
        "persona-vectors: with a gradient, as float64",
        lambda g: (
            load_foreign(
                torch_file(g.tmp / "a.pt", torch.ones(4, 4, dtype=torch.float64, requires_grad=True)),
                "persona-vectors",
                SHAPE,
                trait="loud",
            ).vectors.dtype
        ),
        gives=torch.float32,
    ),
    a_gguf("2^40 entries", gguf(gguf_array(0, 2**40)), "'a' must have 1,099,511,627,776 entries"),
    a_gguf("texts without end", gguf(gguf_array(8, 2**63)), "'a' must have 9,223,372,036,854,775,808 entries"),
    a_gguf("arrays within arrays", gguf(gguf_array(9, 1)), "values of the kind 9, which GGUF does not have there"),
    a_gguf("2^40 keys", gguf(n_keys=2**40), "1,099,511,627,776 keys cannot be in a file of 24 bytes"),
    a_gguf("2^50 tensors", gguf(n_tensors=2**50), "tensors cannot be in a file of 24 bytes"),
    a_gguf("another version", gguf(version=7), "its version is 7, expected 2 or 3"),
    a_gguf("truncated", gguf()[:20], "it has 20 bytes, and the shortest header has 24"),
    a_gguf("a zip file", b"PK\3\4" + bytes(40), "not with b'GGUF'"),
    Call("gguf: a pipe", lambda g: check_gguf(pipe(g.tmp / "v.gguf")), says="v.gguf is a pipe"),
    foreign(
        "scale infinite",
        "easysteer",
        lambda t: spec(t, scale=torch.inf),
        "scale must be a number",
        convention="block_output",
    ),
    foreign(
        "layers as text",
        "easysteer",
        lambda t: spec(t, layers=["1"]),
        "layers must be a list of whole",
        convention="block_output",
    ),
    foreign(
        "a path for its source",
        "easysteer",
        lambda t: spec(t, source="/etc/x"),
        "is not followed",
        convention="block_output",
    ),
    foreign("nested 100,000 deep", "easysteer", lambda t: put(t / "s.json", NESTED), "nested too deep"),
)


def uses(name: str, command: str, says: str, make: Callable[[Given], Any]) -> Command:
    return Command(name, (*command.split(), "--model", "{model}"), 1, says, make=make)


STEER, PROJECT = (
    "steer {tmp}/loud.safetensors --prompt Why? --layer 1",
    "project Hello. --vector {tmp}/loud.safetensors --layer 1",
)
COMMANDS: tuple[Row, ...] = (
    converts("a pipe", in_place(pipe, "v.gguf"), "gguf", "v.gguf", "v.gguf is a pipe"),
    converts("2^40 entries", in_place(long_gguf, "v.gguf"), "gguf", "v.gguf", "must have 1,099,511,627,776 entries"),
    converts("compressed", in_place(zip_bomb, "a.pt"), "persona-vectors", "a.pt", "is compressed"),
    converts("bool", in_place(truths, "a.pt"), "persona-vectors", "a.pt", "holds bool values"),
    converts("nested", in_place(lambda p: put(p, NESTED), "s.json"), "easysteer", "s.json", "nested too deep"),
    converts("a loop of links", in_place(loop, "a.pt"), "persona-vectors", "a.pt", "symbolic links"),
    uses("project: a vector of bool", PROJECT, "holds bool values", lambda g: vector(g.tmp, vectors=TRUTHS)),
    uses("steer: a trait of 5 MB", STEER, "text of 5,000,000", lambda g: vector(g.tmp, changes={("trait",): LONG})),
    uses("steer: norms negative", STEER, "must be positive", lambda g: vector(g.tmp, residual_norms=-torch.ones(3))),
    uses("extract: a pipe", "extract {tmp}/t.json --out {tmp}/o", "t.json is a pipe", in_place(pipe, "t.json")),
    uses("styles: NUL", "styles {tmp}/s.csv --out {tmp}/o", "line 2 holds a NUL", in_place(nul_styles, "s.csv")),
)
ROWS: tuple[Row, ...] = (*VECTORS, *FOREIGN, *COMMANDS)
