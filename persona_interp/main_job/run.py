"""The main job from a configuration to a report."""

import logging
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.geometry import cosine_table
from persona_interp.io import remove_partial_writes, write_json
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.main_job import stages, tables
from persona_interp.main_job.config import RunConfig
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.separation import SeparationProfile
from persona_interp.measurements.statistics import Interval, benjamini_hochberg, bootstrap_mean
from persona_interp.measurements.steering import (
    SELECTION_RULE,
    Setting,
    steering_effect,
    steering_table,
    to_measurements,
)
from persona_interp.models.load import load_model
from persona_interp.rollouts.generate import Rollouts
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.types import POOLINGS, Hookpoint, Pooling

logger = logging.getLogger(__name__)


def run_main_job(config: RunConfig, folder: Path) -> Path:
    """Rollouts, vectors, separation, steering, figures and report for every trait; returns the report's path.

    Everything is kept as it is made: the same call after an interruption goes on and gives the same result.

    Raises:
        ConfigError: the folder holds results of another configuration.
        EmptySelectionError: the filter left no answers of a trait.
        HookpointError: a layer to steer at does not exist.
    """
    traits = config.load_traits()
    if (folder / "config.json").is_file():
        refuse_other_config(folder / "config.json", config.to_dict())
    clock = _Clock()
    with clock.stage("load"):
        bench = _bench(config, folder)
    bench.model.check_hookpoints([Hookpoint(layer) for layer in config.layers])
    refuse_other_config(folder / "config.json", config.to_dict())  # takes a new folder, now that nothing can be refused
    remove_partial_writes(folder)
    results = [_one_trait(bench, trait, clock) for trait in traits]
    with clock.stage("tables"):
        _write_tables(bench, results)
        write_json(folder / "summary.json", _summaries(config, results))
        write_json(folder / "provenance.json", _provenance(bench, clock))
    # Imported here: figures need matplotlib, which nothing else does.
    from persona_interp.report import write_report

    with clock.stage("figures and report"):
        report = write_report(folder)
    logger.info("times: %s", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in clock.seconds.items()))
    return report


class _Result:
    """What one trait gave."""

    def __init__(self, trait: Trait, train: Rollouts, test: Rollouts) -> None:
        self.trait, self.train, self.test = trait, train, test
        self.vectors: dict[Pooling, Direction] = {}
        self.profiles: dict[Pooling, SeparationProfile] = {}
        self.setting = Setting(0, 0.0, coherent=False)
        self.scored = pd.DataFrame()
        self.measured = Measurements.from_rows([])
        self.random = Measurements.from_rows([])
        self.random_effects: list[float] = []
        self.effect: Interval | None = None
        self.notes: list[str] = []


def _one_trait(bench: stages.Bench, trait: Trait, clock: "_Clock") -> _Result:
    with clock.stage("rollouts and judging"):
        result = _Result(
            trait, stages.scored_rollouts(bench, trait, "extract"), stages.scored_rollouts(bench, trait, "eval")
        )
    with clock.stage("vectors and separation"):
        result.vectors = stages.vectors(bench, trait, result.train)
        result.profiles = {p: stages.separation(bench, result.train, result.test, p) for p in POOLINGS}
    vector = result.vectors["response_mean"]
    with clock.stage("choosing a setting"):
        result.setting, _ = stages.select_setting(bench, trait, vector)
    with clock.stage("steering and judging"):
        result.scored, control = stages.evaluate(bench, trait, vector, result.setting, result.train)
        facts = stages.factual_check(bench, trait, vector, result.setting)
    names = {"model": bench.model.name, "trait": trait.name}
    result.measured = to_measurements(result.scored, method=vector.method, **names)
    judge = bench.embedding.name
    result.effect = steering_effect(result.measured, result.setting, judge=judge, seed=bench.config.seed)
    if len(control):
        result.random = to_measurements(control, method="random", **names)
        for draw in range(bench.config.n_random):
            one = control[control["draw"].isin([draw, -1])]
            measured = to_measurements(one, method="random", **names)
            result.random_effects.append(steering_effect(measured, result.setting, judge=judge).estimate)
    result.notes = _notes(result, facts)
    return result


def _notes(result: _Result, facts: pd.DataFrame | None) -> list[str]:
    tested = result.profiles["response_mean"].summary()
    notes = [
        f"Tested on {tested['n_test_positive']} answers to positive, {tested['n_test_negative']} to negative prompts,"
        f" {tested['n_test_questions']} questions that made no vector; system prompts are the same."
    ]
    if not result.setting.coherent:
        notes.append("No positive coefficient gave coherent answers on the selection questions; the weakest was taken.")
    if facts is not None:
        for (kind, coefficient), cell in facts.dropna(subset=["invented"]).groupby(["kind", "coefficient"]):
            rate = bootstrap_mean(cell["invented"].to_numpy(float), cell["question"].to_numpy())
            notes.append(
                f"By rule, {kind} questions at coefficient {coefficient:+g}: {rate.estimate:.0f} % invented or wrong"
                f" [{rate.low:.0f}, {rate.high:.0f}], n = {rate.n}."
            )
    return notes


def _write_tables(bench: stages.Bench, results: list[_Result]) -> None:
    config, folder = bench.config, bench.folder
    measured = Measurements.concat([m for r in results for m in (r.measured, r.random)])
    measured.save(folder / "measurements.parquet", {"config": asdict(config), **bench.model.provenance.to_dict()})
    tables.write_table(folder, "steering", steering_table(measured, n_resamples=config.n_resamples, seed=config.seed))
    rows = [tables.separation_rows(r.trait, p, r.profiles[p], r.vectors[p]) for r in results for p in POOLINGS]
    tables.write_table(folder, "separation", pd.concat(rows, ignore_index=True))
    judges = bench.judges
    prompted = [tables.prompted_rows(r.trait, r.test, judges, n_resamples=config.n_resamples) for r in results]
    tables.write_table(folder, "prompted", pd.concat(prompted, ignore_index=True))
    pairs = pd.concat([tables.judge_pair_rows(r.trait, r.test, r.scored, judges) for r in results], ignore_index=True)
    tables.write_table(folder, "judge_pairs", pairs)
    tables.write_table(folder, "agreement", tables.agreement_rows(pairs, n_resamples=config.n_resamples))
    examples = [tables.example_rows(r.trait, r.scored, r.setting, bench.embedding) for r in results]
    tables.write_table(folder, "examples", pd.concat(examples, ignore_index=True))
    layers = config.steered_layers(bench.model.n_layers)
    middle = Hookpoint(layers[len(layers) // 2])
    directions = {r.trait.name: r.vectors["response_mean"] for r in results}
    geometry = cosine_table(directions, middle, results[0].train.activations("response_mean"), seed=config.seed)
    tables.write_table(folder, "geometry", geometry)


def _summaries(config: RunConfig, results: list[_Result]) -> list[dict[str, Any]]:
    profiles = [r.profiles["response_mean"] for r in results]
    p_values = [p for profile in profiles for p in (profile.p_shuffled, profile.p_random)]
    q_values = benjamini_hochberg(pd.Series(p_values).to_numpy(float))
    return [_summary(config, result, q_values[2 * i], q_values[2 * i + 1]) for i, result in enumerate(results)]


def _summary(config: RunConfig, result: _Result, q_shuffled: float, q_random: float) -> dict[str, Any]:
    separation = result.profiles["response_mean"].summary()
    side = result.train.frame["side"]
    effect = result.effect
    assert effect is not None, "every trait is evaluated"
    return {
        "trait": result.trait.name,
        "n_positive": int((side == "positive").sum()),
        "n_negative": int((side == "negative").sum()),
        "n_kept_positive": separation["n_train_positive"],
        "n_kept_negative": separation["n_train_negative"],
        "filter": config.filter,
        **{key: separation[key] for key in ("best_layer", "auc", "auc_low", "auc_high", "p_shuffled", "p_random")},
        "q_shuffled": float(q_shuffled),
        "q_random": float(q_random),
        "n_null": separation["n_null"],
        "chosen_layer": result.setting.layer,
        "chosen_coefficient": result.setting.coefficient,
        "selection_rule": SELECTION_RULE,
        "effect": effect.estimate,
        "effect_low": effect.low,
        "effect_high": effect.high,
        "effect_judge": next(iter(_judge_names(result))),
        "effect_random_low": min(result.random_effects, default=None),
        "effect_random_high": max(result.random_effects, default=None),
        "n_eval": effect.n,
        "n_eval_questions": effect.n_clusters,
        "n_resamples": config.n_resamples,
        "notes": result.notes,
    }


def _judge_names(result: _Result) -> list[str]:
    metrics = result.random.frame["metric"] if len(result.random) else result.measured.frame["metric"]
    return [m.partition(": ")[2] for m in metrics.unique() if m.startswith("expression: ")]


def _bench(config: RunConfig, folder: Path) -> stages.Bench:
    model = load_model(config.model, config.backend, dtype=config.dtype)
    judging = load_model(config.judge_model, config.backend, dtype=config.dtype) if config.judge_model else model
    embedding = EmbeddingJudge()
    return stages.Bench(
        config=config,
        folder=folder,
        model=model,
        embedding=embedding,
        likelihood=LikelihoodJudge(judging, n_pairs=config.n_judge_pairs),
        coherence=CoherenceJudge(judging, embedding.encoder),
    )


def _provenance(bench: stages.Bench, clock: "_Clock") -> dict[str, Any]:
    likelihood = bench.likelihood.description
    if not bench.config.judge_model:
        likelihood += " (the weights of the model under test, unsteered)"
    return {
        **bench.model.provenance.to_dict(),
        "judges": {
            bench.embedding.name: bench.embedding.description,
            bench.likelihood.name: likelihood,
            "coherence": bench.coherence.description,
        },
        "time_s": {name: round(seconds, 1) for name, seconds in clock.seconds.items()},
        "commit": _commit(),
    }


def _commit() -> str:
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


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
