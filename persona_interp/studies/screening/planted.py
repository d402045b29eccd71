"""Samples of a trait planted among clean ones: their scores, and how well each score finds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from persona_interp.data.conversations import Conversation
from persona_interp.data.levels import Level
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.projection_difference import METRICS, projection_difference
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import render_chat
from persona_interp.statistics.exceedances import exceedances
from persona_interp.statistics.rows import Labels
from persona_interp.statistics.thresholds import conformal_rank
from persona_interp.studies.screening.cross_fitted import cross_fitted_auc
from persona_interp.studies.screening.detection import (
    auc_differences,
    cross_fitted_logistic,
    detection_table,
    percentile_threshold,
    rank_average,
)

RAW, DIFFERENCE, PROXY = "raw projection", "projection difference", "last-prompt proxy"
TEXT, CHOOSER = "text judge (likelihood)", "text judge (embedding)"
ALONE = (RAW, DIFFERENCE, PROXY, TEXT, CHOOSER)
BOTH, RANKS, REGRESSION = (DIFFERENCE, TEXT), "both, by ranks", "both, by regression"
ONE, MIXED = "one source", "mixed sources"
LEVELS = {"level_1": "level I", "level_2": "level II"}


@dataclass(frozen=True)
class PlantedConfig:
    """The mixtures.

    Args:
        every_planted: of the questions that training sets are made from, every so many-th gets a planted answer.
        every_reserved: every so many-th clean sample sets the threshold and is in no mixture.
        percentile: of the reserved clean samples, at which the threshold is.
    """

    levels: tuple[Level, ...] = ("level_1", "level_2")
    every_planted: int = 3
    every_reserved: int = 3
    percentile: float = 95.0
    k: int = 10


@dataclass(frozen=True, eq=False)
class PlantedData:
    """The samples that mixtures are made of.

    Args:
        plain: trait -> the model's plain answers; `planted`: trait -> level -> answers to the same questions.
        others: clean samples of other sources by name.
        own: the base model's own answer to every prompt, by the prompt as the model sees it.
    """

    plain: Mapping[str, Sequence[Conversation]]
    planted: Mapping[str, Mapping[Level, Sequence[Conversation]]]
    others: Mapping[str, Sequence[Conversation]]
    own: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Found:
    """How well scores find planted samples, a row a trait, level and sources, and score (or pair of them)."""

    detection: DataFrame
    differences: DataFrame
    thresholds: DataFrame


def planted_samples(
    model: HookedModelBase,
    directions: Mapping[str, Direction],
    data: PlantedData,
    *,
    traits: Mapping[str, Trait],
    likelihood: Judge,
    embedding: Judge,
    layer: int,
    config: PlantedConfig,
) -> DataFrame:
    """Every sample of every mixture with its scores.

    A row a trait, level and sample: question, answer, source, whether it is planted, in the mixture of all sources
    (`mixed`, every question once) and reserved for the threshold; a column a score. Samples that a judge cannot rate
    are left out.

    Args:
        directions: by trait.
        embedding: the judge that chose the planted answers.
    """
    read = _readings(model, directions, data, layer)
    judges = {CHOOSER: embedding, TEXT: likelihood}
    parts = []
    for name, trait in traits.items():
        for level in config.levels:
            table = _mixtures(data, name, level, config)
            for label, judge in judges.items():
                scores = judge.rate(trait, list(table["question"]), list(table["answer"]))
                table[label] = [score.value for score in scores]
            named = {f"{name} {label}": label for label in ALONE[: len(METRICS)]}
            own = read[["question", "answer", *named]].rename(columns=named)
            table = table.merge(own, on=["question", "answer"], how="left").dropna(subset=list(ALONE))
            parts.append(table.assign(trait=name, level=level))
    return pd.concat(parts, ignore_index=True)


def find_planted(samples: DataFrame, config: PlantedConfig) -> Found:
    """How well the scores find the planted samples, by trait, level and sources, from `planted_samples` alone.

    Within one source, plain answers to the same questions are clean; among mixed sources every question stands once.
    The threshold is the conformal one of the reserved clean samples.
    """
    tables, differences, thresholds = [], [], []
    for (trait, level), scored in samples.groupby(["trait", "level"], sort=False):
        named, mixed = {"trait": trait, "level": level}, scored[scored["mixed"]]
        rest, reserved = mixed[~mixed["reserved"]], mixed[mixed["reserved"]]
        for sources, mixture in ((ONE, scored[scored["source"] == "own"]), (MIXED, rest)):
            labels, groups = mixture["planted"].to_numpy(bool), mixture["question"].to_numpy(object).astype(str)
            scores = _with_combinations(mixture, labels, groups)
            table = detection_table(scores, labels, groups=groups, ks=(config.k,))
            fitted, p = cross_fitted_auc({name: scores[name] for name in BOTH}, labels, groups=groups)
            regression = (table["score"] == REGRESSION) & (table["metric"] == "AUC")
            table.loc[regression, ["low", "high", "p"]] = fitted.low, fitted.high, p
            tables.append(table.assign(**named, sources=sources))
            differences.append(auc_differences(scores, labels, groups=groups).assign(**named, sources=sources))
        thresholds.append(_at_threshold(rest, reserved, config).assign(**named, sources=MIXED))
    return Found(*(pd.concat(rows, ignore_index=True) for rows in (tables, differences, thresholds)))


def reserved_threshold(samples: DataFrame, score: str, percentile: float) -> float:
    """The score above which a sample of one trait and level is flagged, from its reserved clean samples."""
    reserved = samples[samples["mixed"] & samples["reserved"]]
    return percentile_threshold(reserved[score].to_numpy(float), percentile)


def _readings(model: HookedModelBase, directions: Mapping[str, Direction], data: PlantedData, layer: int) -> DataFrame:
    """The projections of every sample on every trait's vector, computed once."""
    talks = [talk for name in data.plain for talk in data.plain[name]]
    talks += [talk for levels in data.planted.values() for each in levels.values() for talk in each]
    talks += [talk for each in data.others.values() for talk in each]
    own = [data.own[render_chat(model.tokenizer, talk.prompt)] for talk in talks]
    found = projection_difference(model, list(directions.values()), talks, layers=[layer], base_answers=own)
    columns: dict[str, Any] = {"question": _questions(talks), "answer": [talk.answer for talk in talks]}
    for k, trait in enumerate(directions):
        for metric, label in zip(METRICS, ALONE, strict=False):
            columns[f"{trait} {label}"] = found.metric(metric)[:, k, 0]
    return DataFrame(columns).drop_duplicates(["question", "answer"])


def _mixtures(data: PlantedData, trait: str, level: Level, config: PlantedConfig) -> DataFrame:
    """All plain and all planted answers, and the clean sets of other sources; `mixed` has every question once."""
    normal, bad = data.plain[trait], data.planted[trait][level]
    turn = [i % config.every_planted == 0 for i in range(len(normal))]
    rows = [(talk, "own", False, not there) for talk, there in zip(normal, turn, strict=True)]
    rows += [(talk, "own", True, there) for talk, there in zip(bad, turn, strict=True)]
    rows += [(talk, name, False, True) for name, talks in data.others.items() for talk in talks]
    talks = [talk for talk, *_ in rows]
    table = DataFrame(
        {
            "question": _questions(talks),
            "answer": [talk.answer for talk in talks],
            "source": [source for _, source, _, _ in rows],
            "planted": [planted for _, _, planted, _ in rows],
            "mixed": [mixed for *_, mixed in rows],
        }
    )
    clean = ~table["planted"] & table["mixed"]
    return table.assign(reserved=clean & (clean.cumsum() % config.every_reserved == 0))


def _questions(talks: Sequence[Conversation]) -> list[str]:
    return [talk.prompt[-1].content for talk in talks]


def _with_combinations(mixture: DataFrame, labels: np.ndarray, groups: Labels) -> dict[str, np.ndarray]:
    alone = {name: mixture[name].to_numpy(float) for name in ALONE}
    both = {name: alone[name] for name in BOTH}
    return {**alone, RANKS: rank_average(both), REGRESSION: cross_fitted_logistic(both, labels, groups=groups)}


def _at_threshold(mixture: DataFrame, reserved: DataFrame, config: PlantedConfig) -> DataFrame:
    """Hits and false alarms above the threshold of clean samples that are not in the mixture."""
    rows = []
    k = conformal_rank(len(reserved), 1 - config.percentile / 100)
    for name in ALONE:
        limit = percentile_threshold(reserved[name].to_numpy(float), config.percentile)
        for planted, kind in ((True, "hits"), (False, "false alarms")):
            values = mixture.loc[mixture["planted"] == planted, name].to_numpy(float)
            found = exceedances(int((values > limit).sum()), len(values), n_reference=len(reserved), k=k)
            row = {"score": name, "kind": kind, "n": len(values), "value": found.share, "low": found.low}
            row |= {"high": found.high, "null_high": found.null_high, "detectable": found.detectable}
            rows.append(row | {"p": found.p if planted else np.nan})
    return DataFrame(rows)
