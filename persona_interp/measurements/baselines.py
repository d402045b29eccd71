"""Held-out separation of several directions on the same rows, one row a method and layer."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.measurements.contrast import contrast_of
from persona_interp.statistics import auc_intervals
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.types import Hookpoint

COLUMNS = ("method", "layer", "stream", "auc", "low", "high", "cosine", "n_positive", "n_negative", "n_questions")


@checked
def compare_separation(
    directions: Mapping[str, Direction],
    test_positive: Activations,
    test_negative: Activations,
    *,
    reference: str | None = None,
    level: Between0And1 = CONFIDENCE,
) -> pd.DataFrame:
    """Held-out AUC of every direction at each of its hookpoints, with its interval over questions (`auc_intervals`).

    Above 0.5 where positives project higher. Every direction is scored on the same rows and the same resampled
    questions. The intervals hold for a layer named in advance. `cosine` is that with the reference direction at the
    same hookpoint; NaN where the reference has none there, or a vector is zero.

    Args:
        directions: by the name they get in the column `method`, such as what `fit_direction` gives for each baseline.
        test_positive: rows that no direction was fitted on, their samples with a column `question`.
        reference: name of the persona vector among the directions; the first of them by default.

    Raises:
        EmptySelectionError: no direction was given, or a pole has no rows.
        AlignmentError: the activations differ or lack a hookpoint or questions, or there is no such reference.
        IncompatibleDirectionError: a direction belongs to another model.
    """
    if not directions:
        raise EmptySelectionError("no direction was given to compare.", "Give at least one, by name.")
    name = next(iter(directions)) if reference is None else reference
    if name not in directions:
        raise AlignmentError(f"no direction is called {name!r}.", f"Directions: {', '.join(directions)}.")
    if test_positive.hookpoints != test_negative.hookpoints:
        raise AlignmentError(
            "positive and negative test activations differ in hookpoints.", "Extract both in the same way."
        )
    test = contrast_of(test_positive, test_negative, name="test")
    centre = torch.cat([test_positive.values, test_negative.values]).double().mean(0)
    rows = []
    for method, direction in directions.items():
        positive, negative = (_projections(direction, side, centre) for side in (test_positive, test_negative))
        asked = test.questions[test.labels], test.questions[~test.labels]
        intervals = auc_intervals(positive, negative, *asked, level=level)
        for hookpoint, interval in zip(direction.hookpoints, intervals, strict=True):
            place = (method, hookpoint.layer, hookpoint.stream)
            measured = (interval.estimate, interval.low, interval.high)
            cosine = _cosine(direction, directions[name], hookpoint)
            rows.append((*place, *measured, cosine, len(positive), len(negative), interval.n_clusters))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _projections(
    direction: Direction, side: Activations, centre: Float[Tensor, "every d_model"]
) -> Float[np.ndarray, "sample layer"]:
    """Projections of the centred rows: far from the origin, float32 would make ties. Zero for a zero vector."""
    is_zero = direction.vectors.norm(dim=-1) == 0
    some = replace(direction, vectors=torch.where(is_zero[:, None], 1.0, direction.vectors))
    projections = some.project(replace(side, values=side.values.double() - centre))
    return torch.where(is_zero, 0.0, projections).numpy()


def _cosine(direction: Direction, reference: Direction, hookpoint: Hookpoint) -> float:
    if hookpoint not in reference.hookpoints:
        return float("nan")
    ours, theirs = direction.at(hookpoint).double(), reference.at(hookpoint).double()
    lengths = float(ours.norm() * theirs.norm())
    return float(ours @ theirs) / lengths if lengths > 0 else float("nan")
