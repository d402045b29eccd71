"""`SAEDecomposition`: a direction as a sum of a dictionary's decoder vectors, saved like a direction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.store import hookpoints_from_list, hookpoints_to_list
from persona_interp.arguments import checked
from persona_interp.directions.direction import Direction, check_same_model
from persona_interp.errors import AlignmentError, ArtefactError
from persona_interp.files import MIB
from persona_interp.io import load_tensors, path_part, save_tensors
from persona_interp.manifests import SAE_DECOMPOSITION
from persona_interp.models.protocol import HookedModel
from persona_interp.tensors import finite, read_floats
from persona_interp.types import Hookpoint, Provenance

KIND = "sae decomposition"
MOST_BYTES = 64 * MIB
Method = Literal["cosine", "latent_difference", "pursuit"]


@checked
@dataclass(frozen=True, eq=False)
class SAEDecomposition:
    """v as sum c_i d_i over a few latents i of a dictionary, d_i their raw decoder vectors.

    Args:
        latents: in the order in which the method names them.
        coefficients: least squares over all of them, of none below zero where that was asked for; in units of the
            latents' activations.
        scores: of `latent_difference` the difference of mean latents times the norm of the decoder vector, else the
            cosine of decoder vector and direction.
        fvu: |v - sum c_i d_i|^2 / |v|^2, the share of the squared norm that is left (a vector has no mean).
        fvu_curve: the same with the first 1, 2, ... latents.
        sae_id: of the dictionary, and `sae_weights` the hash of its weights, and `sae_quality` its verdict.
        direction_method: how the direction was made.
    """

    hookpoint: Hookpoint
    latents: tuple[int, ...]
    coefficients: Float[Tensor, " chosen"]
    scores: Float[Tensor, " chosen"]
    reconstruction: Float[Tensor, " d_model"]
    fvu: float
    fvu_curve: Float[Tensor, " chosen"]
    sae_id: str
    sae_weights: str
    sae_quality: str
    method: Method
    trait: str
    direction_method: str
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse numbers that do not match the latents."""
        lengths = {len(self.latents), len(self.coefficients), len(self.scores), len(self.fvu_curve)}
        if len(lengths) > 1:
            raise AlignmentError(
                f"a decomposition must have one number of each kind a latent, got {sorted(lengths)} for"
                f" {len(self.latents)} latents."
            )

    @checked
    def direction(self, like: Direction) -> Direction:
        """The reconstruction as a direction with the pole and residual norm of the one that was decomposed.

        Raises:
            HookpointError: it has no vector there.
            IncompatibleDirectionError: it belongs to another model.
        """
        check_same_model(like, self.provenance)
        index = like.index(self.hookpoint)
        norms = None if like.residual_norms is None else like.residual_norms[[index]]
        return replace(
            like,
            vectors=self.reconstruction[None],
            hookpoints=(self.hookpoint,),
            method=f"{self.direction_method}, {len(self.latents)} latents by {self.method}",
            residual_norms=norms,
        )

    @checked
    def save(self, path: str | Path) -> None:
        """Save as safetensors with a manifest beside it.

        Raises:
            DataError: no file can be named after the trait.
        """
        path_part(self.trait, "trait")
        names = ("coefficients", "scores", "reconstruction", "fvu_curve")
        manifest: dict[str, Any] = {
            "hookpoints": hookpoints_to_list([self.hookpoint]),
            "latents": list(self.latents),
            "fvu": self.fvu,
            "sae_id": self.sae_id,
            "sae_weights": self.sae_weights,
            "sae_quality": self.sae_quality,
            "method": self.method,
            "trait": self.trait,
            "direction_method": self.direction_method,
            "provenance": self.provenance.to_dict(),
        }
        save_tensors(Path(path), {name: getattr(self, name) for name in names}, kind=KIND, manifest=manifest)

    @classmethod
    @checked
    def load(cls, path: str | Path, model: HookedModel | None = None) -> "SAEDecomposition":
        """Load what `save` wrote, checked by hash and, where a model is given, against it.

        Raises:
            ArtefactError: missing, truncated or altered.
            IncompatibleDirectionError: made with another model.
        """
        path = Path(path)
        tensors, manifest = load_tensors(path, kind=KIND, keys=SAE_DECOMPOSITION, most=MOST_BYTES)
        read = {name: _read(tensors, name, path) for name in ("coefficients", "scores", "reconstruction", "fvu_curve")}
        provenance = Provenance.from_dict(manifest["provenance"])
        named = ("fvu", "sae_id", "sae_weights", "sae_quality", "method", "trait", "direction_method")
        told: dict[str, Any] = {name: manifest[name] for name in named} | read
        try:
            made = cls(
                hookpoint=hookpoints_from_list(manifest["hookpoints"])[0],
                latents=tuple(manifest["latents"]),
                provenance=provenance,
                **told,
            )
        except AlignmentError as error:
            raise ArtefactError(
                f"{path} cannot be a decomposition: {error}", "The file or its manifest was altered. Make it again."
            ) from error
        if model is not None:
            as_direction = Direction(
                made.reconstruction[None], (made.hookpoint,), made.trait, made.method, made.trait, provenance
            )
            check_same_model(as_direction, model.provenance)
        return made


def _read(tensors: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    axis = "d_model" if name == "reconstruction" else "latent"
    return finite(read_floats(tensors, name, str(path), (axis,)), f"{name} of {path}")
