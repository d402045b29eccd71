"""Monitoring of several traits: from a model and judges to tables, effects and claims in a folder."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.io import write_json
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.contrast import rollout_contrast
from persona_interp.measurements.judge_validity import known_validity
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.contexts import graded_system_prompts, many_shot_contexts
from persona_interp.rollouts.generate import Rollouts, answer, generate_rollouts, plain_requests
from persona_interp.statistics.nulls import NullBattery
from persona_interp.statistics.thresholds import exact_share, measure_false_alarms
from persona_interp.studies.monitoring.conditions import Monitoring, measure_monitoring
from persona_interp.studies.monitoring.config import MonitoringConfig
from persona_interp.studies.monitoring.monitor import Monitor
from persona_interp.studies.monitoring.saved import write_monitoring_effects
from persona_interp.studies.monitoring.smoothing import Smoothing
from persona_interp.studies.monitoring.tables import monitoring_nulls, monitoring_table
from persona_interp.tables import write_table

SHOTS = (0, 5, 10, 15, 20)
"""The paper's numbers of shots."""


def run_monitoring(
    model: HookedModelBase,
    traits: Sequence[Trait],
    judges: Sequence[Judge],
    config: MonitoringConfig,
    *,
    work: Path,
    out: Path,
) -> None:
    """Measure every trait, and leave tables, effects, claims and provenance in a folder.

    units.csv has every condition and question with its projection at the named layer and its scores; correlations.csv,
    nulls.csv and alarms.csv are what `monitoring_table`, `monitoring_nulls` and `false_alarms` give.

    Args:
        judges: the first is the one of the claims; it also says which answers show a trait and may be shots.
        work: rollouts are kept there, and the same call goes on where it stopped.
    """
    made = [_extract(model, trait, config, work) for trait in traits]
    directions = [persona_vector(rollouts, filter="none") for rollouts in made]
    results = [
        _monitoring(model, trait, rollouts, direction, judges, config, work)
        for trait, rollouts, direction in zip(traits, made, directions, strict=True)
    ]
    named = {trait.name: config.named_layer for trait in traits}
    table = monitoring_table(results, named_layers=named, seed=config.seed)
    nulls, batteries = monitoring_nulls(
        results,
        {rollouts.trait: rollout_contrast(rollouts) for rollouts in made},
        other_directions={d.trait: [other for other in directions if other is not d] for d in directions},
        n_draws=config.n_null,
        seed=config.seed,
    )
    tables = {
        "units": pd.concat([_units(result, config.named_layer) for result in results], ignore_index=True),
        "correlations": table.assign(null_95=_random_directions(table, results, batteries)),
        "nulls": nulls,
        "alarms": false_alarms(model, traits, directions, config),
    }
    for name, frame in tables.items():
        write_table(out / f"{name}.csv", frame)
    notes = {
        "layers": f"layer {config.named_layer} was named in advance; the best of all layers is chosen on these data",
        "shots": f"answers to positive prompts that {judges[0].name} scores at least 50",
    }
    made_from = {"model": directions[0].provenance.to_dict(), "versions": library_versions(), "notes": notes}
    about = {
        "judges": {judge.name: judge.description for judge in judges},
        "judge_validity": known_validity(judges, traits, work),
    }
    write_json(out / "provenance.json", {"config": asdict(config), **made_from, **about})
    write_monitoring_effects(out)


def false_alarms(
    model: HookedModelBase, traits: Sequence[Trait], directions: Sequence[Direction], config: MonitoringConfig
) -> DataFrame:
    """A row a trait and measure: alarms on neutral answers the threshold was not set on, hits on prompted answers.

    There is one answer a question, because both the threshold and the exact intervals ask for independent answers.
    """
    watch = Monitor(directions, config.named_layer, smoothing=Smoothing(config.window))
    asked = [question for trait in traits for question in trait.questions]
    held_out = [question for trait in traits for question in trait.eval_questions]
    _watched(model, watch, plain_requests(asked), config)
    watch = watch.calibrate(false_alarm_rate=config.false_alarm_rate)
    _watched(model, watch, plain_requests(held_out), config)
    neutral, rows = watch.answer_scores(), []
    for k, (trait, threshold) in enumerate(zip(traits, watch.thresholds, strict=True)):
        watch.clear()
        system = graded_system_prompts(trait)[-1].contexts[0][0].content
        _watched(model, watch, plain_requests(trait.eval_questions).assign(system=system), config)
        scores = watch.answer_scores()[k]
        shares = {
            "false alarms": measure_false_alarms(threshold, neutral[k]),
            "hits": exact_share(sum(bool(s.max() > threshold.value) for s in scores), len(scores)),
        }
        for name, share in shares.items():
            rows.append({"trait": trait.name, "layer": config.named_layer, "threshold": threshold.value})
            rows[-1] |= {"asked_rate": config.false_alarm_rate, "n_neutral": threshold.n, "measure": name}
            rows[-1] |= {"share": share.estimate, "low": share.low, "high": share.high, "n": share.n}
    return DataFrame(rows)


def _watched(model: HookedModelBase, watch: Monitor, requests: DataFrame, config: MonitoringConfig) -> None:
    sampling = Sampling(config.max_new_tokens, 0.7, seed=config.seed)
    with watch.watching(model):
        answer(model, requests, sampling=sampling, label="monitored answers")


def _extract(model: HookedModelBase, trait: Trait, config: MonitoringConfig, work: Path) -> Rollouts:
    return generate_rollouts(
        model,
        trait,
        n_instructions=config.n_instructions,
        max_new_tokens=config.max_new_tokens,
        seed=config.seed,
        pool=("response_mean",),
        folder=work / "rollouts" / trait.name / "extraction",
    )


def _monitoring(
    model: HookedModelBase,
    trait: Trait,
    rollouts: Rollouts,
    direction: Direction,
    judges: Sequence[Judge],
    config: MonitoringConfig,
    work: Path,
) -> Monitoring:
    """Eight graded system prompts, and as many shots as there are questions whose answers show the trait."""
    positive = rollouts.frame[rollouts.frame["side"] == "positive"]
    shown = positive[
        [s.value >= 50 for s in judges[0].rate(trait, list(positive["question"]), list(positive["answer"]))]
    ]
    counts = tuple(sorted({min(count, shown["question"].nunique()) for count in SHOTS}))
    shots = many_shot_contexts(shown, questions=trait.eval_questions, counts=counts)
    return measure_monitoring(
        model,
        direction,
        trait,
        judges=judges,
        conditions=(*graded_system_prompts(trait), *shots),
        questions=trait.eval_questions[: config.n_eval_questions],
        n_samples=config.n_samples,
        max_new_tokens=config.max_new_tokens,
        seed=config.seed,
        folder=work / "rollouts" / trait.name / "monitoring",
    )


def _units(result: Monitoring, layer: int) -> DataFrame:
    return result.units.assign(trait=result.trait, projection=result.projections[:, result.layers.index(layer)])


def _random_directions(
    table: DataFrame, results: Sequence[Monitoring], batteries: dict[str, NullBattery]
) -> list[float]:
    """The 95th percentile of random directions at the layer of each row; NaN where no battery was run."""
    layers = {result.trait: result.layers for result in results}
    found = []
    for row in table.to_dict("records"):
        battery = batteries.get(f"{row['trait']}, {row['kind']}, {row['judge']}, {row['scope']}")
        known = battery is not None and row["predictor"] == "projection"
        place = layers[row["trait"]].index(row["layer"]) if known else 0
        found.append(float(battery["random_directions"].layer_95[place]) if battery and known else np.nan)
    return found
