"""Writers ablated against random units of the same size: answers under the trait prompt, perplexity, accuracy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.writers import matched_units
from persona_interp.interventions.units import AblateUnits, Units
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.capability import measure_multiple_choice, measure_perplexity
from persona_interp.measurements.roles import NULL, TREATMENT, UNSTEERED
from persona_interp.measurements.steering_null import rate_by_direction
from persona_interp.measurements.unit_ablation import answer_by_set, changes_of, set_effects
from persona_interp.models.components import UnitKind, unit_width
from persona_interp.models.hooked import HookedModelBase
from persona_interp.progress import track
from persona_interp.statistics.draws import rank_among
from persona_interp.statistics.means import bootstrap_mean
from persona_interp.studies.substrates.config import SubstratesRun
from persona_interp.studies.substrates.found import Found

N_CAPABILITY_DRAWS = 3
"""Random sets whose perplexity and accuracy are measured at every number of units."""


def sets_of(model: HookedModelBase, found: Found, kind: UnitKind, k: int, n: int, seed: int) -> list[Units]:
    """The k units that write most, and n random sets of k others of the same layers and of nearly the same size."""
    top = found.writers.ranked(kind)[:k]
    width = unit_width(model, 0, kind)
    drawn = matched_units(found.sizes[kind], top, seed=seed, draws=n) if n else []
    return [Units(kind, tuple(places), width) for places in (top, *drawn)]


def numbers_of(run: SubstratesRun, kind: UnitKind) -> tuple[tuple[int, ...], int]:
    """The numbers of units that are ablated, and the one at which the test stands."""
    return (run.neurons, run.n_neurons) if kind == "neuron" else (run.heads, run.n_heads)


def ablation_table(
    model: HookedModelBase,
    trait: Trait,
    judges: Sequence[Judge],
    found: Found,
    kind: UnitKind,
    run: SubstratesRun,
    *,
    folder: Path | None,
    progress: bool,
) -> pd.DataFrame:
    """Every answer and its scores: k, role, draw, question, instruction, answer, and a column a judge."""
    parts = []
    curve, named = numbers_of(run, kind)
    for k in curve:
        n = run.n_random if k == named else run.n_curve
        answers = answer_by_set(
            model,
            trait,
            sets_of(model, found, kind, k, n, run.seed),
            trait.eval_questions[: run.n_eval],
            reference=found.reference[kind],
            max_new_tokens=run.max_new_tokens,
            folder=None if folder is None else folder / f"{kind}-{k}",
            progress=progress,
        )
        parts.append(rate_by_direction(answers, trait, list(judges)).assign(k=k))
    return pd.concat(parts, ignore_index=True)


def ablation_rows(scored: pd.DataFrame, judges: Sequence[str], *, seed: int) -> pd.DataFrame:
    """A row a number of units and judge: the change of expression of the writers, and its place among random sets.

    `p` is the share of random sets (and the writers) that lower expression at least as much; NaN with fewer than 19.
    """
    rows = []
    for (k, judge), table in ((key, scored[scored["k"] == key[0]]) for key in _pairs(scored, judges)):
        effects = set_effects(table, judge)
        change, questions = changes_of(table, judge)
        if not len(change):
            continue
        own = bootstrap_mean(change, questions, seed=seed)
        if not np.ptp(change):  # where every answer changes alike, few questions say nothing of others
            own = replace(own, low=float("nan"), high=float("nan"))
        draws = effects.loc[effects["role"] == NULL, "effect"].to_numpy(float)
        rank = rank_among(-own.estimate, -draws)
        rows.append(
            {
                "k": k,
                "judge": judge,
                "effect": own.estimate,
                "low": own.low,
                "high": own.high,
                "random": float(draws.mean()) if len(draws) else float("nan"),
                "null_low": -rank.high,
                "null_high": -rank.low,
                "p": rank.p,
                "n_draws": rank.n,
                "n": own.n,
                "n_questions": own.n_clusters,
                "whole": float(table.loc[table["role"] == UNSTEERED, judge].mean()),
            }
        )
    return pd.DataFrame(rows)


def _pairs(scored: pd.DataFrame, judges: Sequence[str]) -> list[tuple[int, str]]:
    return [(int(k), judge) for k in scored["k"].unique() for judge in judges if judge in scored]


def capability_table(
    model: HookedModelBase, found: Found, run: SubstratesRun, kind: UnitKind, *, progress: bool
) -> pd.DataFrame:
    """Perplexity of neutral texts and four-option accuracy of the whole model and without units, top and random.

    Columns: k (0 for the whole model), role, draw, metric, estimate, low, high, n.
    """
    arms: list[tuple[int, str, int, Units | None]] = [(0, UNSTEERED, -1, None)]
    for k in numbers_of(run, kind)[0]:
        sets = sets_of(model, found, kind, k, N_CAPABILITY_DRAWS, run.seed)
        arms += [(k, TREATMENT if i == 0 else NULL, i - 1, units) for i, units in enumerate(sets)]
    rows = []
    for k, role, draw, units in track(arms, f"capability without {kind}s", total=len(arms), show=progress):
        edit = None if units is None else AblateUnits(units, "mean", found.reference[kind])
        text = measure_perplexity(model, intervention=edit, progress=False).perplexity
        choice = measure_multiple_choice(model, intervention=edit, progress=False).accuracy
        for metric, value in (("perplexity of neutral texts", text), ("four-option accuracy", choice)):
            rows.append({"k": k, "role": role, "draw": draw, "metric": metric, **value.row})
    return pd.DataFrame(rows)
