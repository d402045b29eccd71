"""The direction of a trait, from one half of the questions, and its writers, from the other half."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from persona_interp.activations.extract import extract_activations
from persona_interp.activations.store import Activations
from persona_interp.directions.attribution import Attribution, attribute_projections
from persona_interp.directions.direction import Direction
from persona_interp.directions.neuron_probe import KS, neuron_probe
from persona_interp.directions.outliers import Outliers, find_outliers
from persona_interp.directions.persona import METHOD, METHOD_VERSION, mean_difference
from persona_interp.directions.writers import Writers, find_writers
from persona_interp.errors import EmptySelectionError
from persona_interp.interventions.units import UnitReference
from persona_interp.measurements.unit_ablation import unit_sizes
from persona_interp.models.components import UNIT_STREAMS, UnitKind, n_heads, output_map
from persona_interp.models.hooked import HookedModelBase
from persona_interp.rollouts.generate import Rollouts
from persona_interp.studies.substrates.config import SubstratesRun
from persona_interp.types import Hookpoint


@dataclass(frozen=True, eq=False)
class Halves:
    """Contrastive answers, by question, in two halves: `first` makes the direction, `second` is held out.

    Args:
        activations: of all answers with a token, at the output of every block.
        side: whether each is positive; `held_out` whether its question is of the second half.
    """

    activations: Activations
    frame: pd.DataFrame
    positive: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(cls, rollouts: Rollouts) -> "Halves":
        """Every other question, in the order in which they are asked, is held out.

        Raises:
            EmptySelectionError: a half lacks a side.
        """
        activations = rollouts.activations("response_mean")
        known = activations.values.isfinite().flatten(1).all(1).numpy()
        questions = list(dict.fromkeys(rollouts.frame["question"]))
        frame = rollouts.frame[known].reset_index(drop=True)
        held_out = frame["question"].isin(questions[1::2]).to_numpy()
        positive = (frame["side"] == "positive").to_numpy()
        for half, name in ((~held_out, "first"), (held_out, "second")):
            if not (half & positive).any() or not (half & ~positive).any():
                raise EmptySelectionError(
                    f"the {name} half of the questions has no answers of both sides.", "Ask more questions."
                )
        return cls(activations.select(known), frame, positive, held_out)

    def direction(self, trait: str) -> Direction:
        """The persona vector of the first half."""
        first = ~self.held_out
        return mean_difference(
            self.activations.select(first & self.positive),
            self.activations.select(first & ~self.positive),
            trait=trait,
            method=METHOD,
            method_version=METHOD_VERSION,
            filter="none",
        )


@dataclass(frozen=True, eq=False)
class Found:
    """A direction at a layer and what writes it, in answers to held-out questions.

    Args:
        writers: along the direction without its high-norm dimensions, over tokens that are no outliers.
        everything: along the whole direction, over all tokens.
        neurons, heads: pooled activations of all answers, and sizes of what they write.
        error: the largest difference between a projection and the sum of its shares, over the residual norm.
    """

    direction: Direction
    layer: int
    outliers: Outliers
    writers: Writers
    everything: Writers
    reference: dict[UnitKind, UnitReference]
    sizes: dict[UnitKind, np.ndarray]
    error: float


def find_substrates(
    model: HookedModelBase, halves: Halves, direction: Direction, layer: int, run: SubstratesRun, *, progress: bool
) -> Found:
    """Outliers, writers and what units typically give, of the held-out half."""
    frame = halves.frame[halves.held_out]
    prompts, responses = list(frame["prompt"]), list(frame["response_ids"])
    outliers = find_outliers(model, layer, prompts, responses, ratio=run.ratio, progress=progress)
    groups = [f"{side}|{question}" for side, question in zip(frame["side"], frame["question"], strict=True)]
    keep = [flags if any(flags) else [True] * len(flags) for flags in outliers.keep]
    (rest,) = attribute_projections(
        model,
        [outliers.without(direction)],
        layer,
        prompts,
        responses,
        groups=groups,
        keep=keep,
        progress=progress,
    )
    (whole,) = attribute_projections(model, [direction], layer, prompts, responses, groups=groups, progress=progress)
    reference, sizes = {}, {}
    for kind in ("neuron", "head"):
        reference[kind], sizes[kind] = _typical(model, halves.frame, layer, kind, progress=progress)
    return Found(
        direction,
        layer,
        outliers,
        writers_of(rest),
        writers_of(whole),
        reference,
        sizes,
        float(whole.error.abs().max()) / whole.residual_norm,
    )


def writers_of(found: Attribution) -> Writers:
    """Writers from shares whose groups are "side|question"."""
    sides = []
    for side in ("positive", "negative"):
        own = [group for group in found.groups if group.startswith(f"{side}|")]
        named = tuple(group.partition("|")[2] for group in own)
        sides.append(replace(found.select(own), groups=named))
    return find_writers(*sides)


def probe_table(halves: Halves, found: Found, run: SubstratesRun, *, progress: bool) -> pd.DataFrame:
    """`neuron_probe` of all neurons that write to the direction's layer, over all answers."""
    values = found.reference["neuron"].values
    neurons = torch.cat([values[h] for h in sorted(values)], dim=1).double().numpy()
    residuals = halves.activations.values[:, halves.activations.hookpoints.index(Hookpoint(found.layer))]
    ks = tuple(k for k in KS if k <= neurons.shape[1])
    n_folds = min(5, halves.frame["question"].nunique())
    return neuron_probe(
        neurons,
        residuals.double().numpy(),
        halves.positive,
        halves.frame["question"].to_numpy(object).astype(str),
        ks=ks,
        n_folds=n_folds,
        n_permutations=run.n_permutations,
        n_random=run.n_permutations,
        seed=run.seed,
        progress=progress,
    )


def _typical(
    model: HookedModelBase, frame: pd.DataFrame, layer: int, kind: UnitKind, *, progress: bool
) -> tuple[UnitReference, np.ndarray]:
    """Pooled activations of all answers, both sides, and the size of what each unit writes."""
    hookpoints = [Hookpoint(block, UNIT_STREAMS[kind]) for block in range(layer + 1)]
    values = extract_activations(
        model, list(frame["prompt"]), list(frame["response_ids"]), hookpoints=hookpoints, progress=progress
    ).values
    reference = UnitReference({hookpoint: values[:, k] for k, hookpoint in enumerate(hookpoints)})
    weights = [output_map(model, block, kind).weight.cpu() for block in range(layer + 1)]
    if kind == "neuron":
        rows = [weight.norm(dim=-1).double().numpy() for weight in weights]
        return reference, unit_sizes([values[:, k].double().numpy() for k in range(layer + 1)], rows)
    return reference, np.stack([_head_sizes(values[:, k], weight, n_heads(model)) for k, weight in enumerate(weights)])


def _head_sizes(values: torch.Tensor, weight: torch.Tensor, n: int) -> np.ndarray:
    """Root mean square norm of what each head adds."""
    parts: Sequence[torch.Tensor] = values.unflatten(-1, (n, -1)).unbind(1)
    rows = weight.unflatten(0, (n, -1)).unbind(0)
    return np.array([float((z @ w).square().sum(-1).mean().sqrt()) for z, w in zip(parts, rows, strict=True)])
