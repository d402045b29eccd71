"""`Activations`: one vector a sample and hookpoint, with what the samples are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.errors import AlignmentError, ArtefactError, ConfigError, EmptySelectionError, first_line
from persona_interp.io import load_tensors, save_tensors
from persona_interp.manifests import ACTIVATIONS
from persona_interp.tables import read_table, write_table
from persona_interp.tensors import read_floats
from persona_interp.types import Hookpoint, Pooling, Provenance

KIND = "activations"


@checked
@dataclass(frozen=True, eq=False)
class Activations:
    """Pooled residuals in float32 on the CPU.

    Args:
        norms: mean residual norm of a token over each sample's pooled positions (`pooling` says which): the unit of
            steering coefficients.
        samples: one row a sample (question, side, score, ...), in the order of `values`.
    """

    values: Float[Tensor, "sample layer d_model"]
    hookpoints: tuple[Hookpoint, ...]
    pooling: Pooling
    samples: pd.DataFrame
    provenance: Provenance
    norms: Float[Tensor, "sample layer"] | None = None

    def __post_init__(self) -> None:
        """Refuse rows or hookpoints that do not match the values."""
        n_samples, n_hookpoints, _ = self.values.shape
        if len(self.samples) != n_samples or len(self.hookpoints) != n_hookpoints:
            raise AlignmentError(
                f"got activations of shape {tuple(self.values.shape)} with {len(self.samples)} samples and"
                f" {len(self.hookpoints)} hookpoints.",
                "Give one sample a row and one hookpoint a layer.",
            )
        if self.norms is not None and self.norms.shape != self.values.shape[:2]:
            raise AlignmentError(
                f"got activations of shape {tuple(self.values.shape)} with norms of shape {tuple(self.norms.shape)}.",
                "Give one norm for each sample and hookpoint.",
            )

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @checked
    def select(self, keep: Sequence[bool] | np.ndarray | pd.Series) -> "Activations":
        """The samples where `keep` is true.

        Raises:
            EmptySelectionError: none is.
        """
        chosen = np.asarray(keep, dtype=bool)
        if not chosen.any():
            raise EmptySelectionError(
                f"none of {len(self)} samples is left after the selection.", "Loosen the filter or make more rollouts."
            )
        index = torch.from_numpy(np.flatnonzero(chosen))
        return replace(
            self,
            values=self.values[index],
            samples=self.samples[chosen].reset_index(drop=True),
            norms=None if self.norms is None else self.norms[index],
        )

    @checked
    def save(self, path: Path) -> None:
        """Save as safetensors, a manifest, and the samples as Parquet beside them."""
        tensors: dict[str, Tensor] = {"values": self.values}
        if self.norms is not None:
            tensors["norms"] = self.norms
        write_table(path.with_suffix(".parquet"), self.samples)
        manifest = {
            "hookpoints": hookpoints_to_list(self.hookpoints),
            "pooling": self.pooling,
            "provenance": self.provenance.to_dict(),
        }
        save_tensors(path, tensors, kind=KIND, manifest=manifest)

    @classmethod
    @checked
    def load(cls, path: Path) -> "Activations":
        """Load what `save` wrote, checked by hash."""
        tensors, manifest = load_tensors(path, kind=KIND, keys=ACTIVATIONS)
        values = read_floats(tensors, "values", str(path), ("sample", "hookpoint", "d_model"))
        norms = read_floats(tensors, "norms", str(path), ("sample", "hookpoint")) if "norms" in tensors else None
        if norms is not None and norms.shape != values.shape[:2]:
            raise ArtefactError(
                f"{path} has values of shape {list(values.shape)} with norms of shape {list(norms.shape)}.",
                "Expected one norm for each sample and hookpoint. Restore the file or make it again.",
            )
        samples = read_table(path.with_suffix(".parquet"))
        try:
            return cls(
                values=values,
                hookpoints=hookpoints_from_list(manifest["hookpoints"]),
                pooling=manifest["pooling"],
                samples=samples,
                provenance=Provenance.from_dict(manifest["provenance"]),
                norms=norms,
            )
        except (AlignmentError, ConfigError, KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"{path} with its .json and .parquet does not hold activations: {first_line(error)}.",
                "One of them was altered. Restore all three, or delete them and make them again.",
            ) from error


def hookpoints_to_list(hookpoints: Sequence[Hookpoint]) -> list[dict[str, Any]]:
    """Hookpoints as JSON."""
    return [{"layer": h.layer, "stream": h.stream} for h in hookpoints]


def hookpoints_from_list(data: Sequence[Mapping[str, Any]]) -> tuple[Hookpoint, ...]:
    """Inverse of `hookpoints_to_list`."""
    return tuple(Hookpoint(int(row["layer"]), row["stream"]) for row in data)
