"""Adding, ablating and capping a direction in the residual stream.

Which positions change is chosen by `span`. For "response", `last_prompt_token` says whether the last prompt token
counts: it is where the first response token is predicted, so with True every prediction of the response is made
under the intervention. Padding never changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Coefficient, Some
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.errors import ConfigError, IncompatibleDirectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.types import Edit, EditFunction, Edits, Hookpoint, KVPrefix, Span

Where = int | Hookpoint | Some[int | Hookpoint]
Units = Literal["residual_norm", "direction"]


def hookpoints_at(where: Where) -> tuple[Hookpoint, ...]:
    """One place or several as hookpoints; a number means the output of that block."""
    wanted = [where] if isinstance(where, int | Hookpoint) else list(where)
    return tuple(Hookpoint(place) if isinstance(place, int) else place for place in wanted)


def shared_coefficient(coefficient: float, n_places: int) -> float:
    """C / k: what each of k places takes of a coefficient in residual norms, so that strengths compare at one total."""
    return coefficient / n_places


def check_usable(direction: Direction, hookpoints: Sequence[Hookpoint], *, norms: bool = False) -> None:
    """Refuse a vector without a direction: v/|v| would make every residual NaN.

    Args:
        norms: whether the residual norms are used too.

    Raises:
        ConfigError: a vector is zero or not finite at one of the places, or a residual norm is not positive.
    """
    for hookpoint in hookpoints:
        if hookpoint not in direction.hookpoints:
            continue  # refused where it is looked up
        length = float(direction.at(hookpoint).norm())
        if not (isfinite(length) and length > 0):
            raise ConfigError(
                f"the norm of the direction {direction.trait} ({direction.method}) at {hookpoint} must be positive and"
                f" finite, got {length:g}.",
                "Choose another layer, or make the direction again.",
            )
        if norms and direction.residual_norms is not None:
            norm = direction.residual_norm(hookpoint)
            if not (isfinite(norm) and norm > 0):
                raise ConfigError(
                    f"the residual norm of {direction.trait} at {hookpoint} must be positive and finite, got {norm:g}.",
                    'Give coefficients in its own length: units="direction".',
                )


def check_reach(deltas: Sequence[Float[Tensor, "..."]], coefficient: float, model: HookedModel) -> None:
    """Refuse additions that a model's dtype cannot hold.

    Raises:
        ConfigError: one overflows it.
    """
    dtype = getattr(torch, model.provenance.dtype)
    if not all(bool(delta.to(dtype).isfinite().all()) for delta in deltas):
        raise ConfigError(
            f"coefficient must keep what is added within {model.provenance.dtype}, got {coefficient:g}.",
            f"The largest number of {model.name} is {torch.finfo(dtype).max:g}.",
        )


@dataclass(frozen=True, eq=False)
class _AlongDirection:
    """The parts that all three share: a direction, where it acts, and on which positions."""

    direction: Direction
    layer: Where

    @property
    def prefix(self) -> KVPrefix | None:
        """No virtual tokens."""
        return None

    def __post_init__(self) -> None:
        """Refuse a direction that is zero or not finite where it would act."""
        check_usable(self.direction, self.hookpoints())

    @checked
    def check(self, model: HookedModel) -> None:
        """Refuse a model that the direction does not belong to.

        Raises:
            IncompatibleDirectionError: names both models.
        """
        check_direction(self.direction, model)

    def hookpoints(self) -> tuple[Hookpoint, ...]:
        """Where it acts; a number means the output of that block."""
        return hookpoints_at(self.layer)


@checked
@dataclass(frozen=True, eq=False)
class Add(_AlongDirection):
    """h + (c / k) s v/|v| at each of k places: steering by a coefficient c that the places share.

    Positive coefficients move toward the direction's positive pole. With `units="residual_norm"` s is the mean
    norm of a pooled token's residual at that layer (of the positions in `direction.provenance.pooling`, not of the
    positions that are steered), and c the sum of the shares of it, whatever the number of places. With
    `units="direction"` the published rule holds: h + c v at every place, the raw vector undivided. A coefficient of 0
    makes no edit at all.

    Source: Chen et al. 2025 (arXiv 2507.21509), section 3.2; units after Lu et al. 2026 (arXiv 2601.10387).
    """

    coefficient: Coefficient = 1.0
    span: Span = "response"
    last_prompt_token: bool = True
    units: Units = "residual_norm"

    def __post_init__(self) -> None:
        """Refuse a direction that cannot be added."""
        if self.coefficient != 0:
            check_usable(self.direction, self.hookpoints(), norms=self.units == "residual_norm")

    @property
    def edits(self) -> Edits:
        """One addition at each hookpoint."""
        if self.coefficient == 0:
            return {}
        return {h: (Edit(self._add(h), self.span, self.last_prompt_token),) for h in self.hookpoints()}

    @checked
    def check(self, model: HookedModel) -> None:
        """Refuse a model that the direction does not belong to, or whose numbers do not reach so far.

        Raises:
            ConfigError: the coefficient times the residual norm overflows the model's dtype.
            IncompatibleDirectionError: names both models.
        """
        super().check(model)
        check_reach([self._delta(h) for h in self.edits], self.coefficient, model)

    @property
    def coefficient_each(self) -> float:
        """The coefficient at each place."""
        n_places = len(self.hookpoints())
        return self.coefficient if self.units == "direction" else shared_coefficient(self.coefficient, n_places)

    def _delta(self, hookpoint: Hookpoint) -> Float[Tensor, " d_model"]:
        vector = self.direction.at(hookpoint)
        if self.units == "residual_norm":
            vector = vector / vector.norm() * self.direction.residual_norm(hookpoint)
        return self.coefficient_each * vector

    def _add(self, hookpoint: Hookpoint) -> EditFunction:
        delta = self._delta(hookpoint)

        def add(
            residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]
        ) -> Float[Tensor, "batch pos d_model"]:
            _check_width(residual, delta, self.direction)
            return residual + mask[..., None] * delta.to(residual.device, residual.dtype)

        return add


@checked
@dataclass(frozen=True, eq=False)
class Ablate(_AlongDirection):
    """h - (h.v/|v|) v/|v|: the component along a direction is removed.

    Source: Casademunt et al. 2025 (CAFT) and Chen et al. 2025, appendix J.4.
    """

    span: Span = "all"
    last_prompt_token: bool = True

    @property
    def edits(self) -> Edits:
        """One projection at each hookpoint."""
        return {h: (Edit(self._ablate(h), self.span, self.last_prompt_token),) for h in self.hookpoints()}

    def _ablate(self, hookpoint: Hookpoint) -> EditFunction:
        vector = self.direction.at(hookpoint)
        unit = vector / vector.norm()

        def ablate(
            residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]
        ) -> Float[Tensor, "batch pos d_model"]:
            projection = _project(residual, unit, self.direction)
            return _shift(residual, mask, unit, -projection)

        return ablate


@checked
@dataclass(frozen=True, eq=False)
class Cap(_AlongDirection):
    """The projection h.v/|v| is kept at or above `lower` and at or below `upper`; inside the bounds nothing changes.

    Bounds are in residual units, on the side they are named for: `lower` lifts positions that project less, `upper`
    pulls down those that project more. Give one or both.

    Raises:
        ConfigError: no bound, or a lower one above the upper.

    Source: Lu et al. 2026, The Assistant Axis (arXiv 2601.10387), activation capping (their bound is a lower one).
    """

    lower: float | None = None
    upper: float | None = None
    span: Span = "all"
    last_prompt_token: bool = True

    def __post_init__(self) -> None:
        """Refuse bounds that cannot be kept, and a direction that is zero or not finite."""
        check_usable(self.direction, self.hookpoints())
        if self.lower is None and self.upper is None:
            raise ConfigError("a Cap needs a bound.", "Give lower=, upper= or both, in residual units.")
        if self.lower is not None and self.upper is not None and not self.lower <= self.upper:
            raise ConfigError(f"a Cap cannot keep a projection above {self.lower} and below {self.upper}.")

    @property
    def edits(self) -> Edits:
        """One clamp at each hookpoint."""
        return {h: (Edit(self._cap(h), self.span, self.last_prompt_token),) for h in self.hookpoints()}

    def _cap(self, hookpoint: Hookpoint) -> EditFunction:
        vector = self.direction.at(hookpoint)
        unit = vector / vector.norm()

        def cap(
            residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]
        ) -> Float[Tensor, "batch pos d_model"]:
            projection = _project(residual, unit, self.direction)
            return _shift(residual, mask, unit, projection.clamp(self.lower, self.upper) - projection)

        return cap


def _project(
    residual: Float[Tensor, "batch pos d_model"], unit: Float[Tensor, " width"], direction: Direction
) -> Float[Tensor, "batch pos"]:
    _check_width(residual, unit, direction)
    return residual.float() @ unit.to(residual.device)


def _shift(
    residual: Float[Tensor, "batch pos d_model"],
    mask: Bool[Tensor, "batch pos"],
    unit: Float[Tensor, " d_model"],
    amount: Float[Tensor, "batch pos"],
) -> Float[Tensor, "batch pos d_model"]:
    """The residual moved along a unit vector where the mask is set; elsewhere, and where nothing moves, as it was."""
    moved = residual.float() + amount[..., None] * unit.to(residual.device)
    changes = (mask & (amount != 0))[..., None]
    return torch.where(changes, moved.to(residual.dtype), residual)


def _check_width(residual: Tensor, vector: Tensor, direction: Direction) -> None:
    if residual.shape[-1] != vector.shape[-1]:
        raise IncompatibleDirectionError(
            f"the direction {direction.trait} of {direction.provenance.model} has d_model {vector.shape[-1]};"
            f" this model has {residual.shape[-1]}.",
            "Extract it again with this model.",
        )
