"""`TraitPrefix`: trait vectors in every form, what is refused, and its record."""

import json
from typing import Any

import pytest
import torch

from persona_interp.errors import ConfigError, IncompatibleDirectionError
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.interventions.protocol import Intervention, Stack
from persona_interp.interventions.record import intervention_record
from persona_interp.interventions.residual import Add
from persona_interp.types import Hookpoint
from tests.small import StubModel
from tests.unit.directions.adapters import an_adapter
from tests.unit.interventions.edits import some_direction


@pytest.mark.parametrize(
    ("z", "rows"),
    [
        ({"two": 2}, [[0.0, 2.0]]),
        ({}, [[0.0, 0.0]]),
        ([1, 2.5], [[1.0, 2.5]]),
        (torch.tensor([1.0, 2.0]), [[1.0, 2.0]]),
        (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [3.0, 4.0]]),
        ([[1.0, 2.0], (3.0, 4.0)], [[1.0, 2.0], [3.0, 4.0]]),
        ([{"one": 1.0}, {"two": 2.0}], [[1.0, 0.0], [0.0, 2.0]]),
        ([torch.tensor([1.0, 2.0]), {"two": 2.0}], [[1.0, 2.0], [0.0, 2.0]]),
    ],
)
def test_trait_vectors_in_every_form(z: Any, rows: list[list[float]]) -> None:
    made = TraitPrefix(an_adapter(), z)
    assert made.vectors.tolist() == rows and dict(made.edits) == {}
    assert torch.equal(made.prefix.keys, an_adapter().prefix(torch.tensor(rows)).keys)
    assert isinstance(made, Intervention)


@pytest.mark.parametrize(
    "z", [[], "high", 3.0, torch.zeros(1, 2, 1), torch.zeros(0, 2), [1.0], [1.0, 2.0, 3.0], [[1.0]]]
)
def test_what_is_no_trait_vector_is_refused(z: Any) -> None:
    with pytest.raises(ConfigError, match=r"one, two"):
        TraitPrefix.__post_init__(_bare(z))


def _bare(z: Any) -> TraitPrefix:
    """Past the shape annotations, which tests check and users do not."""
    made = object.__new__(TraitPrefix)
    object.__setattr__(made, "adapter", an_adapter())
    object.__setattr__(made, "z", z)
    return made


def test_refusals_say_what_came() -> None:
    with pytest.raises(ConfigError) as caught:
        TraitPrefix(an_adapter(), [1.0, 2.0, 3.0])
    assert str(caught.value) == (
        "got 1 trait vectors of 3 numbers for an adapter of 2.\n  Its traits, in order: one, two."
    )
    with pytest.raises(ConfigError, match=r"z\[1\]\[0\] must be a finite number, got inf"):
        TraitPrefix(an_adapter(), [[0.0, 0.0], [float("inf"), 0.0]])


def test_one_vector_serves_so_many_rows_as_asked() -> None:
    one = TraitPrefix(an_adapter(), {"one": 1.0})
    three = one.rows(3)
    assert three.vectors.tolist() == [[1.0, 0.0]] * 3 and three.rows(3).vectors.tolist() == [[1.0, 0.0]] * 3
    with pytest.raises(ConfigError) as caught:
        three.rows(2)
    assert str(caught.value) == "3 trait vectors cannot serve 2 rows.\n  Give one, or one a row."


def test_another_model_is_refused() -> None:
    TraitPrefix(an_adapter(), {}).check(StubModel())
    with pytest.raises(IncompatibleDirectionError, match="belongs to tiny-a"):
        TraitPrefix(an_adapter(), {}).check(StubModel(weights="bbbb"))


def test_two_prefixes_in_a_stack_are_refused() -> None:
    prefix = TraitPrefix(an_adapter(), {"one": 1.0})
    assert Stack(prefix, Add(some_direction(), 0, 1.0, units="direction")).prefix is not None
    with pytest.raises(ConfigError) as caught:
        Stack(prefix, prefix)
    assert str(caught.value) == (
        "2 interventions of a stack bring virtual tokens.\n"
        "  Give one TraitPrefix, with a trait vector that says all that is wanted."
    )


def test_the_record_is_equal_for_equal_ones_only() -> None:
    changed = an_adapter()
    changed.affine.bias[0] += 1
    made = [
        TraitPrefix(an_adapter(), {"one": 1.0}),
        TraitPrefix(an_adapter(), [1.0, 0.0]),
        TraitPrefix(an_adapter(), [1.0, 0.5]),
        TraitPrefix(an_adapter(), [[1.0, 0.0], [1.0, 0.0]]),
        TraitPrefix(changed, [1.0, 0.0]),
        TraitPrefix(an_adapter(traits=("one", "three"), standard=None), [1.0, 0.0]),
        Stack(TraitPrefix(an_adapter(), {"one": 1.0}), Add(some_direction(), Hookpoint(0), 1.0, units="direction")),
    ]
    records = [json.dumps(intervention_record(intervention)) for intervention in made]
    assert records[0] == records[1] and len(set(records)) == len(made) - 1
    assert json.loads(records[0])["adapter"]["traits"] == ["one", "two"]
