"""Interventions as plain data: equal for equal ones, different for whatever changes what they do."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from persona_interp.errors import ConfigError
from persona_interp.interventions.protocol import Intervention, Stack
from persona_interp.interventions.record import intervention_record, record
from persona_interp.interventions.residual import Ablate, Add, Cap
from persona_interp.types import Hookpoint
from tests.small import direction

VECTORS = torch.arange(12.0).reshape(3, 4) + 1
PLAIN = direction(VECTORS, norms=torch.tensor([1.0, 2.0, 3.0]))

MIXED = replace(PLAIN, hookpoints=(Hookpoint(1), Hookpoint(1, "resid_pre"), Hookpoint(2, "mlp_out")))

CHANGES: list[tuple[str, Callable[[], Intervention]]] = [
    ("plain", lambda: Add(PLAIN, 1, 0.5)),
    ("layer", lambda: Add(PLAIN, 2, 0.5)),
    ("stream", lambda: Add(MIXED, Hookpoint(1, "resid_pre"), 0.5)),
    ("layers", lambda: Add(PLAIN, [1, 2], 0.5)),
    ("coefficient", lambda: Add(PLAIN, 1, 0.25)),
    ("span", lambda: Add(PLAIN, 1, 0.5, span="all")),
    ("last prompt token", lambda: Add(PLAIN, 1, 0.5, last_prompt_token=False)),
    ("units", lambda: Add(PLAIN, 1, 0.5, units="direction")),
    ("vectors", lambda: Add(replace(PLAIN, vectors=VECTORS * 2), 1, 0.5)),
    ("norms", lambda: Add(replace(PLAIN, residual_norms=torch.ones(3)), 1, 0.5)),
    ("no norms", lambda: Add(replace(PLAIN, residual_norms=None), 1, 0.5, units="direction")),
    ("hookpoints", lambda: Add(replace(PLAIN, hookpoints=(Hookpoint(1), Hookpoint(0), Hookpoint(2))), 1, 0.5)),
    ("ablate", lambda: Ablate(PLAIN, 1)),
    ("cap", lambda: Cap(PLAIN, 1, upper=0.5)),
    ("lower cap", lambda: Cap(PLAIN, 1, lower=0.5)),
    ("stack", lambda: Stack(Add(PLAIN, 1, 0.5))),
    ("two", lambda: Stack(Add(PLAIN, 1, 0.5), Ablate(PLAIN, 1))),
    ("two the other way round", lambda: Stack(Ablate(PLAIN, 1), Add(PLAIN, 1, 0.5))),
]


def test_whatever_changes_what_it_does_changes_the_record() -> None:
    texts = {name: json.dumps(intervention_record(make())) for name, make in CHANGES}
    assert len(set(texts.values())) == len(CHANGES)
    assert texts == {name: json.dumps(intervention_record(make())) for name, make in CHANGES}
    assert intervention_record(None) is None


def test_a_record_survives_json_and_says_what_is_done() -> None:
    made = intervention_record(Stack(Add(MIXED, [1, Hookpoint(2, "mlp_out")], 0.5), Ablate(PLAIN, 1)))
    assert json.loads(json.dumps(made)) == made
    add, ablate = made
    assert (add["kind"], add["layer"], add["coefficient"]) == ("Add", [1, "mlp_out at layer 2"], 0.5)
    assert add["coefficient_each"] == 0.25, "two places share it"
    assert (ablate["kind"], ablate["direction"]["trait"]) == ("Ablate", "loud")


def test_vectors_enter_by_value_not_by_layout() -> None:
    strided = replace(PLAIN, vectors=VECTORS.T.contiguous().T)
    assert not strided.vectors.is_contiguous()
    assert record(strided) == record(PLAIN)


@dataclass(frozen=True)
class Holds:
    thing: Any


@pytest.mark.parametrize("thing", [lambda: 0, b"bytes", {1, 2}, object()])
def test_what_no_file_can_say_is_refused(thing: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        record(Holds(thing))
    assert str(raised.value) == (
        f"nothing says what a {type(thing).__name__} does.\n"
        "  A run that can be resumed needs an intervention made of dataclasses, such as Add, Ablate and Cap."
    )
