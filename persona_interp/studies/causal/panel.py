"""What is done at a layer, and what it does to the preference for answers with the trait."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.interventions.patch import Patch
from persona_interp.interventions.residual import Ablate, Add
from persona_interp.measurements.preference import ARMS, Arm, Part
from persona_interp.models.protocol import HookedModel
from persona_interp.types import NO_EDITS, Edits, Hookpoint

What = Literal["steered", "ablated", "patched", "patched whole", "withheld"]
Scope = Literal["layer", "cumulative"]
WHATS: tuple[What, ...] = get_args(What)
UNDER: Mapping[What, Arm] = {
    "steered": "none",
    "ablated": "positive",
    "patched": "negative",
    "patched whole": "negative",
    "withheld": "positive",
}
"""The system prompt under which each is done."""
RANDOM: tuple[What, ...] = ("steered", "ablated", "patched")
"""What is done along random directions too; withheld is patched the other way round."""

Residuals = Mapping[Hookpoint, list[Float[Tensor, "_ d_model"]]]
Coefficients = Mapping[tuple[str, int], float]


def edits_at(
    what: What,
    direction: Direction,
    layers: Sequence[int],
    *,
    coefficient: float,
    residuals: Mapping[Arm, Residuals],
) -> Edits:
    """The edits of one of `WHATS` at layers.

    `steered`: the direction is added. `ablated`: its component is removed, at all positions. `patched`: under the
    negative prompt, the component is what it is under the positive one, at every position from which the answer is
    predicted; `patched whole`: all of the residual is. `withheld`: under the positive prompt, the component is what it
    is under the negative one.
    """
    if what == "steered":
        return Add(direction, layers, coefficient).edits
    if what == "ablated":
        return Ablate(direction, layers).edits
    source = residuals["negative" if what == "withheld" else "positive"]
    values = {Hookpoint(layer): source[Hookpoint(layer)] for layer in layers}
    return Patch(values, None if what == "patched whole" else direction).edits


def panel_of(
    model: HookedModel,
    part: Part,
    direction: Direction,
    layers: Sequence[int],
    coefficients: Coefficients,
    random: Mapping[int, Sequence[tuple[Direction, float]]],
    *,
    cumulative: bool,
) -> pd.DataFrame:
    """Preference of every pair of a part: pair, question, scope, layer, what, draw, preference, change.

    Rows with `what` an arm ("positive", "negative", "none") have nothing done and no layer (-1). Draw -1 is the
    direction, 0, 1, ... random ones. The change is from the same prompt with nothing done.

    Args:
        coefficients: of adding the direction, by scope and layer.
        random: at every layer, random directions and the coefficient of each.
    """
    last = max(layers)
    everywhere = range(last + 1) if cumulative else sorted(layers)
    hookpoints = [Hookpoint(layer) for layer in everywhere]
    residuals: dict[Arm, Residuals] = {arm: part.residuals(model, arm, hookpoints) for arm in ("positive", "negative")}
    whole = {arm: part.preference(model, arm, NO_EDITS) for arm in ARMS}
    rows = [_rows(part, "layer", -1, arm, -1, whole[arm], whole[arm]) for arm in ARMS]
    for scope, layer, what, draw, along, coefficient in _cells(direction, layers, coefficients, random, cumulative):
        places = range(layer + 1) if scope == "cumulative" else [layer]
        edits = edits_at(what, along, tuple(places), coefficient=coefficient, residuals=residuals)
        found = part.preference(model, UNDER[what], edits)
        rows.append(_rows(part, scope, layer, what, draw, found, whole[UNDER[what]]))
    return pd.concat(rows, ignore_index=True)


def _cells(
    direction: Direction,
    layers: Sequence[int],
    coefficients: Coefficients,
    random: Mapping[int, Sequence[tuple[Direction, float]]],
    cumulative: bool,
) -> Iterator[tuple[Scope, int, What, int, Direction, float]]:
    """Scope, layer, what, draw, direction and coefficient of everything that is done."""
    for layer in layers:
        for what in WHATS:
            yield "layer", layer, what, -1, direction, coefficients["layer", layer]
        for draw, (along, coefficient) in enumerate(random[layer]):
            for what in RANDOM:
                yield "layer", layer, what, draw, along, coefficient
        if cumulative:
            for what in WHATS:
                if what != "patched whole":  # the residual at a layer is all that later blocks have of earlier ones
                    yield "cumulative", layer, what, -1, direction, coefficients["cumulative", layer]


def _rows(
    part: Part, scope: Scope, layer: int, what: str, draw: int, found: np.ndarray, whole: np.ndarray
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pair": range(part.first, part.first + len(part.pairs)),
            "question": [pair.question for pair in part.pairs],
            "scope": scope,
            "layer": layer,
            "what": what,
            "draw": draw,
            "preference": found,
            "change": found - whole,
        }
    )
