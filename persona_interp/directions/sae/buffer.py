"""A shuffled buffer of token-level activations of texts, passed over again and again, decided by a seed.

Its state is small: how many texts of which pass were read, how often it was filled, and the activations that it holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.directions.sae.tokens import TEXTS_AT_ONCE, text_rows, token_activations
from persona_interp.errors import EmptySelectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.statistics.streams import stream
from persona_interp.types import Hookpoint


@dataclass(frozen=True)
class Position:
    """How far a stream of texts was read: passes over all of them, texts of the present one, fills of the buffer."""

    epoch: int = 0
    text: int = 0
    n_fills: int = 0


class ShuffledActivations:
    """Batches of activations at a hookpoint, from texts in an order that is new in every pass.

    The buffer is filled when it is half empty, and then shuffled whole. Position 0, massive positions and beginnings
    that texts share are left out.
    """

    def __init__(
        self,
        model: HookedModel,
        texts: Sequence[str],
        hookpoint: Hookpoint,
        *,
        limit: float,
        buffer_tokens: int,
        batch_tokens: int,
        seed: int,
        device: torch.device | str,
        position: Position | None = None,
        held: Float[Tensor, "token d_in"] | None = None,
    ) -> None:
        self._model, self._texts, self._hookpoint = model, texts, hookpoint
        self._limit, self._size, self._batch, self._seed = limit, buffer_tokens, batch_tokens, seed
        self._device = device
        self.position = position or Position()
        self.held = torch.zeros(0, 0) if held is None else held.to(device)

    def __iter__(self) -> "ShuffledActivations":
        """Itself."""
        return self

    def __next__(self) -> Float[Tensor, "token d_in"]:
        """The next batch."""
        if len(self.held) < max(self._batch, self._size // 2):
            self._fill()
        batch, self.held = self.held[-self._batch :], self.held[: -self._batch]
        return batch

    def first(self) -> Float[Tensor, "token d_in"]:
        """What the buffer holds after it was filled for the first time."""
        if not len(self.held):
            self._fill()
        return self.held

    def _fill(self) -> None:
        parts, n, empty = [self.held] if len(self.held) else [], len(self.held), 0
        while n < self._size:
            made = self._read()
            n, empty = n + len(made), 0 if len(made) else empty + 1
            parts.append(made)
            if empty * TEXTS_AT_ONCE > len(self._texts) + TEXTS_AT_ONCE:
                raise EmptySelectionError("the texts have no token to train on.", "Give texts that are not empty.")
        mixed = torch.cat([part for part in parts if len(part)])
        order = stream(self._seed, "buffer", self.position.n_fills).permutation(len(mixed))
        self.held = mixed[torch.from_numpy(order).to(mixed.device)]
        self.position = Position(self.position.epoch, self.position.text, self.position.n_fills + 1)

    def _read(self) -> Float[Tensor, "token d_in"]:
        """Activations of the next texts of this pass."""
        epoch, start = self.position.epoch, self.position.text
        order = stream(self._seed, "order of texts", epoch).permutation(len(self._texts))
        numbers = [int(k) for k in order[start : start + TEXTS_AT_ONCE]]
        rows = text_rows(self._model.tokenizer, [self._texts[k] for k in numbers], numbers)
        found = []
        for chunk in token_activations(self._model, rows, [self._hookpoint]):
            values = chunk.values[self._hookpoint]
            found.append(values[chunk.kept(self._hookpoint, self._limit)].float().to(self._device))
        ended = start + len(numbers) >= len(self._texts)
        after = (epoch + 1, 0) if ended else (epoch, start + len(numbers))
        self.position = Position(*after, self.position.n_fills)
        return torch.cat(found) if found else torch.zeros(0, 0, device=self._device)
