"""Projections of given texts onto directions."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from persona_interp.activations.extract import extract_activations
from persona_interp.data.conversations import Conversation, parse_row
from persona_interp.data.rows import Unusable
from persona_interp.data.sources import suffix_of
from persona_interp.data.streams import stream_rows
from persona_interp.directions.direction import Direction
from persona_interp.errors import ArtefactError, EmptySelectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, render_prompt
from persona_interp.types import Hookpoint

_LONGEST_NAME = 4096


def read_samples(source: str) -> pd.DataFrame:
    """Samples to project: a text, or the rows of a data file in any form, as columns prompt (may be missing) and text.

    A row holds `text`, or a question with its answer in any of the forms of conversations; the question is put into the
    chat template. The name of a file, a folder or a link that is there is never taken for a text.

    Raises:
        ArtefactError: the file is missing, or a row is neither; it is named.
        EmptySelectionError: there is nothing in it.
    """
    if "\n" in source or len(source) > _LONGEST_NAME or not (suffix_of(Path(source)) or os.path.lexists(source)):
        rows = [{"prompt": None, "text": source}]
    else:
        rows = [_sample(name, row) for _, (name, row) in stream_rows(source)]
    rows = [row for row in rows if (row["text"] or "").strip()]
    if not rows:
        raise EmptySelectionError(f"{source[:300]!r} holds no text to project.", "Give a text, or a file with some.")
    return pd.DataFrame(rows)


def _sample(name: str, row: object) -> dict[str, str | None]:
    """A row as a text, perhaps with the question before it."""
    if isinstance(row, Mapping) and isinstance(row.get("text"), str):
        return {"prompt": None, "text": row["text"]}
    found = parse_row(row, name)
    reason = found.reason if isinstance(found, Unusable) else "it has more than a question and its answer."
    if isinstance(found, Conversation) and [turn.role for turn in found.turns] == ["user", "assistant"]:
        return {"prompt": found.turns[0].content, "text": found.answer}
    raise ArtefactError(f"{name} is no text to project: {reason}", "Give `text`, or `prompt` and `response`.")


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
