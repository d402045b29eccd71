"""Families made from contrastive answers: persona vectors in three poolings, and a probe, PCA and LDA."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from pandas import DataFrame
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.directions.baselines import BaselineMethod, fit_direction
from persona_interp.directions.pairing import paired_rows
from persona_interp.directions.persona import METHOD, METHOD_VERSION, mean_difference
from persona_interp.directions.probes import lda_vectors, logistic_vectors, principal_vectors
from persona_interp.errors import EmptySelectionError
from persona_interp.rollouts.generate import Rollouts
from persona_interp.studies.comparison.families.family import PERSONA, SUPERVISED, Family, Made
from persona_interp.types import POOLINGS, Hookpoint, Pooling

NAME = "persona vector"
POOLED: Mapping[Pooling, str] = {
    "response_mean": NAME,
    "prompt_last": f"{NAME}, prompt_last",
    "prompt_mean": f"{NAME}, prompt_mean",
}
FITTED: Mapping[str, BaselineMethod] = {"probe": "logistic", "PCA": "pca", "LDA": "lda"}


@dataclass(frozen=True, eq=False)
class Contrast:
    """Contrastive answers with a token, their activations by pooling, and whether each is positive."""

    trait: str
    activations: Mapping[Pooling, Activations]
    positive: Bool[np.ndarray, " answer"]

    @classmethod
    def of(cls, rollouts: Rollouts) -> "Contrast":
        """Of the answers that are not empty.

        Raises:
            EmptySelectionError: a side has none.
        """
        pooled: dict[Pooling, Activations] = {pooling: rollouts.activations(pooling) for pooling in POOLINGS}
        known = pooled["response_mean"].values.isfinite().flatten(1).all(1).numpy()
        positive = (rollouts.frame["side"] == "positive").to_numpy()[known]
        if positive.all() or not positive.any():
            raise EmptySelectionError(f"all answers for {rollouts.trait} with a token are of one side.", "Ask more.")
        return cls(rollouts.trait, {name: values.select(known) for name, values in pooled.items()}, positive)

    def at(self, layers: tuple[int, ...]) -> "Contrast":
        """At some layers alone."""
        return replace(self, activations={name: at_layers(values, layers) for name, values in self.activations.items()})

    @property
    def samples(self) -> DataFrame:
        """A row an answer."""
        return self.activations["response_mean"].samples

    def column(self, name: str) -> np.ndarray:
        """A column of the answers as text."""
        return self.samples[name].to_numpy(object).astype(str)

    def values(self, layer: int, pooling: Pooling = "response_mean") -> Float[np.ndarray, "answer d_model"]:
        """Activations at a layer."""
        found = self.activations[pooling]
        return found.values[:, found.hookpoints.index(Hookpoint(layer))].double().numpy()

    def within_poles(self, layer: int) -> Float[np.ndarray, "answer d_model"]:
        """Activations at a layer, each side centred on its mean."""
        values = self.values(layer).copy()
        for side in (self.positive, ~self.positive):
            values[side] -= values[side].mean(axis=0)
        return values


def at_layers(activations: Activations, layers: tuple[int, ...]) -> Activations:
    """The activations at the outputs of some blocks."""
    places = [activations.hookpoints.index(Hookpoint(layer)) for layer in layers]
    norms = activations.norms
    return replace(
        activations,
        values=activations.values[:, places],
        hookpoints=tuple(map(Hookpoint, layers)),
        norms=None if norms is None else norms[:, places],
    )


def answer_families(contrast: Contrast, *, seed: int) -> list[Family]:
    """The persona vector in three poolings, and the other ways to a direction from response means."""
    made = [_persona(contrast, pooling, name) for pooling, name in POOLED.items()]
    return made + [_fitted(contrast, name, method, seed) for name, method in FITTED.items()]


def _persona(contrast: Contrast, pooling: Pooling, name: str) -> Family:
    activations = contrast.activations[pooling]

    def refit(keep: Bool[np.ndarray, " row"], positive: Bool[np.ndarray, " row"]) -> Float[Tensor, "layer d_model"]:
        values = activations.values
        return values[torch.from_numpy(keep & positive)].mean(0) - values[torch.from_numpy(keep & ~positive)].mean(0)

    direction = mean_difference(
        activations.select(contrast.positive),
        activations.select(~contrast.positive),
        trait=contrast.trait,
        method=METHOD,
        method_version=METHOD_VERSION,
        filter="none",
    )
    return Family(name, PERSONA, "residual", direction, _made(contrast, refit))


def _fitted(contrast: Contrast, name: str, method: BaselineMethod, seed: int) -> Family:
    """A direction as `fit_direction` makes it; refits are of any length."""
    activations = contrast.activations["response_mean"]
    sides = [np.flatnonzero(side) for side in (contrast.positive, ~contrast.positive)]
    samples = [contrast.samples.iloc[rows].reset_index(drop=True) for rows in sides]
    paired = paired_rows(*samples, seed=seed)[0].numpy()
    pairs = np.stack([rows[paired[:, k]] for k, rows in enumerate(sides)], axis=1)
    values = activations.values.double().transpose(0, 1)

    def refit(keep: Bool[np.ndarray, " row"], positive: Bool[np.ndarray, " row"]) -> Float[Tensor, "layer d_model"]:
        ours, theirs = (values[:, torch.from_numpy(keep & side)] for side in (positive, ~positive))
        if method != "pca":
            return (logistic_vectors if method == "logistic" else lda_vectors)(ours, theirs)
        both = torch.from_numpy(pairs[keep[pairs].all(axis=1)])
        found = principal_vectors(values[:, both[:, 0]] - values[:, both[:, 1]])
        along = (found * (ours.mean(1) - theirs.mean(1))).sum(-1, keepdim=True)
        return torch.where(along < 0, -found, found)

    poles = activations.select(contrast.positive), activations.select(~contrast.positive)
    direction = fit_direction(method, *poles, trait=contrast.trait, seed=seed)
    return Family(name, SUPERVISED, "residual", direction, _made(contrast, refit))


def _made(contrast: Contrast, refit) -> Made:
    splits = {"prompt pair": contrast.column("instruction"), "seed": contrast.column("sample")}
    splits = {name: labels for name, labels in splits.items() if len(np.unique(labels)) > 1}
    return Made(refit, contrast.column("question"), contrast.positive, "question", splits)
