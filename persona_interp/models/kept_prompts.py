"""`KeptPrompts`: what passes over one batch have in common, computed in the first of them."""

from copy import deepcopy

from jaxtyping import Bool
from torch import Tensor
from transformers import DynamicCache

from persona_interp.errors import AlignmentError
from persona_interp.types import TokenBatch


class KeptPrompts:
    """Keys and values of a batch's prompts up to their last token, for passes that differ in edits of what follows.

    Give the same one to several calls of `run` over one batch by one model. The first pass that can fills it; a pass
    whose edits reach further into the prompts, that reads residuals, or that has virtual tokens leaves it aside, and
    its result is the same either way.
    """

    def __init__(self) -> None:
        self._owner: tuple[object, TokenBatch] | None = None
        self._held: tuple[DynamicCache, Bool[Tensor, "row past"]] | None = None

    def claim(self, model: object, batch: TokenBatch) -> None:
        """Belong to this batch of this model.

        Raises:
            AlignmentError: it belongs to another one.
        """
        if self._owner is None:
            self._owner = model, batch
        elif self._owner[0] is not model or not _equal(self._owner[1], batch):
            raise AlignmentError("kept prompts are of another batch, or of another model.", "Take a new KeptPrompts.")

    def hold(self, cache: DynamicCache, past: Bool[Tensor, "row past"]) -> None:
        """Keep a copy of the cache before the last segment of a pass, and the mask of what is in it."""
        self._held = deepcopy(cache), past

    def begun(self) -> tuple[DynamicCache, Bool[Tensor, "row past"]] | None:
        """A copy of what is kept, on top of which a last segment can be run; None before the first pass."""
        return None if self._held is None else (deepcopy(self._held[0]), self._held[1])


def _equal(one: TokenBatch, other: TokenBatch) -> bool:
    pairs = ((one.ids, other.ids), (one.mask, other.mask), (one.response, other.response))
    return all(a.shape == b.shape and bool((a == b.to(a.device)).all()) for a, b in pairs)
