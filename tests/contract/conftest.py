"""Each tiny model once a session, in every combination of architecture and backend that a test asks for."""

from collections.abc import Callable, Iterator

import pytest
import torch

from persona_interp.models.hooked import HookedModelBase
from tests.contract.tiny import ARCHITECTURES, BACKENDS, Tiny


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tiny]:
    """A tiny model by the name of its architecture."""
    made: dict[str, Tiny] = {}

    def make(architecture: str) -> Tiny:
        if architecture not in made:
            made[architecture] = Tiny.make(architecture, tmp_path_factory.mktemp(architecture))
        return made[architecture]

    return make


@pytest.fixture(scope="session", params=ARCHITECTURES)
def tiny(request: pytest.FixtureRequest, make_tiny: Callable[[str], Tiny]) -> Tiny:
    """Every architecture in turn."""
    return make_tiny(request.param)


@pytest.fixture(scope="session", params=BACKENDS)
def model(request: pytest.FixtureRequest, tiny: Tiny) -> HookedModelBase:
    """Every backend in turn, for every architecture."""
    return tiny.hooked(request.param)


@pytest.fixture(scope="session")
def llama(make_tiny: Callable[[str], Tiny]) -> Tiny:
    """The one architecture on which tests run that do not depend on it."""
    return make_tiny("llama")


@pytest.fixture(scope="session", params=BACKENDS)
def llama_model(request: pytest.FixtureRequest, llama: Tiny) -> HookedModelBase:
    """Llama behind every backend."""
    return llama.hooked(request.param)
