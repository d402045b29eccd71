"""The residual shift that an adapter's trait value makes: as a direction, and how far it is one."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.extract import all_blocks, length_chunks
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Positive, Some
from persona_interp.directions.direction import Direction
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.errors import ConfigError, DataError
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import pad_id, token_batch
from persona_interp.progress import track
from persona_interp.statistics.mean_shift import Jackknifed, bounded_root, pair_mean, row_mean, share_of
from persona_interp.statistics.null_directions import unit_rows
from persona_interp.studies.psychadapter.expression import Z_VALUES, adapter_hash
from persona_interp.studies.psychadapter.nll import started
from persona_interp.types import Hookpoint, Pooling, Provenance

METHOD = "psychadapter_induced"
METHOD_VERSION = 1
TOKENS_AT_ONCE = 4096

Position = Literal["all", "last"]
"""Where the residual is read: the mean over a text's tokens, or its last one."""


@dataclass(frozen=True, eq=False)
class InducedShifts:
    """Residuals of the same texts inside one adapted model, at every value of one trait, the others at 0.

    Args:
        values: pooled residuals in the model's own basis, not differences.
        norms: mean residual norm of a token, over the texts, at z = 0 (or at the value nearest to it).
    """

    trait: str
    z_values: tuple[float, ...]
    values: Float[Tensor, "z text layer d_model"]
    norms: Float[Tensor, " layer"]
    hookpoints: tuple[Hookpoint, ...]
    provenance: Provenance

    def at(self, z: float) -> Float[Tensor, "text layer d_model"]:
        """The residuals at a trait value.

        Raises:
            ConfigError: it was not measured.
        """
        if z not in self.z_values:
            raise ConfigError(
                f"nothing was measured at z = {z:g}.", f"Measured: {', '.join(map('{:g}'.format, self.z_values))}."
            )
        return self.values[self.z_values.index(z)]

    def between(self, high: float, low: float) -> Float[Tensor, "text layer d_model"]:
        """Each text's residual at the higher value minus that at the lower one."""
        return self.at(high) - self.at(low)

    @property
    def span(self) -> Float[Tensor, "text layer d_model"]:
        """Each text's shift from the lowest value to the highest."""
        return self.between(max(self.z_values), min(self.z_values))

    def direction(self) -> Direction:
        """The mean shift from the lowest value to the highest, at every hookpoint."""
        return Direction(
            vectors=self.span.mean(dim=0),
            hookpoints=self.hookpoints,
            trait=self.trait,
            method=METHOD,
            positive_pole=f"high {self.trait}",
            provenance=self.provenance,
            residual_norms=self.norms,
        )


@checked
def induced_shifts(
    model: HookedModel,
    adapter: PsychAdapter,
    trait: str,
    texts: Some[str],
    *,
    z_values: Some[float] = Z_VALUES,
    position: Position = "all",
    max_tokens: Count | None = None,
    progress: bool = True,
) -> InducedShifts:
    """Pooled residuals of given texts at every value of a trait, by teacher forcing inside the adapted model.

    Args:
        texts: the same for all values; they begin as in training and are cut as there, or at `max_tokens`.

    Raises:
        ConfigError: the adapter has no such trait, or there are fewer than two values.
        DataError: there is no text, or an empty one.
        IncompatibleDirectionError: the adapter belongs to another model.
    """
    z_values = tuple(sorted(set(map(float, z_values))))
    if len(z_values) < 2 or position not in get_args(Position):
        raise ConfigError(
            f"a shift of {trait} needs at least 2 different trait values at one of"
            f" {', '.join(get_args(Position))}, got {len(z_values)} at {position!r}.",
        )
    if not texts or not all(text.strip() for text in texts):
        raise DataError(f"the shift of {trait} needs texts that are not empty, got {len(texts)}.")
    interventions = [TraitPrefix(adapter, {trait: z}) for z in z_values]
    interventions[0].check(model)
    hookpoints: tuple[Hookpoint, ...] = all_blocks(model)
    pooling: Pooling = "response_mean" if position == "all" else "prompt_last"
    prompts, responses = started(model, adapter, texts, max_tokens)
    if position == "last":
        prompts, responses = [[*a, *b] for a, b in zip(prompts, responses, strict=True)], [[] for _ in prompts]
    values = torch.empty(len(z_values), len(texts), model.n_layers, model.d_model)
    norms = torch.empty(len(z_values), len(texts), model.n_layers)
    chunks = length_chunks(prompts, responses, TOKENS_AT_ONCE)
    for k, intervention in enumerate(track(interventions, f"shift of {trait}", total=len(z_values), show=progress)):
        for chunk in chunks:
            batch = token_batch(
                [prompts[i] for i in chunk], [responses[i] for i in chunk], pad_id=pad_id(model.tokenizer)
            )
            made = model.run(batch, read=hookpoints, pool=(pooling,), outputs="none", prefix=intervention.prefix)
            assert made.norms is not None, "pooled passes record norms"
            values[k, chunk], norms[k, chunk] = made.pooled[pooling].float().cpu(), made.norms.float().cpu()
    nearest = min(range(len(z_values)), key=lambda k: abs(z_values[k]))
    provenance = model.provenance.derive(
        METHOD, METHOD_VERSION, pooling=pooling, adapter=adapter_hash(adapter), z=list(z_values), n_texts=len(texts)
    )
    return InducedShifts(trait, z_values, values, norms[nearest].mean(dim=0), hookpoints, provenance)


@checked
def induced_direction(
    model: HookedModel,
    adapter: PsychAdapter,
    trait: str,
    texts: Some[str],
    *,
    z: Positive = 3.0,
    position: Position = "all",
    max_tokens: Count | None = None,
    progress: bool = True,
) -> Direction:
    """Mean over texts of the residual at +z minus that at -z, per layer, both inside the adapted model.

    Points from a low to a high trait value, over 2 z standard deviations. It reaches the residual through attention,
    so it depends on the text; `induced_geometry` says how much.

    Raises:
        ConfigError: the adapter has no such trait, or z is not above 0.
        DataError: there is no text, or an empty one.
        IncompatibleDirectionError: the adapter belongs to another model.
    """
    return induced_shifts(
        model, adapter, trait, texts, z_values=(-z, z), position=position, max_tokens=max_tokens, progress=progress
    ).direction()


@checked
def induced_geometry(shifts: InducedShifts) -> pd.DataFrame:
    """How far the population's mean shift is one direction: a row a layer and metric, Student's t intervals over texts.

    `relative norm`: length of the mean shift from lowest to highest z, over the mean residual norm of a token.
    `consistency`: mean cosine of the texts' shifts with the mean of their directions; 1 where a shift does not depend
    on the text, 0 where every text is moved its own way. `explained`: share of the texts' squared shifts that their
    mean makes up. `first component`: share of the squared singular values over z (mean shifts from z = 0, or from the
    value nearest to it) that the first one has; 1 where all values lie on one line. `linearity`: mean over the other
    values of the cosine of their mean shift with that at the highest, shifts to lower values reversed.

    All are made from products of different texts, so that what texts scatter is not counted as a mean. The last two are
    NaN where a value's mean shift is not clearly above 0. Measured coverage: tests/golden/levels/induced.csv. Held
    fixed: adapter, trait values, residual norms.

    Raises:
        ConfigError: fewer than three texts.
    """
    n_texts = shifts.values.shape[1]
    if n_texts < 3:
        raise ConfigError(f"how a shift depends on the text needs more texts, got {n_texts}.", "Give 20 or more.")
    rows = []
    for layer, hookpoint in enumerate(shifts.hookpoints):
        span = shifts.span[:, layer].double().numpy()
        squared, power = pair_mean(span), row_mean((span**2).sum(axis=1))
        for metric, (estimate, low, high) in {
            "relative norm": bounded_root(squared, 1 / float(shifts.norms[layer])),
            "consistency": bounded_root(pair_mean(unit_rows(span))),
            "explained": share_of(squared, power),
            **_over_z(*_steps(shifts, layer)),
        }.items():
            numbers = {"estimate": estimate, "low": low, "high": high, "n": n_texts}
            rows.append({"trait": shifts.trait, "layer": hookpoint.layer, "metric": metric, **numbers})
    return pd.DataFrame(rows).assign(method=METHOD, model=shifts.provenance.model)


def _steps(shifts: InducedShifts, layer: int) -> tuple[Float[np.ndarray, "z text d_model"], Float[np.ndarray, " z"]]:
    """Every text's shifts from the value nearest to 0 to every other value, and the sign of each step."""
    nearest = min(shifts.z_values, key=abs)
    others = [z for z in shifts.z_values if z != nearest]
    steps = torch.stack([shifts.between(z, nearest)[:, layer] for z in others]).double().numpy()
    return steps, np.sign(np.array(others) - nearest)


def _over_z(
    steps: Float[np.ndarray, "z text d_model"], signs: Float[np.ndarray, " z"]
) -> dict[str, tuple[float, float, float]]:
    """Rank and linearity of the mean shifts over z, from their inner products; nothing with one step only."""
    if len(steps) < 2:
        return {}
    steps = steps * signs[:, None, None]
    pairs = [[pair_mean(a, b) for b in steps] for a in steps]
    if not all(pairs[k][k].clear() for k in range(len(steps))):
        nothing = float("nan"), float("nan"), float("nan")
        return {"first component": nothing, "linearity": nothing}
    gram = np.array([[[pair.value, *pair.without] for pair in row] for row in pairs]).transpose(2, 0, 1)
    lengths = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    cosines = gram[:, -1, :-1] / (lengths[:, -1:] * lengths[:, :-1])
    first = np.linalg.eigvalsh(gram)[:, -1] / np.trace(gram, axis1=1, axis2=2)
    return {
        "first component": Jackknifed(float(first[0]), first[1:]).within(0.0, 1.0),
        "linearity": Jackknifed(float(cosines[0].mean()), cosines[1:].mean(axis=1)).within(-1.0, 1.0),
    }
