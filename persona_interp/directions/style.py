"""Style vectors: how the residual at the end of a sentence differs between styles."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from persona_interp.activations.extract import extract_activations
from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Size, Some
from persona_interp.data.styles import StyleCorpus
from persona_interp.directions.direction import Direction, unit_norms
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode
from persona_interp.progress import track
from persona_interp.types import Hookpoint, depth_of, layer_at_depth

Reading = Literal["block", "published"]
"""Where the vector of a block is read: at its own output, or at its input as the paper's code has it."""

Weighting = Literal["sentences", "styles"]
"""How the other styles are averaged: every sentence counts the same, or every style does."""

METHOD = "style_vector"
METHOD_VERSION = 1
PUBLISHED_DEPTH = depth_of(18, 32)
N_PUBLISHED_LAYERS = 3
CONVENTIONS: dict[Reading, str] = {
    "block": "row i, resid_post of 0-based block i, holds the difference read there",
    "published": "row i, for resid_post of 0-based block i, holds the difference read at hidden_states[i]: the input of"
    " that block, which is the output of block i-1 (row 0: the embeddings)",
}


@checked
def extract_style_activations(
    model: HookedModel,
    corpus: StyleCorpus,
    *,
    deepest_layer: int | None = None,
    batch_size: Size = 64,
    progress: bool = True,
) -> Activations:
    """Residual at the last token of every sentence, at the embeddings and at the output of every block.

    The sentence goes in as it is, without a chat template, after the beginning-of-text token where the tokenizer adds
    one. Samples have the columns style, text and pair; rows that say the same in a parallel corpus share their pair,
    all other rows have one of their own. Norms are those of the last token.

    Args:
        deepest_layer: last block read; the pass stops after it. Default: the last of the model.
        batch_size: sentences of similar length in one pass.

    Raises:
        HookpointError: there is no such block.
        ContextLengthError: a sentence is longer than the model's context.

    Source: Konen et al. 2024, Style Vectors for Steering Generative LLMs (arXiv 2402.01618), section 3.
    """
    deepest = model.n_layers - 1 if deepest_layer is None else deepest_layer
    hookpoints = (Hookpoint(0, "resid_pre"), *map(Hookpoint, range(deepest)), Hookpoint(deepest))
    samples = style_samples(corpus)
    begin = text_beginning(model.tokenizer)
    prompts = [begin + text for text in samples["text"]]
    lengths = [len(ids) for ids in encode(model.tokenizer, prompts)]
    order = np.argsort(lengths, kind="stable")
    values = torch.empty(len(prompts), len(hookpoints), model.d_model)
    norms = torch.empty(len(prompts), len(hookpoints))
    starts = range(0, len(order), batch_size)
    for start in track(starts, f"{corpus.name}: read sentences", total=len(starts), show=progress):
        rows = order[start : start + batch_size].tolist()
        made = extract_activations(
            model,
            [prompts[i] for i in rows],
            [[]] * len(rows),
            pooling="prompt_last",
            hookpoints=hookpoints,
            progress=False,
        )
        assert made.norms is not None, "extraction records norms"
        values[rows], norms[rows] = made.values, made.norms
    details = {"corpus": corpus.name, "data_hash": corpus.data_hash, "source": corpus.source, "n": len(prompts)}
    provenance = model.provenance.derive("extract_style_activations", METHOD_VERSION, pooling="prompt_last", **details)
    return Activations(values, hookpoints, "prompt_last", samples, provenance, norms)


@checked
def style_vector(
    activations: Activations,
    style: str,
    *,
    against: Some[str] | None = None,
    reading: Reading = "block",
    weighting: Weighting = "sentences",
    method: str = METHOD,
) -> Direction:
    """Mean activation of a style minus that of the others, at every block.

    Points toward the style. Not normalised; residual norms are those of the activations.

    Args:
        activations: of `extract_style_activations`, or any others whose samples have a column style.
        against: the styles it is told from; default: all others.
        reading: `block` gives each block the difference at its own output. `published` gives block k the difference at
            hidden_states[k], the output of block k-1, as the paper's code does, which adds it to what the MLP of
            block k writes: one block later than it was read. Rows whose source was not read are left out.
        weighting: `sentences` is the mean over all sentences of the other styles, as in the paper's code; `styles` the
            mean of their means, which differs where styles have unequal numbers of sentences.

    Raises:
        ConfigError: no such style, or nothing to tell it from.
        AlignmentError: the activations name no styles, or hold no block that this reading needs.

    Source: Konen et al. 2024 (arXiv 2402.01618), section 3, and their published code.
    """
    others = _others(activations, style, against)
    weights = _weights(activations.samples["style"], style, others, weighting)
    difference = torch.einsum("s,sld->ld", weights.to(activations.values.dtype), activations.values)
    sources = _sources(activations, style, reading)
    norms = None if activations.norms is None else activations.norms.nanmean(0)
    counts = activations.samples["style"].value_counts()
    provenance = activations.provenance.derive(
        method,
        METHOD_VERSION,
        pooling=activations.pooling,
        style=style,
        against=list(others),
        reading=reading,
        weighting=weighting,
        n_positive=int(counts[style]),
        n_negative=int(counts[list(others)].sum()),
    )
    return Direction(
        vectors=difference[[activations.hookpoints.index(source) for source in sources.values()]],
        hookpoints=tuple(sources),
        trait=style,
        method=method,
        positive_pole=style,
        provenance=replace(provenance, layer_convention=CONVENTIONS[reading]),
        residual_norms=None if norms is None else unit_norms(norms[[activations.hookpoints.index(h) for h in sources]]),
    )


@checked
def style_vectors(
    activations: Activations,
    *,
    reading: Reading = "block",
    weighting: Weighting = "sentences",
    method: str = METHOD,
) -> dict[str, Direction]:
    """The vector of every style against all others, by style."""
    return {
        style: style_vector(activations, style, reading=reading, weighting=weighting, method=method)
        for style in styles_of(activations)
    }


@checked
def published_layers(n_layers: Count) -> tuple[int, ...]:
    """Three consecutive blocks from depth 19/32: the paper's blocks 18, 19, 20 of 32, in any model."""
    start = min(layer_at_depth(PUBLISHED_DEPTH, n_layers), max(0, n_layers - N_PUBLISHED_LAYERS))
    return tuple(range(start, min(start + N_PUBLISHED_LAYERS, n_layers)))


def styles_of(activations: Activations) -> tuple[str, ...]:
    """The styles of the samples, in the order in which they come.

    Raises:
        AlignmentError: the samples have no column style.
    """
    if "style" not in activations.samples:
        raise AlignmentError(
            "these activations do not say which sample is of which style.", "Give their samples a column `style`."
        )
    return tuple(dict.fromkeys(activations.samples["style"]))


def style_samples(corpus: StyleCorpus) -> pd.DataFrame:
    """Every sentence: style, text, and pair, which rows of a parallel corpus that say the same share."""
    rows = [
        {"style": style, "text": text, "pair": str(i) if corpus.parallel else f"{style} {i}"}
        for style, texts in corpus.sentences.items()
        for i, text in enumerate(texts)
    ]
    return pd.DataFrame(rows)


def text_beginning(tokenizer: PreTrainedTokenizerBase) -> str:
    """The beginning-of-text token where the tokenizer puts one in front of a text, else nothing."""
    first = tokenizer("a")["input_ids"][:1]  # pyright: ignore
    adds = tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id]
    return str(tokenizer.bos_token) if adds else ""


def _others(activations: Activations, style: str, against: Sequence[str] | None) -> tuple[str, ...]:
    known = styles_of(activations)
    others = tuple(name for name in known if name != style) if against is None else tuple(dict.fromkeys(against))
    unknown = [name for name in (style, *others) if name not in known]
    if unknown:
        raise ConfigError(f"no sample is of the style {unknown[0]!r}.", f"Styles: {', '.join(known)}.")
    if not others or style in others:
        raise ConfigError(f"{style} cannot be told from {', '.join(others) or 'nothing'}.", "Give other styles.")
    return others


def _weights(of_style: pd.Series, style: str, others: Sequence[str], weighting: Weighting) -> Float[Tensor, " sample"]:
    """Weights of the samples in the mean of the style minus the mean of the others."""
    means = {name: (of_style == name).to_numpy(float) / (of_style == name).sum() for name in (style, *others)}
    if weighting == "styles":
        negative = np.mean([means[name] for name in others], axis=0)
    else:
        inside = of_style.isin(list(others)).to_numpy(float)
        negative = inside / inside.sum()
    return torch.from_numpy(means[style] - negative)


def _sources(activations: Activations, style: str, reading: Reading) -> dict[Hookpoint, Hookpoint]:
    """Where the vector of every block's output is read, for the blocks whose source the activations hold."""

    def source(block: Hookpoint) -> Hookpoint:
        if reading == "block":
            return block
        return Hookpoint(block.layer - 1) if block.layer else Hookpoint(0, "resid_pre")

    known = set(activations.hookpoints)
    found = {h: source(h) for h in activations.hookpoints if h.stream == "resid_post" and source(h) in known}
    if not found:
        raise AlignmentError(
            f"the activations hold nothing that the reading {reading!r} of {style} can use.",
            "Read the outputs of blocks: extract_style_activations does.",
        )
    return found
