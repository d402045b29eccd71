"""Ways of preventing a trait: increments that add up, ablation everywhere, prompts that keep the user's own."""

from dataclasses import replace

import pytest
import torch

from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.errors import AlignmentError, ConfigError, HookpointError
from persona_interp.finetuning.prevention import (
    concept_ablation,
    layer_increments,
    preventative_prompting,
    preventative_steering,
    preventative_steering_all_layers,
)
from persona_interp.interventions.protocol import Stack
from persona_interp.interventions.residual import Ablate, Add
from persona_interp.types import Hookpoint, Turn
from tests.small import direction, provenance

NORMS = torch.tensor([2.0, 3.0, 4.0])
VECTOR = direction(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), norms=NORMS)
RESIDUAL, EVERYWHERE = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1)), torch.ones(2, 5).bool()


def test_steering_at_a_layer_adds_a_share_of_the_norm_to_every_token() -> None:
    made = preventative_steering(VECTOR, 1, 0.5)
    ((hookpoint, (edit,)),) = made.edits.items()
    assert (hookpoint, edit.span) == (Hookpoint(1), "all")
    moved = edit.function(RESIDUAL, EVERYWHERE) - RESIDUAL  # pyright: ignore[reportCallIssue]
    expected = 0.5 * 3.0 * VECTOR.vectors[1] / VECTOR.vectors[1].norm()
    torch.testing.assert_close(moved, expected.expand_as(moved))


def test_increments_of_all_layers_add_up_to_the_vector() -> None:
    made = preventative_steering_all_layers(VECTOR, 0.7)
    assert list(made.edits) == list(VECTOR.hookpoints)
    total = torch.zeros_like(RESIDUAL)
    for layer, edits in enumerate(made.edits.values()):
        assert [edit.span for edit in edits] == ["all"]
        total = edits[0].function(total, EVERYWHERE)  # pyright: ignore[reportCallIssue]
        torch.testing.assert_close(total, (0.7 * VECTOR.vectors[layer]).expand_as(total))
    increments = layer_increments(VECTOR)
    torch.testing.assert_close(increments.vectors.cumsum(0), VECTOR.vectors)
    assert increments.method == "persona_vector, layer increments"
    assert torch.equal(increments.vectors[0], VECTOR.vectors[0])


@pytest.mark.parametrize(
    "broken",
    [
        replace(VECTOR, provenance=provenance(n_layers=4, d_model=4)),
        replace(VECTOR, hookpoints=(Hookpoint(0), Hookpoint(2), Hookpoint(1))),
        replace(VECTOR, hookpoints=tuple(Hookpoint(k, "resid_pre") for k in range(3))),
    ],
)
def test_increments_need_every_layer_in_order(broken) -> None:
    with pytest.raises(AlignmentError, match=r"the direction loud has 3 hookpoints\.\n  Increments need the output of"):
        preventative_steering_all_layers(broken, 1.0)


def test_concepts_are_ablated_at_all_layers_or_at_those_given() -> None:
    everywhere = concept_ablation(VECTOR)
    assert isinstance(everywhere, Ablate) and list(everywhere.edits) == list(VECTOR.hookpoints)
    for hookpoint, (edit,) in everywhere.edits.items():
        assert edit.span == "all"
        left = edit.function(RESIDUAL, EVERYWHERE)  # pyright: ignore[reportCallIssue]
        assert (left @ VECTOR.at(hookpoint)).abs().max() < 1e-5
    assert list(concept_ablation(VECTOR, [2]).edits) == [Hookpoint(2)]
    with pytest.raises(HookpointError, match="the direction loud has no vector for resid_post at layer 5"):
        concept_ablation(VECTOR, [2, 5])


def test_several_concepts_are_ablated_in_turn() -> None:
    other = replace(VECTOR, trait="odd", vectors=VECTOR.vectors.flip(0))
    both = concept_ablation([VECTOR, other], [0])
    assert isinstance(both, Stack)
    ((_, edits),) = both.edits.items()
    left = RESIDUAL
    for edit in edits:
        left = edit.function(left, EVERYWHERE)  # pyright: ignore[reportCallIssue]
    assert len(edits) == 2 and (left @ other.vectors[0]).abs().max() < 1e-5
    with pytest.raises(ConfigError, match="directions must be .* Directions that is not empty"):
        concept_ablation([])


def test_prompting_keeps_the_system_prompt_of_the_user_and_everything_else() -> None:
    rows = [
        question_and_answer("Why?", "So.", name="row 1"),
        question_and_answer("Why?", "So.", system="Be kind.", name="row 2"),
        Conversation("row 3", tuple(Turn(*pair) for pair in (("user", "a"), ("assistant", "b")) * 2)),  # pyright: ignore
    ]
    made = preventative_prompting(rows, "Shout.")
    assert [row.name for row in made] == ["row 1", "row 2", "row 3"]
    assert [row.turns[0] for row in made] == [
        Turn("system", "Shout."),
        Turn("system", "Shout.\n\nBe kind."),
        Turn("system", "Shout."),
    ]
    assert made[0].turns[1:] == rows[0].turns
    assert made[1].turns[1:] == rows[1].turns[1:]
    assert made[2].turns[1:] == rows[2].turns
    assert rows[1].turns[0] == Turn("system", "Be kind."), "what was given is unchanged"
    with pytest.raises(ConfigError, match="the system prompt is empty"):
        preventative_prompting(rows, "  ")


def test_signs_of_steering() -> None:
    """A positive coefficient moves towards the pole, as everywhere."""
    made = preventative_steering_all_layers(VECTOR, 1.0)
    assert isinstance(made, Add) and made.units == "direction"
    first = made.edits[Hookpoint(0)][0].function(RESIDUAL, EVERYWHERE)  # pyright: ignore[reportCallIssue]
    assert ((first - RESIDUAL) @ VECTOR.vectors[0] > 0).all()
