"""Heads that look at a repeated opinion and write toward a direction from there, and what their ablation takes away."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from persona_interp.data.opinions import Topic
from persona_interp.directions.direction import Direction, unit_vectors
from persona_interp.directions.outliers import RATIO
from persona_interp.directions.writers import matched_units
from persona_interp.errors import EmptySelectionError, ModelError
from persona_interp.interventions.units import AblateUnits, UnitReference, Units, unit_reference
from persona_interp.measurements.capability import measure_perplexity
from persona_interp.models.attention import read_attention
from persona_interp.models.components import n_heads, output_map, unit_width
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.progress import track
from persona_interp.statistics.draws import Rank, rank_among
from persona_interp.statistics.means import bootstrap_mean
from persona_interp.statistics.resampling import Interval
from persona_interp.studies.repetition.config import RepetitionRun
from persona_interp.studies.repetition.prompts import Condition, Stated
from persona_interp.studies.repetition.scores import AGREEING, agreement_table, by_topic
from persona_interp.types import Hookpoint

HEADS_FROM: Condition = "paraphrased"
"""The condition in which heads are found and ablated."""
_AT_ONCE = 4
_CLOSE = 0.05
"""Share of a head's output, in bfloat16 too, above which what it moves is not what it gives."""


@dataclass(frozen=True, eq=False)
class HeadMaps:
    """Of every head up to the direction's layer, means over prompts with four statements; the query is the last token.

    Massive positions, such as the first "the" of a text in SmolLM2, are no sources: heads rest there whatever is said.

    Args:
        attention: its attention to the statements, minus that to fillers in their place.
        attribution: what it moves from the statements along the direction, in residual units, minus the same of
            fillers.
        error: the largest difference between a head's output and what it moves from all positions, over its norm.
    """

    attention: Float[np.ndarray, "layer head"]
    attribution: Float[np.ndarray, "layer head"]
    sizes: Float[np.ndarray, "layer head"]
    error: float

    def ranked(self) -> list[tuple[int, int]]:
        """(layer, head) by attention times attribution, those in which both are above zero; the largest first."""
        score = np.clip(self.attention, 0, None) * np.clip(self.attribution, 0, None)
        order = [int(i) for i in np.argsort(-score, axis=None, kind="stable") if score.flat[i] > 0]
        return [(i // score.shape[1], i % score.shape[1]) for i in order]

    def chosen(self, n: int) -> list[tuple[int, int]]:
        """The n heads that are ablated together.

        Raises:
            EmptySelectionError: fewer look at the statements and write toward the direction.
        """
        ranked = self.ranked()
        if len(ranked) < n:
            raise EmptySelectionError(
                f"{len(ranked)} heads look at the statements and write from there toward the direction, {n} were asked"
                " for.",
                "Ask for fewer (--heads).",
            )
        return ranked[:n]


def head_maps(
    model: HookedModelBase, direction: Direction, layer: int, stated: Sequence[Stated], plain: Sequence[Stated],
    *, progress: bool,
) -> HeadMaps:  # fmt: skip
    """Attention and attribution of every head, of prompts with statements against their twins with fillers alone."""
    several = [_moved(model, direction, layer, prompts, progress=progress) for prompts in (stated, plain)]
    (looked, wrote, sizes, error), (looked_plain, wrote_plain, _, other) = several
    if not max(error, other) < _CLOSE:
        raise ModelError(
            f"what the heads of {model.name} move differs from their outputs by {max(error, other):.2g} of these.",
            "Its attention is not patterns times values: maps of heads would be wrong.",
        )
    return HeadMaps(looked - looked_plain, wrote - wrote_plain, sizes, max(error, other))


def _moved(
    model: HookedModelBase, direction: Direction, layer: int, prompts: Sequence[Stated], *, progress: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean attention to all four sentences, what is moved from there along the direction, norms of outputs, error."""
    layers, n = range(layer + 1), n_heads(model)
    maps = {block: output_map(model, block, "head") for block in layers}
    units = unit_vectors([direction], Hookpoint(layer))
    readers = {b: one.readers(units.to(one.weight.device))[0].cpu().unflatten(0, (n, -1)) for b, one in maps.items()}
    (looked, wrote, sizes), error = np.zeros((3, len(layers), n)), 0.0
    ids = encode(model.tokenizer, [one.prompt for one in prompts])
    starts = range(0, len(prompts), _AT_ONCE)
    for start in track(starts, "attention to sentences", total=len(starts), show=progress):
        rows = list(range(start, min(start + _AT_ONCE, len(prompts))))
        batch = token_batch([ids[i] for i in rows], pad_id=pad_id(model.tokenizer))
        width = batch.ids.shape[1]
        sources = torch.zeros(len(rows), width, dtype=torch.bool)
        for k, i in enumerate(rows):
            for first, last in prompts[i].spans:
                sources[k, width - len(ids[i]) + first : width - len(ids[i]) + last] = True
        places = [Hookpoint(block, "head_out") for block in layers]
        outputs = model.run(batch, read=[*places, Hookpoint(layer)], outputs="none").residuals
        sources &= ~_massive(outputs[Hookpoint(layer)].float().cpu(), batch.mask)
        for block, one in read_attention(model, batch, layers).items():
            output = outputs[places[block]][:, [-1]].float().cpu()
            scale = maps[block].scale(output.to(maps[block].weight.device))
            moved = one.moved(sources)
            whole = one.moved(batch.mask).flatten(1)
            error = max(error, float((whole - output[:, 0]).norm() / output.norm()))
            along = (moved * readers[block]).sum(-1)
            along = along if scale is None else along * scale.cpu()
            looked[block] += (one.pattern[:, :, -1] * sources[:, None]).sum((0, 2)).numpy()
            wrote[block] += along.sum(0).numpy()
            sizes[block] += output[:, 0].unflatten(-1, (n, -1)).norm(dim=-1).sum(0).numpy()
    return looked / len(prompts), wrote / len(prompts), sizes / len(prompts), error


def _massive(
    residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]
) -> Bool[Tensor, "batch pos"]:
    """Positions far larger than the median, at which heads that look nowhere look (attention sinks)."""
    norms = residual.norm(dim=-1)
    return mask & (norms >= RATIO * norms[mask].median())


@dataclass(frozen=True)
class HeadAblation:
    """What ablating the heads takes from the effect of four statements, on topics that did not choose them.

    Args:
        whole: effect of four statements on agreeing, in nats a token; `change` of it without the heads.
        random: mean change without random heads, and `rank` the place of the change among theirs (lower).
        perplexity: of neutral texts: of the whole model, and without the heads.
    """

    whole: Interval
    change: Interval
    random: float
    rank: Rank
    perplexity: tuple[float, float]
    draws: tuple[float, ...]


def ablate_heads(
    model: HookedModelBase,
    maps: HeadMaps,
    prompts: Sequence[Stated],
    chosen_on: Sequence[Stated],
    topics: Sequence[Topic],
    run: RepetitionRun,
    *,
    progress: bool,
) -> HeadAblation:
    """The top heads set to their mean over prompts of fillers, against random heads of the same layers and sizes."""
    top = maps.chosen(run.n_heads)
    drawn = matched_units(maps.sizes, top, seed=run.seed, draws=run.n_random) if run.n_random else []
    plain = [one.prompt for one in chosen_on]
    places = [Hookpoint(layer, "head_out") for layer in range(maps.attention.shape[0])]
    reference = unit_reference(model, places, plain, [""] * len(plain), pooling="prompt_last", progress=False)
    width = unit_width(model, 0, "head")
    whole = _effects(model, prompts, topics, None)
    changes = []
    sets = [top, *drawn]
    for places_of in track(sets, "heads ablated", total=len(sets), show=progress):
        changes.append(
            _effects(model, prompts, topics, _without(Units("head", tuple(places_of), width), reference)) - whole
        )
    own = changes[0]
    draws = np.array([float(change.mean()) for change in changes[1:]])
    names = own.index.to_numpy(object).astype(str)
    edit = _without(Units("head", tuple(top), width), reference)
    texts = [measure_perplexity(model, intervention=one, progress=False).perplexity.estimate for one in (None, edit)]
    return HeadAblation(
        bootstrap_mean(whole.to_numpy(float), names, seed=run.seed),
        bootstrap_mean(own.to_numpy(float), names, seed=run.seed),
        float(draws.mean()) if len(draws) else float("nan"),
        rank_among(-float(own.mean()), -draws),
        (texts[0], texts[1]),
        tuple(draws.tolist()),
    )


def _without(units: Units, reference: UnitReference) -> AblateUnits:
    return AblateUnits(units, "mean", reference)


def _effects(
    model: HookedModel, prompts: Sequence[Stated], topics: Sequence[Topic], edit: AblateUnits | None
) -> pd.Series:
    """Of four statements on agreeing, against fillers alone, topic by topic."""
    table = agreement_table(model, prompts, topics, words=(AGREEING,), intervention=edit, progress=False)
    return by_topic(table)[4]
