"""Principal angles, ranks and shared lengths of sets of directions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.directions.subspaces import (
    orthonormal_basis,
    participation_ratio,
    principal_angles,
    shared_length,
)
from persona_interp.errors import EmptySelectionError

AXES = np.eye(6)


def test_angles_of_planes_that_share_a_line() -> None:
    other = np.stack([AXES[0], AXES[1] + AXES[2]])
    assert principal_angles(AXES[:2], other) == pytest.approx([0, 45], abs=1e-5)


def test_signs_and_lengths_have_no_part() -> None:
    first, second = AXES[:3], np.stack([-2 * AXES[0], 0.1 * (AXES[1] + AXES[4])])
    assert principal_angles(first, second) == pytest.approx(principal_angles(-first, 3 * second))


@given(st.integers(1, 6), st.integers(0, 1000))
def test_rank_is_between_one_and_the_number(n: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((n, 6))
    assert 1 - 1e-9 <= participation_ratio(vectors) <= n + 1e-9
    assert participation_ratio(np.tile(vectors[:1], (3, 1))) == pytest.approx(1)


def test_orthogonal_directions_have_their_number_as_rank() -> None:
    assert participation_ratio(5 * AXES[:4]) == pytest.approx(4)


def test_shared_length_is_the_squared_projection() -> None:
    vectors = np.stack([AXES[0], AXES[0] + AXES[5], AXES[4]])
    assert shared_length(vectors, AXES[:2]) == pytest.approx([1, 0.5, 0])


def test_a_basis_has_as_many_axes_as_the_span() -> None:
    basis = orthonormal_basis(np.stack([AXES[0], AXES[0], AXES[1]]))
    assert basis.shape == (2, 6)
    assert basis @ basis.T == pytest.approx(np.eye(2), abs=1e-12)


def test_vectors_without_length_are_refused() -> None:
    with pytest.raises(EmptySelectionError, match="none of 2 vectors has a length"):
        participation_ratio(np.zeros((2, 6)))
