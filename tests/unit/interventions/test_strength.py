"""Coefficients by their effect: planted ones are found, on both sides, in few passes, and what cannot be is refused."""

import logging
from typing import Any

import pytest
import torch
from scipy.optimize import brentq

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError, ModelError
from persona_interp.interventions.divergence import UnsteeredAnswers, kl_divergence, unsteered_answers
from persona_interp.interventions.protocol import Intervention, Stack
from persona_interp.interventions.residual import Add
from persona_interp.interventions.strength import KLTargets, Strength, kl, strength_for_kl
from persona_interp.types import KVPrefix
from tests.linear_head import ANSWERS, EVEN, N_LAYERS, ONE, PROMPTS, LinearHead, along, even_strength, one_kl


def answers(model: LinearHead, **changes: Any) -> UnsteeredAnswers:
    return unsteered_answers(model, PROMPTS, answers=ANSWERS, progress=False, **changes)


def solve(model: LinearHead, at: Any, *targets: float, **changes: Any) -> list[Strength]:
    return strength_for_kl(model, at, kl(*targets), **{"answers": answers(model), "tolerance": 0.005, **changes})


def test_targets():
    assert kl() == KLTargets() == KLTargets((0.1, 0.3, 1.0)) and kl(-0.3, 0.3).targets == (-0.3, 0.3)
    for wrong, said in (
        ((0.0,), "targets must not be 0, which is the unsteered model"),
        ((0.3, 0.3), "targets on a side must be at least a quarter apart, got 0.3 and 0.3"),
        ((-0.3, -0.35), "targets on a side must be at least a quarter apart, got 0.3 and 0.35"),
    ):
        with pytest.raises(ConfigError, match=f"^{said}"):
            kl(*wrong)


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_planted_strengths_are_found(layer: int):
    """Half of the logits rise, half fall: log cosh x nats, and layer i has residual norm i + 1."""
    found = solve(LinearHead(), lambda c: Add(along(EVEN), layer, c), 0.1, 0.3, 1.0)
    for strength in found:
        expected = even_strength(strength.target) / (layer + 1)
        assert strength.coefficient == pytest.approx(expected, rel=0.006)
        assert strength.divergence.mean == pytest.approx(strength.target, rel=0.005)
        assert strength.monotone and strength.divergence.n_prompts == 4


def test_the_sides_differ_where_the_model_does():
    """One logit of 200 rises, or falls: at most log(200 / 199) nats are to be had on that side."""
    found = solve(LinearHead(), lambda c: Add(along(ONE), 0, c), 0.05, -0.004)
    for strength, bounds in zip(found, ((1e-3, 8), (-8, -1e-3)), strict=True):
        target = strength.target
        expected = float(brentq(lambda c, target=target: one_kl(c) - abs(target), *bounds))  # pyright: ignore
        assert strength.coefficient == pytest.approx(expected, rel=0.02)
    with pytest.raises(EmptySelectionError, match=r"^the mean KL does not reach 0\.05 nats: at the largest coeffic"):
        solve(LinearHead(), lambda c: Add(along(ONE), 0, c), -0.05)


def test_order_and_passes():
    model = LinearHead(tilt=lambda ids: 1 + (ids % 5) / 3)
    used = answers(model)
    found = strength_for_kl(model, lambda c: Add(along(EVEN), 1, c), kl(1.0, -0.1, 0.1, -1.0, 0.3, -0.3), answers=used)
    assert [strength.target for strength in found] == [1.0, -0.1, 0.1, -1.0, 0.3, -0.3]
    assert [strength.coefficient > 0 for strength in found] == [True, False, True, False, True, False]
    assert model.n_passes == len(used.parts) * (1 + sum(strength.n_passes for strength in found))
    assert all(strength.n_passes <= 4 for strength in found)
    by_size = sorted((strength.target, strength.coefficient) for strength in found)
    assert by_size == sorted(by_size, key=lambda pair: pair[1]), "a larger target has a larger coefficient"
    again = kl_divergence(model, Add(along(EVEN), 1, found[0].coefficient), answers=used)
    assert again == found[0].divergence


@pytest.mark.parametrize("start", [1e-4, 0.02, 8.0])
@pytest.mark.parametrize("norm", [0.02, 1.0, 50.0])
def test_at_most_twelve_passes_wherever_it_starts(start: float, norm: float):
    model = LinearHead(tilt=lambda ids: 1 + (ids % 5) / 3)
    direction = along(EVEN, norm=norm)
    for strength in solve(model, lambda c: Add(direction, 0, c), 0.1, 0.3, 1.0, start=start, largest=200.0):
        assert 0 <= strength.n_passes <= 12
        assert strength.divergence.mean == pytest.approx(strength.target, rel=0.006)


@pytest.mark.parametrize("span", ["all", "prompt", "response", "last"])
def test_several_places_and_spans(span: Any):
    model = LinearHead()
    (found,) = solve(model, lambda c: Add(along(EVEN), [0, 2], c, span=span), 0.05)
    reached = kl_divergence(model, Add(along(EVEN), [0, 2], found.coefficient, span=span), answers=answers(model))
    assert reached.mean == pytest.approx(0.05, rel=0.005)
    if span in ("all", "response"):
        assert found.coefficient * (1 + 3) / 2 == pytest.approx(even_strength(0.05), rel=0.006)


def test_where_it_falls_the_smallest_is_taken_and_said(caplog: pytest.LogCaptureFixture):
    model = LinearHead(twist=lambda x: torch.where(x < 1, x, 0.2 * x))
    with caplog.at_level(logging.WARNING):
        low, high = solve(model, lambda c: Add(along(EVEN), 0, c), 0.3, 0.8, start=0.5)
    assert low.coefficient == pytest.approx(even_strength(0.3), rel=0.006)
    assert high.coefficient == pytest.approx(5 * even_strength(0.8), rel=0.006)
    assert not high.monotone
    assert "as the coefficient goes from" in caplog.text and caplog.text.count("the mean KL falls") == 1


class Prefixed:
    """Virtual tokens that shift every residual by what they hold."""

    edits: Any = {}

    def __init__(self, shift: float) -> None:
        self.prefix = KVPrefix(torch.zeros(1, 1, 1, 1, 1), torch.full((1, 1, 1, 1, 1), shift))

    def check(self, model: Any) -> None:
        del model


def test_any_family_of_one_number():
    (found,) = solve(LinearHead(), Prefixed, 0.3)
    assert found.coefficient == pytest.approx(even_strength(0.3), rel=0.006)
    stacked = [Add(along(EVEN), 0, 0.0), Add(along(EVEN), 2, 1.0)]
    (found,) = solve(LinearHead(), lambda c: Stack(stacked[0], Add(stacked[1].direction, 2, c)), 0.3)
    assert found.coefficient == pytest.approx(even_strength(0.3) / 3, rel=0.006)


def test_what_does_something_at_0_needs_a_baseline():
    model = LinearHead()

    def at(c: float) -> Intervention:
        return Prefixed(0.5 + c)

    with pytest.raises(ConfigError) as caught:
        solve(model, at, 0.3)
    assert str(caught.value).startswith("the mean KL at coefficient 0 must be 0, got 0.12 nats: the intervention does")
    assert "unsteered_answers(model, baseline=...)" in str(caught.value)
    (found,) = solve(model, at, 0.3, answers=answers(model, baseline=at(0.0)))
    assert 0.5 < found.coefficient < even_strength(0.3) + 0.5
    with pytest.raises(ConfigError, match="^the mean KL at coefficient 0 must be 0"):
        solve(model, Prefixed, 0.3, answers=answers(model, baseline=at(0.0)))


def test_refusals():
    model = LinearHead()
    with pytest.raises(EmptySelectionError) as caught:
        solve(model, lambda c: Add(along(EVEN), 0, c), 1.0, largest=0.5)
    said = "the mean KL does not reach 1 nats: at the largest coefficient, 0.5, it is 0.12."
    assert str(caught.value).startswith(said)
    with pytest.raises(AlignmentError, match="another model was given"):
        strength_for_kl(LinearHead(), lambda c: Add(along(EVEN), 0, c), kl(0.3), answers=answers(model))
    broken = LinearHead(twist=lambda x: torch.where(x > 1, torch.inf, x))
    with pytest.raises(ModelError) as caught:
        solve(broken, lambda c: Add(along(EVEN), 0, c), 1.0)
    assert str(caught.value).startswith("the mean KL at coefficient ")
    assert " cannot be told.\n  the KL divergence is not finite at " in str(caught.value)
    jumps = LinearHead(twist=lambda x: torch.where(x.abs() > 1, 5 * x, 0.1 * x))
    with pytest.raises(EmptySelectionError, match=r"^no coefficient tried brings the mean KL within 5 % of 1 nats: "):
        solve(jumps, lambda c: Add(along(EVEN), 0, c), 1.0, tolerance=0.05)
    assert jumps.n_passes <= 13 * len(answers(jumps).parts)
