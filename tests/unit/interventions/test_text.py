"""Text of a model under an intervention."""

import pytest
import torch

from persona_interp.errors import ConfigError, IncompatibleDirectionError
from persona_interp.interventions.residual import Add
from persona_interp.interventions.text import generate_text
from persona_interp.models.hooked import HookedModelBase
from tests.small import direction
from tests.unit.interventions.edits import NORMS, some_direction


def test_steered_text(model: HookedModelBase):
    made = direction(
        torch.randn(3, 32, generator=torch.Generator().manual_seed(0)),
        norms=10 * NORMS,
        provenance=model.provenance,
    )
    prompts = ["Hello there", "Why"]
    plain = generate_text(model, prompts, max_new_tokens=6)
    assert generate_text(model, prompts, intervention=Add(made, 1, 0.0), max_new_tokens=6) == plain
    assert generate_text(model, prompts, intervention=Add(made, 1, 1.0), max_new_tokens=6) != plain
    with pytest.raises(IncompatibleDirectionError):
        generate_text(model, prompts, intervention=Add(some_direction(), 1))
    with pytest.raises(ConfigError, match=r"^there is no prompt to continue\."):
        generate_text(model, [])
