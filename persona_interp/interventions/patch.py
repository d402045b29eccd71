"""Activation patching: residuals of given responses set to those of another run, along a direction or whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.interventions.residual import check_usable
from persona_interp.models.protocol import HookedModel
from persona_interp.types import Edit, Edits, Hookpoint, KVPrefix, RowEditFunction, TokenBatch

Rows = Sequence[Float[Tensor, "_ d_model"]]
"""Residuals of every row of a batch, from its last prompt token to its last response token."""


@checked
@dataclass(frozen=True, eq=False)
class Patch:
    """h set to s at the last prompt token and all response tokens, s being the residual there in another run.

    With a direction, only the part along it: h + ((s - h).v/|v|) v/|v|. The batch must have the responses that the
    other run had, row by row; its prompts may be others. It acts in teacher-forced passes (`run`) alone.

    Args:
        values: s at every hookpoint that is patched, from `response_residuals`.
        direction: None: the whole residual, which is the most that a patch there can do.

    Raises:
        ConfigError: there is no hookpoint, or the direction is zero or not finite at one.
        HookpointError: the direction has no vector at one.

    Source: Vig et al. 2020, Causal Mediation Analysis for Interpreting Neural NLP; Geiger et al. 2021, Causal
    Abstractions of Neural Networks, for interchange of a part of the representation.
    """

    values: Mapping[Hookpoint, Rows]
    direction: Direction | None = None

    def __post_init__(self) -> None:
        """Refuse a patch of nothing, or along nothing."""
        if not self.values:
            raise ConfigError("a Patch needs values at one hookpoint at least, got none.")
        if self.direction is not None:
            check_usable(self.direction, tuple(self.values))
            for hookpoint in self.values:
                self.direction.index(hookpoint)

    @property
    def prefix(self) -> KVPrefix | None:
        """No virtual tokens."""
        return None

    @property
    def edits(self) -> Edits:
        """One replacement at each hookpoint, told which row is which."""
        return {
            hookpoint: (Edit(_replacing(rows, self._unit(hookpoint)), "response", by_row=True),)
            for hookpoint, rows in self.values.items()
        }

    @checked
    def check(self, model: HookedModel) -> None:
        """Refuse a model that the direction or the residuals do not belong to.

        Raises:
            AlignmentError: the residuals have another width than the model's.
            IncompatibleDirectionError: names both models.
        """
        if self.direction is not None:
            check_direction(self.direction, model)
        for hookpoint, rows in self.values.items():
            if any(row.shape[-1] != model.d_model for row in rows):
                raise AlignmentError(
                    f"residuals to patch at {hookpoint} must have d_model {model.d_model} of {model.name}, got"
                    f" {rows[0].shape[-1]}.",
                    "Read them from this model.",
                )

    def _unit(self, hookpoint: Hookpoint) -> Float[Tensor, " d_model"] | None:
        if self.direction is None:
            return None
        vector = self.direction.at(hookpoint)
        return vector / vector.norm()


@checked
def response_residuals(
    model: HookedModel, batch: TokenBatch, hookpoints: Sequence[Hookpoint]
) -> dict[Hookpoint, list[Float[Tensor, "_ d_model"]]]:
    """Residuals of every row from the last prompt token to the last response token, for `Patch`; float32."""
    read = model.run(batch, read=tuple(hookpoints), outputs="none").residuals
    span = batch.span("response", last_prompt_token=True)
    return {
        hookpoint: [residual[mask].float() for residual, mask in zip(read[hookpoint], span, strict=True)]
        for hookpoint in hookpoints
    }


def _replacing(rows: Rows, unit: Float[Tensor, " d_model"] | None) -> RowEditFunction:
    def replace_rows(
        residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"], numbers: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch pos d_model"]:
        wanted = residual.float().clone()
        for i, (number, n) in enumerate(zip(numbers.tolist(), mask.sum(-1).tolist(), strict=True)):
            if n:  # a pass over shared beginnings of prompts has nothing to patch
                wanted[i, mask[i]] = _source(rows, number, n).to(residual.device)
        if unit is not None:
            along = unit.to(residual.device)
            wanted = residual.float() + ((wanted - residual.float()) @ along)[..., None] * along
        return torch.where(mask[..., None], wanted.to(residual.dtype), residual)

    return replace_rows


def _source(rows: Rows, number: int, n: int) -> Float[Tensor, "n d_model"]:
    """The first n residuals of a row; a pass that predicts leaves its last token out, from which nothing follows."""
    if number >= len(rows) or not len(rows[number]) - 1 <= n <= len(rows[number]):
        held = f"row {number} has {len(rows[number])}" if number < len(rows) else f"there are {len(rows)} rows"
        raise AlignmentError(
            f"a patch of row {number} needs the residuals of {n} positions, {held}.",
            "Read them from a batch with the same responses in the same order; a patch is not for generation.",
        )
    return rows[number][:n]
