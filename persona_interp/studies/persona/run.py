"""The main job from a configuration to its tables."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.geometry import cosine_table
from persona_interp.io import write_json
from persona_interp.lock import alone_in
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.steering import steering_table, to_measurements
from persona_interp.measurements.steering_null import direction_test
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.statistics.null_families import battery_table
from persona_interp.studies.persona import agreement, claims, identity, stages, steering, tables
from persona_interp.studies.persona.bench import (
    Bench,
    close_api_judge,
    keep_asked,
    load_bench,
    panel,
    provenance,
    with_api_judge,
)
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.effects import write_main_job_effects
from persona_interp.studies.persona.kept import unscored_answers
from persona_interp.studies.persona.result import TraitResult, steering_row, summary_row
from persona_interp.types import POOLINGS, Hookpoint

logger = logging.getLogger(__name__)


@alone_in("folder")
def run_main_job(config: RunConfig, folder: Path) -> Path:
    """Rollouts, vectors, separation and steering for every trait, as tables in the folder, which is returned.

    Everything is kept as it is made: the same call after an interruption goes on and gives the same result.

    Raises:
        ConfigError: the folder holds results of another configuration, or of other contents of a trait or model.
        EmptySelectionError: the filter left no answers of a trait.
        HookpointError: a layer to steer at does not exist.
        TraitError: the judge that filters cannot tell a trait's exemplars apart.
    """
    traits = config.load_traits()
    if (folder / "config.json").is_file():
        refuse_other_config(folder / "config.json", config.to_dict())
    identity.check_traits(folder, traits)
    clock = _Clock()
    with clock.stage("load"):
        bench = load_bench(config, folder)
    bench.model.check_hookpoints([Hookpoint(layer) for layer in config.layers])
    refuse_other_config(folder / "config.json", config.to_dict())  # takes a new folder, now that nothing can be refused
    identity.claim(folder, bench, traits)
    bench = with_api_judge(bench)
    try:
        results = [_vectors(bench, trait, clock) for trait in traits]
        for result in results:
            _separation(bench, result, results, clock)
            _steering(bench, result, clock)
    finally:
        close_api_judge(bench)
    with clock.stage("tables"):
        effects = _write_tables(bench, results)
        write_json(folder / "summary.json", _summaries(bench, results, effects))
        write_json(folder / "provenance.json", provenance(bench, clock.seconds))
        write_main_job_effects(folder)
    logger.info("times: %s", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in clock.seconds.items()))
    return folder


def _vectors(bench: Bench, trait: Trait, clock: "_Clock") -> TraitResult:
    with clock.stage("rollouts and judging"):
        judges = panel(bench, trait)
        train = stages.scored_rollouts(bench, trait, judges, "extract")
        test = stages.scored_rollouts(bench, trait, judges, "eval")
        keep_asked(bench)
    with clock.stage("vectors and separation"):
        return TraitResult(trait, judges, train, test, stages.vectors(bench, trait, train))


def _separation(bench: Bench, result: TraitResult, results: list[TraitResult], clock: "_Clock") -> None:
    with clock.stage("vectors and separation"):
        for pooling in POOLINGS:
            others = {other.trait.name: other.vectors[pooling] for other in results if other is not result}
            result.profiles[pooling] = stages.separation(bench, result.train, result.test, pooling, others)
        vector = result.vectors["response_mean"]
        result.baselines = stages.baselines(bench, result.trait, vector, result.train, result.test)


def _steering(bench: Bench, result: TraitResult, clock: "_Clock") -> None:
    trait, vector = result.trait, result.vectors["response_mean"]
    with clock.stage("choosing a setting"):
        result.setting, _ = steering.select_setting(bench, trait, vector)
    with clock.stage("steering and judging"):
        result.scored = steering.evaluate(bench, trait, result.panel, vector, result.setting)
        keep_asked(bench)
    with clock.stage("steering along random directions"):
        result.by_direction = steering.against_random(bench, trait, vector, result.train)
    with clock.stage("steering and judging"):
        result.facts = steering.factual_check(bench, trait, vector, result.setting)
    names = {"model": bench.model.name, "trait": trait.name}
    result.measured = to_measurements(result.scored, method=vector.method, **names)


def _write_tables(bench: Bench, results: list[TraitResult]) -> pd.DataFrame:
    """Every table of the run; returns that of the steering effects."""
    config, folder = bench.config, bench.folder
    measured = Measurements.concat([r.measured for r in results])
    measured.save(folder / "measurements.parquet", {"config": asdict(config), **bench.model.provenance.to_dict()})
    tables.save_table(folder, "steering", steering_table(measured, n_resamples=config.n_resamples, seed=config.seed))
    if drawn := [r.by_direction for r in results if r.by_direction is not None]:
        tables.save_table(folder, "steering_null", pd.concat(drawn, ignore_index=True))
    rows = [tables.separation_rows(r.trait, p, r.profiles[p], r.vectors[p]) for r in results for p in POOLINGS]
    tables.save_table(folder, "separation", pd.concat(rows, ignore_index=True))
    prompted = [tables.prompted_rows(r.trait, r.test, r.panel.judges, config.n_resamples) for r in results]
    tables.save_table(folder, "prompted", pd.concat(prompted, ignore_index=True))
    draws = {"n_resamples": config.n_resamples, "seed": config.seed}
    rows = [tables.effect_rows(r.trait, r.scored, r.setting, r.panel.judges, **draws) for r in results]
    effects = pd.concat(rows, ignore_index=True)
    tables.save_table(folder, "effects", effects)
    tables.save_table(folder, "baselines", pd.concat([tables.baseline_rows(r) for r in results], ignore_index=True))
    nulls = {r.trait.name: r.profiles["response_mean"].battery for r in results}
    tables.save_table(folder, "nulls", battery_table(nulls).drop(columns="q"))  # corrected in the summary, by claim
    _write_agreement(bench, results)
    unscored = pd.concat([unscored_answers(folder, r.trait) for r in results], ignore_index=True)
    if len(unscored):
        tables.save_table(folder, "unscored", unscored)
    examples = [tables.example_rows(r.trait, r.scored, r.setting, bench.embedding) for r in results]
    tables.save_table(folder, "examples", pd.concat(examples, ignore_index=True))
    layers = config.steered_layers(bench.model.n_layers)
    middle = Hookpoint(layers[len(layers) // 2])
    directions = {r.trait.name: r.vectors["response_mean"] for r in results}
    answers, sides = results[0].train.activations("response_mean"), results[0].train.frame["side"].to_numpy(str)
    geometry = cosine_table(directions, middle, answers, poles=sides, seed=config.seed)
    tables.save_table(folder, "geometry", geometry)
    return effects


def _write_agreement(bench: Bench, results: list[TraitResult]) -> None:
    rated = [agreement.rated_answers(r.trait, r.test, r.scored, r.panel.judges) for r in results]
    draws = bench.config.n_resamples
    for name, parts in {
        "judge_pairs": [agreement.judge_pair_rows(answers) for answers in rated],
        "agreement": [agreement.agreement_rows(answers, n_resamples=draws) for answers in rated],
        "alpha": [agreement.alpha_rows(answers, n_resamples=draws) for answers in rated],
    }.items():
        some = [part for part in parts if len(part)] or parts[:1]
        tables.save_table(bench.folder, name, pd.concat(some, ignore_index=True))


def _summaries(bench: Bench, results: list[TraitResult], effects: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a trait, with its two claims corrected together with those of all other traits."""
    tests = [None if r.by_direction is None else direction_test(r.by_direction) for r in results]
    separations = [r.profiles["response_mean"].summary() for r in results]
    corrected = claims.corrected(separations, tests)
    return [
        summary_row(bench.config, r, separation, effects[effects["trait"] == r.trait.name], bench.embedding.name)
        | steering_row(test)
        | q_values
        for r, separation, test, q_values in zip(results, separations, tests, corrected, strict=True)
    ]


class _Clock:
    """Seconds spent in each stage, over all traits."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
