"""Samples of a trait planted among clean ones, and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pandas import DataFrame

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Percent
from persona_interp.data.conversations import Conversation
from persona_interp.data.levels import Level
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.projection_difference import METRICS, projection_difference
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import render_chat
from persona_interp.studies.screening.detection import percentile_threshold

RAW, DIFFERENCE, PROXY = "raw projection", "projection difference", "last-prompt proxy"
TEXT, CHOOSER = "text judge (likelihood)", "text judge (embedding)"
ALONE = (RAW, DIFFERENCE, PROXY, TEXT, CHOOSER)


@checked
@dataclass(frozen=True)
class PlantedConfig:
    """The mixtures.

    Args:
        every_planted: of the questions that training sets are made from, every so many-th gets a planted answer.
        every_reserved: every so many-th clean sample sets the threshold and is in no mixture.
        percentile: of the reserved clean samples, at which the threshold is.
    """

    levels: tuple[Level, ...] = ("level_1", "level_2")
    every_planted: Count = 3
    every_reserved: Count = 3
    percentile: Percent = 95.0
    k: Count = 10


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
