"""AUC at a layer chosen on other questions and other prompts, with its interval over questions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from persona_interp.statistics.auc_interval import logit_interval
from persona_interp.statistics.effects import first_largest
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.prompt_exchange import HeldOutPrompts
from persona_interp.statistics.resampling import Interval

N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Cell:
    """Won comparisons of some positive with some negative test rows along one direction a layer."""

    positive: Int[np.ndarray, " positive"]
    negative: Int[np.ndarray, " negative"]
    wins: Float[np.ndarray, "layer positive negative"]


@dataclass(frozen=True, eq=False)
class NestedAuc:
    """The interval, and the layer that every cell and fold chose."""

    interval: Interval
    layers: Int[np.ndarray, " choice"]

    @property
    def layer(self) -> int:
        """The layer chosen most often; the earliest of equals."""
        return int(np.bincount(self.layers).argmax())


def nested_auc(
    cells: list[Cell],
    chosen_on: Callable[[int], list[Cell]],
    questions: Shaped[np.ndarray, " test"],
    *,
    level: float = CONFIDENCE,
) -> NestedAuc:
    """Mean AUC over cells and folds of questions, each at the layer that is best on cells and questions without it.

    0.5 where nothing separates. The interval (on the logit, Student's t over questions) holds prompts, directions and
    chosen layers fixed; it counts the comparisons inside folds only, as the estimate does, and is wide with few rows a
    fold. Measured coverage: tests/golden/levels/intervals.csv; bias: separation.csv.

    Args:
        chosen_on: the cells by which the layer of the k-th cell is chosen; without the k-th prompts where possible.
    """
    codes = np.unique(questions, return_inverse=True)[1]
    n_questions = int(codes.max()) + 1
    folds = codes % min(N_FOLDS, n_questions)
    n_folds = int(folds.max()) + 1
    aucs, layers, placed = [], [], np.zeros((2, len(codes)))
    for k, cell in enumerate(cells):
        best = [first_largest(means) for means in _means(chosen_on(k), folds, n_folds)]
        layers.extend(best)
        ours, theirs = folds[cell.positive], folds[cell.negative]
        for fold, layer in enumerate(best):
            here = cell.wins[layer][ours == fold][:, theirs == fold] if n_folds > 1 else cell.wins[layer]
            if here.size:
                aucs.append(float(here.mean()))
                for rows, folds_of, axis in ((cell.positive, ours, 1), (cell.negative, theirs, 0)):
                    inside = rows[folds_of == fold] if n_folds > 1 else rows
                    placed[0, inside] += here.mean(axis=axis)
                    placed[1, inside] += 1
    estimate = float(np.mean(aucs)) if aucs else float("nan")
    placements = np.divide(placed[0], placed[1], out=np.full(len(codes), np.nan), where=placed[1] > 0)
    positive = np.zeros(len(codes), dtype=bool)
    positive[np.concatenate([cell.positive for cell in cells])] = True
    interval = replace(
        _interval(estimate, placements, positive, codes, level), fixed=("prompts", "directions", "layers")
    )
    return NestedAuc(interval, np.array(layers))


def _interval(
    estimate: float,
    placements: Float[np.ndarray, " test"],
    positive: Shaped[np.ndarray, " test"],
    codes: Int[np.ndarray, " test"],
    level: float,
) -> Interval:
    """`logit_interval` of the rows that were tested."""
    ours, theirs = (~np.isnan(placements) & side for side in (positive, ~positive))
    return logit_interval(estimate, placements[ours], placements[theirs], codes[ours], codes[theirs], level=level)


def layer_aucs(
    cells: list[Cell], questions: Shaped[np.ndarray, " test"], *, level: float = CONFIDENCE
) -> tuple[Interval, ...]:
    """The AUC of every layer over all cells, with its interval for a layer named in advance."""
    codes, n_layers = np.unique(questions, return_inverse=True)[1], cells[0].wins.shape[0]
    placed, positive = np.zeros((n_layers + 1, len(codes))), np.zeros(len(codes), dtype=bool)
    for cell in cells:
        positive[cell.positive] = True
        for rows, axis in ((cell.positive, 2), (cell.negative, 1)):
            placed[:-1, rows] += cell.wins.mean(axis=axis)
            placed[-1, rows] += 1
    values = np.divide(placed[:-1], placed[-1], out=np.full_like(placed[:-1], np.nan), where=placed[-1] > 0)
    aucs = np.mean([cell.wins.mean(axis=(1, 2)) for cell in cells], axis=0)
    return tuple(
        replace(_interval(float(auc), row, positive, codes, level), fixed=("prompts", "directions"))
        for auc, row in zip(aucs, values, strict=True)
    )


def _means(cells: list[Cell], folds: Int[np.ndarray, " test"], n_folds: int) -> Float[np.ndarray, "fold layer"]:
    """Mean AUC of the cells over the questions outside each fold; over all where there is one fold."""
    total = np.zeros((n_folds, cells[0].wins.shape[0]))
    for cell in cells:
        for fold in range(n_folds):
            ours, theirs = (
                folds[rows] != fold if n_folds > 1 else rows >= 0 for rows in (cell.positive, cell.negative)
            )
            if ours.any() and theirs.any():
                total[fold] += cell.wins[:, ours][:, :, theirs].mean(axis=(1, 2))
    return total


def cells_of(held: HeldOutPrompts, without: tuple[int, ...] = ()) -> list[Cell]:
    """The comparisons of every two prompts, along directions that neither of them made."""
    return [Cell(held.rows[i], held.rows[j], wins) for i, j, wins in held.cells(without)]


def prompt_nested_auc(
    held: HeldOutPrompts, questions: Shaped[np.ndarray, " test"], *, level: float = CONFIDENCE
) -> tuple[NestedAuc, tuple[Interval, ...]]:
    """Nested AUC whose layers are chosen without the prompts it is tested on, and the AUC of every layer.

    With two pairs of prompts, layers are chosen on other questions of the same prompts.
    """
    pairs = [(i, j) for i, j, _ in held.cells()]
    cells = cells_of(held)

    def chosen_on(k: int) -> list[Cell]:
        return cells_of(held, pairs[k]) if held.possible(without=pairs[k]) else cells

    return nested_auc(cells, chosen_on, questions, level=level), layer_aucs(cells, questions, level=level)


def row_cell(scores: Float[np.ndarray, "test layer"], labels: Bool[np.ndarray, " test"]) -> Cell:
    """One cell of all test rows, where one direction scores them all."""
    a, b = scores[labels].T[:, :, None], scores[~labels].T[:, None]
    return Cell(np.flatnonzero(labels), np.flatnonzero(~labels), (a > b) + 0.5 * (a == b))
