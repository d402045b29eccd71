"""The results folder of the main job, read and checked: three JSON files and the tables."""

import dataclasses
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import numpy as np
import pandas as pd
from pandas import DataFrame

from persona_interp.errors import ArtefactError
from persona_interp.figures.frames import cells
from persona_interp.io import read_bytes, read_json

REMEDY = "Run the main job again into this folder, or restore the file."

COLUMNS = {
    "separation": (
        "trait pooling",
        "layer auc low high null_shuffled_95 null_random_95 norm relative_norm",
    ),
    "steering": (
        "trait role metric judge coherent",
        "layer coefficient estimate low high n n_questions",
    ),
    "steering_null": ("trait judge role", "layer coefficient effect n_questions"),
    "judge_pairs": ("trait condition judge_a judge_b", "value_a value_b"),
    "agreement": ("trait condition judge_a judge_b", "spearman low high alpha n"),
    "alpha": ("trait condition scale", "alpha low high n n_judges"),
    "effects": (
        "trait judge",
        "effect effect_low effect_high g g_low g_high delta delta_low delta_high n n_questions",
    ),
    "baselines": ("trait method chosen", "layer auc low high cosine n_positive n_negative"),
    "prompted": ("trait condition judge", "estimate low high n"),
    "geometry": ("trait_a trait_b", "layer cosine null_95"),
    "examples": ("trait question answer", "coefficient layer expression coherence"),
}
"""The text and the number columns of each table."""

REQUIRED = ("separation", "steering")
WHOLE_NUMBERS = frozenset({"layer", "n", "n_questions", "n_judges", "n_positive", "n_negative"})


@dataclass(frozen=True)
class TraitSummary:
    """The main numbers of one trait; a number that was not computed is None.

    Args:
        best_layer: layer chosen most often for `auc`, on other questions and prompts.
        p_shuffled: of exchanged prompts; `p_random` is that of the claim: random directions, and never below it.
        q_separation: of that claim, and `q_steering` of the other, corrected together over all traits of the run;
            `q_other_traits` and `q_components` are exploratory, corrected apart.
        best_auc: of the vector at its own best layer of these answers, with which those of other traits and of
            components, at theirs, are compared.
        effect: expression at the chosen coefficient minus unsteered, in points of 100, by `effect_judge`.
        best_other_traits: the other trait of the run whose vector separates this trait best, at its own best layer.
        n_judges_agreeing: of `n_judges_beside` other judges, those by which the effect has the same sign and an
            interval that leaves out zero.
        test_effect: expression along the vector minus unsteered at `test_layer` and `test_coefficient`, which were
            named before any answer, in points by `effect_judge`; `p_steering` is its rank among `n_random` random
            directions.
        effect_random_low: 2.5th percentile of those directions' effects, `effect_random_high` the 97.5th.
        detectable_effect: the least effect that this test finds in 80 % of repetitions; `detectable_auc` the least AUC
            of the best layer that exceeds exchanged prompts so often.
    """

    trait: str
    n_positive: int | None
    n_negative: int | None
    n_kept_positive: int | None
    n_kept_negative: int | None
    filter: str | None
    best_layer: int | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    p_shuffled: float | None
    p_random: float | None
    q_separation: float | None
    n_null: int | None
    chosen_layer: int | None
    chosen_coefficient: float | None
    selection_rule: str | None
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    effect_judge: str | None
    n_eval: int | None
    n_eval_questions: int | None
    n_resamples: int | None
    p_other_traits: float | None = None
    p_components: float | None = None
    q_other_traits: float | None = None
    q_components: float | None = None
    best_auc: float | None = None
    best_other_traits: str | None = None
    best_auc_other_traits: float | None = None
    best_auc_components: float | None = None
    n_judges_agreeing: int | None = None
    n_judges_beside: int | None = None
    effect_random_low: float | None = None
    effect_random_high: float | None = None
    test_layer: int | None = None
    test_coefficient: float | None = None
    test_effect: float | None = None
    p_steering: float | None = None
    q_steering: float | None = None
    n_random: int | None = None
    n_steering_questions: int | None = None
    detectable_effect: float | None = None
    detectable_auc: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MainJobResults:
    """Everything that the figures and the report of the main job read; a table that is not there is None."""

    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    summary: tuple[TraitSummary, ...]
    separation: DataFrame
    steering: DataFrame
    steering_null: DataFrame | None
    judge_pairs: DataFrame | None
    agreement: DataFrame | None
    alpha: DataFrame | None
    effects: DataFrame | None
    baselines: DataFrame | None
    prompted: DataFrame | None
    geometry: DataFrame | None
    examples: DataFrame | None

    @property
    def traits(self) -> list[str]:
        """Names in the order of the summary."""
        return [row.trait for row in self.summary]


def load_results(folder: Path) -> MainJobResults:
    """The results of the main job in a folder.

    Raises:
        ArtefactError: a required file is missing, or a file lacks a column or holds something else than expected.
    """
    tables: dict[str, Any] = {name: _table(folder / "tables" / f"{name}.csv", name) for name in COLUMNS}
    return MainJobResults(
        config=_mapping(folder / "config.json"),
        provenance=_mapping(folder / "provenance.json"),
        summary=_summary(folder / "summary.json"),
        **tables,
    )


def _mapping(path: Path) -> Mapping[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict):
        raise ArtefactError(f"{path} holds a {type(data).__name__}.", "Expected an object.", REMEDY)
    return data


def _summary(path: Path) -> tuple[TraitSummary, ...]:
    data = read_json(path)
    if not isinstance(data, list) or not data or not all(isinstance(row, dict) for row in data):
        raise ArtefactError(f"{path} is not a list of one object a trait.", REMEDY)
    return tuple(_trait_summary(row, path) for row in data)


def _trait_summary(row: Mapping[str, Any], path: Path) -> TraitSummary:
    fields = dataclasses.fields(TraitSummary)
    missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in row]
    if missing:
        raise ArtefactError(f"{path}: trait {row.get('trait')!r} lacks {', '.join(missing)}.", REMEDY)
    present = [f for f in fields if f.name in row]
    try:
        return TraitSummary(**{f.name: _field(row[f.name], f.type) for f in present})
    except (TypeError, ValueError) as error:
        raise ArtefactError(
            f"{path}: trait {row.get('trait')!r} has a value of another type: {error}.", REMEDY
        ) from error


def _field(value: Any, kind: Any) -> Any:
    """A JSON value as the type of its field; null and NaN are None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return () if kind == tuple[str, ...] else None
    if kind == tuple[str, ...]:
        return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
    convert: Callable[[Any], Any] = get_args(kind)[0] if isinstance(kind, UnionType) else kind  # `int | None` is int
    return convert(value)


def _table(path: Path, name: str) -> DataFrame | None:
    """A table with its numbers as float64 (layers and counts whole) and its texts untouched."""
    if name not in REQUIRED and not path.is_file():
        return None
    data = read_bytes(path)
    try:
        frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser and empty-file errors are ValueErrors
        raise ArtefactError(f"{path} is not a CSV table in UTF-8: {error}.", REMEDY) from error
    texts, numbers = (columns.split() for columns in COLUMNS[name])
    missing = [column for column in [*texts, *numbers] if column not in frame.columns]
    if missing:
        raise ArtefactError(
            f"{path} lacks the columns {', '.join(missing)}.", f"Expected {', '.join([*texts, *numbers])}.", REMEDY
        )
    for column in numbers:
        frame[column] = _numbers(cells(frame, column), path, column, whole=column in WHOLE_NUMBERS)
    for column in {"coherent", "chosen"} & set(texts):
        frame[column] = _truths(cells(frame, column), path, column)
    return frame


def _numbers(cells: list[str], path: Path, column: str, *, whole: bool) -> np.ndarray:
    """The numbers of a column, exactly as written; an empty cell is NaN."""
    try:
        values = np.array([float(text) if text else math.nan for text in cells], dtype=np.float64)
    except ValueError as error:
        raise ArtefactError(f"{path}: column {column} holds something that is no number: {error}.", REMEDY) from error
    return values.astype(np.int64) if whole and np.isfinite(values).all() else values


def _truths(cells: list[str], path: Path, column: str) -> np.ndarray:
    words = {"true": True, "false": False, "1": True, "0": False}
    unknown = sorted({text.lower() for text in cells} - set(words))
    if unknown:
        raise ArtefactError(f"{path}: column {column} holds {unknown[0]!r}.", "Expected True or False.", REMEDY)
    return np.array([words[text.lower()] for text in cells], dtype=bool)
