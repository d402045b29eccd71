"""Steering measured: answers over layers and coefficients, their expression and coherence."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Coefficient, Count, Seed, Some, Temperature
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.errors import ConfigError
from persona_interp.interventions.residual import Add
from persona_interp.interventions.strength import KLTargets
from persona_interp.io import sha256_bytes, sha256_json
from persona_interp.judges.coherence import CoherenceJudge, CoherenceReference
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.frame import Measurements, score_rows
from persona_interp.measurements.roles import NULL, TREATMENT
from persona_interp.measurements.setting import COHERENT_SHARE
from persona_interp.measurements.strengths import coefficients_by_layer, strength_table, with_targets
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.rollouts.generate import answer, plain_requests
from persona_interp.statistics import bootstrap_mean
from persona_interp.types import Span

_WORST = -10.0


@checked
def measure_steering(
    model: HookedModel,
    direction: Direction,
    trait: Trait,
    *,
    layers: Some[int],
    coefficients: Some[Coefficient] | None = None,
    strengths: KLTargets | None = None,
    judges: Some[Judge],
    coherence: CoherenceJudge,
    questions: Some[str] | None = None,
    n_samples: Count = 1,
    max_new_tokens: Count = 48,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    span: Span = "response",
    folder: Path | None = None,
    run_id: str = "",
    progress: bool = True,
) -> Measurements:
    """Trait expression (0..100, one metric a judge) and coherence of every steered answer.

    Coefficients are in units of the mean residual norm of the layer. Coefficient 0 is always measured, once for all
    layers; steered and unsteered answers share their random numbers.

    Args:
        strengths: in place of coefficients: each layer gets those that reach these targets (`strength_for_kl`, on the
            package's neutral prompts), and the column `kl` says which target a coefficient was found for.
        judges: rate the answers; none of them ever sees the steered model.
        questions: default: the trait's evaluation questions.

    Raises:
        ConfigError: both coefficients and strengths, or neither.
        EmptySelectionError: a target cannot be reached.
        IncompatibleDirectionError: the direction belongs to another model.
        HookpointError: a layer does not exist.
    """
    if (coefficients is None) == (strengths is None):
        raise ConfigError(
            f"measure_steering got {'neither' if strengths is None else 'both'} of coefficients and strengths.",
            "Give one of them: coefficients=[0.3], in residual norms, or strengths=kl(0.3), in nats.",
        )
    table = None
    if strengths is not None:
        home = None if folder is None else folder / "strengths"
        table = strength_table(
            model, direction, strengths, layers=layers, span=span, seed=seed, folder=home, progress=progress
        )
    used = coefficients if table is None else coefficients_by_layer(table)
    assert used is not None, "one of the two was given"
    answers = steered_answers(
        model,
        direction,
        trait.eval_questions if questions is None else questions,
        layers=layers,
        coefficients=used,
        n_samples=n_samples,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        span=span,
        folder=folder,
        progress=progress,
    )
    if table is not None:
        answers = with_targets(answers, table)
    scored, _ = score_answers(answers, trait, judges=judges, coherence=coherence)
    return to_measurements(scored, model=model.name, trait=trait.name, method=direction.method, run_id=run_id)


@checked
def steered_answers(
    model: HookedModel,
    direction: Direction,
    questions: Some[str],
    *,
    layers: Some[int],
    coefficients: Some[Coefficient] | Mapping[int, Some[Coefficient]],
    n_samples: Count = 1,
    max_new_tokens: Count = 48,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    span: Span = "response",
    unsteered: bool = True,
    n_unsteered: Count | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Answers at every layer and coefficient: layer (missing where the coefficient is 0), coefficient, question, ...

    With a folder every cell is kept as it is done, and the same call goes on where it stopped.

    Args:
        coefficients: the same at every layer, or those of each layer.
        unsteered: whether to answer at coefficient 0 too.
        n_unsteered: samples of a question there, with which all others are compared; default: `n_samples`.

    Raises:
        ConfigError: there is nothing to answer, or no coefficients of a layer.
    """
    check_direction(direction, model)
    by_layer = coefficients if isinstance(coefficients, Mapping) else dict.fromkeys(layers, coefficients)
    if missing := [layer for layer in layers if layer not in by_layer]:
        raise ConfigError(
            f"coefficients has none of layer {missing[0]}, got those of {', '.join(map(str, by_layer))}.",
            "Give each layer its own, or a list for all.",
        )
    cells: list[tuple[int | None, float]] = [(None, 0.0)] if unsteered else []
    cells += [(layer, c) for layer in layers for c in by_layer[layer] if c != 0]
    if not cells:
        raise ConfigError(
            "there is nothing to answer: every coefficient is 0.", "Give one that is not, or unsteered=True."
        )
    tables = []
    for number, (layer, coefficient) in enumerate(cells, start=1):
        edits = {} if layer is None else Add(direction, layer, coefficient, span=span).edits
        samples = n_unsteered or n_samples if layer is None else n_samples
        place = "unsteered" if layer is None else f"layer-{layer:02d}_coefficient-{_named(coefficient)}"
        rollouts = answer(
            model,
            plain_requests(questions),
            sampling=Sampling(max_new_tokens, temperature, n_samples=samples, seed=seed),
            trait=direction.trait,
            edits=edits,
            edits_hash=None if layer is None else _edits_hash(direction, layer, coefficient, span),
            folder=None if folder is None else folder / place,
            label=f"{direction.trait}: steering {number}/{len(cells)}",
            progress=progress,
        )
        columns = rollouts.frame[["question", "sample", "prompt", "answer"]]
        tables.append(columns.assign(layer=layer, coefficient=coefficient))
    frame = pd.concat(tables, ignore_index=True)
    return frame.assign(layer=frame["layer"].astype("Int64"))


def _named(coefficient: float) -> str:
    """Three decimals, or four digits where those are more."""
    short = f"{coefficient:+.3f}"
    return short if float(short) == coefficient else f"{coefficient:+.4g}"


def _edits_hash(direction: Direction, layer: int, coefficient: float, span: Span) -> str:
    vector = sha256_bytes(direction.at(layer).numpy().tobytes())
    return sha256_json([vector, direction.residual_norm(layer), layer, coefficient, span])[:16]


def score_answers(
    answers: pd.DataFrame,
    trait: Trait,
    *,
    judges: Sequence[Judge],
    coherence: CoherenceJudge,
    reference: CoherenceReference | None = None,
) -> tuple[pd.DataFrame, CoherenceReference]:
    """The answers with one column a judge, their coherence, and whether each passes the gate.

    Args:
        reference: of coherence; default: the answers at coefficient 0 among these.
    """
    questions, texts = list(answers["question"]), list(answers["answer"])
    scored = answers.copy()
    for judge in judges:
        scored[judge.name] = [score.value for score in judge.rate(trait, questions, texts)]
    gated, reference = score_coherence(answers, answers["coefficient"] == 0, coherence, reference, trait=trait)
    return scored.join(gated), reference


def score_coherence(
    answers: pd.DataFrame,
    unsteered: pd.Series,
    judge: CoherenceJudge,
    reference: CoherenceReference | None = None,
    *,
    trait: Trait | None = None,
) -> tuple[pd.DataFrame, CoherenceReference]:
    """The columns coherence (not below -10) and passes_gate, against the unsteered among the answers or others."""
    signs = judge.signs(list(answers["question"]), list(answers["answer"]), trait)
    reference = judge.reference(signs[unsteered.to_numpy()]) if reference is None else reference
    worst = judge.score(signs, reference)
    columns = {"coherence": np.maximum(worst, _WORST), "passes_gate": worst >= reference.gate}
    return pd.DataFrame(columns, index=answers.index), reference


def to_measurements(scored: pd.DataFrame, *, model: str, trait: str, method: str, run_id: str = "") -> Measurements:
    """One row a number: `expression` for every column of a judge, `coherence`, and `passes_gate` (0 or 1)."""
    judges = [c for c in scored.columns if c not in (*_ANSWER_COLUMNS, "coherence", "passes_gate")]
    named = scored.assign(model=model, trait=trait, method=method, stream="resid_post", run_id=run_id)
    return Measurements(score_rows(named.reset_index(drop=True), judges).sort_index(kind="stable"))


@checked
def steering_table(measurements: Measurements, *, n_resamples: Count = 2000, seed: Seed = 0) -> pd.DataFrame:
    """Mean and cluster-bootstrap interval (over questions) of every cell: the numbers that the figures show.

    Columns: trait, role (treatment, or null_draw for random directions), layer, coefficient, kl, metric, judge,
    estimate, low, high, n, n_questions, coherent. The unsteered cell has no layer; kl is the target in nats that a
    coefficient was found for, missing where it was given.
    """
    frame = measurements.frame
    rows = []
    keys = ["trait", "method", "layer", "coefficient"]
    for (trait, method, layer, coefficient), cell in frame.groupby(keys, dropna=False):
        gate = cell.loc[cell["metric"] == "passes_gate", "value"]
        for (metric, judge), values in cell[cell["metric"] != "passes_gate"].groupby(["metric", "judge"]):
            interval = bootstrap_mean(
                values["value"].to_numpy(float), values["question"].to_numpy(), n_resamples=n_resamples, seed=seed
            )
            rows.append(
                {
                    "trait": trait,
                    "role": NULL if method == "random" else TREATMENT,
                    "layer": layer,
                    "coefficient": coefficient,
                    "kl": values["kl"].iloc[0],
                    "metric": metric,
                    "judge": judge or "three signs",
                    "estimate": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "n": interval.n,
                    "n_questions": interval.n_clusters,
                    "coherent": bool(gate.mean() >= COHERENT_SHARE),
                }
            )
    table = pd.DataFrame(rows)
    return table.assign(layer=table["layer"].astype("Int64"))


_ANSWER_COLUMNS = ("question", "sample", "prompt", "answer", "layer", "coefficient", "kl", "draw", "trait")
