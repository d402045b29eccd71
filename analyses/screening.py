"""Can projections find planted samples in training data, and what do they add to a judge that only reads the text?

Planted samples (answers of level I or II of a trait) among clean ones: within one source (the model's plain answers to
the same questions), and among mixed sources (plain answers to other questions, arithmetic and advice answered well,
every question once). Scores of a sample: its raw projection on the trait's persona vector, the projection difference
with the base model's own answer, its proxy without generation, text-only judges, and the projection difference with a
text judge (by ranks without labels, and by a cross-fitted logistic regression with them). AUC, average precision and
precision at k with intervals, paired differences of AUC, and the hits and false alarms of a threshold set on other
clean samples.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from finetuning_options import PAPER, chosen_config
from kept_results import write_tables

from persona_interp.data.levels import Level
from persona_interp.figures.style import legend_below, panel_figure, paper_style, save_figure
from persona_interp.io import write_json
from persona_interp.measurements.projection_difference import METRICS, projection_difference
from persona_interp.models.tokens import render_chat
from persona_interp.statistics.thresholds import exact_share
from persona_interp.studies.finetuning.cells import own_answers
from persona_interp.studies.finetuning.config import FLAWED, Setup
from persona_interp.studies.finetuning.prepared import Prepared, prepare
from persona_interp.studies.screening.cross_fitted import cross_fitted_auc
from persona_interp.studies.screening.detection import (
    auc_differences,
    cross_fitted_logistic,
    detection_table,
    percentile_threshold,
    rank_average,
)
from persona_interp.studies.screening.figures import NOTE_PAD, plot_detection, plot_score_distributions

DIFFERENCE, TEXT, CHOOSER = "projection difference", "text judge (likelihood)", "text judge (embedding)"
ONE, MIXED = "one source", "mixed sources"
ALONE = ("raw projection", DIFFERENCE, "last-prompt proxy", TEXT, CHOOSER)
BOTH, REGRESSION = (DIFFERENCE, TEXT), "both, by regression"


@dataclass(frozen=True)
class Config:
    """The mixtures.

    Args:
        every_planted: of the questions that training sets are made from, every so many-th gets a planted answer.
        every_reserved: every so many-th clean sample sets the threshold and is in no mixture.
        percentile: of the reserved clean samples, at which the threshold is.
    """

    setup: Setup = Setup()
    levels: tuple[Level, ...] = ("level_1", "level_2")
    every_planted: int = 3
    every_reserved: int = 3
    percentile: float = 95.0
    k: int = 10


PRESETS = {
    "quick": Config(),
    "paper": Config(
        setup=PAPER,
        k=20,
    ),
}


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything that is saved and drawn."""

    samples: pd.DataFrame
    detection: pd.DataFrame
    differences: pd.DataFrame
    thresholds: pd.DataFrame


def run(config: Config, folder: Path) -> tuple[Prepared, Measured]:
    """Score every sample of every mixture, and say how well the scores find the planted ones."""
    prepared = prepare(config.setup, folder)
    readings = _readings(prepared, config)
    samples = [
        _scored(prepared, config, trait, level, readings).assign(trait=trait, level=level)
        for trait in config.setup.traits
        for level in config.levels
    ]
    return prepared, evaluate(pd.concat(samples, ignore_index=True), config)


def evaluate(samples: pd.DataFrame, config: Config) -> Measured:
    """How well the scores find the planted samples, by trait, level and sources, from the scored samples alone."""
    tables, differences, thresholds = [], [], []
    for (trait, level), scored in samples.groupby(["trait", "level"], sort=False):
        named = {"trait": trait, "level": level}
        mixed = scored[scored["mixed"]]
        for source, mixture in ((ONE, scored[scored["source"] == "own"]), (MIXED, mixed[~mixed["reserved"]])):
            labels, groups = mixture["planted"].to_numpy(bool), mixture["question"].to_numpy(object).astype(str)
            scores = _with_combinations(mixture, labels, groups)
            table = detection_table(scores, labels, groups=groups, ks=(config.k,))
            fitted, p = cross_fitted_auc({name: scores[name] for name in BOTH}, labels, groups=groups)
            regression = (table["score"] == REGRESSION) & (table["metric"] == "AUC")
            table.loc[regression, ["low", "high"]] = fitted.low, fitted.high
            table.loc[regression, "p"] = p
            tables.append(table.assign(**named, sources=source))
            paired = auc_differences(scores, labels, groups=groups)
            differences.append(paired.assign(**named, sources=source))
        limits = _at_threshold(mixed[~mixed["reserved"]], mixed[mixed["reserved"]], config)
        thresholds.append(limits.assign(**named, sources=MIXED))
    parts = (pd.concat(rows, ignore_index=True) for rows in (tables, differences, thresholds))
    return Measured(samples, *parts)


def _readings(prepared: Prepared, config: Config) -> pd.DataFrame:
    """The projections of every sample of every set on every trait's vector, computed once."""
    levels: tuple[Level, ...] = ("normal", *config.levels)
    talks = [talk for trait in config.setup.traits for level in levels for talk in prepared.data(trait, level)]
    talks += [talk for name in FLAWED for talk in prepared.data(name, "normal")]
    own = own_answers(prepared)
    found = projection_difference(
        prepared.model,
        list(prepared.directions.values()),
        talks,
        layers=[config.setup.named_layer],
        base_answers=[own[render_chat(prepared.model.tokenizer, talk.prompt)] for talk in talks],
    )
    columns: dict[str, Any] = {
        "question": [talk.prompt[-1].content for talk in talks],
        "answer": [talk.answer for talk in talks],
    }
    for k, trait in enumerate(prepared.directions):
        for metric, label in zip(METRICS, ALONE, strict=False):
            columns[f"{trait} {label}"] = found.metric(metric)[:, k, 0]
    return pd.DataFrame(columns).drop_duplicates(["question", "answer"])


def _scored(prepared: Prepared, config: Config, trait: str, level: Level, readings: pd.DataFrame) -> pd.DataFrame:
    """Every sample with its scores, and which mixture it is in."""
    table = _samples(prepared, config, trait, level)
    for judge, label in zip(prepared.judges[:2], (CHOOSER, TEXT), strict=True):
        scores = judge.rate(prepared.traits[trait], list(table["question"]), list(table["answer"]))
        table[label] = [score.value for score in scores]
    named = {f"{trait} {label}": label for label in ALONE[: len(METRICS)]}
    own = readings[["question", "answer", *named]].rename(columns=named)
    return table.merge(own, on=["question", "answer"], how="left").dropna(subset=list(ALONE)).reset_index(drop=True)


def _samples(prepared: Prepared, config: Config, trait: str, level: Level) -> pd.DataFrame:
    """All plain and all planted answers, and the clean sets of other sources; `mixed` has every question once."""
    normal, bad = prepared.data(trait, "normal"), prepared.data(trait, level)
    turn = [i % config.every_planted == 0 for i in range(len(normal))]
    rows = [(talk, "own", False, not there) for talk, there in zip(normal, turn, strict=True)]
    rows += [(talk, "own", True, there) for talk, there in zip(bad, turn, strict=True)]
    rows += [(talk, name, False, True) for name in FLAWED for talk in prepared.data(name, "normal")]
    talks = [talk for talk, *_ in rows]
    table = pd.DataFrame(
        {
            "question": [talk.prompt[-1].content for talk in talks],
            "answer": [talk.answer for talk in talks],
            "source": [source for _, source, _, _ in rows],
            "planted": [planted for _, _, planted, _ in rows],
            "mixed": [mixed for *_, mixed in rows],
        }
    )
    clean = ~table["planted"] & table["mixed"]
    table["reserved"] = clean & (clean.cumsum() % config.every_reserved == 0)
    return table


def _with_combinations(mixture: pd.DataFrame, labels: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    alone = {name: mixture[name].to_numpy(float) for name in ALONE}
    both = {name: alone[name] for name in BOTH}
    return {
        **alone,
        "both, by ranks": rank_average(both),
        REGRESSION: cross_fitted_logistic(both, labels, groups=groups),
    }


def _at_threshold(mixture: pd.DataFrame, reserved: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Hits and false alarms above the percentile of clean samples that are not in the mixture."""
    rows = []
    for name in ALONE:
        limit = percentile_threshold(reserved[name].to_numpy(float), config.percentile)
        for kind, share in (("hits", mixture[mixture["planted"]]), ("false alarms", mixture[~mixture["planted"]])):
            found = exact_share(int((share[name] > limit).sum()), len(share))
            rows.append({"score": name, "threshold": limit, "kind": kind, "n_reserved": len(reserved), "n": len(share)})
            rows[-1] |= {"estimate": found.estimate, "low": found.low, "high": found.high}
    return pd.DataFrame(rows)


def draw(measured: Measured, config: Config, folder: Path) -> None:
    """AUC of every score by trait, level and sources, and the spread of the projection difference."""
    names = {"level_1": "level I", "level_2": "level II"}
    rows = measured.detection[measured.detection["metric"] == "AUC"].rename(columns={"value": "estimate"})
    rows = rows.assign(data=rows["level"].map(names) + ", " + rows["sources"])
    traits, kinds = config.setup.traits, [f"{name}, {source}" for source in (ONE, MIXED) for name in names.values()]
    with paper_style():
        figure, axes = panel_figure(1, len(traits), panel_height=2.8)
        for k, (ax, trait) in enumerate(zip(axes[0], traits, strict=True)):
            plot_detection(rows[rows["trait"] == trait], ax, data=kinds).set_title(trait)
            if k:
                ax.set_yticklabels([])
        legend_below(figure)
        save_figure(figure, rows, folder, "detection_auc")
        figure, axes = panel_figure(1, len(traits))
        spread = []
        for ax, trait in zip(axes[0], traits, strict=True):
            own = measured.samples[(measured.samples["trait"] == trait) & (measured.samples["level"] == "level_2")]
            limits = measured.thresholds
            limits = limits[(limits["trait"] == trait) & (limits["level"] == "level_2")]
            limit = float(limits.loc[limits["score"] == DIFFERENCE, "threshold"].iloc[0])
            shown = own[own["mixed"] & ~own["reserved"]]
            shown = shown.assign(value=shown[DIFFERENCE])[["value", "planted", "trait", "source"]]
            plot_score_distributions(shown, ax, threshold=limit, label="ΔP, residual units", n_bins=20)
            ax.set_title(trait, pad=NOTE_PAD)
            spread.append(shown)
        legend_below(figure)
        save_figure(figure, pd.concat(spread), folder, "projection_difference")


def claims(measured: Measured) -> pd.DataFrame:
    """One row a trait, level and score: AUC with its interval, and its difference to the likelihood judge's."""
    rows = measured.detection[measured.detection["metric"] == "AUC"]
    rows = rows.rename(columns={"value": "estimate"}).assign(claim="finds planted samples", chance=0.5)
    paired = measured.differences
    turned = paired[paired["a"] == TEXT]
    turned = turned.assign(value=-turned["value"], low=-turned["high"], high=-turned["low"])
    turned = turned.rename(columns={"a": "b", "b": "a"})
    paired = pd.concat([paired[paired["b"] == TEXT], turned])
    paired = paired.rename(columns={"a": "score", "value": "over text judge"})
    paired = paired.rename(columns={"low": "over text judge low", "high": "over text judge high"})
    keys = ["trait", "level", "sources", "score"]
    columns = [*keys, "over text judge", "over text judge low", "over text judge high"]
    return rows.merge(paired[columns], on=keys, how="left")


def main() -> None:
    """Measure and write under `analyses/results/screening/`."""
    config, work, out = chosen_config(__doc__, PRESETS, "screening", quick="12 minutes", paper="40 minutes")
    prepared, measured = run(config, work)
    table = claims(measured)
    tables = {"detection": measured.detection, "differences": measured.differences, "thresholds": measured.thresholds}
    write_tables(out, {**tables, "claims": table, "samples": measured.samples})
    draw(measured, config, out)
    notes = {CHOOSER: "chose the planted answers among candidates, so its own numbers are optimistic"}
    write_json(out / "provenance.json", prepared.provenance(config, notes))
    shown = table[["trait", "level", "sources", "score", "estimate", "low", "high", "over text judge"]]
    print(shown.round(3).to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
