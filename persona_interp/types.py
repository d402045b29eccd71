"""The types that cross module borders. Shapes are in the annotations; nothing here imports a model library."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Share, Some, Text

Stream = Literal["resid_pre", "head_out", "attn_out", "mlp_in", "mlp_act", "mlp_out", "resid_post"]
"""Where in a block: its input, the heads' outputs (joined, before W_O), what attention adds, what the MLP is given
(after its norm), its neurons' activations (before W_out), what it adds, the block's output. Heads are
n_heads x d_head wide, neurons d_mlp, all others d_model."""

Pooling = Literal["prompt_last", "prompt_mean", "response_mean"]
"""Which positions are averaged into one vector a sample: the last prompt token, the prompt, or the response."""

Span = Literal["all", "prompt", "response", "last"]
"""Positions that an edit touches. `last` is the last prompt token. Padding is never touched."""

Role = Literal["system", "user", "assistant", "tool", "tool_call"]
"""Who speaks in a conversation. `tool_call` is what the assistant writes to a tool, `tool` what comes back."""

ALL_STREAMS: tuple[Stream, ...] = get_args(Stream)
"""In the order of the forward pass."""

STREAMS: tuple[Stream, ...] = ("resid_pre", "attn_out", "mlp_out", "resid_post")
"""Those in the residual basis, where directions are."""

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
SPANS: tuple[Span, ...] = get_args(Span)
ROLES: tuple[Role, ...] = get_args(Role)


@checked
@dataclass(frozen=True)
class Turn:
    """What one side says in a conversation."""

    role: Role
    content: Text


@checked
@dataclass(frozen=True, order=True)
class Hookpoint:
    """A place in the residual stream: a 0-based block and a stream of that block.

    `Hookpoint(i, "resid_post")` is the output of block i, which transformers calls `hidden_states[i + 1]`.
    """

    layer: int
    stream: Stream = "resid_post"

    @property
    def order(self) -> tuple[int, int]:
        """Where it comes in a forward pass: a later hookpoint has a larger one."""
        return self.layer, ALL_STREAMS.index(self.stream)

    def __str__(self) -> str:
        """`resid_post at layer 3`."""
        return f"{self.stream} at layer {self.layer}"


@checked
def depth_of(layer: int, n_layers: Count) -> float:
    """Depth of the output of a 0-based block, (layer + 1) / n_layers: the last block's is 1, the embedding's 0."""
    return (layer + 1) / n_layers


@checked
def layer_at_depth(depth: Share, n_layers: Count) -> int:
    """The 0-based block whose output lies nearest to a depth (`depth_of`); of two equally near, the later.

    Raises:
        ConfigError: the depth is not between 0 and 1.
    """
    return max(0, math.floor(round(depth * n_layers, 9) + 0.5) - 1)


SCREENED_DEPTH = 0.6


def default_layer(n_layers: int) -> int:
    """The block whose output lies nearest to depth 0.6, at which training data are screened: block 17 of 30."""
    return layer_at_depth(SCREENED_DEPTH, n_layers)


@checked
def layers_at_depth(depths: Some[Share], n_layers: Count) -> tuple[int, ...]:
    """The blocks nearest to several depths (`layer_at_depth`), each once.

    Raises:
        ConfigError: no depth, or one that is not between 0 and 1.
    """
    return tuple(dict.fromkeys(layer_at_depth(depth, n_layers) for depth in depths))


@checked
@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Left-padded token ids with two masks: which positions are real, and which of those are the response.

    The response, where there is one, is at the right end of every row.

    Args:
        n_reasoning: how many first tokens of each response are no part of its answer, and are not pooled with it.
    """

    ids: Int[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"]
    response: Bool[Tensor, "batch pos"]
    n_reasoning: Int[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return self.ids.shape[0]

    @property
    def prompt(self) -> Bool[Tensor, "batch pos"]:
        """Real positions that are not response."""
        return self.mask & ~self.response

    @property
    def answer(self) -> Bool[Tensor, "batch pos"]:
        """The response without its reasoning."""
        if self.n_reasoning is None:
            return self.response
        return self.response & (self.response.cumsum(-1) > self.n_reasoning[:, None])

    @property
    def last_prompt(self) -> Bool[Tensor, "batch pos"]:
        """The last prompt token of each row."""
        prompt = self.prompt
        later = prompt.flip(-1).cumsum(-1).flip(-1)
        return prompt & (later == 1)

    @property
    def position_ids(self) -> Int[Tensor, "batch pos"]:
        """Position of every token, 0 at the first real one (and on padding)."""
        return (self.mask.long().cumsum(-1) - 1).clamp(min=0)

    @checked
    def span(self, span: Span, *, last_prompt_token: bool) -> Bool[Tensor, "batch pos"]:
        """The positions of a span; `last_prompt_token` says whether `response` includes the last prompt token."""
        if span == "all":
            return self.mask
        if span == "prompt":
            return self.prompt
        if span == "last":
            return self.last_prompt
        return self.response | self.last_prompt if last_prompt_token else self.response

    @checked
    def to(self, device: torch.device | str) -> "TokenBatch":
        """The same batch on another device."""
        n_reasoning = None if self.n_reasoning is None else self.n_reasoning.to(device)
        return TokenBatch(self.ids.to(device), self.mask.to(device), self.response.to(device), n_reasoning)


EditFunction = Callable[
    [Float[Tensor, "batch pos d_model"], Bool[Tensor, "batch pos"]], Float[Tensor, "batch pos d_model"]
]
"""A pure function of the residual and of the positions to change; returns a new tensor."""

RowEditFunction = Callable[
    [Float[Tensor, "batch pos d_model"], Bool[Tensor, "batch pos"], Int[Tensor, " batch"]],
    Float[Tensor, "batch pos d_model"],
]
"""The same, told which row of the call's batch each row of the residual belongs to (its prompt, when sampling)."""


@checked
@dataclass(frozen=True, eq=False)
class Edit:
    """A pure change of the residual stream and the positions it applies to.

    `last_prompt_token` matters for the span `response` only: the first response token is predicted at the
    last prompt token, so with True (the default) every prediction of the response is made under the edit.

    Args:
        by_row: the function takes row numbers too, so that every row of a batch can have a change of its own.
    """

    function: EditFunction | RowEditFunction
    span: Span = "all"
    last_prompt_token: bool = True
    by_row: bool = False


Edits = Mapping[Hookpoint, tuple[Edit, ...]]
"""The edits at each hookpoint, applied in order."""

NO_EDITS: Edits = MappingProxyType({})


@checked
@dataclass(frozen=True, eq=False)
class KVPrefix:
    """Virtual key/value tokens in front of every layer's cache (un-rotated keys; real tokens start after them).

    One row serves every row of a batch; several rows serve one each.
    """

    keys: Float[Tensor, "layer batch kv_head prefix d_head"]
    values: Float[Tensor, "layer batch kv_head prefix d_head"]


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What one pass over a batch returned; only what was asked for is there.

    Residuals are read after the edits at their hookpoint: what the model went on with.

    Args:
        response_logits: what predicts every response token, row after row.
        token_logprobs: log-probability (nats) of every response token given what precedes it; 0 elsewhere.
        pooled: float32 means over positions, one vector a row and hookpoint read, in the order of `read`.
        norms: mean residual norm of a token over the positions of the last pooling asked for.
    """

    logits: Float[Tensor, "batch pos d_vocab"] | None = None
    response_logits: Float[Tensor, "token d_vocab"] | None = None
    token_logprobs: Float[Tensor, "batch pos"] | None = None
    residuals: Mapping[Hookpoint, Float[Tensor, "batch pos d_model"]] = field(default_factory=dict)
    pooled: Mapping[Pooling, Float[Tensor, "batch layer d_model"]] = field(default_factory=dict)
    norms: Float[Tensor, "batch layer"] | None = None


@dataclass(frozen=True, eq=False)
class Generation:
    """Sampled continuations: token ids without end-of-text and padding, their text, and pooled residuals.

    Row `i * n_samples + k` is sample k of prompt i.
    """

    ids: list[list[int]]
    texts: list[str]
    finished: list[bool]
    pooled: Mapping[Pooling, Float[Tensor, "sample layer d_model"]] = field(default_factory=dict)
    norms: Float[Tensor, "sample layer"] | None = None


@dataclass(frozen=True)
class Provenance:
    """Where an artefact comes from: saved with it and compared on load.

    Args:
        weights: fingerprint of the model's weights in memory (independent of dtype and backend).
        files: hash of the bytes that the model was loaded from; None where it was not loaded from files.
        basis: `raw`, the model's own residual basis; folded or centred weights are refused elsewhere.
        details: whatever else the method wants to state (sample counts, judge, filters, data hash).
    """

    model: str
    weights: str
    backend: str
    dtype: str
    n_layers: int
    d_model: int
    method: str
    method_version: int
    pooling: str | None = None
    basis: str = "raw"
    layer_convention: str = "row i is resid_post of 0-based block i unless hookpoints say otherwise"
    seed: int | None = None
    files: str | None = None
    chat_template: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready dictionary."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Provenance":
        """Inverse of `to_dict`; unknown keys of later versions are ignored."""
        names = {f.name for f in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in names})

    def derive(self, method: str, method_version: int, *, pooling: str | None, **details: Any) -> "Provenance":
        """The provenance of something computed from this by a named method."""
        return dataclasses.replace(
            self, method=method, method_version=method_version, pooling=pooling, details={**self.details, **details}
        )


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
