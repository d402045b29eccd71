"""What a drift callback measures: projections of fixed prompts, trait expression, and the bounds of a shift."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from transformers import PreTrainedTokenizerBase

from persona_interp.activations.extract import length_chunks
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Some
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction, unit_vectors
from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.io import sha256_bytes, sha256_json
from persona_interp.judges.protocol import Judge
from persona_interp.models.probe import input_device, language_model, plain_projections
from persona_interp.models.tokens import encode, line_stop_ids, pad_id, render_prompt, token_batch
from persona_interp.progress import track
from persona_interp.types import Hookpoint

Action = Literal["warn", "stop"]
_ROWS_AT_ONCE = 16


@checked
@dataclass(frozen=True)
class DriftBound:
    """A shift that must not be passed: from below where `value` is positive, from above where it is negative.

    Args:
        value: in residual units, the base model being 0.
        action: `warn` logs a warning at each crossing; `stop` also ends training, with a checkpoint.
    """

    trait: str
    layer: int
    value: float
    action: Action = "warn"

    def __post_init__(self) -> None:
        """Refuse a bound that every run starts at."""
        if self.value == 0:
            raise ConfigError(f"the bound of {self.trait} must not be 0, the shift of the base model.")

    def passed(self, shift: float) -> bool:
        """Whether a shift lies at the bound or beyond it."""
        return shift >= self.value if self.value > 0 else shift <= self.value


@checked
@dataclass(frozen=True, eq=False)
class ExpressionProbe:
    """Mean trait expression (0 to 100) of greedy answers to fixed questions, by a judge.

    Args:
        every: steps between two measurements; answers cost far more than projections.
    """

    judge: Judge
    trait: Trait
    questions: Some[str]
    max_new_tokens: Count = 48
    every: Count = 50

    @checked
    def measure(self, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, *, progress: bool = False) -> float:
        """The mean over the answers that the judge can rate; NaN where it can rate none."""
        answers = greedy_answers(
            model, tokenizer, self.questions, max_new_tokens=self.max_new_tokens, progress=progress
        )
        values = [score.value for score in self.judge.rate(self.trait, list(self.questions), answers)]
        rated = [value for value in values if not math.isnan(value)]
        return float(np.mean(rated)) if rated else float("nan")


@dataclass(frozen=True, eq=False)
class DriftProbe:
    """Prompts, and unit vectors to project the residual of their last token on.

    Args:
        units: one unit vector a layer and direction.
    """

    prompts: tuple[tuple[int, ...], ...]
    traits: tuple[str, ...]
    layers: tuple[int, ...]
    units: Float[torch.Tensor, "layer direction d_model"]
    pad_id: int

    @classmethod
    def of(
        cls,
        questions: Sequence[str],
        directions: Sequence[Direction],
        layers: Sequence[int],
        tokenizer: PreTrainedTokenizerBase,
    ) -> "DriftProbe":
        """The probe of user questions, as the model sees them."""
        ids = encode(tokenizer, [render_prompt(tokenizer, question) for question in questions])
        if not all(ids):
            raise EmptySelectionError("a probe prompt has no token.", "Give questions in words.")
        traits = tuple(direction.trait for direction in directions)
        units = torch.stack([unit_vectors(directions, Hookpoint(layer)) for layer in layers])
        return cls(tuple(map(tuple, ids)), traits, tuple(layers), units, pad_id(tokenizer))

    @property
    def key(self) -> str:
        """Hash of all that decides what is measured."""
        vectors = sha256_bytes(self.units.contiguous().numpy().tobytes())
        return sha256_json([self.prompts, self.traits, self.layers, vectors])[:16]

    def measure(self, model: torch.nn.Module) -> Float[np.ndarray, "prompt direction layer"]:
        """Projections a.v/|v| of every prompt's last token at the output of every layer, in residual units."""
        units = {Hookpoint(layer): self.units[i] for i, layer in enumerate(self.layers)}
        values = np.empty((len(self.prompts), len(self.traits), len(self.layers)))
        for chunk in length_chunks(self.prompts, [()] * len(self.prompts), 4_096):
            batch = token_batch([self.prompts[i] for i in chunk], pad_id=self.pad_id)
            found = plain_projections(model, batch, units)
            values[chunk] = torch.stack([found[hookpoint] for hookpoint in units], dim=-1).numpy()
        return values


def check_drift(
    directions: Sequence[Direction],
    layers: Sequence[int],
    expression: ExpressionProbe | None,
    bounds: Sequence[DriftBound],
) -> None:
    """Refuse options that leave nothing to measure, or that contradict each other.

    Raises:
        ConfigError: says which, or which vector is zero.
        HookpointError: a direction has no vector at a layer.
    """
    traits = [direction.trait for direction in directions]
    measured = f"{', '.join(traits)} at layers {', '.join(map(str, layers))}"
    if len(set(traits)) < len(traits) or len(set(layers)) < len(layers):
        raise ConfigError(
            f"a trait or a layer was given twice: {measured}.",
            "Rows are told apart by both. Give a second direction another name: dataclasses.replace(d, trait=...).",
        )
    for bound in bounds:
        if bound.trait not in traits or bound.layer not in layers:
            raise ConfigError(
                f"a bound is on {bound.trait} at layer {bound.layer}, which is not measured.", f"Measured: {measured}."
            )
    if expression is not None and expression.trait.name not in traits:
        raise ConfigError(
            f"expression must be of a measured trait, got {expression.trait.name}.", f"Measured: {measured}."
        )
    for layer in layers:
        unit_vectors(directions, Hookpoint(layer))


def greedy_answers(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    *,
    max_new_tokens: int,
    progress: bool = False,
) -> list[str]:
    """The likeliest answer to every question, token by token, by the model's own `generate`."""
    plain: Any = language_model(model)
    answers: list[str] = []
    ends = getattr(plain.generation_config, "eos_token_id", None)
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    stops = sorted({*ends, *line_stop_ids(tokenizer)})
    prompts = encode(tokenizer, [render_prompt(tokenizer, question) for question in questions])
    chunks = [prompts[start : start + _ROWS_AT_ONCE] for start in range(0, len(prompts), _ROWS_AT_ONCE)]
    for chunk in track(chunks, "probe expression", total=len(chunks), show=progress):
        batch = token_batch(chunk, pad_id=pad_id(tokenizer)).to(input_device(plain))
        made = plain.generate(
            input_ids=batch.ids,
            attention_mask=batch.mask.long(),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            use_cache=True,
            pad_token_id=pad_id(tokenizer),
            eos_token_id=stops or None,
        )
        answers += tokenizer.batch_decode(made[:, batch.ids.shape[1] :], skip_special_tokens=True)
    return [answer.strip() for answer in answers]
