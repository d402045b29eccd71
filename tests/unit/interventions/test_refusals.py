"""Interventions that cannot be: on another model, at another place, with bounds or units that do not exist."""

from dataclasses import replace

import pytest
import torch

from persona_interp.errors import AlignmentError, ConfigError, HookpointError, IncompatibleDirectionError
from persona_interp.interventions.residual import Add, Cap
from persona_interp.types import Hookpoint
from tests.small import StubModel, direction
from tests.unit.interventions.edits import MAKERS, WIDTH, some_direction, vectors


@pytest.mark.parametrize("name", MAKERS)
def test_another_model_is_refused(name: str):
    intervention = MAKERS[name](some_direction(), 0)
    intervention.check(StubModel(d_model=WIDTH))
    with pytest.raises(IncompatibleDirectionError, match=r"belongs to tiny-a .* not to tiny-b"):
        intervention.check(StubModel(model="tiny-b", weights="bbbb"))


@pytest.mark.parametrize("name", MAKERS)
def test_another_width_is_refused_at_the_latest_in_the_pass(name: str):
    edit = MAKERS[name](some_direction(), 0).edits[Hookpoint(0)][0]
    with pytest.raises(IncompatibleDirectionError) as caught:
        edit.function(torch.zeros(1, 2, 6), torch.ones(1, 2, dtype=torch.bool))  # pyright: ignore[reportCallIssue]
    assert str(caught.value) == (
        "the direction loud of tiny-a has d_model 8; this model has 6.\n  Extract it again with this model."
    )


@pytest.mark.parametrize("name", MAKERS)
def test_a_layer_without_a_vector_is_refused(name: str):
    with pytest.raises(HookpointError, match="has no vector for resid_post at layer 5"):
        _ = MAKERS[name](some_direction(), 5).edits


@pytest.mark.parametrize("name", MAKERS)
def test_a_zero_vector_is_refused_at_once_and_only_where_it_would_act(name: str):
    flat = some_direction()
    flat.vectors[1] = 0
    MAKERS[name](flat, 0)
    with pytest.raises(ConfigError, match="at resid_post at layer 1 must be positive and finite, got 0"):
        MAKERS[name](flat, [0, 1])


def test_residual_norms_and_coefficients_that_make_nan_are_refused():
    for norm in (0.0, float("nan"), float("inf"), -1.0):
        with pytest.raises(AlignmentError, match="the residual norms of loud must be positive and finite"):
            replace(some_direction(), residual_norms=torch.full((len(some_direction().vectors),), norm))
    with pytest.raises(ConfigError, match="coefficient must be a finite number, got nan"):
        Add(some_direction(), 0, float("nan"))


@pytest.mark.parametrize("name", MAKERS)
def test_unknown_span(name: str):
    with pytest.raises(ConfigError, match=r"^span must be all, prompt, response or last, got 'answer'\."):
        replace(MAKERS[name](some_direction(), 0), span="answer")  # pyright: ignore


def test_caps_that_cannot_be():
    with pytest.raises(ConfigError) as caught:
        Cap(some_direction(), 0)
    assert str(caught.value) == "a Cap needs a bound.\n  Give lower=, upper= or both, in residual units."
    with pytest.raises(ConfigError, match=r"^a Cap cannot keep a projection above 2\.0 and below 1\.0\.$"):
        Cap(some_direction(), 0, lower=2.0, upper=1.0)


def test_add_without_norms_says_what_to_do():
    foreign = direction(vectors(0))
    with pytest.raises(AlignmentError, match='units="direction"'):
        _ = Add(foreign, 0, 1.0).edits
    assert Add(foreign, 0, 1.0, units="direction").edits
