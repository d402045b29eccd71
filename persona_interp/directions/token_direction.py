"""The direction of the residual stream along which the logits of some tokens rise against those of all others."""

from collections.abc import Sequence

import torch

from persona_interp.arguments import checked
from persona_interp.bounds import Text
from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.unembedding import unembedding_of
from persona_interp.types import Hookpoint

METHOD_VERSION = 1


@checked
def token_direction(model: HookedModelBase, tokens: Sequence[int], *, name: Text) -> Direction:
    """Mean unembedding of some tokens minus that of all others, through the gain of the final norm, at the last block.

    A larger projection of the last block's output means that the mean logit of the tokens rises against the mean of the
    others, up to the divisor of the final norm, which all logits share.

    Args:
        tokens: ids of the vocabulary.
        name: what the tokens are, as the direction's trait.

    Raises:
        ConfigError: no token, all of them, or one that is not in the vocabulary.
        ModelError: the unembedding or the final norm is of no known kind.
    """
    reads = unembedding_of(model)
    n = len(reads.weight)
    chosen = torch.zeros(n, dtype=torch.bool)
    if not all(0 <= token < n for token in tokens) or not 0 < len(set(tokens)) < n:
        raise ConfigError(
            f"tokens must be ids of {model.name}, 0 to {n - 1}, some but not all, got {list(tokens)[:5]}."
        )
    chosen[list(tokens)] = True
    rows = [reads.mean_row(which.nonzero()[:, 0]) for which in (chosen, ~chosen)]
    provenance = model.provenance.derive("token_direction", METHOD_VERSION, pooling=None, n_tokens=len(set(tokens)))
    return Direction(
        vectors=(rows[0] - rows[1])[None],
        hookpoints=(Hookpoint(model.n_layers - 1),),
        trait=name,
        method="token_direction",
        positive_pole=f"more {name}",
        provenance=provenance,
    )
