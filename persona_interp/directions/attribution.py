"""Who writes a direction: the projection of a block's output split into embedding, heads, MLPs and neurons, exactly.

The residual stream is a sum, so a projection h.v/|v| is the sum of what the embedding, every attention head, every
neuron (activation x W_out row) and every bias adds along v. Where an architecture puts a norm behind attention or MLP,
a share is taken after it, with the divisor that the norm had at that position.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from persona_interp.activations.extract import length_chunks
from persona_interp.arguments import checked
from persona_interp.bounds import Count
from persona_interp.directions.direction import Direction, check_direction, unit_vectors
from persona_interp.directions.shares import EMBEDDING, Shares
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError, ModelError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.progress import track
from persona_interp.types import Hookpoint, Pooling, Stream

TOLERANCE = {"float32": 1e-4, "float64": 1e-6}
"""Most of |sum of shares - projection| as a share of the residual norm, by dtype; others round more."""
_COARSE = 0.05


@dataclass(frozen=True, eq=False)
class Attribution:
    """Mean shares of a projection, in residual units, a row a group of samples.

    Embedding, heads, neurons and both biases add up to the projection, but for `error`, which is rounding.

    Args:
        layers: 0-based blocks that write before the direction's hookpoint, all up to its own.
        n_samples: samples in each group.
    """

    trait: str
    hookpoint: Hookpoint
    groups: tuple[str, ...]
    projection: Float[Tensor, " group"]
    embedding: Float[Tensor, " group"]
    heads: Float[Tensor, "group layer head"]
    neurons: Float[Tensor, "group layer neuron"]
    attention_bias: Float[Tensor, "group layer"]
    mlp_bias: Float[Tensor, "group layer"]
    residual_norm: float
    n_samples: Int[Tensor, " group"]

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks that write."""
        return tuple(range(self.heads.shape[1]))

    @property
    def attention(self) -> Float[Tensor, "group layer"]:
        """What each attention adds along the direction."""
        return self.heads.sum(-1) + self.attention_bias

    @property
    def mlps(self) -> Float[Tensor, "group layer"]:
        """What each MLP adds along the direction."""
        return self.neurons.sum(-1) + self.mlp_bias

    @property
    def error(self) -> Float[Tensor, " group"]:
        """Projection minus the sum of all shares: rounding."""
        return self.projection - (self.embedding + self.attention.sum(-1) + self.mlps.sum(-1))

    @checked
    def select(self, groups: Sequence[str]) -> "Attribution":
        """The same for some of the groups, in the order given.

        Raises:
            AlignmentError: there is no such group.
        """
        if missing := [group for group in groups if group not in self.groups]:
            raise AlignmentError(f"the attribution of {self.trait} has no group {missing[0]!r}.")
        rows = [self.groups.index(group) for group in groups]
        names = ("projection", "embedding", "heads", "neurons", "attention_bias", "mlp_bias", "n_samples")
        return replace(self, groups=tuple(groups), **{name: getattr(self, name)[rows] for name in names})


@checked
def attribute_projection(
    model: HookedModelBase,
    direction: Direction,
    layer: int,
    prompts: Sequence[str],
    responses: Sequence[str] | Sequence[Sequence[int]],
    *,
    pooling: Pooling = "response_mean",
    groups: Sequence[str] | None = None,
    keep: Sequence[Sequence[bool]] | None = None,
    tokens_at_once: Count = 16_384,
    progress: bool = True,
) -> Attribution:
    """Exact shares of the projection h.v/|v| at the output of a block (`attribute_projections`, for one direction).

    Raises:
        IncompatibleDirectionError: the direction belongs to another model.
    """
    return attribute_projections(
        model,
        [direction],
        layer,
        prompts,
        responses,
        pooling=pooling,
        groups=groups,
        keep=keep,
        tokens_at_once=tokens_at_once,
        progress=progress,
    )[0]


@checked
def attribute_projections(
    model: HookedModelBase,
    directions: Sequence[Direction],
    layer: int,
    prompts: Sequence[str],
    responses: Sequence[str] | Sequence[Sequence[int]],
    *,
    pooling: Pooling = "response_mean",
    groups: Sequence[str] | None = None,
    keep: Sequence[Sequence[bool]] | None = None,
    tokens_at_once: Count = 16_384,
    progress: bool = True,
) -> list[Attribution]:
    """Shares of the projections on several directions, of the pooled positions of every sample, in one pass each.

    Memory grows with the number of groups, not of samples.

    Args:
        prompts: as the model sees them (chat template applied).
        groups: one name a sample, over which shares are averaged; default: every sample is one.
        keep: which tokens of each response count, for `response_mean`; default: all.

    Raises:
        AlignmentError: prompts, responses, groups or keep differ in number.
        EmptySelectionError: there is no direction or no sample, or a sample has no position to pool.
        HookpointError: the layer does not exist, or a block has experts in the place of an MLP.
        IncompatibleDirectionError: a direction belongs to another model.
        ModelError: something else than attention and MLPs writes to the residual stream.
    """
    hookpoint = Hookpoint(layer)
    model.check_hookpoints([hookpoint])
    if not len(prompts) or not directions:
        raise EmptySelectionError(
            f"attribution needs a direction and a sample, got {len(directions)} directions and {len(prompts)} prompts.",
            "Give at least one of each.",
        )
    for direction in directions:
        check_direction(direction, model)
    named = tuple(groups) if groups is not None else tuple(str(i) for i in range(len(prompts)))
    for name, given in {"responses": responses, "groups": named, "keep": keep}.items():
        if given is not None and len(given) != len(prompts):
            raise AlignmentError(f"got {len(prompts)} prompts and {len(given)} {name}.", "Give one each.")
    if keep is not None and pooling != "response_mean":
        raise ConfigError(f"keep chooses tokens of responses, got pooling {pooling}.", 'Use pooling="response_mean".')
    prompt_ids = encode(model.tokenizer, prompts)
    response_ids = [ids if not isinstance(ids, str) else encode(model.tokenizer, [ids])[0] for ids in responses]
    distinct = tuple(dict.fromkeys(named))
    if keep is not None and (off := [i for i, ids in enumerate(response_ids) if len(ids) != len(keep[i])]):
        raise AlignmentError(f"keep of sample {off[0]} must say something of each of its tokens.")
    sums: dict[tuple[Hookpoint, str], Tensor] = {}
    n_samples = torch.tensor([named.count(group) for group in distinct])
    watch = Shares(model, unit_vectors(directions, hookpoint), layer, pooling)
    chunks = length_chunks(prompt_ids, response_ids, tokens_at_once)
    for chunk in track(chunks, "attribute projections", total=len(chunks), show=progress):
        batch = token_batch(
            [prompt_ids[i] for i in chunk], [response_ids[i] for i in chunk], pad_id=pad_id(model.tokenizer)
        )
        watch.keep = None if keep is None else _right_aligned([keep[i] for i in chunk])
        model.run(batch, outputs="none", watch=watch)
        if (watch.counts == 0).any():
            row = chunk[int((watch.counts == 0).nonzero()[0])]
            raise EmptySelectionError(f"sample {row} has no position of {pooling} to attribute.", "Leave it out.")
        of = torch.tensor([distinct.index(named[i]) for i in chunk])
        for key, values in watch.sums.items():
            means = values.cpu() / watch.counts.view(-1, *[1] * (values.dim() - 1))
            sums.setdefault(key, torch.zeros(len(distinct), *means.shape[1:])).index_add_(0, of, means)
    means = {key: total / n_samples.view(-1, *[1] * (total.dim() - 1)) for key, total in sums.items()}
    found = [_attribution(means, k, one.trait, hookpoint, distinct, n_samples) for k, one in enumerate(directions)]
    _check_sums(found, model)
    return found


def _attribution(
    means: Mapping[tuple[Hookpoint, str], Float[Tensor, "group vector ..."]],
    k: int,
    trait: str,
    hookpoint: Hookpoint,
    groups: tuple[str, ...],
    n_samples: Int[Tensor, " group"],
) -> Attribution:
    def of(stream: Stream, what: str) -> Float[Tensor, "group layer ..."]:
        return torch.stack([means[Hookpoint(i, stream), what][:, k] for i in range(hookpoint.layer + 1)], dim=1)

    return Attribution(
        trait=trait,
        hookpoint=hookpoint,
        groups=groups,
        projection=means[hookpoint, "share"][:, k],
        embedding=means[EMBEDDING, "share"][:, k],
        heads=of("head_out", "share"),
        neurons=of("mlp_act", "share"),
        attention_bias=of("head_out", "bias"),
        mlp_bias=of("mlp_act", "bias"),
        residual_norm=float(means[hookpoint, "norm"].mean()),
        n_samples=n_samples,
    )


def _check_sums(found: Sequence[Attribution], model: HookedModelBase) -> None:
    """Refuse shares that do not add up."""
    limit = TOLERANCE.get(model.provenance.dtype, _COARSE)
    for one in found:
        off = float(one.error.abs().max()) / one.residual_norm
        if not off <= limit:
            raise ModelError(
                f"the parts of {model.name} do not add up to its residual stream at layer {one.hookpoint.layer}:"
                f" they are off by {off:.1e} of its norm (most: {limit:g}).",
                "Something else than embedding, attention and MLPs writes to it; shares of them would be wrong.",
            )


def _right_aligned(rows: Sequence[Sequence[bool]]) -> Bool[Tensor, "row pos"]:
    """Rows as they stand at the right end of a batch, True where a row is shorter."""
    width = max(len(row) for row in rows)
    return torch.tensor([[True] * (width - len(row)) + list(row) for row in rows])
