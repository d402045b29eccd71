"""`AddEach`: steering in which every row of a batch has a direction of its own."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Coefficient, Some
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.interventions.residual import Where, check_reach, check_usable, hookpoints_at, shared_coefficient
from persona_interp.models.protocol import HookedModel
from persona_interp.models.row_edits import row_addition
from persona_interp.types import Edit, Edits, Hookpoint, KVPrefix, Span


@checked
@dataclass(frozen=True, eq=False)
class AddEach:
    """h + (c / k) s v_r/|v_r| in row r of a batch and all its samples: `Add` with one direction a row, in one pass.

    Args:
        directions: one a row of the batch it is used with; the same one may come often.
        layer: 0-based block, or k of them; s is the residual norm there, of each direction's own record.
        coefficient: c, one for all rows, shared by the k places.

    Raises:
        ConfigError: a direction cannot be added.
    """

    directions: Some[Direction]
    layer: Where
    coefficient: Coefficient
    span: Span = "response"
    last_prompt_token: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be added."""
        for direction in {id(direction): direction for direction in self.directions}.values():
            check_usable(direction, hookpoints_at(self.layer), norms=True)

    @property
    def prefix(self) -> KVPrefix | None:
        """No virtual tokens."""
        return None

    @property
    def edits(self) -> Edits:
        """One addition at each hookpoint, told which row is which."""
        return {
            hookpoint: (Edit(row_addition(self._deltas(hookpoint)), self.span, self.last_prompt_token, by_row=True),)
            for hookpoint in hookpoints_at(self.layer)
        }

    def _deltas(self, hookpoint: Hookpoint) -> Float[Tensor, "row d_model"]:
        units = torch.nn.functional.normalize(torch.stack([one.at(hookpoint) for one in self.directions]), dim=-1)
        norms = torch.tensor([one.residual_norm(hookpoint) for one in self.directions])
        each = shared_coefficient(self.coefficient, len(hookpoints_at(self.layer)))
        return each * norms[:, None] * units

    @checked
    def check(self, model: HookedModel) -> None:
        """Refuse a model that a direction does not belong to.

        Raises:
            ConfigError: the coefficient times a residual norm overflows the model's dtype.
            IncompatibleDirectionError: names both models.
        """
        for direction in {id(direction): direction for direction in self.directions}.values():
            check_direction(direction, model)
        check_reach([self._deltas(h) for h in hookpoints_at(self.layer)], self.coefficient, model)
