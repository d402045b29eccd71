"""Captions of the main job's figures: what is drawn, how many answers, and which judge."""

import math
from collections.abc import Iterable, Sequence

from pandas import DataFrame

from persona_interp.figures.frames import distinct
from persona_interp.studies.persona.results import MainJobResults
from persona_interp.studies.persona.rows import prompted


def separation_caption(results: MainJobResults) -> str:
    """Caption of the figure of held-out AUC by layer."""
    kept = "; ".join(
        f"{row.trait} {count(row.n_kept_positive)} to positive and {count(row.n_kept_negative)} to negative prompts"
        for row in results.summary
    )
    return (
        "Held-out separation by layer: the area under the ROC curve (AUC) of the projection on the persona vector, for"
        " answers that were not used to make it (0.5 is chance). Bold: mean over response tokens, with its 95 %"
        " interval over questions (prompts and directions held fixed); thin: other poolings. Grey: 95th percentile of"
        " the exchanged-prompts null (dashed) and of the"
        " random-direction null (dotted) at each layer alone. Ring: the layer chosen most"
        " often on other prompts and questions. Vertical line: layer chosen for"
        f" steering. Answers kept after filtering: {kept}. Filter: {_filters(results)}."
    )


def baselines_caption(table: DataFrame) -> str:
    """Caption of the figure of held-out AUC by layer and method."""
    return (
        "The persona vector (bold, with its 95 % interval) beside other methods fitted on the same filtered answers:"
        " held-out AUC of their projections by layer (0.5 is chance; n ="
        f" {span(distinct(table, 'n'))} answers)."
        " PCA is the first component of paired differences; the random direction is one draw with the covariance inside"
        " the poles, turned to the positive side. System prompts are the same in both, so all of these are above the"
        " separation on other prompts. Vertical line: layer chosen for steering, on other questions."
    )


def expression_caption(results: MainJobResults, frame: DataFrame) -> str:
    """Caption of a figure of expression against coefficient."""
    asked = prompted(results.effects)
    lines = (
        " Horizontal lines: answers to prompts that ask for the trait or for its opposite"
        f" (n = {span(distinct(asked, 'n'))})."
    )
    return (
        "Dose-response of steering: mean trait expression (0–100) against the coefficient, in units of the layer's mean"
        " residual norm; a line a layer, 95 % intervals over questions (direction and judge held fixed)."
        f"{_shared(frame)}{'' if asked.empty else lines}"
    )


def coherence_caption(frame: DataFrame, *, has_gate: bool) -> str:
    """Caption of a figure of coherence against coefficient."""
    gate = " Dashed line: the coherence gate." if has_gate else ""
    return (
        "Coherence of the steered answers (worst of three z-scores against unsteered answers) against the coefficient,"
        " drawn as in the dose-response."
        f"{gate}{_shared(frame)}"
    )


def geometry_caption(results: MainJobResults, layers: Sequence[int]) -> str:
    """Caption of the heat map of cosines."""
    return (
        f"Cosine between the persona vectors of {len(results.traits)} traits at"
        f" {'layer' if len(layers) == 1 else 'layers'} {', '.join(map(str, layers))}. Grey cells are no larger than the"
        " 95th percentile of |cosine| of random pairs with the covariance of the activations. No judge enters except"
        f" through the filter of the answers ({_filters(results)})."
    )


def agreement_caption(frame: DataFrame, *, has_correlations: bool) -> str:
    """Caption of the scatter of two judges' scores."""
    answers = frame.value_counts(["trait", "judge_a", "judge_b"]).tolist()
    correlation = (
        " Above each panel: Spearman's rank correlation (ρ) with its 95 % interval." if has_correlations else ""
    )
    return (
        "Agreement of judges: the score (0–100) of one judge against that of another for the same answers, a point an"
        f" answer (n = {span(answers)} a panel). The diagonal is equality.{correlation}"
        f" Judges: {', '.join(sorted({*distinct(frame, 'judge_a'), *distinct(frame, 'judge_b')}))}."
    )


def matrix_caption(frame: DataFrame) -> str:
    """Caption of the matrices of all judges."""
    return (
        "Agreement of all judges: Spearman's rank correlation (ρ) of the scores of every two judges over the answers"
        " that both rated (prompted and steered, "
        f"n = {span(distinct(frame, 'n'))}), with its 95 % interval. Judges that see different things need not agree,"
        " and judges that agree may share a mistake."
    )


def norm_caption(results: MainJobResults) -> str:
    """Caption of the figure of relative norms."""
    kept = "; ".join(
        f"{row.trait} {count(row.n_kept_positive)} and {count(row.n_kept_negative)}" for row in results.summary
    )
    return (
        "Norm of the difference between the mean activations with and without the trait, relative to the mean residual"
        f" norm of the same layer. Answers with and without the trait: {kept}."
        f" Filter: {_filters(results)}."
    )


def count(number: int | None) -> str:
    """A count as text."""
    return "an unknown number" if number is None else f"{number:,}"


def span(numbers: Iterable[int | float]) -> str:
    """`80`, or `72–80` where the counts differ; missing ones are left out."""
    values = sorted({int(value) for value in numbers if not math.isnan(value)})
    if not values:
        return "unknown"
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,}–{values[-1]:,}"


def _shared(frame: DataFrame) -> str:
    """What both dose-response figures say of counts, judges, controls and hollow points."""
    random = " Grey: random directions of equal norm." if "null" in distinct(frame, "role") else ""
    return (
        f" Each point: n = {span(distinct(frame, 'n'))} answers to {span(distinct(frame, 'n_cluster'))} questions."
        f" Judge: {', '.join(distinct(frame, 'judge'))}. Hollow points fail the coherence gate.{random}"
        " Layers are shifted a little sideways so that their bars stay apart."
    )


def _filters(results: MainJobResults) -> str:
    return "; ".join(dict.fromkeys(row.filter or "none" for row in results.summary))
