"""Massive activations: positions and dimensions of the residual stream that are far larger than the rest.

A few positions (the first token, delimiters) and a few dimensions carry norms that are tens to thousands of times the
median and hardly depend on the text. Rankings of "trait neurons" that do not leave them out name them first.

Source: Sun et al. 2024, Massive Activations in Large Language Models (arXiv 2402.17762); Dettmers et al. 2022.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.extract import length_chunks
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Positive
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.progress import track
from persona_interp.types import Hookpoint

RATIO = 10.0
"""How many times the median norm of tokens, or the median size of dimensions, makes an outlier."""


@dataclass(frozen=True, eq=False)
class Outliers:
    """What is far larger than the rest at the output of a block.

    Args:
        ratio: times the median from which something counts as an outlier.
        token_norms: residual norm of every token of every sample over the median of all tokens.
        sizes: root mean square of every dimension, over the tokens that are no outliers, over the median dimension's.
        n_prompt: tokens of each sample's prompt, the first of `token_norms`.
    """

    hookpoint: Hookpoint
    ratio: float
    token_norms: tuple[Float[Tensor, " _"], ...]
    sizes: Float[Tensor, " d_model"]
    n_prompt: tuple[int, ...]

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Dimensions that are outliers, the largest first."""
        order = self.sizes.argsort(descending=True).tolist()
        return tuple(i for i in order if self.sizes[i] >= self.ratio)

    @property
    def keep(self) -> list[list[bool]]:
        """Which tokens of each response are no outliers."""
        pairs = zip(self.token_norms, self.n_prompt, strict=True)
        return [(norms[n:] < self.ratio).tolist() for norms, n in pairs]

    @property
    def n_positions(self) -> tuple[int, int]:
        """Outlying positions in prompts, and in responses."""
        off = [(norms >= self.ratio, n) for norms, n in zip(self.token_norms, self.n_prompt, strict=True)]
        return sum(int(flags[:n].sum()) for flags, n in off), sum(int(flags[n:].sum()) for flags, n in off)

    @property
    def largest(self) -> float:
        """The largest norm of a token over the median."""
        return max(float(norms.max()) for norms in self.token_norms)

    @checked
    def without(self, direction: Direction) -> Direction:
        """The direction with its outlying dimensions set to zero, at this hookpoint.

        Raises:
            ConfigError: nothing is left of it.
        """
        row = direction.index(self.hookpoint)
        vectors = direction.vectors.clone()
        vectors[row, list(self.dimensions)] = 0
        if not bool(vectors[row].any()):
            raise ConfigError(f"nothing is left of {direction.trait} without its high-norm dimensions.")
        return replace(direction, vectors=vectors, method=f"{direction.method}, high-norm dimensions left out")


@checked
def find_outliers(
    model: HookedModel,
    layer: int,
    prompts: Sequence[str],
    responses: Sequence[str] | Sequence[Sequence[int]],
    *,
    ratio: Positive = RATIO,
    tokens_at_once: Count = 16_384,
    progress: bool = True,
) -> Outliers:
    """Tokens and dimensions at the output of a block that are at least `ratio` times the median of their kind.

    Raises:
        AlignmentError: prompts and responses differ in number.
        EmptySelectionError: there is none.
        HookpointError: the layer does not exist.
    """
    if len(prompts) != len(responses):
        raise AlignmentError(f"got {len(prompts)} prompts and {len(responses)} responses.", "Give one each.")
    if not len(prompts):
        raise EmptySelectionError("there is no sample to look for massive activations in.", "Give at least one.")
    hookpoint = Hookpoint(layer)
    prompt_ids = encode(model.tokenizer, prompts)
    response_ids = [ids if not isinstance(ids, str) else encode(model.tokenizer, [ids])[0] for ids in responses]
    norms: dict[int, Tensor] = {}
    largest: list[Tensor] = []
    chunks = length_chunks(prompt_ids, response_ids, tokens_at_once)
    for chunk in track(chunks, "look for massive activations", total=len(chunks), show=progress):
        batch = token_batch(
            [prompt_ids[i] for i in chunk], [response_ids[i] for i in chunk], pad_id=pad_id(model.tokenizer)
        )
        found = model.run(batch, read=[hookpoint], outputs="none").residuals[hookpoint].float().cpu()
        mask = batch.mask.cpu()
        for row, i in enumerate(chunk):
            own = found[row][mask[row]]
            norms[i] = own.norm(dim=-1)
            typical = own[norms[i] < ratio * norms[i].median()]
            largest.append(torch.cat([typical.square().sum(0), torch.tensor([float(len(typical))])]))
    total = torch.stack(largest).sum(0)
    sizes = (total[:-1] / total[-1]).sqrt()
    median = torch.cat(list(norms.values())).median()
    return Outliers(
        hookpoint,
        ratio,
        tuple(norms[i] / median for i in range(len(prompts))),
        sizes / sizes.median(),
        tuple(len(ids) for ids in prompt_ids),
    )
