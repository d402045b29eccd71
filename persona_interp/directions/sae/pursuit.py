"""A vector as a sum of few others: pursuit, and how much of it the first few of a list leave."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import nnls
from torch import Tensor

EXACT = 1e-6
"""A vector is reached where the part of its norm that is left is below this."""
_PARALLEL = 1e-9
"""Of a unit vector: what is left of it beside others that it depends on."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """What was chosen for each of several vectors, in order.

    Args:
        atoms: their numbers, -1 once the vector was reached, or nothing would bring it nearer.
        left: share of the squared norm that is left with the first 1, 2, ... of them.
    """

    atoms: Int[np.ndarray, "vector step"]
    left: Float[np.ndarray, "vector step"]


def pursue(
    vectors: Float[Tensor, "vector d_model"],
    atoms: Float[Tensor, "atom d_model"],
    n: int,
    *,
    non_negative: bool = False,
) -> Chosen:
    """Orthogonal matching pursuit: again and again the atom nearest to what is left, then all coefficients anew.

    Nearest is the largest |cosine| with what is left, or with `non_negative` the largest cosine; coefficients are then
    least squares, or least squares of none below zero.

    Source: Pati, Rezaiifar and Krishnaprasad 1993; Bruckstein, Elad and Zibulevsky 2008 for the non-negative one.
    """
    units = torch.nn.functional.normalize(atoms.float(), dim=-1)
    targets = vectors.double().cpu().numpy()
    squares = (targets**2).sum(1)
    left = targets.copy()
    chosen = np.full((len(targets), n), -1)
    shares = np.zeros((len(targets), n))
    spans = [_Span(target, non_negative) for target in targets]
    active = squares > 0
    for step in range(n):
        if active.any():
            cosines = torch.from_numpy(left[active]).to(units) @ units.T
            for row, found in zip(np.flatnonzero(active), cosines, strict=True):
                taken = chosen[row, :step]
                found[torch.from_numpy(taken[taken >= 0]).to(found.device)] = -torch.inf if non_negative else 0.0
                best = int(found.argmax() if non_negative else found.abs().argmax())
                reached = float(np.linalg.norm(left[row])) <= EXACT * float(np.sqrt(squares[row]))
                if reached or not float(found[best] if non_negative else found[best].abs()) > 0:
                    active[row] = False
                    continue
                chosen[row, step] = best
                left[row] = spans[row].add(atoms[best].double().cpu().numpy())
        shares[:, step] = (left**2).sum(1) / np.where(squares > 0, squares, 1)
    return Chosen(chosen, shares)


def left_over(
    vectors: Float[Tensor, "vector d_model"], atoms: Float[Tensor, "step d_model"], *, non_negative: bool = False
) -> Float[np.ndarray, "vector step"]:
    """Share of each vector's squared norm that is left by the first 1, 2, ... of some atoms, by least squares."""
    targets, rows = vectors.double().cpu().numpy(), atoms.double().cpu().numpy()
    squares = (targets**2).sum(1)
    shares = np.ones((len(targets), len(rows)))
    for k, target in enumerate(targets):
        span = _Span(target, non_negative)
        for step, row in enumerate(rows):
            shares[k, step] = (span.add(row) ** 2).sum() / (squares[k] or 1)
    return shares


def fit(
    vector: Float[Tensor, " d_model"], atoms: Float[Tensor, "atom d_model"], *, non_negative: bool = False
) -> Float[Tensor, " atom"]:
    """Coefficients of atoms whose sum is nearest to a vector."""
    rows, target = atoms.double().cpu().numpy(), vector.double().cpu().numpy()
    found = nnls(rows.T, target)[0] if non_negative else np.linalg.lstsq(rows.T, target, rcond=None)[0]
    return torch.from_numpy(found).float()


class _Span:
    """What is left of a vector beside more and more others."""

    def __init__(self, target: Float[np.ndarray, " d_model"], non_negative: bool) -> None:
        self._target, self._non_negative = target, non_negative
        self._basis = np.zeros((0, len(target)))
        self._rows: list[np.ndarray] = []
        self._left = target

    def add(self, row: Float[np.ndarray, " d_model"]) -> Float[np.ndarray, " d_model"]:
        """What is left with one more."""
        self._rows.append(row)
        unit = row / (np.linalg.norm(row) or 1)
        for _ in range(2):  # once more, for what rounding left
            unit = unit - self._basis.T @ (self._basis @ unit)
        length = float(np.linalg.norm(unit))
        if length > _PARALLEL:
            self._basis = np.vstack([self._basis, unit / length])
        if not self._non_negative:
            self._left = self._target - self._basis.T @ (self._basis @ self._target)
            return self._left
        inside = self._basis @ np.stack(self._rows, axis=1)  # few rows in place of d_model
        coefficients = nnls(inside, self._basis @ self._target)[0]
        self._left = self._target - coefficients @ np.stack(self._rows)
        return self._left
