"""The main job from a configuration to its tables."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.arguments import checked
from persona_interp.data.traits import Trait
from persona_interp.directions.geometry import cosine_table
from persona_interp.io import write_json
from persona_interp.lock import alone_in
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.steering import steering_table, to_measurements
from persona_interp.measurements.steering_null import direction_test
from persona_interp.progress import WholeBar, one_bar
from persona_interp.statistics.null_families import battery_table
from persona_interp.studies.folder import RunFolder
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
from persona_interp.studies.persona.effects import persona_effects
from persona_interp.studies.persona.fit import TimeLimit, fitted, keep_fit, kept_fit
from persona_interp.studies.persona.gate import gate_rows
from persona_interp.studies.persona.kept import unscored_answers
from persona_interp.studies.persona.plan import (
    CHOOSING,
    RANDOM,
    ROLLOUTS,
    STEERING,
    TABLES,
    VECTORS,
    plan_of,
    planned_seconds,
    run_speed,
)
from persona_interp.studies.persona.result import Extracted, TraitResult, steering_row, summary_row
from persona_interp.studies.persona.results import FORMS, load_summary
from persona_interp.studies.persona.rows import STUDY
from persona_interp.studies.persona.validity import judges_shown
from persona_interp.tables import write_table
from persona_interp.types import POOLINGS, Hookpoint

logger = logging.getLogger(__name__)


@checked
@alone_in("out")
def run_main_job(config: RunConfig, out: Path, limit: TimeLimit | None = None) -> Path:
    """Rollouts, vectors, separation and steering for every trait, as tables in the folder, which is returned.

    Everything is kept as it is made: the same call after an interruption goes on and gives the same result.

    Args:
        limit: sizes are cut (`fitted`) until the run fits it, once: a run that goes on has those that it began with.

    Raises:
        ConfigError: the folder holds results of another configuration, or of other contents of a trait or model.
        EmptySelectionError: the filter left no answers of a trait.
        HookpointError: a layer to steer at does not exist.
        TraitError: the judge that filters cannot tell a trait's exemplars apart.
    """
    traits = config.load_traits()
    asked, fit = config, None if limit is None else kept_fit(out, config, limit)
    config = config if fit is None else fit.config
    if limit is None or fit is not None:
        RunFolder.check(out, STUDY, identity.of_inputs(config, traits), keeps=identity.KEEPS)
    clock = _Clock()
    with clock.stage("load"):
        bench = load_bench(config, out)
    bench.model.check_hookpoints([Hookpoint(layer) for layer in config.layers])
    speed = run_speed(bench, plan_of(config, traits, bench.model.n_layers))
    if limit is not None and fit is None:
        fit = fitted(config, traits, bench.model.n_layers, speed, limit)
        config, bench = fit.config, replace(bench, config=fit.config)
    home = RunFolder.claim(out, STUDY, identity.of_run(bench, traits), keeps=identity.KEEPS)
    write_json(out / "config.json", config.to_dict())
    if limit is not None and fit is not None:
        keep_fit(out, asked, limit, fit)
    bench = with_api_judge(bench)
    planned = planned_seconds(bench, traits, speed, [fit.sentence] if fit is not None and fit.sentence else [])
    with one_bar(planned) as bar:
        clock.bar = bar
        clock.parts = {stage: len(traits) * (2 if stage in (VECTORS, STEERING) else 1) for stage in planned}
        try:
            extracted = [_vectors(bench, trait, clock) for trait in traits]
            results = [_result(bench, made, extracted, clock) for made in extracted]
        finally:
            close_api_judge(bench)
            clock.bar = None
    with clock.stage(TABLES):
        measured = Measurements.concat([r.measured for r in results])
        rated = [agreement.rated_answers(r.trait, r.test, r.scored, r.panel.judges) for r in results]
        found = _tables(bench, results, measured, rated)
        _write_answers(bench, results, measured, rated)
        write_json(out / "summary.json", _summaries(bench, results, found["effects"]))
        effects, claimed = persona_effects(found, load_summary(out), n_layers=bench.model.n_layers)
        about = provenance(bench, clock.seconds) | {"planned_s": {k: round(v, 1) for k, v in planned.items()}}
        if limit is not None and fit is not None:
            about |= {"fit": {"minutes": limit.minutes, "sentence": fit.sentence}}
        home.finish(bench.model, about, effects, claimed, seed=config.seed)
    logger.info("times: %s", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in clock.seconds.items()))
    return out


def _vectors(bench: Bench, trait: Trait, clock: "_Clock") -> Extracted:
    with clock.stage(ROLLOUTS):
        judges = panel(bench, trait)
        train = stages.scored_rollouts(bench, trait, judges, "extract")
        test = stages.scored_rollouts(bench, trait, judges, "eval")
        shown = judges_shown(bench, trait, judges, train, test)
        keep_asked(bench)
    with clock.stage(VECTORS):
        return Extracted(trait, judges, train, test, shown, stages.vectors(bench, trait, train))


def _result(bench: Bench, made: Extracted, extracted: Sequence[Extracted], clock: "_Clock") -> TraitResult:
    trait, judges, shown, vector = made.trait, made.panel, made.shown, made.vectors["response_mean"]
    with clock.stage(VECTORS):
        profiles = {}
        for pooling in POOLINGS:
            others = {other.trait.name: other.vectors[pooling] for other in extracted if other is not made}
            profiles[pooling] = stages.separation(bench, made.train, made.test, pooling, others)
        baselines = stages.baselines(bench, trait, vector, made.train, made.test)
    with clock.stage(CHOOSING):
        setting = steering.select_setting(bench, trait, judges, shown, vector)
    with clock.stage(STEERING):
        scored = steering.evaluate(bench, trait, judges, shown, vector, setting)
        keep_asked(bench)
        gate = gate_rows(bench, trait, scored)
    with clock.stage(RANDOM):
        by_direction = steering.against_random(bench, trait, judges, shown, vector, made.train)
    with clock.stage(STEERING):
        facts = steering.factual_check(bench, trait, vector, setting)
    return TraitResult(
        *(trait, judges, made.train, made.test, shown, made.vectors),
        profiles=profiles,
        baselines=baselines,
        setting=setting,
        scored=scored,
        measured=to_measurements(scored, method=vector.method, model=bench.model.name, trait=trait.name),
        by_direction=by_direction,
        gate=gate,
        facts=facts,
    )


def _tables(
    bench: Bench, results: Sequence[TraitResult], measured: Measurements, rated: Sequence[pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """What the effects are made of.

    Args:
        measured: every score of steered answers; `rated` a frame a trait of all answers with a column a judge.
    """
    config = bench.config
    draws = {"n_resamples": config.n_resamples, "seed": config.seed}
    layers = config.steered_layers(bench.model.n_layers)
    middle = Hookpoint(layers[len(layers) // 2])
    directions = {r.trait.name: r.vectors["response_mean"] for r in results}
    answers, sides = results[0].train.activations("response_mean"), results[0].train.frame["side"].to_numpy(str)
    parts = {
        "separation": [
            tables.separation_rows(r.trait, p, r.profiles[p], r.vectors[p]) for r in results for p in POOLINGS
        ],
        "prompted": [tables.prompted_rows(r.trait, r.test, r.panel.judges, config.n_resamples) for r in results],
        "effects": [
            tables.effect_rows(r.trait, r.scored, r.setting, r.panel.judges, r.shown.heads, **draws) for r in results
        ],
        "gate": [r.gate for r in results],
        "validity": [tables.validity_rows(r) for r in results],
        "baselines": [tables.baseline_rows(r) for r in results],
        "agreement": [agreement.agreement_rows(answers, n_resamples=config.n_resamples) for answers in rated],
        "alpha": [agreement.alpha_rows(answers, n_resamples=config.n_resamples) for answers in rated],
    }
    return {
        **{name: _joined(some) for name, some in parts.items()},
        "steering": steering_table(measured, **draws),
        "geometry": cosine_table(directions, middle, answers, poles=sides, seed=config.seed),
    }


def _write_answers(
    bench: Bench, results: Sequence[TraitResult], measured: Measurements, rated: Sequence[pd.DataFrame]
) -> None:
    """Measurements, and the tables of single answers and single directions."""
    config, folder = bench.config, bench.folder
    measured.save(folder / "measurements.parquet", {"config": asdict(config), **bench.model.provenance.to_dict()})
    nulls = {r.trait.name: r.profiles["response_mean"].battery for r in results}
    written = {
        "steering_null": [r.by_direction for r in results if r.by_direction is not None],
        "judge_pairs": [agreement.judge_pair_rows(answers) for answers in rated],
        "nulls": [battery_table(nulls).drop(columns="q")],  # corrected in the summary, by claim
        "unscored": [some for r in results if len(some := unscored_answers(folder, r.trait))],
        "examples": [tables.example_rows(r, bench.embedding) for r in results],
    }
    for name, some in written.items():
        if some:
            write_table(folder / "tables" / f"{name}.csv", _joined(some), FORMS.get(name))


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all parts; the columns of the first where none has rows."""
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _summaries(bench: Bench, results: list[TraitResult], effects: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a trait, with its two claims corrected together with those of all other traits."""
    tests = [None if r.by_direction is None else direction_test(r.by_direction) for r in results]
    separations = [r.profiles["response_mean"].summary() for r in results]
    corrected = claims.corrected(separations, tests)
    return [
        summary_row(bench.config, r, separation, effects[effects["trait"] == r.trait.name])
        | steering_row(test)
        | q_values
        for r, separation, test, q_values in zip(results, separations, tests, corrected, strict=True)
    ]


class _Clock:
    """Seconds spent in each stage, over all traits."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.bar: WholeBar | None = None
        self.parts: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        if self.bar is not None:
            self.bar.start(name, 1 / self.parts.get(name, 1))
        try:
            yield
        finally:
            if self.bar is not None:
                self.bar.end()
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
