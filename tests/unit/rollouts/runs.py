"""Small runs of rollouts, and whether two of them are equal."""

from pathlib import Path
from typing import Any

import torch
from pandas.testing import assert_frame_equal

from persona_interp.models.hooked import HookedModelBase
from persona_interp.rollouts.generate import (
    Rollouts,
    generate_rollouts,
)
from persona_interp.types import POOLINGS
from tests.small import TRAIT


def make(model: HookedModelBase, folder: Path | None = None, **changes: Any) -> Rollouts:
    """24 rows in batches of 4."""
    plain = {"n_samples": 2, "max_new_tokens": 6, "batch_size": 4, "progress": False, "folder": folder}
    return generate_rollouts(model, TRAIT, **{**plain, **changes})


def check_equal(one: Rollouts, other: Rollouts) -> None:
    assert_frame_equal(one.frame, other.frame)
    for pooling in POOLINGS:
        a, b = one.activations(pooling), other.activations(pooling)
        assert torch.equal(a.values.nan_to_num(-9), b.values.nan_to_num(-9))
        assert a.norms is not None and b.norms is not None
        assert torch.equal(a.norms.nan_to_num(-9), b.norms.nan_to_num(-9))
