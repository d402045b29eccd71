"""Several interventions together."""

import pytest
import torch

from persona_interp.errors import IncompatibleDirectionError
from persona_interp.interventions.protocol import Intervention, Stack, merge_edits
from persona_interp.interventions.residual import Ablate, Add, Cap
from persona_interp.types import Edits, Hookpoint
from tests.small import StubModel, direction, provenance
from tests.unit.interventions.edits import WIDTH, along, apply, residual_and_mask, some_direction, vectors


def test_stack_applies_in_order():
    residual, mask = residual_and_mask(0)
    add, cap = Add(some_direction(), 0, 2.0), Cap(some_direction(), 0, upper=1.0)
    vector = vectors(0)[0]
    capped_last = apply(Stack(add, cap), Hookpoint(0), residual, mask)
    added_last = apply(Stack(cap, add), Hookpoint(0), residual, mask)
    assert torch.equal(capped_last, apply(cap, Hookpoint(0), apply(add, Hookpoint(0), residual, mask), mask))
    assert along(capped_last, vector)[mask].le(1 + 1e-4).all()
    assert along(added_last, vector)[mask].gt(-2 - 1e-4).all() and along(added_last, vector)[mask].gt(1.1).any()


def test_stack_joins_hookpoints_and_checks_every_part():
    foreign = direction(vectors(1), provenance=provenance(weights="bbbb"))
    stack = Stack(Ablate(some_direction(), [0, 1]), Ablate(foreign, 1))
    assert {h: len(edits) for h, edits in stack.edits.items()} == {Hookpoint(0): 1, Hookpoint(1): 2}
    assert stack.prefix is None and isinstance(stack, Intervention)
    with pytest.raises(IncompatibleDirectionError):
        stack.check(StubModel(d_model=WIDTH))


def test_merging_leaves_its_sources_alone():
    first: Edits = Ablate(some_direction(), 0).edits
    merged = merge_edits([first, first])
    assert len(merged[Hookpoint(0)]) == 2 and len(first[Hookpoint(0)]) == 1
