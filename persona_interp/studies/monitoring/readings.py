"""Readings: what a watch sees of each answer token, projected, smoothed and compared with thresholds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from persona_interp.directions.direction import Direction, unit_vectors
from persona_interp.models.recorder import Segment
from persona_interp.studies.monitoring.smoothing import Smoother, Smoothing
from persona_interp.types import Hookpoint


@dataclass(frozen=True, eq=False)
class Step:
    """Tokens read in one pass: which answers and places they are of (-1: the last prompt token), and their readings."""

    call: int
    rows: Int[np.ndarray, " token"]
    index: Int[np.ndarray, " token"]
    ids: Int[np.ndarray, " token"]
    projections: Float[np.ndarray, "token channel"]
    scores: Float[np.ndarray, "token channel"]
    alerts: Bool[np.ndarray, "token channel"]


class Readings:
    """A watch that keeps the projections of answer tokens and last prompt tokens, and nothing of the residuals.

    Channels are directions by layers, direction by direction.

    Args:
        limits: a score above its channel's limit is marked; NaN marks nothing.
        on_step: called with what each pass read.
    """

    def __init__(
        self,
        directions: Sequence[Direction],
        layers: Sequence[int],
        *,
        smoothing: Smoothing,
        limits: Float[np.ndarray, " channel"],
        on_step: Callable[[Step], None],
    ) -> None:
        self.hookpoints = tuple(Hookpoint(layer) for layer in dict.fromkeys(layers))
        self.steps: list[Step] = []
        self._layers, self._smoothing, self._limits = tuple(layers), smoothing, limits
        self._listeners = [on_step]
        self._units = {hookpoint: unit_vectors(directions, hookpoint) for hookpoint in self.hookpoints}
        self._call = -1

    def clear(self) -> None:
        """Forget everything read so far."""
        self.steps, self._call = [], -1

    @contextmanager
    def passing_on(self, put: Callable[[Step], None]) -> Iterator[None]:
        """A context in which every pass is also handed to `put`, after the alerts."""
        self._listeners.append(put)
        try:
            yield
        finally:
            self._listeners.remove(put)

    def start(self) -> None:
        """A call begins."""
        self._call += 1
        self._first_step = len(self.steps)
        self._smoother = Smoother(self._smoothing, len(self._limits))
        self._lengths: dict[int, int] = {}

    def begin(self, segment: Segment, rows: Int[Tensor, " active"] | None) -> None:
        """Find the tokens of this pass that are read."""
        self._segment, self._rows = segment, rows
        self._where = (segment.response | segment.last).nonzero(as_tuple=True)
        self._read: dict[Hookpoint, Float[Tensor, "token direction"]] = {}

    def observe(self, hookpoint: Hookpoint, residual: Float[Tensor, "batch pos d_model"]) -> None:
        """Project the tokens that are read."""
        if len(self._where[0]) == 0:
            return
        batch, position = self._where
        picked = residual.detach()[batch.to(residual.device), position.to(residual.device)].float()
        units = self._units[hookpoint] = self._units[hookpoint].to(residual.device)
        self._read[hookpoint] = picked @ units.T

    def end(self) -> None:
        """Score what was read, and raise alerts."""
        if len(self._where[0]) == 0:
            return
        batch, position = (axis.cpu() for axis in self._where)
        rows = batch.numpy() if self._rows is None else self._rows.cpu()[batch].numpy()
        by_layer = [self._read[hookpoint].cpu() for hookpoint in (Hookpoint(layer) for layer in self._layers)]
        projections = torch.stack(by_layer, dim=-1).flatten(1).double().numpy()
        is_prompt = self._segment.last.cpu()[batch, position].numpy()
        ids = self._segment.ids.cpu()[batch, position].numpy()
        self._score(rows, ids, projections, is_prompt)

    def expand(self, parent: Int[Tensor, " row"]) -> None:
        """Answers go on from these prompts: what was read of a prompt is that of each of its answers."""
        parents = parent.cpu().numpy()
        for k in range(self._first_step, len(self.steps)):
            step = self.steps[k]
            taken, child = np.nonzero(step.rows[:, None] == parents[None])
            changed = {name: getattr(step, name)[taken] for name in ("index", "ids", "projections", "scores", "alerts")}
            self.steps[k] = replace(step, rows=child, **changed)

    def _score(
        self,
        rows: Int[np.ndarray, " token"],
        ids: Int[np.ndarray, " token"],
        projections: Float[np.ndarray, "token channel"],
        is_prompt: Bool[np.ndarray, " token"],
    ) -> None:
        index, scores = np.full(len(rows), -1), np.full(projections.shape, np.nan)
        for k in np.flatnonzero(~is_prompt):
            index[k] = self._lengths.get(int(rows[k]), 0)
            self._lengths[int(rows[k])] = index[k] + 1
        for number in np.unique(index[~is_prompt]):
            now = np.flatnonzero(index == number)
            scores[now] = self._smoother.update(rows[now], projections[now])
        alerts = scores > self._limits
        self.steps.append(Step(self._call, rows, index, ids, projections, scores, alerts))
        for listen in self._listeners:
            listen(self.steps[-1])

    def tokens(self) -> pd.DataFrame:
        """One row a token, with a column a direction and layer for projection, score and alert."""
        steps = self.steps
        calls = [np.full(len(step.rows), step.call) for step in steps]
        columns = {"call": _joined(calls), "row": _joined([step.rows for step in steps])}
        columns |= {"token_index": _joined([s.index for s in steps]), "token_id": _joined([s.ids for s in steps])}
        for k in range(len(self._limits)):
            columns[f"projection {k}"] = _joined([step.projections[:, k] for step in steps], float)
            columns[f"score {k}"] = _joined([step.scores[:, k] for step in steps], float)
            columns[f"alert {k}"] = _joined([step.alerts[:, k] for step in steps], bool)
        return pd.DataFrame(columns).sort_values(["call", "row", "token_index"], kind="stable", ignore_index=True)


def _joined(parts: list[np.ndarray], kind: type = int) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)
