"""Small corpora of styles, and activations whose styles are known."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.data.styles import StyleCorpus
from persona_interp.data.traits import ContrastPair
from persona_interp.types import Hookpoint
from tests.small import activations

WORDS = ("river", "bread", "window", "letter", "garden", "train", "coat", "lamp")
COLD = tuple(f"The {word} is cold." for word in WORDS)
WARM = tuple(f"Oh, a warm {word}!" for word in WORDS)
WET = tuple(f"Some {word} is wet?" for word in WORDS)


def corpus(*styles: str, n: int = len(WORDS), parallel: bool = False) -> StyleCorpus:
    """Sentences of two or three styles about the same things."""
    texts = {"cold": COLD[:n], "warm": WARM[:n], "wet": WET[:n]}
    chosen = styles or ("cold", "warm")
    return StyleCorpus(
        "weather",
        {style: texts[style] for style in chosen},
        {style: f"a {style}" for style in chosen},
        {style: (ContrastPair("Be it.", "Be not."),) for style in chosen},
        "the test",
        parallel,
    )


def style_frame(sizes: dict[str, int], *, parallel: bool = False, start: int = 0) -> pd.DataFrame:
    """Samples of styles; their texts are numbered from `start`."""
    rows = [
        {"style": style, "text": f"{style} {start + i}", "pair": str(i) if parallel else f"{style} {i}"}
        for style, n in sizes.items()
        for i in range(n)
    ]
    return pd.DataFrame(rows)


def style_activations(values: Tensor, frame: pd.DataFrame, **changes: object) -> Activations:
    """Activations at the embeddings and at the outputs of the first blocks."""
    hookpoints = (Hookpoint(0, "resid_pre"), *(Hookpoint(layer) for layer in range(values.shape[1] - 1)))
    plain = {"samples": frame, "hookpoints": hookpoints, "pooling": "prompt_last"}
    return activations(values, norms=torch.full(values.shape[:2], 2.0), **{**plain, **changes})


def planted(
    rng: np.random.Generator,
    sizes: dict[str, int],
    effect: Tensor,
    *,
    style: str,
    start: int = 0,
    parallel: bool = False,
) -> Activations:
    """Normal activations; those of one style are moved by `effect`, a vector a layer."""
    frame = style_frame(sizes, parallel=parallel, start=start)
    values = torch.from_numpy(rng.standard_normal((len(frame), *effect.shape))).float()
    values[torch.tensor((frame["style"] == style).to_numpy())] += effect
    return style_activations(values, frame)
