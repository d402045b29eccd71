"""What the table of effects is told of a change of the model."""

import torch

from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.interventions.protocol import Stack
from persona_interp.interventions.residual import Ablate, Add
from persona_interp.studies.inventory.conditions import NORMS, SCORE, UNCHANGED, Change, Condition
from persona_interp.types import Hookpoint
from tests.small import direction
from tests.unit.studies.psychadapter.planted_adapter import planted_adapter

VECTOR = direction(torch.ones(3, 4), norms=torch.ones(3))
ADDED = Add(VECTOR, 1, 0.5)


def test_one_change_has_its_method_place_and_strength() -> None:
    assert Condition().change == UNCHANGED
    assert Condition(system="Be glad.").change == Change("prompt", "prompt")
    added = Change(VECTOR.method, "residual", "1", "resid_post", 0.5, NORMS)
    assert Condition(intervention=ADDED).change == added
    both = Add(VECTOR, (Hookpoint(0), Hookpoint(2)), 0.5)
    assert Condition(intervention=both).change.layers == "0+2"
    ablated = Condition(intervention=Ablate(VECTOR, 1)).change
    assert (ablated.method, ablated.layers, ablated.strength) == (f"{VECTOR.method}, ablate", "1", None)


def test_an_adapter_has_a_strength_where_one_trait_is_set() -> None:
    adapter = planted_adapter()
    one, two = (TraitPrefix(adapter, z) for z in ({"loud": -2.0}, {"loud": 1.0, "slow": 1.0}))
    assert Condition(intervention=one).change == Change("psychadapter", "virtual_token", None, None, -2.0, SCORE)
    assert Condition(intervention=two).change.strength is None


def test_several_changes_have_what_only_one_of_them_has() -> None:
    prompted = Condition(system="Be glad.", intervention=ADDED).change
    assert prompted == Change(f"prompt + {VECTOR.method}", None, "1", "resid_post", 0.5, NORMS)
    stacked = Condition(intervention=Stack(ADDED, TraitPrefix(planted_adapter(), {"loud": 0.5}))).change
    assert (stacked.strength, stacked.strength_unit, stacked.substrate, stacked.layers) == (None, None, None, "1")
