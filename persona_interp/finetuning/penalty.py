"""The projection penalty: training pays for moving the projection on a direction away from the base model's."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError
from persona_interp.interventions.residual import Where, hookpoints_at
from persona_interp.types import Hookpoint, Span

PENALISED: tuple[Span, ...] = ("response", "last", "all")


@dataclass(frozen=True, eq=False)
class ProjectionPenalty:
    """w mean_samples ((mean over positions of (h - h_base).v/|v|) / s)^2, averaged over hookpoints.

    h_base is the same token in the base model (adapters off), s the mean residual norm at the hookpoint, so the
    penalty is a squared share of it and w compares across layers. Zero where the finetuned model projects as the base
    does on the same text: what other text projects is not touched. With a `reference`, that projection takes the
    base's place, so that a monitor's reading is kept at a level whatever the text says. With a `target` the weight
    adapts: it grows while the root of the penalty is above the target and shrinks below it, so that training goes on
    rewarding the data as far as the projection stays put.

    Args:
        span: which positions are averaged in a sample: `last` is what monitoring before an answer reads.
        target: in shares of the residual norm.
        reference: a projection in residual units, at one hookpoint; None is the base model's on the same tokens.

    Source: after Chen et al. 2025 (arXiv 2507.21509), appendix J.5; the adaptive weight is this project's.
    """

    direction: Direction
    layer: Where
    weight: float = 1000.0
    span: Span = "response"
    target: float | None = None
    reference: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that penalise nothing."""
        positive = self.weight > 0 and (self.target is None or self.target > 0)
        if not positive or self.span not in PENALISED:
            raise ConfigError(
                "a penalty needs a positive weight and target and a span of"
                f" {', '.join(PENALISED)}, got {self.weight}, {self.target} and {self.span!r}.",
            )
        if self.reference is not None and len(self.hookpoints()) != 1:
            raise ConfigError(
                f"got one reference projection for {len(self.hookpoints())} hookpoints.",
                "Projections differ between layers: penalise one, or leave the reference out.",
            )
        for hookpoint in self.hookpoints():
            self.direction.index(hookpoint)
        if self.direction.residual_norms is None:
            raise ConfigError(
                f"the direction {self.direction.trait} ({self.direction.method}) carries no residual norms.",
                "A penalty is in shares of them. Extract the direction again; files of other tools hold none.",
            )

    def hookpoints(self) -> tuple[Hookpoint, ...]:
        """Where it reads; a number means the output of that block."""
        return hookpoints_at(self.layer)


@dataclass(eq=False)
class PenaltyState:
    """The weight as it adapts, and the root mean square shift of the last batch, in shares of the residual norm."""

    penalty: ProjectionPenalty
    weight: float = field(init=False)
    shift: float = 0.0

    def __post_init__(self) -> None:
        """Start at the penalty's own weight."""
        self.weight = self.penalty.weight

    def loss(
        self,
        residuals: Mapping[Hookpoint, Float[Tensor, "batch pos d_model"]],
        base: Mapping[Hookpoint, Float[Tensor, "batch pos d_model"]] | None,
        positions: Bool[Tensor, "batch pos"],
    ) -> Float[Tensor, ""]:
        """The weighted penalty of a batch; the base's residuals are not needed where there is a reference."""
        squares = [self._square(h, residuals[h], None if base is None else base[h], positions) for h in residuals]
        square = torch.stack(squares).mean()
        self.shift = float(square.detach()) ** 0.5
        return self.weight * square

    def adapt(self) -> None:
        """After a step: a tenth more weight above the target, a tenth less below; between 1 % and 1,000 times w."""
        target, start = self.penalty.target, self.penalty.weight
        if target is not None:
            changed = self.weight * (1.1 if self.shift > target else 1 / 1.1)
            self.weight = min(max(changed, start / 100), start * 1000)

    def _square(self, hookpoint: Hookpoint, now: Tensor, base: Tensor | None, positions: Tensor) -> Tensor:
        vector = self.penalty.direction.at(hookpoint).to(now.device)
        unit = vector / vector.norm()
        if base is None:
            assert self.penalty.reference is not None, "without base residuals there is a reference"
            moved = (now.float() @ unit - self.penalty.reference) * positions
        else:
            moved = ((now.float() - base.float()) @ unit) * positions
        shift = moved.sum(-1) / positions.sum(-1).clamp(min=1)
        return (shift / self.penalty.direction.residual_norm(hookpoint)).square().mean()
