"""What every statistic asks of its rows: some, finite, one label each."""

import numpy as np
from jaxtyping import Int, Num, Shaped

from persona_interp.errors import AlignmentError, EmptySelectionError

Vector = Num[np.ndarray, " _"]
Labels = Shaped[np.ndarray, " _"]


def check_rows(*columns: Num[np.ndarray, "..."]) -> None:
    """Refuse columns without rows.

    Raises:
        EmptySelectionError: one of them has none.
    """
    if any(len(column) == 0 for column in columns):
        given = " and ".join(str(len(column)) for column in columns)
        raise EmptySelectionError(f"a statistic needs rows, got {given}.", "Look at what was filtered out.")


def cluster_codes(*sides: tuple[Num[np.ndarray, "..."], Labels]) -> Int[np.ndarray, " _"]:
    """Clusters as 0, 1, ... over the rows of all sides, after checking rows, labels and values.

    Raises:
        AlignmentError: a row without its label, or a value that is not finite.
        EmptySelectionError: a side has no rows.
    """
    check_rows(*(values for values, _ in sides))
    for values, clusters in sides:
        if len(clusters) != len(values):
            raise AlignmentError(
                f"every row must have one cluster label, got {len(values)} rows and {len(clusters)} labels."
            )
        if bad := int(np.sum(~np.isfinite(values))):
            raise AlignmentError(
                f"values must be finite, got {bad} of {values.size} that are not.", "Leave those rows out first."
            )
    labels = np.concatenate([clusters for _, clusters in sides])
    return np.unique(labels.astype(str), return_inverse=True)[1]
