"""Smoothing of token scores along an answer: a trailing mean, or an exponential one; online and offline alike."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from persona_interp.errors import ConfigError


@dataclass(frozen=True)
class Smoothing:
    """Mean of the last `window` tokens (fewer at the start), or s = (1 - decay) s + decay x from the first token on.

    Args:
        decay: weight of the newest token, in (0, 1]; None for the window.
    """

    window: int = 1
    decay: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be averaged with."""
        if not self.window >= 1:
            raise ConfigError(f"got a window of {self.window} tokens.", "Expected 1 (no smoothing) or more.")
        if self.decay is not None and (self.window != 1 or not 0 < self.decay <= 1):
            raise ConfigError(
                f"got a decay of {self.decay} with a window of {self.window}.",
                "Expected a decay in (0, 1] with window=1, or decay=None.",
            )


class Smoother:
    """The running scores of many answers at once."""

    def __init__(self, smoothing: Smoothing, n_channels: int) -> None:
        self._smoothing = smoothing
        self._counts = np.zeros(0, dtype=int)
        self._held = np.zeros((0, smoothing.window, n_channels))

    def update(
        self, rows: Int[np.ndarray, " row"], values: Float[np.ndarray, "row channel"]
    ) -> Float[np.ndarray, "row channel"]:
        """Scores after one more token of each of these rows, each named once."""
        if len(rows) and int(rows.max()) >= len(self._counts):
            self._grow(int(rows.max()) + 1)
        seen, self._counts[rows] = self._counts[rows], self._counts[rows] + 1
        window, decay = self._smoothing.window, self._smoothing.decay
        if decay is not None:
            old = np.where(seen[:, None] == 0, values, self._held[rows, 0])
            self._held[rows, 0] = (1 - decay) * old + decay * values
            return self._held[rows, 0]
        self._held[rows, seen % window] = values
        return self._held[rows].sum(axis=1) / np.minimum(seen + 1, window)[:, None]

    def _grow(self, n_rows: int) -> None:
        added = n_rows - len(self._counts)
        self._counts = np.concatenate([self._counts, np.zeros(added, dtype=int)])
        self._held = np.concatenate([self._held, np.zeros((added, *self._held.shape[1:]))])


def smooth(values: Float[np.ndarray, " token"], smoothing: Smoothing) -> Float[np.ndarray, " token"]:
    """The scores of one whole answer."""
    smoother, row = Smoother(smoothing, 1), np.zeros(1, dtype=int)
    return np.array([smoother.update(row, np.array([[value]]))[0, 0] for value in values.tolist()], dtype=float)
