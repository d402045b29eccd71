"""Does the projection before an answer say how much of a trait the answer will show, and do alerts keep their rate?

For every trait: the persona vector from extraction questions; eight graded system prompts (with an instruction that the
vector was not made with) and 0 to 20 shots, on evaluation questions; Pearson r of the projection of the last prompt
token with the judged expression of the answers, overall and within conditions, at every layer and at one named in
advance. Then the online monitor: a threshold for each trait from unprompted answers to extraction questions, its false
alarms on unprompted answers to evaluation questions, and its hits on answers to the strongest system prompt. There is
one answer a question, because both the threshold and the exact intervals ask for independent answers.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from kept_results import write_tables

from persona_interp.data.traits import Trait, load_trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.figures.style import legend_below, panel_figure, paper_style, save_figure
from persona_interp.io import write_json
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.contrast import rollout_contrast
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.contexts import graded_system_prompts, many_shot_contexts
from persona_interp.rollouts.generate import Rollouts, answer, generate_rollouts, plain_requests
from persona_interp.statistics.nulls import NullBattery
from persona_interp.statistics.thresholds import exact_share, measure_false_alarms
from persona_interp.studies.monitoring.conditions import Monitoring, measure_monitoring
from persona_interp.studies.monitoring.figures.monitoring import plot_layer_correlations, plot_monitoring
from persona_interp.studies.monitoring.monitor import Monitor
from persona_interp.studies.monitoring.smoothing import Smoothing
from persona_interp.studies.monitoring.tables import monitoring_nulls, monitoring_table


@dataclass(frozen=True)
class Config:
    """What is measured. The defaults are the preset `quick`.

    Args:
        named_layer: fixed before anything was measured: .55 of the depth, where persona vectors of several families
            were reported to steer best.
        n_instructions: instruction pairs for extraction; the graded prompts use the last one, which is not among them.
    """

    model: str = "smollm2-135m-instruct"
    dtype: str = "auto"
    traits: tuple[str, ...] = ("impolite", "optimistic", "evil")
    named_layer: int = 16
    n_instructions: int = 4
    n_eval_questions: int = 15
    n_samples: int = 2
    max_new_tokens: int = 32
    judge_pairs: int = 2
    false_alarm_rate: float = 0.05
    window: int = 8
    n_null: int = 200
    seed: int = 0


FULL = Config(n_eval_questions=20, n_samples=10, max_new_tokens=64, judge_pairs=5)


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything that is saved and drawn."""

    results: tuple[Monitoring, ...]
    table: pd.DataFrame
    nulls: pd.DataFrame
    batteries: Mapping[str, NullBattery]
    alarms: pd.DataFrame


def run(config: Config, folder: Path) -> Measured:
    """Measure every trait; rollouts stay in the folder, and the same call goes on where it stopped."""
    model = load_model(config.model, dtype=config.dtype)
    traits = [load_trait(name) for name in config.traits]
    judges: list[Judge] = [EmbeddingJudge(), LikelihoodJudge(model, n_pairs=config.judge_pairs)]
    made = [_extract(model, trait, config, folder) for trait in traits]
    directions = [persona_vector(rollouts, filter="none") for rollouts in made]
    results = tuple(
        _monitoring(model, trait, rollouts, direction, judges, config, folder)
        for trait, rollouts, direction in zip(traits, made, directions, strict=True)
    )
    named = dict.fromkeys(config.traits, config.named_layer)
    table = monitoring_table(results, named_layers=named, seed=config.seed)
    nulls, batteries = monitoring_nulls(
        results,
        {rollouts.trait: rollout_contrast(rollouts) for rollouts in made},
        other_directions={d.trait: [other for other in directions if other is not d] for d in directions},
        n_draws=config.n_null,
        seed=config.seed,
    )
    return Measured(results, table, nulls, batteries, false_alarms(model, traits, directions, config))


def false_alarms(
    model: HookedModelBase, traits: Sequence[Trait], directions: Sequence[Direction], config: Config
) -> pd.DataFrame:
    """A row a trait and measure: alarms on neutral answers the threshold was not set on, hits on prompted answers."""
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
    return pd.DataFrame(rows)


def _watched(model: HookedModelBase, watch: Monitor, requests: pd.DataFrame, config: Config) -> None:
    sampling = Sampling(config.max_new_tokens, 0.7, seed=config.seed)
    with watch.watching(model):
        answer(model, requests, sampling=sampling, label="monitored answers")


def _extract(model: HookedModelBase, trait: Trait, config: Config, folder: Path) -> Rollouts:
    return generate_rollouts(
        model,
        trait,
        n_instructions=config.n_instructions,
        max_new_tokens=config.max_new_tokens,
        seed=config.seed,
        pool=("response_mean",),
        folder=folder / "rollouts" / trait.name / "extraction",
    )


def _monitoring(
    model: HookedModelBase,
    trait: Trait,
    rollouts: Rollouts,
    direction: Direction,
    judges: Sequence[Judge],
    config: Config,
    folder: Path,
) -> Monitoring:
    questions = trait.eval_questions[: config.n_eval_questions]
    positive = rollouts.frame[rollouts.frame["side"] == "positive"]
    shown = [s.value >= 50 for s in judges[0].rate(trait, list(positive["question"]), list(positive["answer"]))]
    shots = many_shot_contexts(positive[shown], questions=trait.eval_questions, counts=_counts(positive[shown]))
    return measure_monitoring(
        model,
        direction,
        trait,
        judges=judges,
        conditions=(*graded_system_prompts(trait), *shots),
        questions=questions,
        n_samples=config.n_samples,
        max_new_tokens=config.max_new_tokens,
        seed=config.seed,
        folder=folder / "rollouts" / trait.name / "monitoring",
    )


def _counts(answers: pd.DataFrame) -> tuple[int, ...]:
    """The paper's numbers of shots, and no more than there are questions whose answers show the trait."""
    there = answers["question"].nunique()
    return tuple(sorted({min(count, there) for count in (0, 5, 10, 15, 20)}))


def draw(measured: Measured, config: Config, folder: Path) -> None:
    """The two figures, each for the judge that does not share the model's weights."""
    judge = measured.results[0].judges[0]
    kinds = measured.results[0].kinds
    points, curves = [], []
    with paper_style():
        scatter, scatter_axes = panel_figure(len(measured.results), len(kinds))
        layers, layer_axes = panel_figure(len(measured.results), len(kinds), share_y="all")
        for i, result in enumerate(measured.results):
            for j, kind in enumerate(kinds):
                rows = _points(result, kind, judge, config.named_layer)
                plot_monitoring(rows, scatter_axes[i][j]).set_title(f"{result.trait}, {_words(kind)}")
                points.append(rows.assign(trait=result.trait))
                lines = _curves(measured, result, kind, judge)
                plot_layer_correlations(lines, layer_axes[i][j], named_layer=config.named_layer)
                layer_axes[i][j].set_title(f"{result.trait}, {_words(kind)}")
                curves.append(lines)
        legend_below(scatter, columns=4)
        legend_below(layers, columns=3)
    save_figure(scatter, pd.concat(points), folder, "projection_and_expression")
    save_figure(layers, pd.concat(curves), folder, "correlation_by_layer")


def _words(kind: str) -> str:
    return {"system": "system prompts", "shots": "many shots"}[kind]


def _points(result: Monitoring, kind: str, judge: str, layer: int) -> pd.DataFrame:
    units = result.units[["kind", "condition", "level", "question"]].assign(
        projection=result.projections[:, result.layers.index(layer)], expression=result.units[judge]
    )
    return units[units["kind"] == kind]


def _curves(measured: Measured, result: Monitoring, kind: str, judge: str) -> pd.DataFrame:
    table = measured.table
    chosen = (table["trait"] == result.trait) & (table["kind"] == kind) & (table["judge"] == judge)
    parts = []
    for scope, rows in table[chosen & (table["predictor"] == "projection")].groupby("scope"):
        battery = measured.batteries.get(f"{result.trait}, {kind}, {judge}, {scope}")
        null = np.full(len(rows), np.nan) if battery is None else battery["random_directions"].layer_95
        parts.append(rows.assign(null_95=null))
    return pd.concat(parts)


def save(measured: Measured, config: Config, folder: Path) -> None:
    """Tables, figures and provenance."""
    units = pd.concat([result.units.assign(trait=result.trait) for result in measured.results])
    tables = {"correlations": measured.table, "nulls": measured.nulls, "alarms": measured.alarms, "units": units}
    write_tables(folder, tables)
    draw(measured, config, folder)
    made = measured.results[0].direction.provenance
    notes = {
        "likelihood judge": "has the weights of the monitored model itself, unsteered",
        "layers": f"layer {config.named_layer} was named in advance; the best of all layers is chosen on these data",
        "shots": "answers to positive prompts that the embedding judge scores at least 50",
    }
    record = {"config": asdict(config), "versions": library_versions(), "model": made.to_dict(), "notes": notes}
    write_json(folder / "provenance.json", record)


def main() -> None:
    """Measure and write under `analyses/results/monitoring/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/monitoring"))
    parser.add_argument("--work", type=Path, default=Path("results/monitoring"), help="rollouts, kept to go on from")
    parser.add_argument("--preset", choices=("quick", "full"), default="quick")
    chosen = parser.parse_args()
    config = FULL if chosen.preset == "full" else Config()
    measured = run(config, chosen.work / chosen.preset)
    save(measured, config, chosen.out)
    shown = measured.table[measured.table["named"] | (measured.table["predictor"] == "level")]
    print(shown.drop(columns=["named", "n_conditions"]).round(3).to_string(index=False))  # noqa: T201
    print(measured.alarms.round(3).to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
