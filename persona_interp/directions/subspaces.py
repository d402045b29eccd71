"""Directions as subspaces: principal angles between two of them, and how many directions some vectors are."""

import numpy as np
from jaxtyping import Float

from persona_interp.arguments import checked
from persona_interp.errors import EmptySelectionError

Rows = Float[np.ndarray, "vector d_model"]
_SMALLEST = 1e-6


@checked
def orthonormal_basis(vectors: Float[np.ndarray, "vector d_model"]) -> Float[np.ndarray, "axis d_model"]:
    """An orthonormal basis of the span of some vectors, each of which counts by its direction alone.

    Raises:
        EmptySelectionError: no vector has a length.
    """
    units = _units(vectors)
    _, sizes, axes = np.linalg.svd(units, full_matrices=False)
    return axes[sizes > _SMALLEST * sizes[0]]


@checked
def principal_angles(
    first: Float[np.ndarray, "vector d_model"], second: Float[np.ndarray, "other d_model"]
) -> Float[np.ndarray, " angle"]:
    """Angles between the spans of two sets of vectors, in degrees, rising: 0 where they share a direction, 90 at most.

    As many as the smaller span has dimensions. The sign of a vector has no part in them.

    Raises:
        EmptySelectionError: a side has no vector with a length.

    Source: Björck and Golub 1973, Numerical Methods for Computing Angles Between Linear Subspaces.
    """
    cosines = np.linalg.svd(orthonormal_basis(first) @ orthonormal_basis(second).T, compute_uv=False)
    return np.degrees(np.arccos(np.clip(cosines, 0, 1)))


@checked
def participation_ratio(vectors: Float[np.ndarray, "vector d_model"]) -> float:
    """How many directions some vectors are: (sum of l)^2 / sum of l^2, with l the squared singular values of the units.

    1 where all lie on one line, and their number where they are orthogonal.

    Raises:
        EmptySelectionError: no vector has a length.
    """
    values = np.linalg.svd(_units(vectors), compute_uv=False) ** 2
    return float(values.sum() ** 2 / (values**2).sum())


@checked
def shared_length(
    vectors: Float[np.ndarray, "vector d_model"], others: Float[np.ndarray, "other d_model"]
) -> Float[np.ndarray, " vector"]:
    """Share of the squared length of each vector, 0 to 1, that lies in the span of others.

    Raises:
        EmptySelectionError: a side has no vector with a length.
    """
    return ((_units(vectors) @ orthonormal_basis(others).T) ** 2).sum(axis=1)


def _units(vectors: Rows) -> Rows:
    lengths = np.linalg.norm(vectors, axis=1)
    if not (lengths > 0).any():
        raise EmptySelectionError(f"none of {len(vectors)} vectors has a length.", "Give directions that are not zero.")
    return vectors[lengths > 0] / lengths[lengths > 0, None]
