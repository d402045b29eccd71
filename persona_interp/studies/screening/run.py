"""`screen`: every sample of a data set on persona directions, with a summary, a ranking and what to look at."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Percentile, Size, Some
from persona_interp.data.conversations import stream_conversations
from persona_interp.data.sources import shown
from persona_interp.data.streams import holds_preferences, source_hash
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.errors import ConfigError, DataError
from persona_interp.lock import alone_in
from persona_interp.models.hooked import HookedModelBase
from persona_interp.progress import is_quiet
from persona_interp.statistics.thresholds import conformal_rank, fewest_samples
from persona_interp.studies.plan import say_plan
from persona_interp.studies.screening.batch import Screener
from persona_interp.studies.screening.config import (
    Delta,
    Engine,
    Score,
    ScreenConfig,
    TextJudge,
    check_engine,
    choose_score,
)
from persona_interp.studies.screening.detection import percentile_threshold
from persona_interp.studies.screening.effects import STUDY, Limit
from persona_interp.studies.screening.local_engine import screen_here
from persona_interp.studies.screening.plan import screening_plan
from persona_interp.studies.screening.result import Clean, ScreenResult, write_result
from persona_interp.studies.screening.store import Shards, claim_folder
from persona_interp.studies.screening.summary import score_values, unusable, usable
from persona_interp.types import default_layer


@checked
@alone_in("out")
def screen(
    model: HookedModelBase,
    source: str,
    directions: Some[Direction],
    *,
    out: Path,
    layers: Some[int] | None = None,
    delta: Delta = "prompt",
    clean: str | None = None,
    percentile: Percentile = 95.0,
    joint: bool = False,
    rank_by: Score | None = None,
    n_flagged: Count = 50,
    judge: TextJudge | None = None,
    batch_rows: Size = 64,
    max_new_tokens: Count = 64,
    engine: Engine = "local",
    ray_address: str | None = None,
    n_workers: Count | None = None,
    progress: bool = True,
) -> ScreenResult:
    """Projection of every sample's answer and ΔP on every direction, kept in shards; then what they say together.

    Larger means more of a direction's positive pole, in residual units. Nothing of a sample but its numbers is kept, so
    memory does not grow with texts. An interrupted screening goes on after its last whole shard, with either engine:
    they give equal numbers where they run as many threads (a Ray worker runs one).

    Args:
        source: a data set in any form that `stream_rows` reads.
        layers: 0-based blocks; default: the one nearest to depth 0.6.
        delta: ΔP against the projection of the last prompt token (`prompt`, no extra cost), against the model's own
            greedy answers (`generate`, which takes most of the time), or none.
        clean: a data set of wanted behaviour, screened in the same way, which sets the threshold of each direction and
            layer: a new clean sample passes it with at most 100 - `percentile` percent probability
            (`percentile_threshold`). Without it there is no threshold, and samples are only ranked.
        joint: whether that is the probability to pass any of the thresholds; else it is that of each alone.
        rank_by: default: the difference, or the projection where there is none.
        n_flagged: samples a direction and layer that are shown with text and tokens, at most.
        judge: a text judge's score of the answer beside the projections, where it knows the trait.
        n_workers: of Ray; default: one a GPU of the cluster, or one a CPU where there is no GPU.

    Raises:
        ConfigError: an option cannot be used, or the folder holds another screening.
        DataError: the data are preference pairs, which `screen_pairs` screens.
        EmptySelectionError: no row can be scored.
        HookpointError: the model, or a direction, has no such layer.
        IncompatibleDirectionError: a direction belongs to another model.
        MissingPackageError: the engine's package is not installed.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), sections 5 and 6.
    """
    check_engine(engine)
    if holds_preferences(source):
        raise DataError(
            f"{shown(source)} is preference data: its rows hold a chosen and a rejected answer.",
            "Call screen_pairs, which compares the two.",
        )
    layers = (default_layer(model.n_layers),) if layers is None else tuple(layers)
    for direction in directions:
        check_direction(direction, model)
        for layer in layers:
            direction.at(layer)
    screener = Screener.make(model, directions, ScreenConfig(layers, delta, batch_rows, max_new_tokens, judge))
    score = choose_score(screener.config, rank_by, screener.channels)
    each = 100 - (100 - percentile) / (len(screener.channels) if joint else 1)
    if clean is not None:
        _check_clean(clean, each)
    home = claim_folder(out, screener, source_hash=source_hash(source))
    parts, identity = [(source, Shards(out))], {"shards": home.identity, "score": score, "percentile": each}
    if clean is not None:
        neutral = claim_folder(out / "clean", screener, source_hash=source_hash(clean))
        parts, identity = [*parts, (clean, Shards(neutral.path))], {**identity, "clean": neutral.identity}
    if progress and engine == "local" and not is_quiet():
        names = ("rows", "clean rows")
        sets = {n: (s, shards.first_missing() * batch_rows) for n, (s, shards) in zip(names, parts, strict=False)}
        if steps := screening_plan(sets, screener.config):
            say_plan(f"screening of {shown(source)} on {model.name}", steps, model, folder=None, study=STUDY)
    if engine == "ray":
        from persona_interp.studies.screening.ray_engine import screen_on_ray

        screen_on_ray(screener, parts, address=ray_address, n_workers=n_workers, progress=progress)
    for part in parts:  # after Ray every shard exists
        screen_here(screener, *part, progress=progress)
    limits = None if clean is None else _limits(screener, parts[1][1], clean, score, each)
    return write_result(
        screener, replace(home, identity=identity), source, score=score, clean=limits, n_flagged=n_flagged
    )


def _limits(screener: Screener, shards: Shards, source: str, score: Score, percentile: float) -> Clean:
    names = [channel.column(score) for channel in screener.channels]
    everything = shards.read(["row", "name", "reason", *dict.fromkeys(names)])
    table = usable(everything)
    limits = {}
    for channel in screener.channels:
        values = score_values(table, channel, score)
        values = values[np.isfinite(values)]
        k = conformal_rank(len(values), 1 - percentile / 100)
        limits[channel] = Limit(percentile_threshold(values, percentile), len(values), k)
    return Clean(
        source=source,
        percentile=percentile,
        any_rate=min(1.0, len(limits) * (1 - percentile / 100)),
        n=len(table),
        n_unusable=len(unusable(everything)),
        limits=limits,
    )


def _check_clean(source: str, percentile: float) -> None:
    """Refuse too few clean samples before anything is computed; rows that turn out unusable are seen only later."""
    needed = fewest_samples(1 - percentile / 100)
    there = sum(1 for _ in islice(stream_conversations(source), needed))
    if there < needed:
        raise ConfigError(
            f"a threshold at percentile {percentile:.6g} needs at least {needed} clean samples, got {there}: {source}",
            "Give more of them, or a lower percentile.",
        )
