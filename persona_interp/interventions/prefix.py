"""`TraitPrefix`: virtual key/value tokens in front of the text, from a trait vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Count
from persona_interp.directions.psychadapter import PsychAdapter, check_psychadapter
from persona_interp.errors import ConfigError
from persona_interp.models.protocol import HookedModel
from persona_interp.types import NO_EDITS, Edits, KVPrefix

TraitVector = Mapping[str, float | int] | Sequence[float | int] | Float[Tensor, " trait"]


@checked
@dataclass(frozen=True, eq=False)
class TraitPrefix:
    """The virtual tokens of an adapter at trait vectors z, in standard deviations from the mean author.

    One trait vector serves every row of a batch; several serve one row each, and all samples of that row. A mapping
    names traits, and those it leaves out are at 0.

    Args:
        z: a trait vector (a mapping, a sequence of numbers or a tensor), or several (a sequence of those or a matrix).

    Raises:
        ConfigError: a trait is unknown, a vector has another length than the adapter, or a value is not finite.

    Source: Vu et al. 2026, PsychAdapter (npj Artificial Intelligence 2:7).
    """

    adapter: PsychAdapter
    z: TraitVector | Sequence[TraitVector] | Float[Tensor, "batch trait"]

    def __post_init__(self) -> None:
        """Refuse vectors that the adapter cannot take."""
        object.__setattr__(self, "z", _matrix(self.adapter, self.z))
        with torch.no_grad():
            self.adapter.prefix(self.vectors)  # refuses

    @property
    def vectors(self) -> Float[Tensor, "batch trait"]:
        """The trait vectors, one row for all or one each."""
        assert isinstance(self.z, Tensor), "__post_init__ made a matrix of it"
        return self.z

    @property
    def edits(self) -> Edits:
        """No edits: the residual stream changes through attention alone."""
        return NO_EDITS

    @property
    def prefix(self) -> KVPrefix:
        """The virtual tokens, one row for all or one each."""
        return self.adapter.prefix(self.vectors)

    @checked
    def check(self, model: HookedModel) -> None:
        """Refuse a model that the adapter was not trained on.

        Raises:
            IncompatibleDirectionError: names both models.
        """
        check_psychadapter(self.adapter, model)

    @checked
    def rows(self, n: Count) -> "TraitPrefix":
        """The same with one trait vector a row for a batch of `n` rows.

        Raises:
            ConfigError: there are several trait vectors, and not `n`.
        """
        have = len(self.vectors)
        if have not in (1, n):
            raise ConfigError(f"{have} trait vectors cannot serve {n} rows.", "Give one, or one a row.")
        return replace(self, z=self.vectors.expand(n, -1).clone())


def _matrix(adapter: PsychAdapter, z: object) -> Float[Tensor, "batch trait"]:
    """Trait vectors as rows, on the CPU."""
    if isinstance(z, Mapping):
        return adapter.vector(z)[None]
    if isinstance(z, Tensor) and z.dim() in (1, 2):
        matrix = z if z.dim() == 2 else z[None]
    elif isinstance(z, Sequence) and len(z) and all(isinstance(value, int | float) for value in z):
        matrix = torch.tensor([[float(value) for value in z]])
    elif isinstance(z, Sequence) and len(z) and not isinstance(z, str):
        return torch.cat([_matrix(adapter, row) for row in z])
    else:
        raise ConfigError(
            f"no trait vector can be made of {z!r}.",
            f"Give numbers for {', '.join(adapter.traits)}, or a mapping from some of those names.",
        )
    if matrix.shape[0] == 0 or matrix.shape[1] != adapter.n_traits:
        raise ConfigError(
            f"got {matrix.shape[0]} trait vectors of {matrix.shape[1]} numbers for an adapter of {adapter.n_traits}.",
            f"Its traits, in order: {', '.join(adapter.traits)}.",
        )
    return matrix.detach().float().cpu()
