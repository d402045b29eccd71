"""The small model, loaded once a session."""

from collections.abc import Iterator

import pytest
import torch

from persona_interp.models.hooked import HookedModelBase
from tests.contract.tiny import Tiny
from tests.small import make_small


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Tiny matrices: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Tiny:  # noqa: ARG001
    """The folder, the plain model of transformers, and each backend's model when first asked for."""
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def model(small: Tiny) -> HookedModelBase:
    """The small model behind one backend; the contract tests hold the other equal to it."""
    return small.hooked("nnsight")
