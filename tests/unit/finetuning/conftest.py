"""Trainers collect garbage before they train: what is there already is left out, for speed."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> Iterator[None]:
    """A Trainer collects garbage when it starts, which takes longer than these runs where much is loaded."""
    gc.freeze()
    yield
    gc.unfreeze()
