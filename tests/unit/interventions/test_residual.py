"""Adding, ablating and capping: the arithmetic, and which positions it reaches."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.interventions.protocol import Stack
from persona_interp.interventions.residual import Ablate, Add, Cap, Units
from persona_interp.interventions.rows import AddEach
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import SPANS, Hookpoint, Span
from tests.contract.tiny import TOLERANCE, uneven_batch
from tests.small import direction
from tests.unit.interventions.edits import (
    MAKERS,
    NORMS,
    along,
    apply,
    residual_and_mask,
    seeds,
    some_direction,
    vectors,
)

coefficients = st.floats(-4, 4).filter(lambda c: c != 0)
bounds = st.tuples(st.floats(-3, 3), st.floats(-3, 3)).map(sorted)


@given(seeds, coefficients)
def test_add_in_residual_norms(seed: int, coefficient: float):
    residual, mask = residual_and_mask(seed)
    steered = apply(Add(some_direction(seed), 1, coefficient), Hookpoint(1), residual, mask)
    vector = vectors(seed)[1]
    expected = residual + coefficient * 5.0 * vector / vector.norm()
    torch.testing.assert_close(steered[mask], expected[mask])
    assert torch.equal(steered[~mask], residual[~mask])


@given(seeds, coefficients)
def test_add_in_lengths_of_the_direction(seed: int, coefficient: float):
    residual, mask = residual_and_mask(seed)
    steered = apply(Add(some_direction(seed), 2, coefficient, units="direction"), Hookpoint(2), residual, mask)
    torch.testing.assert_close(steered[mask], (residual + coefficient * vectors(seed)[2])[mask])
    assert torch.equal(steered[~mask], residual[~mask])


@pytest.mark.parametrize("coefficient", [0.3, -2.0])
def test_places_share_a_coefficient_in_residual_norms_and_not_in_lengths(coefficient: float):
    residual, mask = residual_and_mask(0)
    mask = torch.ones_like(mask)
    some = some_direction()
    totals: dict[Units, float] = {"residual_norm": abs(coefficient), "direction": 3 * abs(coefficient)}
    for units, total in totals.items():
        add = Add(some, [0, 1, 2], coefficient, units=units)
        moved = torch.stack([(apply(add, Hookpoint(k), residual, mask) - residual)[0, 0].norm() for k in range(3)])
        unit = NORMS if units == "residual_norm" else some.vectors.norm(dim=-1)
        assert float((moved / unit).sum()) == pytest.approx(total, rel=1e-3)
        assert add.coefficient_each == pytest.approx(coefficient / (3 if units == "residual_norm" else 1))
    each = AddEach([some, some], [0, 1, 2], coefficient).edits[Hookpoint(1)][0]
    by_row = each.function(residual, mask, torch.arange(2))  # pyright: ignore
    torch.testing.assert_close(by_row, apply(Add(some, [0, 1, 2], coefficient), Hookpoint(1), residual, mask))


@given(seeds, coefficients, st.floats(0.01, 100))
def test_residual_norm_units_ignore_the_length_of_the_direction(seed: int, coefficient: float, scale: float):
    residual, mask = residual_and_mask(seed)
    one, other = (
        apply(Add(some_direction(seed, s), 0, coefficient), Hookpoint(0), residual, mask) for s in (1.0, scale)
    )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@given(seeds)
def test_ablate_removes_the_component_and_nothing_else(seed: int):
    residual, mask = residual_and_mask(seed)
    vector = vectors(seed)[0]
    ablated = apply(Ablate(some_direction(seed), 0), Hookpoint(0), residual, mask)
    unit = vector / vector.norm()
    torch.testing.assert_close(ablated[mask], (residual - (residual @ unit)[..., None] * unit)[mask])
    assert along(ablated, vector)[mask].abs().le(1e-5).all()
    assert torch.equal(ablated[~mask], residual[~mask])


@given(seeds)
def test_ablating_twice_is_ablating_once(seed: int):
    residual, mask = residual_and_mask(seed)
    ablate = Ablate(some_direction(seed), 0)
    once = apply(ablate, Hookpoint(0), residual, mask)
    torch.testing.assert_close(apply(ablate, Hookpoint(0), once, mask), once, rtol=1e-5, atol=1e-5)


@given(seeds, bounds)
def test_cap_clamps_the_projection_and_keeps_the_rest(seed: int, limits: list[float]):
    lower, upper = limits
    residual, mask = residual_and_mask(seed)
    vector = vectors(seed)[1]
    capped = apply(Cap(some_direction(seed), 1, lower=lower, upper=upper), Hookpoint(1), residual, mask)
    before, after = along(residual, vector), along(capped, vector)
    torch.testing.assert_close(after[mask], before.clamp(lower, upper)[mask], rtol=1e-4, atol=1e-4)
    unit = vector / vector.norm()
    rest = residual - before[..., None] * unit
    torch.testing.assert_close(capped - after[..., None] * unit, rest, rtol=1e-4, atol=1e-4)
    untouched = ~mask | ((before >= lower) & (before <= upper))
    assert torch.equal(capped[untouched], residual[untouched]), "inside the bounds every bit stays"


@pytest.mark.parametrize(("side", "sign"), [("lower", 1), ("upper", -1)])
@given(seed=seeds, bound=st.floats(-3, 3))
def test_one_sided_caps_move_one_way(side: str, sign: int, seed: int, bound: float):
    residual, mask = residual_and_mask(seed)
    vector = vectors(seed)[1]
    bounded: dict[str, Any] = {side: bound}
    capped = apply(Cap(some_direction(seed), 1, **bounded), Hookpoint(1), residual, mask)
    moved = sign * (along(capped, vector) - along(residual, vector))
    assert moved.ge(-1e-4).all()
    assert (sign * (along(capped, vector) - bound))[mask].ge(-1e-4).all()


@pytest.mark.parametrize("name", MAKERS)
@given(seed=seeds)
def test_bfloat16_stays_bfloat16_and_close_to_float32(name: str, seed: int):
    residual, mask = residual_and_mask(seed, torch.bfloat16)
    intervention = MAKERS[name](some_direction(seed), 0)
    rounded = apply(intervention, Hookpoint(0), residual, mask)
    exact = apply(intervention, Hookpoint(0), residual.float(), mask)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.02, atol=0.05)
    assert torch.equal(rounded[~mask], residual[~mask])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@given(seed=seeds)
def test_cap_inside_its_bounds_is_bit_equal_in_any_dtype(dtype: torch.dtype, seed: int):
    residual, mask = residual_and_mask(seed, dtype)
    residual = residual * (1 + torch.finfo(dtype).eps)  # bits that float32 would lose
    capped = apply(Cap(some_direction(seed), 0, lower=-1e3, upper=1e3), Hookpoint(0), residual, mask)
    assert torch.equal(capped, residual)


@pytest.mark.parametrize("name", MAKERS)
def test_edits_are_pure(name: str):
    residual, mask = residual_and_mask(0)
    before, mask_before = residual.clone(), mask.clone()
    apply(MAKERS[name](some_direction(), 0), Hookpoint(0), residual, mask)
    assert torch.equal(residual, before) and torch.equal(mask, mask_before)


@pytest.mark.parametrize("coefficient", [0.0, -0.0])
def test_coefficient_zero_makes_no_edit(coefficient: float):
    assert not Add(some_direction(), [0, 1], coefficient).edits
    assert not Stack(Add(some_direction(), 0, coefficient)).edits


@pytest.mark.parametrize("name", MAKERS)
def test_several_layers_each_use_their_own_vector(name: str):
    several = MAKERS[name](some_direction(), [0, Hookpoint(2)])
    assert list(several.edits) == [Hookpoint(0), Hookpoint(2)]
    residual, mask = residual_and_mask(1)
    for layer in (0, 2):
        alone = MAKERS[name](some_direction(), layer)
        one, other = (apply(i, Hookpoint(layer), residual, mask) for i in (several, alone))
        share = 2 if name == "add" else 1  # places share a coefficient
        torch.testing.assert_close(share * (one - residual), other - residual, atol=1e-5, rtol=1e-5)
    first, second = (apply(several, Hookpoint(layer), residual, mask) for layer in (0, 2))
    assert not torch.allclose(first[mask], second[mask], atol=0.01)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("span", SPANS)
def test_padding_never_changes(name: str, span: Span, model: HookedModelBase):
    """At the edited block itself: exactly the positions of the span differ from the plain pass."""
    batch = uneven_batch()
    made = direction(torch.randn(3, 32, generator=torch.Generator().manual_seed(0)), norms=NORMS)
    edits = MAKERS[name](made, 1, span=span, last_prompt_token=False).edits
    plain, edited = (
        model.run(batch, read=[Hookpoint(1)], outputs="none", edits=e).residuals[Hookpoint(1)] for e in ({}, edits)
    )
    wanted = batch.span(span, last_prompt_token=False)
    assert not (wanted & ~batch.mask).any() and (~batch.mask).any()
    changed = (edited - plain).abs().amax(-1) > 0
    assert not changed[~wanted].any()
    if name == "cap":
        unit = made.at(1) / made.at(1).norm()
        torch.testing.assert_close((edited @ unit)[wanted], (plain @ unit).clamp(-0.1, 0.1)[wanted], **TOLERANCE)
    else:
        assert changed[wanted].all()


def test_span_and_last_prompt_token_reach_the_edit():
    for flag in (True, False):
        edit = Add(some_direction(), 0, 1.0, span="response", last_prompt_token=flag).edits[Hookpoint(0)][0]
        assert (edit.span, edit.last_prompt_token) == ("response", flag)
    assert Add(some_direction(), 0).span == "response"
    assert Ablate(some_direction(), 0).span == Cap(some_direction(), 0, lower=0.0).span == "all"


def test_a_share_of_the_residual_norm_is_what_it_says(model: HookedModelBase):
    """Coefficient 0.5 moves every position by half the stated norm."""
    made = direction(torch.randn(3, 32, generator=torch.Generator().manual_seed(0)), norms=NORMS)
    batch = uneven_batch()
    plain, edited = (
        model.run(batch, read=[Hookpoint(1)], outputs="none", edits=e).residuals[Hookpoint(1)]
        for e in ({}, Add(made, 1, 0.5, span="all").edits)
    )
    moved = (edited - plain).norm(dim=-1)[batch.mask]
    assert all(math.isclose(distance, 2.5, rel_tol=1e-4) for distance in moved.tolist())
