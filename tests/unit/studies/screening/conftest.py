"""Directions of the small model, a data set in a file with what can go wrong in it, and a text judge that counts."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import mean_difference
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import render_prompt
from persona_interp.types import Hookpoint

Lines = Sequence[tuple[str, str] | str]
Write = Callable[[str, Lines], str]
ROWS: Lines = (
    *((f"Why {word}?", f"so {word} it is") for word in ("tea", "rain", "snow", "milk", "wind", "sand")),
    "{broken",
    ("Is it?", "x" * 600),
    "",
    *((f"How {word}?", f"as {word} does, and as it did before") for word in ("tea", "rain", "snow", "milk")),
)
"""Rows of a file: pairs of question and answer, or a raw line. Line 7 is broken, 8 too long, 9 blank."""
N_ROWS, N_UNUSABLE = 12, 2


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes rows as JSON lines and returns the path."""

    def to_file(name: str, lines: Lines) -> str:
        path = tmp_path / name
        path.write_text("".join(f"{line if isinstance(line, str) else as_messages(*line)}\n" for line in lines))
        return str(path)

    return to_file


def as_messages(question: str, answer: str) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns})


@pytest.fixture(scope="session")
def directions(model: HookedModelBase) -> tuple[Direction, ...]:
    """Two random directions at every block."""
    generator = torch.Generator().manual_seed(0)
    hookpoints = tuple(Hookpoint(layer) for layer in range(model.n_layers))
    return tuple(
        Direction(
            vectors=torch.randn(model.n_layers, model.d_model, generator=generator),
            hookpoints=hookpoints,
            trait=trait,
            method="persona_vector",
            positive_pole=trait,
            provenance=model.provenance,
        )
        for trait in ("loud", "evil")
    )


NOUNS = ("tea", "rain", "snow", "milk", "wind", "sand", "wood", "iron", "salt", "corn")
QUIET: dict[str, Any] = {"progress": False}


def shout(text: str) -> str:
    return text.upper() + "!" * 12


@pytest.fixture(scope="module")
def shouting(model: HookedModelBase) -> Direction:
    """Mean activations of shouted answers minus those of the same in small letters."""
    pairs = [(noun, other) for noun in NOUNS for other in NOUNS[6:]]
    prompts = [render_prompt(model.tokenizer, f"How is {noun}?") for noun, _ in pairs]
    both = [
        extract_activations(model, prompts, [style(f" {noun} was {other}") for noun, other in pairs], progress=False)
        for style in (shout, str.lower)
    ]
    return mean_difference(*both, trait="shouting")
