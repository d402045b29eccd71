"""Finetuning shift: how far training moved the last prompt token along a direction, on the same prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.extract import extract_activations
from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Seed, Text
from persona_interp.directions.direction import Direction, check_same_model
from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import render_prompt
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.means import bootstrap_mean
from persona_interp.types import Hookpoint, Provenance


@dataclass(frozen=True, eq=False)
class FinetuningShift:
    """Mean change of the projection a.v/|v| of the last prompt token, in residual units, at each hookpoint.

    Above 0 where training moved the model towards the direction's positive pole.

    Args:
        low: lower bound of the bootstrap interval over prompts; NaN with a single prompt.
        n: prompts that every number is a mean of.
    """

    trait: str
    hookpoints: tuple[Hookpoint, ...]
    shift: Float[np.ndarray, " layer"]
    low: Float[np.ndarray, " layer"]
    high: Float[np.ndarray, " layer"]
    n: int

    @property
    def layers(self) -> tuple[int, ...]:
        """The layer of each hookpoint."""
        return tuple(hookpoint.layer for hookpoint in self.hookpoints)

    def frame(self) -> pd.DataFrame:
        """One row a hookpoint: trait, layer, stream, shift, low, high, n."""
        return pd.DataFrame(
            {
                "trait": self.trait,
                "layer": self.layers,
                "stream": [hookpoint.stream for hookpoint in self.hookpoints],
                "shift": self.shift,
                "low": self.low,
                "high": self.high,
                "n": self.n,
            }
        )


@checked
def finetuning_shift(
    before: Activations,
    after: Activations,
    direction: Direction,
    *,
    n_resamples: Count = 2000,
    level: Between0And1 = CONFIDENCE,
    seed: Seed = 0,
) -> FinetuningShift:
    """(mean last-prompt-token activation after - before) . v/|v| at every hookpoint of the direction.

    In residual units; above 0 towards the positive pole. The interval resamples prompts, and each prompt brings its
    own difference (after - before). It says how far prompts differ, not how far training runs do. Read both models in
    one dtype: their rounding would count as shift.

    Args:
        before: of the direction's own model, pooled `prompt_last`, as `probe_activations` gives them.
        after: of a finetuned copy, on the same prompts in the same order. Its weights may be any.

    Raises:
        AlignmentError: the two differ in pooling, prompts, hookpoints or the shape of the model, hold values that are
            not finite, or lack a hookpoint where the direction has a vector; or that vector is zero.
        IncompatibleDirectionError: `before` comes from another model than the direction.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), section 4, where the finetuning shift is defined.
    """
    check_same_model(direction, before.provenance)
    changes = _changes(before, after)
    if missing := [h for h in direction.hookpoints if h not in before.hookpoints]:
        raise AlignmentError(f"the activations have no {missing[0]}, where {direction.trait} has a vector.")
    lengths = direction.vectors.double().norm(dim=-1, keepdim=True)
    if (lengths == 0).any():
        empty = direction.hookpoints[int((lengths == 0).flatten().nonzero()[0])]
        raise AlignmentError(f"the vector of {direction.trait} at {empty} is zero.", "Leave that hookpoint out.")
    columns = [before.hookpoints.index(h) for h in direction.hookpoints]
    projected = (changes[:, columns] * (direction.vectors.double() / lengths)).sum(-1).numpy()
    prompts = before.samples["prompt"].to_numpy(object).astype(str)
    options = {"n_resamples": n_resamples, "level": level, "seed": seed}
    intervals = [bootstrap_mean(column, prompts, **options) for column in projected.T]
    return FinetuningShift(
        trait=direction.trait,
        hookpoints=direction.hookpoints,
        shift=projected.mean(axis=0),
        low=np.array([interval.low for interval in intervals]),
        high=np.array([interval.high for interval in intervals]),
        n=len(prompts),
    )


def mean_shift(before: Activations, after: Activations) -> Float[np.ndarray, "layer d_model"]:
    """Mean last-prompt-token activation after - before at every hookpoint, in residual units.

    What `finetuning_shift` projects, for other directions to be projected on too.

    Raises:
        AlignmentError: as in `finetuning_shift`.
    """
    return _changes(before, after).mean(dim=0).numpy()


@checked
def probe_activations(
    model: HookedModel, questions: Sequence[str], *, system: Text | None = None, progress: bool = True
) -> Activations:
    """Activations of the last prompt token of every question, at the output of every block, before any answer.

    Raises:
        EmptySelectionError: no question was given.
    """
    if not questions:
        raise EmptySelectionError(
            "no question was given to probe the model with.", "Give a trait's evaluation questions."
        )
    prompts = [render_prompt(model.tokenizer, question, system=system) for question in questions]
    samples = pd.DataFrame({"question": list(questions), "prompt": prompts})
    nothing = [""] * len(prompts)
    return extract_activations(model, prompts, nothing, pooling="prompt_last", samples=samples, progress=progress)


def _changes(before: Activations, after: Activations) -> Float[Tensor, "sample layer d_model"]:
    """After - before of every prompt in float64, once both are known to match."""
    for name, side in (("before", before), ("after", after)):
        if side.pooling != "prompt_last":
            raise AlignmentError(f"{name} is pooled {side.pooling}.", 'A finetuning shift needs pooling="prompt_last".')
        if "prompt" not in side.samples:
            raise AlignmentError(f"the samples of {name} have no column `prompt`.", "Take both from probe_activations.")
        if not torch.isfinite(side.values).all():
            raise AlignmentError(f"{name} holds activations that are not finite.", "Did training diverge?")
    if _shape(before.provenance) != _shape(after.provenance) or before.values.shape[-1] != after.values.shape[-1]:
        raise AlignmentError(
            f"before is of a model of {_named(before.provenance)}, after of {_named(after.provenance)}.",
            "A finetuned copy has the layers and the width of the model it was made from.",
        )
    if before.hookpoints != after.hookpoints:
        raise AlignmentError("before and after were read at different hookpoints.", "Read both at the same ones.")
    ours, theirs = (list(map(str, side.samples["prompt"])) for side in (before, after))
    if ours != theirs:
        same = [a == b for a, b in zip(ours, theirs, strict=False)]
        where = same.index(False) if False in same else len(same)
        raise AlignmentError(
            f"before has {len(ours)} prompts and after {len(theirs)}; they differ from row {where} on.",
            "Probe both models with the same questions in the same order and under the same chat template.",
        )
    if not ours:
        raise EmptySelectionError("the activations hold no prompt.", "Look at what was filtered out.")
    return after.values.double() - before.values.double()


def _shape(provenance: Provenance) -> tuple[int, int]:
    return provenance.n_layers, provenance.d_model


def _named(provenance: Provenance) -> str:
    return f"{provenance.n_layers} layers and d_model {provenance.d_model} ({provenance.model})"
