"""The results folder of the main job, read and checked: three JSON files, effects and tables."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pandas import DataFrame

from persona_interp.effects import EFFECTS_FILE, saved_effects
from persona_interp.errors import ArtefactError
from persona_interp.files import is_file
from persona_interp.io import read_json, read_record
from persona_interp.studies.persona.raters.beside import rater_clause, with_raters
from persona_interp.studies.persona.rows import RATERS, STUDY
from persona_interp.tables import Form, numbers, read_table, texts, wholes

REMEDY = "Run the main job again into this folder, or restore the file."
_CONFIG = {"model": str, "seed": int}
_PROVENANCE = {"model": str, "backend": str, "dtype": str, "n_layers": int}

STEERING_NULL = Form("steering_null", (
    *texts("role", filled=True), *wholes("draw", optional=True), *numbers("effect"),
    *numbers("se", optional=True), *wholes("n_questions"), *texts("trait judge", filled=True),
    *wholes("layer"), *numbers("coefficient", unit="mean residual norms"),
), open=True)  # fmt: skip
JUDGE_PAIRS = Form("judge_pairs", (
    *numbers("value_a value_b", unit="points"), *texts("question", filled=True, optional=True),
    *texts("trait condition judge_a judge_b", filled=True),
), open=True)  # fmt: skip
EXAMPLES = Form("examples", (
    *texts("trait question", filled=True), *numbers("coefficient", unit="mean residual norms"),
    *wholes("layer"), *texts("answer", filled=True), *numbers("expression"), *numbers("coherence"),
    *texts("judge", optional=True),
), open=True)  # fmt: skip
FORMS = {form.name: form for form in (STEERING_NULL, JUDGE_PAIRS, EXAMPLES)}
"""The tables of a run that figures and the report read beside its effects: single answers and single directions."""


@dataclass(frozen=True)
class TraitSummary:
    """The main numbers of one trait; a number that was not computed is None.

    Args:
        best_layer: layer chosen most often for `auc`, on other questions and prompts.
        n_kept_positive: answers that made the vector; `n_test_positive` those that it was tested on.
        n_null: arrangements of exchanged prompts; `n_null_random` random directions.
        p_shuffled: of exchanged prompts; `p_random` is that of the claim: random directions, and never below it.
        q_separation: of that claim, and `q_steering` of the other, corrected together over all traits of the run;
            `q_other_traits` and `q_components` are exploratory, corrected apart.
        best_auc: of the vector at its own best layer of these answers, with which those of other traits and of
            components, at theirs, are compared.
        effect: expression at the chosen coefficient minus unsteered, in `effect_unit`, by `effect_judge`; None where no
            judge is shown to work (`ungraded` says why).
        best_other_traits: the other trait of the run whose vector separates this trait best, at its own best layer.
        n_judges_agreeing: of `n_judges_beside` single judges that are shown to work, those by which the effect has the
            same sign and an interval that leaves out zero; a judge that is the whole consensus is none of them.
        test_effect: expression along the vector minus unsteered at `test_layer` and `test_coefficient`, which were
            named before any answer, in `effect_unit` by `effect_judge`; `p_steering` is its rank among `n_random`
            random directions.
        effect_random_low: 2.5th percentile of those directions' effects, `effect_random_high` the 97.5th.
        detectable_effect: the least effect that this test finds in 80 % of repetitions; `detectable_auc` the least AUC
            of the best layer that exceeds exchanged prompts so often.
        effect_unit: of all effects and what is detectable; None in results of earlier versions: points of 100.
        judges_shown: the judges that make the consensus; None in results of earlier versions.
        coherent_share: of the evaluated answers at the chosen setting, those that pass the gate of coherence.
        raters: how human raters agree with `effect_judge`, or that none validated it; not in summary.json, which a
            sheet of ratings may come after.
        stability: share of random halves of the selection questions that choose the same layer, within two blocks.
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
    n_test_positive: int | None = None
    n_test_negative: int | None = None
    n_test_questions: int | None = None
    n_null_random: int | None = None
    effect_unit: str | None = None
    judges_shown: tuple[str, ...] | None = None
    ungraded: Literal["not expressible", "no judge"] | None = None
    stability: float | None = None
    coherent_share: float | None = None
    raters: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MainJobResults:
    """Everything that the figures and the report of the main job read; a table that is not there is None.

    Args:
        effects: rows of `load_effects` of this run alone, in the selections of `rows`, with `human_raters`.
        raters: effects of the study "raters"; None where no human rated answers of this run.
    """

    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    summary: tuple[TraitSummary, ...]
    effects: DataFrame
    steering_null: DataFrame | None
    judge_pairs: DataFrame | None
    examples: DataFrame | None
    raters: DataFrame | None = None

    @property
    def traits(self) -> list[str]:
        """Names in the order of the summary."""
        return [row.trait for row in self.summary]


def load_results(folder: Path) -> MainJobResults:
    """The results of the main job in a folder.

    Raises:
        ArtefactError: a required file is missing, or a file lacks a column or holds something else than expected.
    """
    effects = saved_effects(folder, STUDY)
    if effects is None:
        raise ArtefactError(f"{folder / EFFECTS_FILE} does not exist.", REMEDY)
    raters = saved_effects(folder, RATERS)
    summary = [
        dataclasses.replace(row, raters=rater_clause(raters, row.trait, row.effect_judge))
        for row in load_summary(folder)
    ]
    return MainJobResults(
        config=read_record(folder / "config.json", optional=_CONFIG, remedy=REMEDY),
        provenance=read_record(folder / f"provenance_{STUDY}.json", optional=_PROVENANCE, remedy=REMEDY),
        summary=tuple(summary),
        effects=with_raters(effects, raters),
        steering_null=_table(folder, STEERING_NULL),
        judge_pairs=_table(folder, JUDGE_PAIRS),
        examples=_table(folder, EXAMPLES),
        raters=raters,
    )


def load_summary(folder: Path) -> tuple[TraitSummary, ...]:
    """The main numbers of a run, a row a trait.

    Raises:
        ArtefactError: summary.json is missing or in another form.
    """
    path = folder / "summary.json"
    data = read_json(path, remedy=REMEDY)
    if not isinstance(data, list) or not data or not all(isinstance(row, dict) for row in data):
        raise ArtefactError(f"{path} is not a list of one object a trait.", REMEDY)
    return tuple(trait_summary(row, path) for row in data)


def trait_summary(row: Mapping[str, Any], path: Path) -> TraitSummary:
    """A row of summary.json, or one like it.

    Raises:
        ArtefactError: it lacks a number, or one has another type; the path is named.
    """
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
    if tuple[str, ...] in (kind, *get_args(kind)):
        return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
    convert: Callable[[Any], Any] = get_args(kind)[0] if get_args(kind) else kind  # `int | None` is int
    return str(value) if get_origin(convert) is Literal else convert(value)


def _table(folder: Path, form: Form) -> DataFrame | None:
    path = folder / "tables" / f"{form.name}.csv"
    return read_table(path, form, remedy=REMEDY) if is_file(path) else None
