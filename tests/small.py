"""A small random model with room for prompts, a trait in few words, and stand-ins, for tests above the model seam."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from persona_interp.activations.store import Activations
from persona_interp.data.traits import ContrastPair, Exemplar, Trait
from persona_interp.directions.direction import Direction
from persona_interp.judges.sentences import SentenceEncoder
from persona_interp.rollouts.generate import Rollouts
from persona_interp.rollouts.parts import Part
from persona_interp.types import Hookpoint, Provenance
from tests.contract.tiny import Tiny, save_tiny

TRAIT = Trait(
    name="loud",
    positive="loud",
    negative="quiet",
    description="Shouts.",
    instructions=(ContrastPair("Shout.", "Whisper."), ContrastPair("Yell.", "Mumble.")),
    questions=("Why?", "Who is it?", "What now?"),
    eval_questions=("How?", "When is it?"),
    eval_prompt="{question} {answer}",
    exemplars=(
        Exemplar("Where?", "HERE!", "here"),
        Exemplar("Is it?", "YES IT IS!", "yes it is"),
        Exemplar("Red?", "BLUE!", "blue"),
    ),
)


def make_small(folder: Path) -> Tiny:
    """The tiny Llama with a context of 512 tokens: its positions are rotary, so no weight depends on it."""
    save_tiny("llama", folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_position_embeddings": 512}))
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    return Tiny("llama", folder, plain)


def provenance(**changes: Any) -> Provenance:
    plain = {
        "model": "tiny-a", "weights": "aaaa", "backend": "nnsight", "dtype": "float32", "n_layers": 3, "d_model": 4,
        "method": "rollouts", "method_version": 1,
    }  # fmt: skip
    return Provenance(**{**plain, **changes})


def direction(vectors: Tensor, *, norms: Tensor | None = None, **changes: Any) -> Direction:
    """A direction at the outputs of the first blocks."""
    plain = {
        "vectors": vectors,
        "hookpoints": tuple(Hookpoint(layer) for layer in range(len(vectors))),
        "trait": "loud",
        "method": "persona_vector",
        "positive_pole": "loud",
        "provenance": provenance(d_model=vectors.shape[-1]),
        "residual_norms": norms,
    }
    return Direction(**{**plain, **changes})


def activations(values: Tensor, *, samples: pd.DataFrame | None = None, **changes: Any) -> Activations:
    """Activations at the outputs of the first blocks."""
    plain = {
        "values": values,
        "hookpoints": tuple(Hookpoint(layer) for layer in range(values.shape[1])),
        "pooling": "response_mean",
        "samples": pd.DataFrame({"sample": range(len(values))}) if samples is None else samples,
        "provenance": provenance(d_model=values.shape[-1]),
    }
    return Activations(**{**plain, **changes})


def rollouts(frame: pd.DataFrame, values: Tensor) -> Rollouts:
    """Rollouts that hold these response means in memory, with residual norms of 2."""
    part = Part({"response_mean": values, "norms": torch.full(values.shape[:2], 2.0)}, ("response_mean",))
    hookpoints = tuple(Hookpoint(layer) for layer in range(values.shape[1]))
    return Rollouts("loud", frame, provenance(d_model=values.shape[-1]), hookpoints, (part,))


def contrastive_frame(scores: dict[str, list[float]], coherent: dict[str, list[bool]] | None = None) -> pd.DataFrame:
    """One question an entry, both sides, one instruction and one sample."""
    rows = [
        {"side": side, "question": f"q{i}", "instruction": 0, "sample": 0, "expression": score}
        | ({} if coherent is None else {"coherent": coherent[side][i]})
        for side in ("positive", "negative")
        for i, score in enumerate(scores[side])
    ]
    return pd.DataFrame(rows)


class StubModel:
    """What `check` looks at in a model, and nothing that computes."""

    name = "tiny-b"
    backend = "nnsight"
    n_layers = 3
    d_model = 4
    tokenizer: Any = SimpleNamespace()
    device = torch.device("cpu")

    def __init__(self, **changes: Any) -> None:
        self.provenance = provenance(**changes)
        self.name, self.n_layers = self.provenance.model, self.provenance.n_layers
        self.d_model = self.provenance.d_model

    def run(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nothing should be computed")

    generate = run


class WordEncoder(SentenceEncoder):
    """Counts of the words of a fixed list, and a constant, as a unit vector."""

    def __init__(self, words: list[str]) -> None:
        self.name = "words"
        self._words = words
        self.calls = 0

    def encode(self, texts: Any, *, batch_size: int = 64) -> np.ndarray:  # noqa: ARG002
        self.calls += 1
        split = [text.lower().replace("?", "").replace(".", "").split() for text in texts]
        rows = np.array([[*(words.count(word) for word in self._words), 0.1] for words in split], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
