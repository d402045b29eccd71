"""Reading, pooling and editing the residual stream at hookpoints, over one or several passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from persona_interp.errors import HookpointError
from persona_interp.models.reasoning import ReasoningRows
from persona_interp.types import EditFunction, Edits, Hookpoint, Pooling, RowEditFunction, Span, TokenBatch

Tap = Callable[[Float[Tensor, "batch pos d_model"]], Float[Tensor, "batch pos d_model"] | None]
"""Called with the residual at a hookpoint; returns a replacement, or None to leave it."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive tokens of every row, computed in one pass on top of what earlier segments cached.

    `parent[i]` is the row of the previous segment that row i continues (None: the first segment). `answer` is the part
    of the response that is pooled (None: all of it).
    """

    ids: Int[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"]
    response: Bool[Tensor, "batch pos"]
    last: Bool[Tensor, "batch pos"]
    parent: Int[Tensor, " batch"] | None = None
    answer: Bool[Tensor, "batch pos"] | None = None

    @classmethod
    def whole(cls, batch: TokenBatch) -> "Segment":
        """The batch as a single segment."""
        return cls(batch.ids, batch.mask, batch.response, batch.last_prompt, answer=batch.answer)

    def span(self, span: Span, *, last_prompt_token: bool) -> Bool[Tensor, "batch pos"]:
        """The positions of a span within this segment (as `TokenBatch.span`)."""
        if span == "all":
            return self.mask
        if span == "prompt":
            return self.mask & ~self.response
        if span == "last":
            return self.last
        return self.response | self.last if last_prompt_token else self.response

    def pooled(self, pooling: Pooling) -> Bool[Tensor, "batch pos"]:
        """The positions that a pooling averages over, within this segment."""
        if pooling == "prompt_last":
            return self.last
        if pooling == "prompt_mean":
            return self.mask & ~self.response
        return self.response if self.answer is None else self.answer


@runtime_checkable
class Watch(Protocol):
    """Sees residuals while a model runs, and changes nothing.

    Calls come in this order: `start` once a call of `run` or `generate`; then for every forward pass `begin`, `observe`
    at each hookpoint, `end`. Between passes `expand` says that the rows go on as others. What is observed is what the
    model goes on with, after all edits. An exception ends the call, and nothing stays hooked.
    """

    @property
    def hookpoints(self) -> Sequence[Hookpoint]:
        """Where to look."""
        ...

    def start(self) -> None:
        """A call begins; rows are numbered from 0 again."""
        ...

    def begin(self, segment: Segment, rows: Int[Tensor, " active"] | None) -> None:
        """A pass over these tokens begins. `rows` says which of all rows the segment holds (None: all)."""
        ...

    def observe(self, hookpoint: Hookpoint, residual: Float[Tensor, "batch pos d_model"]) -> None:
        """The residual of every position of the segment, padding included."""
        ...

    def end(self) -> None:
        """The pass is over."""
        ...

    def expand(self, parent: Int[Tensor, " row"]) -> None:
        """From now on row i continues what was row `parent[i]`."""
        ...


class Recorder:
    """State of a pass: which positions are which, running sums for pooling, residuals that were read.

    A backend calls `tap(hookpoint)` once and then the returned function at every forward pass; the model calls
    `begin` before each segment. Edits come first: what is read or pooled is what the model goes on with.

    Args:
        reasoning: the rows that are generated, where responses are pooled without their reasoning.
    """

    def __init__(
        self,
        read: Sequence[Hookpoint],
        pool: Sequence[Pooling],
        edits: Edits,
        watches: Sequence[Watch] = (),
        reasoning: ReasoningRows | None = None,
    ) -> None:
        self.read = tuple(read)
        self.watches = tuple(watches)
        self.pool = tuple(pool) if self.read else ()
        self.edits = edits
        self.reasoning = reasoning
        self.residuals: dict[Hookpoint, Float[Tensor, "batch pos d_model"]] = {}
        self._sums: Float[Tensor, "pooling batch layer d_model"] | None = None
        self._counts: Float[Tensor, "pooling batch"] | None = None
        self._norms: Float[Tensor, "batch layer"] | None = None
        self._rows: Int[Tensor, " active"] | None = None
        self._weights: Float[Tensor, "pooling batch pos"] | None = None
        self._pooled_now: list[int] = []
        self._edit_masks: dict[tuple[Span, bool], Bool[Tensor, "batch pos"]] = {}
        self._owners: Int[Tensor, " row"] | None = None  # the row of the batch that each row continues; None: its own
        self._n_now = 0

    @property
    def hookpoints(self) -> set[Hookpoint]:
        """Every hookpoint that must be tapped."""
        watched = {hookpoint for watch in self.watches for hookpoint in watch.hookpoints}
        return {hookpoint for hookpoint, edits in self.edits.items() if edits} | set(self.read) | watched

    @property
    def row_spans(self) -> set[Span]:
        """The spans of edits that differ from row to row."""
        return {edit.span for edits in self.edits.values() for edit in edits if edit.by_row}

    @property
    def leaves_prompts(self) -> bool:
        """Whether nothing is done to prompts before their last token, and nothing is looked at."""
        spans = {edit.span for edits in self.edits.values() for edit in edits}
        return spans <= {"response", "last"} and not self.read and not self.watches

    @property
    def deepest(self) -> Hookpoint | None:
        """The hookpoint after which a pass that gives no logits may end; None where nothing is tapped."""
        return max(self.hookpoints, key=lambda h: h.order, default=None)

    @property
    def wants_last_token(self) -> bool:
        """Whether the last token of an answer must be run through the model although nothing follows it."""
        return "response_mean" in self.pool or bool(self.watches)

    def begin(self, segment: Segment, rows: Int[Tensor, " active"] | None = None) -> None:
        """Prepare for the pass over a segment. `rows` says which of all rows the segment holds (None: all)."""
        if segment.parent is not None:
            self.expand(segment.parent)
        self._rows, self._n_now = rows, len(segment.ids)
        if rows is None:
            self._owners = None  # a segment of prompts, of which the last has the batch's own rows
        self._edit_masks = {
            (edit.span, edit.last_prompt_token): segment.span(edit.span, last_prompt_token=edit.last_prompt_token)
            for edits in self.edits.values()
            for edit in edits
        }
        for watch in self.watches:
            watch.begin(segment, rows)
        if not self.pool:
            return
        self._weights = torch.stack([segment.pooled(pooling) for pooling in self.pool]).float()
        self._pooled_now = self._weights.flatten(1).any(1).nonzero()[:, 0].tolist()
        counts = self._weights.sum(-1)
        if self._counts is None:
            self._counts = counts
        elif rows is None:
            self._counts += counts
        else:
            self._counts.index_add_(1, rows, counts)

    def end(self) -> None:
        """The pass over a segment is over."""
        for watch in self.watches:
            watch.end()

    def expand(self, parent: Int[Tensor, " row"]) -> None:
        """Go on with these rows: each takes over the sums of its parent."""
        for watch in self.watches:
            watch.expand(parent)
        self._owners = parent if self._owners is None else self._owners[parent]
        if self._sums is not None and self._counts is not None:
            self._sums, self._counts = self._sums[:, parent], self._counts[:, parent]
        if self._norms is not None:
            self._norms = self._norms[parent]

    def generated(self, tokens: Sequence[Sequence[int]]) -> None:
        """Another token of every row was chosen, and is not yet passed on: means of responses start with an answer."""
        if self.reasoning is not None:
            self._restart(self.reasoning.begin_answers(tokens))

    def finish(self) -> None:
        """Nothing more is generated: a row that only reasoned has no answer to pool."""
        if self.reasoning is not None:
            self._restart(self.reasoning.unanswered())

    def _restart(self, rows: Sequence[int]) -> None:
        """Forget what was pooled of the responses of these rows."""
        if not rows or self._sums is None or self._counts is None or "response_mean" not in self.pool:
            return
        k = self.pool.index("response_mean")
        self._sums[k, list(rows)] = 0
        self._counts[k, list(rows)] = 0
        if k == len(self.pool) - 1 and self._norms is not None:
            self._norms[list(rows)] = 0

    def taps(self) -> dict[Hookpoint, Tap]:
        """The tap of every hookpoint."""
        return {hookpoint: self.tap(hookpoint) for hookpoint in self.hookpoints}

    def tap(self, hookpoint: Hookpoint) -> Tap:
        """The function to call with the residual at a hookpoint."""
        edits = self.edits.get(hookpoint, ())
        index = self.read.index(hookpoint) if hookpoint in self.read else None
        watching = [watch for watch in self.watches if hookpoint in watch.hookpoints]

        def tap(residual: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"] | None:
            edited = residual
            for edit in edits:
                mask = self._edit_masks[edit.span, edit.last_prompt_token].to(edited.device)
                if edit.by_row:
                    edited = cast(RowEditFunction, edit.function)(edited, mask, self._numbers(edited.device))
                else:
                    edited = cast(EditFunction, edit.function)(edited, mask)
            if index is not None and self.pool:
                self._accumulate(index, edited)
            elif index is not None:
                self.residuals[hookpoint] = edited
            for watch in watching:
                watch.observe(hookpoint, edited)
            return edited if edits else None

        return tap

    def _numbers(self, device: torch.device) -> Int[Tensor, " batch"]:
        """The row of the call's batch that each row of this pass belongs to."""
        rows = torch.arange(self._n_now) if self._rows is None else self._rows
        return (rows if self._owners is None else self._owners.to(rows.device)[rows]).to(device)

    def pooled(self) -> dict[Pooling, Float[Tensor, "batch layer d_model"]]:
        """Means over the positions seen so far; NaN where a row has no such position."""
        if self._sums is None or self._counts is None:
            return {}
        means = self._sums / self._counts[..., None, None]
        return dict(zip(self.pool, means, strict=True))

    def norms(self) -> Float[Tensor, "batch layer"] | None:
        """Mean residual norm over the positions of the last pooling asked for; None where nothing was pooled."""
        if self._norms is None or self._counts is None:
            return None
        return self._norms / self._counts[-1][:, None]

    def _accumulate(self, index: int, residual: Float[Tensor, "batch pos d_model"]) -> None:
        assert self._weights is not None and self._counts is not None, "begin() comes before the pass"
        if self._sums is None:
            shape = (*self._counts.shape, len(self.read), residual.shape[-1])
            self._sums = torch.zeros(shape, device=self._weights.device)
            self._norms = torch.zeros(shape[1:3], device=self._weights.device)
        values = residual.detach().float()
        if values.shape[-1] != self._sums.shape[-1]:
            raise HookpointError(
                f"cannot pool {self.read[index]}, which is {values.shape[-1]} wide, with a stream that is"
                f" {self._sums.shape[-1]} wide.",
                "Streams that are pooled in one pass are of one width: read them in two.",
            )
        for k in self._pooled_now:
            weights = self._weights[k].to(values.device)
            if residual.shape[1] == 1:
                total = values[:, 0] * weights  # one generated token: no reduction needed
            else:
                total = einsum(values, weights, "batch pos d_model, batch pos -> batch d_model")
            _add_rows(self._sums[k, :, index], total, self._rows)
            if k == len(self.pool) - 1:
                assert self._norms is not None
                _add_rows(self._norms[:, index], (values.norm(dim=-1) * weights).sum(-1), self._rows)


def _add_rows(target: Float[Tensor, "batch ..."], values: Float[Tensor, "active ..."], rows: Tensor | None) -> None:
    """Add to all rows, or to the given ones, in place."""
    values = values.to(target.device)
    if rows is None:
        target += values
    else:
        target.index_add_(0, rows, values)
