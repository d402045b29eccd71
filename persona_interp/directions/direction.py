"""`Direction`: one vector a hookpoint, with where it comes from and which way it points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.store import Activations, hookpoints_from_list, hookpoints_to_list
from persona_interp.arguments import checked
from persona_interp.errors import (
    AlignmentError,
    ArtefactError,
    ConfigError,
    HookpointError,
    IncompatibleDirectionError,
    first_line,
)
from persona_interp.io import load_tensors, manifest_path, save_tensors
from persona_interp.models.identity import FORMAT_CHANGED, format_changed
from persona_interp.models.protocol import HookedModel
from persona_interp.types import Hookpoint, Provenance

KIND = "direction"


@checked
@dataclass(frozen=True, eq=False)
class Direction:
    """A vector a hookpoint in the model's own residual basis, float32 on the CPU, not normalised.

    Args:
        positive_pole: what a larger projection means.
        residual_norms: mean residual norm of a pooled token (those of `provenance.pooling`) at each hookpoint, the unit
            of coefficients.
    """

    vectors: Float[Tensor, "layer d_model"]
    hookpoints: tuple[Hookpoint, ...]
    trait: str
    method: str
    positive_pole: str
    provenance: Provenance
    residual_norms: Float[Tensor, " layer"] | None = None

    def __post_init__(self) -> None:
        """Refuse vectors that do not match the hookpoints or are not finite."""
        if len(self.vectors) != len(self.hookpoints):
            raise AlignmentError(f"got {len(self.vectors)} vectors and {len(self.hookpoints)} hookpoints.")
        if self.residual_norms is not None and len(self.residual_norms) != len(self.vectors):
            raise AlignmentError(
                f"{self.trait} must have one residual norm a vector, got {len(self.residual_norms)} for"
                f" {len(self.vectors)} vectors."
            )
        if not torch.isfinite(self.vectors).all():
            bad = [str(h) for h, v in zip(self.hookpoints, self.vectors, strict=True) if not torch.isfinite(v).all()]
            raise AlignmentError(f"the direction {self.trait} has values that are not finite, at {bad[0]}.")

    def __neg__(self) -> "Direction":
        """The opposite direction; its positive pole is named as the absence of this one's."""
        return replace(self, vectors=-self.vectors, positive_pole=f"not {self.positive_pole}")

    @checked
    def at(self, hookpoint: Hookpoint | int) -> Float[Tensor, " d_model"]:
        """The vector at a hookpoint (a number means the output of that block).

        Raises:
            HookpointError: the direction has none there.
        """
        return self.vectors[self.index(hookpoint)]

    @checked
    def residual_norm(self, hookpoint: Hookpoint | int) -> float:
        """The unit of coefficients at a hookpoint: mean norm of a pooled token's residual.

        Raises:
            AlignmentError: the direction carries no norms (it came from a foreign file).
        """
        if self.residual_norms is None:
            raise AlignmentError(
                f"the direction {self.trait} ({self.method}) carries no residual norms.",
                'Give coefficients in its own length: units="direction".',
            )
        return float(self.residual_norms[self.index(hookpoint)])

    @checked
    def index(self, hookpoint: Hookpoint | int) -> int:
        """Row of a hookpoint."""
        wanted = Hookpoint(hookpoint) if isinstance(hookpoint, int) else hookpoint
        if wanted not in self.hookpoints:
            have = f"{self.hookpoints[0]} … {self.hookpoints[-1]}" if self.hookpoints else "none"
            raise HookpointError(f"the direction {self.trait} has no vector for {wanted}.", f"It has {have}.")
        return self.hookpoints.index(wanted)

    def unit(self) -> "Direction":
        """The same direction with vectors of norm 1.

        Raises:
            ConfigError: it is zero at one of its hookpoints.
        """
        return replace(self, vectors=self._units())

    def _units(self) -> Float[Tensor, "layer d_model"]:
        lengths = self.vectors.norm(dim=-1, keepdim=True)
        if zero := (lengths[:, 0] == 0).nonzero().flatten().tolist():
            raise ConfigError(f"the direction {self.trait} is zero at {self.hookpoints[zero[0]]}.", "Leave it out.")
        return self.vectors / lengths

    @checked
    def project(self, activations: Activations) -> Float[Tensor, "sample layer"]:
        """Scalar projection a.v/|v| in residual units, at this direction's hookpoints; larger means more of the pole.

        Raises:
            AlignmentError: the activations lack one of the hookpoints.
            ConfigError: the direction is zero at one of them.
            IncompatibleDirectionError: they come from another model.
        """
        check_same_model(self, activations.provenance)
        missing = [h for h in self.hookpoints if h not in activations.hookpoints]
        if missing:
            raise AlignmentError(f"the activations have no {missing[0]}, where {self.trait} has a vector.")
        columns = [activations.hookpoints.index(h) for h in self.hookpoints]
        return (activations.values[:, columns] * self._units()).sum(-1)

    @checked
    def save(self, path: str | Path) -> None:
        """Save as safetensors with a manifest beside it."""
        tensors: dict[str, Tensor] = {"vectors": self.vectors}
        if self.residual_norms is not None:
            tensors["residual_norms"] = self.residual_norms
        manifest: dict[str, Any] = {
            "hookpoints": hookpoints_to_list(self.hookpoints),
            "trait": self.trait,
            "method": self.method,
            "positive_pole": self.positive_pole,
            "provenance": self.provenance.to_dict(),
        }
        save_tensors(Path(path), tensors, kind=KIND, manifest=manifest)

    @classmethod
    @checked
    def load(cls, path: str | Path, model: HookedModel | None = None) -> "Direction":
        """Load what `save` wrote, checked by hash and, where a model is given, against it.

        Raises:
            ArtefactError: missing, truncated or altered.
            IncompatibleDirectionError: made with another model.
        """
        tensors, manifest = load_tensors(Path(path), kind=KIND)
        norms = tensors.get("residual_norms")
        try:
            if norms is not None and norms.shape != tensors["vectors"].shape[:1]:
                raise ValueError(f"{len(tensors['vectors'])} vectors have {norms.numel()} residual norms")
            direction = cls(
                vectors=tensors["vectors"],
                hookpoints=hookpoints_from_list(manifest["hookpoints"]),
                trait=manifest["trait"],
                method=manifest["method"],
                positive_pole=manifest["positive_pole"],
                provenance=Provenance.from_dict(manifest["provenance"]),
                residual_norms=norms,
            )
        except (AttributeError, ConfigError, KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"{path} with {manifest_path(Path(path))} does not describe a direction: {first_line(error)}.",
                "One of them was altered. Restore both or make them again.",
            ) from error
        _check_read(direction, Path(path))
        if model is not None:
            check_direction(direction, model)
        return direction


def _check_read(direction: Direction, path: Path) -> None:
    """Refuse a file whose vectors, places or norms cannot be those of the model that its manifest names."""
    own, norms = direction.provenance, direction.residual_norms
    outside = [h for h in direction.hookpoints if not 0 <= h.layer < own.n_layers]
    faults = {
        f"it must hold a vector, got shape {tuple(direction.vectors.shape)}": not direction.hookpoints,
        f"its width must be {own.d_model}, got {direction.vectors.shape[-1]}": direction.vectors.shape[-1]
        != own.d_model,
        f"its layers must be 0 to {own.n_layers - 1}, got {outside[0].layer if outside else 0}": bool(outside),
        "its hookpoints must differ, got one twice": len(set(direction.hookpoints)) < len(direction.hookpoints),
        "its residual norms must be positive and finite": norms is not None
        and not bool((torch.isfinite(norms) & (norms > 0)).all()),
    }
    for fault, holds in faults.items():
        if holds:
            raise ArtefactError(
                f"{path} cannot be a direction of {own.model}: {fault}.",
                "The file or its manifest was altered. Restore both or make them again.",
            )


def unit_vectors(directions: Sequence[Direction], hookpoint: Hookpoint) -> Float[Tensor, "direction d_model"]:
    """v/|v| of several directions at one hookpoint, for one product with a residual.

    Raises:
        ConfigError: a direction is zero there.
    """
    vectors = torch.stack([direction.at(hookpoint) for direction in directions])
    lengths = vectors.norm(dim=-1, keepdim=True)
    if bool((lengths == 0).any()):
        zero = directions[int((lengths[:, 0] == 0).nonzero()[0])].trait
        raise ConfigError(f"the direction {zero} is zero at {hookpoint}.", "Choose another layer.")
    return vectors / lengths


def check_direction(direction: Direction, model: HookedModel) -> None:
    """Refuse a direction of another model or width.

    Raises:
        IncompatibleDirectionError: names both models.
    """
    check_same_model(direction, model.provenance)
    if direction.vectors.shape[-1] != model.d_model:
        raise IncompatibleDirectionError(
            f"the direction {direction.trait} ({direction.method}) has d_model {direction.vectors.shape[-1]};"
            f" {model.name} has {model.d_model}.",
            "Extract it again with this model.",
        )


def check_same_model(direction: Direction, other: Provenance) -> None:
    """Refuse a direction whose model differs from another artefact's in weights, layers or width.

    Two models are the same where their weights are, whatever they are called, in whatever dtype and backend.

    Raises:
        IncompatibleDirectionError: names both models.
    """
    own = direction.provenance
    if own.weights == other.weights:
        return
    raise IncompatibleDirectionError(
        f"the direction {direction.trait} ({direction.method}) belongs to {_named(own)}, not to {_named(other)}.",
        *([FORMAT_CHANGED] if format_changed(own.weights, other.weights) else []),
        "Extract it again with this model; vectors of another model, or of other weights, mean nothing here.",
        "To study transfer on purpose (a finetuned copy, say), bind it: rebind_direction(direction, model).",
    )


@checked
def rebind_direction(direction: Direction, model: HookedModel) -> Direction:
    """The same vectors declared to belong to another model of equal shape, with the origin kept in the provenance.

    For a direction of a base model used on its finetuned copies.

    Raises:
        IncompatibleDirectionError: layers or width differ.
    """
    own, other = direction.provenance, model.provenance
    if (own.n_layers, own.d_model) != (other.n_layers, other.d_model):
        raise IncompatibleDirectionError(
            f"the direction {direction.trait} of {_named(own)} does not fit {_named(other)}.",
            "Only models of equal layers and width can share a direction.",
        )
    details = {**own.details, "rebound_from": {"model": own.model, "weights": own.weights}}
    bound = replace(own, model=other.model, weights=other.weights, details=details)
    return replace(direction, provenance=bound)


def _named(provenance: Provenance) -> str:
    shape = f"{provenance.n_layers} layers, d_model {provenance.d_model}"
    return f"{provenance.model} ({shape}, weights {provenance.weights})"
