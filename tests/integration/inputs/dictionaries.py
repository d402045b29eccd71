"""Dictionaries of latents, and decompositions, as other tools, accidents and bad intent leave them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from persona_interp.directions.sae.decompose import decompose
from persona_interp.directions.sae.decomposition import SAEDecomposition
from persona_interp.directions.sae.load import load_sae
from persona_interp.interventions.latents import SteerLatents
from persona_interp.types import Hookpoint
from tests.hostile import NESTED, pipe, put
from tests.integration.inputs.row import Call, Given, Row
from tests.small import direction
from tests.unit.directions.sae.dictionaries import dictionary, make_sae

OWN = {"weights": "w2-aaaa", "norm_limit": 5.0, "epochs": 1.0, "n_tokens": 9}


def sae(folder: Path, **changes: Any) -> Path:
    """A dictionary of 16 numbers and 24 latents, some keys of its configuration changed (None: taken away)."""
    made = make_sae("standard")
    made.save_model(folder / "sae")
    path = folder / "sae" / "cfg.json"
    config = json.loads(path.read_text())
    changed = {key: value for key, value in (config | changes).items() if value is not None}
    path.write_text(json.dumps(changed))
    return folder / "sae"


def with_metadata(folder: Path, **changes: Any) -> Path:
    return sae(folder, metadata={"sae_lens_version": "6.54.12", "hook_name": "blocks.1.hook_resid_post"} | changes)


def cut(folder: Path) -> Path:
    file = sae(folder) / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    return folder / "sae"


def not_finite(folder: Path) -> Path:
    made = make_sae("standard")
    made.b_enc.data[5] = float("inf")
    made.save_model(folder / "sae")
    return folder / "sae"


def a_pipe(folder: Path, name: str) -> Path:
    (sae(folder) / name).unlink()
    pipe(folder / "sae" / name)
    return folder / "sae"


def loads(name: str, make: Callable[[Path], Path], says: str) -> Call:
    return Call(f"dictionary: {name}", lambda g: load_sae(make(g.tmp)), says=says)


def decomposition(given: Given, **changes: Any) -> Any:
    rows = torch.eye(4)
    made = decompose(direction(torch.ones(3, 4)), dictionary(rows), n_latents=2)
    made.save(given.tmp / "loud.safetensors")
    file = given.tmp / "loud.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return SAEDecomposition.load(given.tmp / "loud.safetensors")


ROWS: tuple[Row, ...] = (
    Call("dictionary: as saved", lambda g: load_sae(sae(g.tmp)).n_latents, gives=24),
    loads("no configuration", lambda t: put(t / "x" / "y", "").parent, "cfg.json does not exist"),
    loads("not JSON", lambda t: put(sae(t) / "cfg.json", "{").parent, "is not valid JSON"),
    loads("nested 100,000 deep", lambda t: put(sae(t) / "cfg.json", NESTED).parent, "nested too deep"),
    loads("a list", lambda t: put(sae(t) / "cfg.json", "[]").parent, "Expected an object"),
    loads("no width", lambda t: sae(t, d_in=None), "has no d_in"),
    loads("a width in quotes", lambda t: sae(t, d_in="16"), "d_in is a text, '16'"),
    loads("another width", lambda t: sae(t, d_in=17), "SAELens cannot load .*size mismatch"),
    loads("more latents", lambda t: sae(t, d_sae=25), "SAELens cannot load"),
    loads("10^9 latents", lambda t: sae(t, d_sae=10**9, d_in=10**5), "claims 100,000 x 1,000,000,000 weights"),
    loads("an unknown architecture", lambda t: sae(t, architecture="dense"), "SAELens cannot load .*dense"),
    loads("no hook", lambda t: with_metadata(t, hook_name=None), "'None' is none of the streams"),
    loads("another hook", lambda t: with_metadata(t, hook_name="blocks.1.attn.hook_q"), "is none of the streams"),
    loads("a head", lambda t: with_metadata(t, hook_head_index=3), "is of head 3 alone"),
    loads(
        "a limit in words",
        lambda t: with_metadata(t, persona_interp=OWN | {"norm_limit": "5"}),
        "norm_limit is a text, '5'",
    ),
    loads("own data of another kind", lambda t: with_metadata(t, persona_interp=[1]), "persona_interp is"),
    loads("weights cut off", cut, "SAELens cannot load"),
    loads("weights not finite", not_finite, "b_enc of .* has values that are not finite"),
    loads("a pipe in the place of weights", lambda t: a_pipe(t, "sae_weights.safetensors"), "is a pipe"),
    loads("a pipe in the place of its configuration", lambda t: a_pipe(t, "cfg.json"), "is a pipe"),
    Call(
        "dictionary: activations of another width",
        lambda g: load_sae(sae(g.tmp)).encode(torch.zeros(2, 9)),
        says="got 9",
    ),
    Call(
        "dictionary: a latent too far", lambda g: SteerLatents(load_sae(sae(g.tmp)), [24], 1.0), says="does not exist"
    ),
    Call("dictionary: a hub id alone", lambda _: load_sae("google/none"), says="give sae_id too"),
    Call(
        "dictionary: a file",
        lambda g: load_sae(put(g.tmp / "a.safetensors", "x")),
        says="a.safetensors is a file, no folder",
    ),
    Call("decomposition: as saved", lambda g: decomposition(g).hookpoint, gives=Hookpoint(1)),
    Call(
        "decomposition: fewer latents", lambda g: decomposition(g, latents=[1]), says="one number of each kind a latent"
    ),
    Call(
        "decomposition: latents below zero",
        lambda g: decomposition(g, latents=[-1, 2]),
        says=r"latents\[0\] is a whole number, -1",
    ),
    Call("decomposition: another method", lambda g: decomposition(g, method="guess"), says="method is a text, 'guess'"),
)
