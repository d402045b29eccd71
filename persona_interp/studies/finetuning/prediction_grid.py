"""`Grid`: finetuning runs over data sets and seeds, with what they moved inside the model and in its answers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.statistics.contrast import Contrast

COLUMNS = ("cell", "data", "trait_of_data", "level", "seed")


@dataclass(frozen=True, eq=False)
class Grid:
    """One finetuning run a row (a cell), a data set trained with several seeds or one.

    Args:
        cells: cell (a name of its own), data (such as "impolite level_2"), trait_of_data, level, seed.
        shifts: by trait, cell x layer x d_model: the mean activation change on that trait's probe prompts
            (`mean_shift`), at the directions' hookpoints.
        expression: by judge and trait, a value a cell: mean trait expression after training minus that of the base
            model, in points of 100; NaN where the judge could rate nothing. Traits are those of `shifts`.
        directions: by trait, all at the same hookpoints.
        training: by trait, the activations that its direction was extracted from, at those hookpoints.

    Raises:
        AlignmentError: rows, traits, shapes or hookpoints do not match, or shifts are not finite.
        ConfigError: a cell, or a data set with a seed, comes twice; or a data set has two traits or levels.
    """

    cells: pd.DataFrame
    shifts: Mapping[str, Float[np.ndarray, "_ _ _"]]
    expression: Mapping[tuple[str, str], Float[np.ndarray, " _"]]
    directions: Mapping[str, Direction]
    training: Mapping[str, Contrast]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        _check_cells(self.cells)
        if not self.directions:
            raise AlignmentError("the grid was given without a direction.", "Give at least one, by trait.")
        first = next(iter(self.directions.values()))
        for trait, direction in self.directions.items():
            if direction.hookpoints != first.hookpoints:
                raise AlignmentError(
                    f"the directions {first.trait} and {trait} differ in hookpoints.", "Give all of them at the same."
                )
        expected = (len(self.cells), *first.vectors.shape)
        for trait, shifts in self.shifts.items():
            if shifts.shape != expected:
                raise AlignmentError(f"the shifts of {trait} have shape {shifts.shape}; expected {expected}.")
            if not np.isfinite(shifts).all():
                raise AlignmentError(f"the shifts of {trait} are not all finite.", "Leave the cells that diverged out.")
        for (judge, trait), change in self.expression.items():
            if trait not in self.shifts:
                raise AlignmentError(f"{judge} rated {trait}, whose probe prompts have no shifts.", "Measure both.")
            if len(change) != len(self.cells):
                raise AlignmentError(
                    f"the expression of {trait} by {judge} has {len(change)} values for {len(self.cells)} cells."
                )

    @property
    def layers(self) -> tuple[int, ...]:
        """The layer of each row of the directions."""
        return tuple(hookpoint.layer for hookpoint in next(iter(self.directions.values())).hookpoints)

    @property
    def judges(self) -> tuple[str, ...]:
        """The judges, in order."""
        return tuple(dict.fromkeys(judge for judge, _ in self.expression))

    @property
    def order(self) -> Int[np.ndarray, " cell"]:
        """Numbers of the cells, data set after data set, each with its seeds in order: what exchanging them asks."""
        return np.lexsort((pd.factorize(self.cells["seed"], sort=True)[0], self.data))

    @property
    def data(self) -> Shaped[np.ndarray, " cell"]:
        """The data set of every cell."""
        return self.cells["data"].to_numpy(object).astype(str)

    def projected(self, direction: str, probes: str) -> Float[np.ndarray, "cell layer"]:
        """Finetuning shift of every cell: the change on the probe prompts of one trait along v/|v| of another or it."""
        vectors = self.directions[direction].vectors.double().numpy()
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        unit = np.divide(vectors, lengths, out=np.full_like(vectors, np.nan), where=lengths > 0)
        return np.einsum("cld,ld->cl", self.shifts[probes].astype(np.float64), unit)

    def points(self, trait: str, judge: str, layer: int) -> pd.DataFrame:
        """The cells with the columns shift (at a layer) and expression (change) of a trait, for a figure."""
        if layer not in self.layers:
            raise ConfigError(f"the grid has no layer {layer}.", f"Its layers: {', '.join(map(str, self.layers))}.")
        if (judge, trait) not in self.expression:
            raise ConfigError(f"{judge} did not rate {trait} in this grid.", f"Judges: {', '.join(self.judges)}.")
        shift = self.projected(trait, trait)[:, self.layers.index(layer)]
        return self.cells.assign(shift=shift, expression=self.expression[judge, trait])


def _check_cells(cells: pd.DataFrame) -> None:
    if missing := [column for column in COLUMNS if column not in cells]:
        raise AlignmentError(f"the cells lack the columns {', '.join(missing)}.", f"Expected {', '.join(COLUMNS)}.")
    for columns in (["cell"], ["data", "seed"]):
        if (twice := cells.duplicated(columns)).any():
            named = ", ".join(f"{column} {cells.loc[twice, column].iloc[0]}" for column in columns)
            raise ConfigError(f"every run must be one row of the grid, got {named} twice.")
    kinds = cells.groupby("data")[["trait_of_data", "level"]].nunique(dropna=False)
    if (mixed := (kinds > 1).any(axis=1)).any():
        raise ConfigError(
            f"the data set {kinds.index[mixed][0]!r} has more than one trait or level.", "Give each its own name."
        )
