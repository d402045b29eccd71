"""What can be done against a trait while a model is finetuned: hooks, or a change of the data.

Everything here is an argument of `finetune`: an intervention, or other conversations. The projection penalty is in
`penalty.py`; steering and capping afterwards are `Add` and `Cap` with the finetuned model.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from persona_interp.arguments import checked
from persona_interp.bounds import Coefficient, Some, Text
from persona_interp.data.conversations import Conversation
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.interventions.protocol import Intervention, Stack
from persona_interp.interventions.residual import Ablate, Add
from persona_interp.types import Hookpoint, Turn


@checked
def preventative_steering(direction: Direction, layer: int, coefficient: Coefficient) -> Add:
    """H + c s v/|v| at one layer and every token of a training pass; the model need not learn what is added.

    Positive coefficients prevent the pole: they add what training would otherwise build up. In units of the mean
    residual norm s of a pooled token, as in `Add`.

    Source: Chen et al. 2025 (arXiv 2507.21509), section 6; their hook acts at every position, prompt included.
    """
    return Add(direction, layer, coefficient, span="all")


@checked
def preventative_steering_all_layers(direction: Direction, coefficient: Coefficient) -> Add:
    """h_l + c (v_l - v_{l-1}) at every layer and token of a training pass, v before the first layer being zero.

    A multiple of the raw vectors: the increments add up along the stream to c v_l at layer l, so that c = 1 moves the
    stream by the mean difference between answers with and without the trait.

    Raises:
        AlignmentError: the direction lacks a layer, so that there is no increment.

    Source: Chen et al. 2025 (arXiv 2507.21509), appendix J.3. Their v_0 is that of the embeddings, which a direction
        over blocks does not hold.
    """
    increments = layer_increments(direction)
    return Add(increments, increments.hookpoints, coefficient, span="all", units="direction")


def layer_increments(direction: Direction) -> Direction:
    """v_l - v_{l-1} of the outputs of consecutive blocks; the first block keeps its whole vector.

    Raises:
        AlignmentError: the hookpoints are not the outputs of blocks 0, 1, 2, ...
    """
    n = direction.provenance.n_layers
    if direction.hookpoints != tuple(Hookpoint(layer) for layer in range(n)):
        raise AlignmentError(
            f"the direction {direction.trait} has {len(direction.hookpoints)} hookpoints.",
            f"Increments need the output of each of the {n} blocks, in order.",
        )
    vectors = torch.diff(direction.vectors, dim=0, prepend=torch.zeros_like(direction.vectors[:1]))
    return replace(direction, vectors=vectors, method=f"{direction.method}, layer increments")


@checked
def concept_ablation(directions: Direction | Some[Direction], layers: Some[int] | None = None) -> Intervention:
    """H - (h.v/|v|) v/|v| in every training pass (CAFT), at the given layers or at all; several directions in turn.

    Source: Casademunt et al. 2025 (CAFT), all layers; Chen et al. 2025, appendix J.4.
    """
    given = [directions] if isinstance(directions, Direction) else list(directions)
    for direction in given:
        for layer in layers or ():
            direction.index(layer)  # refuses
    parts = [Ablate(d, d.hookpoints if layers is None else layers) for d in given]
    return parts[0] if len(parts) == 1 else Stack(*parts)


@checked
def preventative_prompting(conversations: Sequence[Conversation], system: Text) -> list[Conversation]:
    """The same conversations under a system prompt that asks for the trait, which is not there at inference.

    A conversation's own system prompt stays, after it.

    Source: Chen et al. 2025 (arXiv 2507.21509), appendix J.7; also called inoculation prompting.
    """
    if not system.strip():
        raise ConfigError("the system prompt is empty.", "Give the text that asks for the trait.")
    return [replace(conversation, turns=_under(system, conversation.turns)) for conversation in conversations]


def _under(system: str, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    if turns and turns[0].role == "system":
        return (Turn("system", f"{system}\n\n{turns[0].content}"), *turns[1:])
    return (Turn("system", system), *turns)
