"""Projections of given texts onto directions."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.direction import Direction
from persona_interp.errors import ArtefactError, EmptySelectionError
from persona_interp.io import read_bytes
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, render_prompt
from persona_interp.types import Hookpoint


def read_samples(source: str) -> pd.DataFrame:
    """Samples to project: a text, or the lines of a JSONL file, as columns prompt (may be missing) and text.

    A line holds `text`, or `prompt` and `response`; a prompt is a user's question, put into the chat template.

    Raises:
        ArtefactError: the file is missing, or a line is not such an object; the line number is named.
        EmptySelectionError: there is nothing in it.
    """
    if not source.endswith(".jsonl"):
        rows = [{"prompt": None, "text": source}]
    else:
        lines = read_bytes(Path(source)).decode("utf-8", errors="replace").splitlines()
        rows = [_parse(line, f"{source}, line {i}") for i, line in enumerate(lines, start=1) if line.strip()]
    rows = [row for row in rows if (row["text"] or "").strip()]
    if not rows:
        raise EmptySelectionError(f"{source!r} holds no text to project.", "Give a text or a JSONL file with some.")
    return pd.DataFrame(rows)


def project_texts(
    model: HookedModel, samples: pd.DataFrame, directions: Sequence[Direction], layer: int
) -> pd.DataFrame:
    """Mean residual of each text projected on each direction at the output of a block; one column a direction.

    In residual units; larger means more of the direction's positive pole. Texts with a prompt are averaged over the
    response only, texts without one over all tokens after a start token, whose own residual is a sink of huge norm.
    """
    start = str(model.tokenizer.bos_token or model.tokenizer.eos_token)
    prompts = [render_prompt(model.tokenizer, p) if isinstance(p, str) else start for p in samples["prompt"]]
    responses = encode(model.tokenizer, samples["text"].astype(str).tolist())
    activations = extract_activations(model, prompts, responses, hookpoints=[Hookpoint(layer)])
    table = samples.copy()
    for direction in directions:
        vectors = direction.at(layer)[None]
        at_layer = replace(direction, vectors=vectors, hookpoints=(Hookpoint(layer),), residual_norms=None)
        table[f"{direction.trait} ({direction.method}, layer {layer})"] = at_layer.project(activations)[:, 0].numpy()
    return table


def _parse(line: str, where: str) -> dict[str, str | None]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ArtefactError(f"{where}: not valid JSON ({error}).", "Each line must be one JSON object.") from error
    if isinstance(row, dict) and isinstance(row.get("text"), str):
        return {"prompt": None, "text": row["text"]}
    if isinstance(row, dict) and isinstance(row.get("prompt"), str) and isinstance(row.get("response"), str):
        return {"prompt": row["prompt"], "text": row["response"]}
    raise ArtefactError(f"{where}: neither `text` nor `prompt` and `response`.", "Give one of the two.")
