import pytest

from persona_interp.models.hooked import HookedModelBase
from persona_interp.rollouts.generate import Rollouts
from tests.unit.rollouts.runs import make


@pytest.fixture(scope="module")
def whole(model: HookedModelBase) -> Rollouts:
    """An uninterrupted run in memory."""
    return make(model)
