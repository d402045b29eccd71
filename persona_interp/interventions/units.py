"""Neurons and heads ablated, clamped and scaled: edits of what they give, before W_out or W_O.

A neuron is one number of `mlp_act`; a head is d_head numbers of `head_out`. What the rest of the block makes of them
(an output projection, a norm) happens after the edit, as it would.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from persona_interp.activations.extract import extract_activations
from persona_interp.arguments import checked
from persona_interp.bounds import Coefficient, Count, Some
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.models.components import UNIT_STREAMS, UnitKind, check_places, unit_width
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import HookedModel
from persona_interp.types import Edit, Edits, Hookpoint, KVPrefix, Pooling, Span

Ablation = Literal["zero", "mean", "resample"]


@checked
@dataclass(frozen=True)
class Units:
    """Some neurons, or some heads, of any layers.

    Args:
        places: 0-based (layer, index) of each.
        width: numbers that each gives: 1 for a neuron, d_head for a head.

    Raises:
        ConfigError: none, or one of them twice.
    """

    kind: UnitKind
    places: Some[tuple[int, int]]
    width: Count = 1

    def __post_init__(self) -> None:
        """Refuse doubles."""
        if len(set(self.places)) < len(self.places):
            twice = next(place for place in self.places if list(self.places).count(place) > 1)
            raise ConfigError(f"{self.kind} {twice[1]} of layer {twice[0]} is given twice.", "Give each once.")

    @checked
    def columns(self, layer: int) -> Int[Tensor, " column"]:
        """Which numbers of the layer's stream are theirs, in the order of `places`."""
        own = torch.tensor([index for at, index in self.places if at == layer], dtype=torch.long)
        return (own[:, None] * self.width + torch.arange(self.width)).flatten()

    @property
    def hookpoints(self) -> tuple[Hookpoint, ...]:
        """Where they are, each layer once."""
        stream = UNIT_STREAMS[self.kind]
        return tuple(Hookpoint(layer, stream) for layer in sorted({layer for layer, _ in self.places}))


@checked
def units_of(model: HookedModelBase, kind: UnitKind, places: Some[tuple[int, int]]) -> Units:
    """Neurons or heads of a model by (layer, index).

    Raises:
        ConfigError: an index is out of range, or given twice.
        HookpointError: a layer is out of range, or has experts in the place of an MLP.
    """
    check_places(model, kind, places)
    return Units(kind, tuple(places), unit_width(model, places[0][0], kind))


@dataclass(frozen=True, eq=False)
class UnitReference:
    """What units give in reference texts: pooled values of every sample, at their hookpoints."""

    values: Mapping[Hookpoint, Float[Tensor, "sample width"]]


@checked
def unit_reference(
    model: HookedModelBase,
    hookpoints: Sequence[Hookpoint],
    prompts: Sequence[str],
    responses: Sequence[str] | Sequence[Sequence[int]],
    *,
    pooling: Pooling = "response_mean",
    progress: bool = True,
) -> UnitReference:
    """Pooled `mlp_act` or `head_out` of every sample, for mean and resampled ablation.

    Raises:
        HookpointError: hookpoints of streams of different width.
    """
    found = extract_activations(
        model, prompts, responses, pooling=pooling, hookpoints=hookpoints, progress=progress
    ).values
    return UnitReference({hookpoint: found[:, k] for k, hookpoint in enumerate(hookpoints)})


@dataclass(frozen=True, eq=False)
class _OnUnits:
    """The parts that all share: units, and on which positions they are changed."""

    units: Units

    @property
    def prefix(self) -> KVPrefix | None:
        """No virtual tokens."""
        return None

    @checked
    def check(self, model: HookedModel) -> None:
        """Refuse a model that does not have these units.

        Raises:
            ConfigError: an index is out of range, or units have another width.
            HookpointError: a layer is, or it has experts in the place of an MLP.
        """
        if isinstance(model, HookedModelBase):
            _check_units(self.units, model)


@checked
@dataclass(frozen=True, eq=False)
class AblateUnits(_OnUnits):
    """Neurons or heads replaced: by zero, by their mean over reference samples, or by those of one sample a row.

    Resampled: row i of a batch takes sample (i + seed) mod n of the reference, at every position.

    Raises:
        ConfigError: mean or resample without a reference, or one that lacks a layer or these units.
    """

    how: Ablation = "mean"
    reference: UnitReference | None = None
    span: Span = "all"
    last_prompt_token: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be replaced."""
        if self.how != "zero":
            _check_reference(self.reference, [self.units], self.how)

    @property
    def edits(self) -> Edits:
        """One replacement at each hookpoint."""
        return {h: (self._edit(h),) for h in self.units.hookpoints}

    def _edit(self, hookpoint: Hookpoint) -> Edit:
        columns = self.units.columns(hookpoint.layer)
        if self.how == "zero":
            return Edit(_set_to(columns, torch.zeros(len(columns))), self.span, self.last_prompt_token)
        assert self.reference is not None, "checked when it was made"
        bank = self.reference.values[hookpoint][:, columns]
        if self.how == "mean":
            return Edit(_set_to(columns, bank.mean(0)), self.span, self.last_prompt_token)
        seed = self.seed

        def resample(
            values: Float[Tensor, "batch pos width"], mask: Bool[Tensor, "batch pos"], rows: Int[Tensor, " batch"]
        ) -> Float[Tensor, "batch pos width"]:
            drawn = bank[((rows.cpu() + seed) % len(bank))][:, None]
            return _replaced(values, mask, columns, drawn)

        return Edit(resample, self.span, self.last_prompt_token, by_row=True)


@checked
@dataclass(frozen=True, eq=False)
class ClampUnits(_OnUnits):
    """Neurons or heads set to a value at every position of the span, in units of their activation."""

    value: Coefficient = 0.0
    span: Span = "all"
    last_prompt_token: bool = True

    @property
    def edits(self) -> Edits:
        """One replacement at each hookpoint."""
        made = {}
        for hookpoint in self.units.hookpoints:
            columns = self.units.columns(hookpoint.layer)
            value = torch.full((len(columns),), self.value)
            made[hookpoint] = (Edit(_set_to(columns, value), self.span, self.last_prompt_token),)
        return made


@checked
@dataclass(frozen=True, eq=False)
class ScaleUnits(_OnUnits):
    """Neurons or heads multiplied by a factor; 1 leaves them as they are, 0 is zero ablation."""

    factor: Coefficient = 1.0
    span: Span = "all"
    last_prompt_token: bool = True

    @property
    def edits(self) -> Edits:
        """One product at each hookpoint."""
        return {h: (Edit(self._scale(h), self.span, self.last_prompt_token),) for h in self.units.hookpoints}

    def _scale(self, hookpoint: Hookpoint):
        columns, factor = self.units.columns(hookpoint.layer), self.factor

        def scale(
            values: Float[Tensor, "batch pos width"], mask: Bool[Tensor, "batch pos"]
        ) -> Float[Tensor, "batch pos width"]:
            return _replaced(values, mask, columns, values[..., columns.to(values.device)] * factor)

        return scale


@checked
@dataclass(frozen=True, eq=False)
class AblateEach:
    """Other units ablated in every row of a batch (and all its samples): `AblateUnits` with one set a row, in one pass.

    Args:
        sets: one a row of the batch; None leaves a row as it is.
        reference: for ablation to the mean; None is zero ablation.

    Raises:
        ConfigError: sets of different kinds, or a reference that lacks a layer or these units.
    """

    sets: Some[Units | None]
    reference: UnitReference | None = None
    span: Span = "all"
    last_prompt_token: bool = True

    def __post_init__(self) -> None:
        """Refuse sets that do not go together."""
        if len({one.kind for one in self.sets if one is not None}) > 1:
            raise ConfigError("the rows of AblateEach must be all neurons or all heads, got both.")
        if self.reference is not None:
            _check_reference(self.reference, [one for one in self.sets if one is not None], "mean")

    @property
    def hookpoints(self) -> tuple[Hookpoint, ...]:
        """Where any of them is."""
        return tuple(sorted({h for one in self.sets if one is not None for h in one.hookpoints}))

    @property
    def prefix(self) -> KVPrefix | None:
        """No virtual tokens."""
        return None

    @property
    def edits(self) -> Edits:
        """One replacement at each hookpoint, told which row is which."""
        return {h: (Edit(self._ablate(h), self.span, self.last_prompt_token, by_row=True),) for h in self.hookpoints}

    def _ablate(self, hookpoint: Hookpoint):
        places = [(r, one.columns(hookpoint.layer)) for r, one in enumerate(self.sets) if one is not None]
        row = torch.cat([torch.full_like(columns, r) for r, columns in places])
        column = torch.cat([columns for _, columns in places])
        used, inverse = column.unique(return_inverse=True)
        off = torch.zeros(len(self.sets), len(used), dtype=torch.bool)
        off[row, inverse] = True
        mean = torch.zeros(len(used)) if self.reference is None else self.reference.values[hookpoint].mean(0)[used]

        def ablate(
            values: Float[Tensor, "batch pos width"], mask: Bool[Tensor, "batch pos"], rows: Int[Tensor, " batch"]
        ) -> Float[Tensor, "batch pos width"]:
            if int(rows.max()) >= len(off):
                raise AlignmentError(f"{len(off)} rows have units; the batch has {int(rows.max()) + 1}.")
            own = values[..., used.to(values.device)]
            changes = off[rows.cpu()].to(values.device)[:, None] & mask[..., None]
            return _with_columns(values, used, torch.where(changes, mean.to(own), own))

        return ablate

    @checked
    def check(self, model: HookedModel) -> None:
        """Refuse a model that does not have these units.

        Raises:
            ConfigError: an index is out of range, or units have another width.
            HookpointError: a layer is, or it has experts in the place of an MLP.
        """
        for one in {one for one in self.sets if one is not None}:
            if isinstance(model, HookedModelBase):
                _check_units(one, model)


def _check_units(units: Units, model: HookedModelBase) -> None:
    """Refuse units that a model does not have, or whose numbers are not as many as it has."""
    check_places(model, units.kind, units.places)
    for layer in dict.fromkeys(layer for layer, _ in units.places):
        if (width := unit_width(model, layer, units.kind)) != units.width:
            raise ConfigError(
                f"a {units.kind} of layer {layer} of {model.name} gives {width} numbers; these units have width"
                f" {units.width}.",
                "Make them with units_of(model, kind, places).",
            )


def _check_reference(reference: UnitReference | None, units: Sequence[Units], how: str) -> None:
    have = {} if reference is None else reference.values
    last: dict[Hookpoint, int] = {}
    for one in units:
        for layer, index in one.places:
            hookpoint = Hookpoint(layer, UNIT_STREAMS[one.kind])
            last[hookpoint] = max(last.get(hookpoint, 0), (index + 1) * one.width - 1)
    if missing := [h for h in last if h not in have]:
        raise ConfigError(
            f"ablation to the {how} needs reference activations of {missing[0]}, got none.",
            "Make them of neutral texts with unit_reference(model, hookpoints, prompts, responses).",
        )
    for hookpoint, number in last.items():
        n, width = have[hookpoint].shape
        if not n or number >= width or not bool(have[hookpoint].isfinite().all()):
            raise ConfigError(
                f"reference activations of {hookpoint} must be finite, of one sample or more and hold number {number},"
                f" the last of these units; got {n} samples of width {width}.",
                "Make them with this model and texts that are not empty: unit_reference(model, ...).",
            )


def _set_to(columns: Int[Tensor, " column"], value: Float[Tensor, " column"]):
    def replace(
        values: Float[Tensor, "batch pos width"], mask: Bool[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos width"]:
        return _replaced(values, mask, columns, value)

    return replace


def _replaced(values: Tensor, mask: Tensor, columns: Tensor, new: Tensor) -> Tensor:
    """The values with some columns replaced where the mask is set."""
    own = values[..., columns.to(values.device)]
    return _with_columns(values, columns, torch.where(mask[..., None], new.to(own), own))


def _with_columns(values: Tensor, columns: Tensor, new: Tensor) -> Tensor:
    return values.index_copy(-1, columns.to(values.device), new.contiguous())
