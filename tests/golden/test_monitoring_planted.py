"""Planted truth: projections that drive expression, or only tell conditions apart; and the rate of false alarms.

Simulated activations (6 layers, width 16). The planted direction lies in layer 3; its projection drives expression
within conditions and across them, or is only different between conditions, or does nothing.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.statistics.contrast import Contrast
from persona_interp.statistics.thresholds import calibrate_threshold, exact_share, measure_false_alarms
from persona_interp.studies.monitoring.conditions import Monitoring
from persona_interp.studies.monitoring.tables import monitoring_nulls, monitoring_table
from tests.small import activations, direction, provenance

N_LAYERS, WIDTH, LAYER = 6, 16, 3
N_CONDITIONS, N_QUESTIONS = 8, 20
JUDGE = "planted"


@dataclass(frozen=True)
class Truth:
    """How strongly the condition drives the projection, and the moment and the condition's level the score."""

    between: float
    within: float
    of_level: float = 0.0


def simulate(truth: Truth, seed: int) -> Monitoring:
    rng = np.random.default_rng(seed)
    level = np.repeat(np.linspace(-1, 1, N_CONDITIONS), N_QUESTIONS)
    moment = rng.normal(size=len(level)) + np.tile(rng.normal(size=N_QUESTIONS), N_CONDITIONS)
    values = rng.normal(size=(len(level), N_LAYERS, WIDTH))
    values[:, LAYER, 0] = truth.between * 3 * level + moment
    noise = rng.normal(size=len(level)) + np.tile(rng.normal(size=N_QUESTIONS), N_CONDITIONS)
    score = 50 + 10 * (truth.of_level * level + truth.within * moment + noise)
    conditions = [f"system prompt {k // N_QUESTIONS + 1}" for k in range(len(level))]
    units = pd.DataFrame({"kind": "system", "condition": conditions, "level": level})
    units["question"] = [f"q{k % N_QUESTIONS}" for k in range(len(level))]
    units[JUDGE] = score
    made = direction(torch.eye(WIDTH)[:1].repeat(N_LAYERS, 1), provenance=provenance(d_model=WIDTH))
    held = activations(torch.tensor(values, dtype=torch.float32), pooling="prompt_last", samples=units)
    return Monitoring(
        trait="loud",
        direction=made,
        judges=(JUDGE,),
        layers=tuple(range(N_LAYERS)),
        units=units,
        projections=made.project(held).numpy(),
        activations=held,
        answers=units,
    )


def table(result: Monitoring, n_permutations: int = 199, n_resamples: int = 200) -> pd.DataFrame:
    options = {"n_permutations": n_permutations, "n_resamples": n_resamples}
    made = monitoring_table([result], named_layers={"loud": LAYER}, **options)
    return made.set_index(["predictor", "scope", "layer"]).sort_index()


def training(seed: int) -> Contrast:
    """Contrastive answers to ten questions, apart along the planted direction in its layer."""
    rng = np.random.default_rng([seed, 1])
    positive, negative = rng.normal(size=(2, 20, N_LAYERS, WIDTH))
    positive[:, LAYER, 0] += 3
    questions = np.array([f"t{k % 10}" for k in range(20)])
    return Contrast.of(positive, negative, questions, questions)


def test_a_projection_that_drives_expression_is_found_overall_and_within() -> None:
    found = table(simulate(Truth(between=1, within=1, of_level=3), seed=0))
    overall, within = (found.loc[("projection", scope, LAYER)] for scope in ("overall", "within"))
    assert overall["estimate"] > within["estimate"] > 0.5
    assert within["low"] > 0.3 and within["q"] < 0.05 and overall["q"] < 0.05
    assert (within["n"], within["n_questions"], within["n_conditions"]) == (160, 20, 8)
    others = found.loc[("projection", "within")].drop(index=LAYER)
    assert (others["estimate"].abs() < 0.35).all() and (others["q"] > 0.05).all()
    assert found.loc[("projection", "overall", LAYER), "named"] and not found["named"].all()


def test_a_projection_that_only_tells_conditions_apart_is_nothing_within() -> None:
    """And the condition's own grade predicts better than the projection, which the table says."""
    runs = [table(simulate(Truth(between=3, within=0, of_level=4), seed)) for seed in range(8)]
    overall = [one.loc[("projection", "overall", LAYER), "estimate"] for one in runs]
    within = [one.loc[("projection", "within", LAYER), "estimate"] for one in runs]
    level = [one.xs(("level", "overall"), level=("predictor", "scope"))["estimate"].iloc[0] for one in runs]
    assert min(overall) > 0.6
    assert abs(np.mean(within)) < 0.15 and max(map(abs, within)) < 0.45
    assert all(graded > projected for graded, projected in zip(level, overall, strict=True))


@pytest.mark.slow
def test_where_nothing_is_planted_p_values_keep_their_rate() -> None:
    """200 sets, questions with effects on both columns: at .1, measured 22 overall and 17 within, .05 to .15."""
    rejected = {"overall": 0, "within": 0}
    for seed in range(200):
        result = simulate(Truth(between=1, within=0), seed)
        only = Monitoring(**{**vars(result), "layers": (LAYER,), "projections": result.projections[:, [LAYER]]})
        found = monitoring_table([only], named_layers={"loud": LAYER}, n_permutations=99, n_resamples=2)
        for scope in rejected:
            row = found[(found["predictor"] == "projection") & (found["scope"] == scope)]
            rejected[scope] += int(row["p"].iloc[0] <= 0.1)
    assert all(10 <= count <= 30 for count in rejected.values()), rejected


def test_the_null_battery_tells_a_planted_direction_from_others() -> None:
    strong, empty = simulate(Truth(1, 1.5), 0), simulate(Truth(0, 0), 1)
    found, batteries = monitoring_nulls([strong], {"loud": training(0)}, n_draws=99)
    found = found.set_index(["test", "family"])
    random = found.loc[(f"loud, system, {JUDGE}, within", "random_directions")]
    assert random["p"] == pytest.approx(0.01) and random["best_layer"] == LAYER
    assert batteries[f"loud, system, {JUDGE}, overall"]["random_directions"].layer_95.shape == (N_LAYERS,)
    nothing = monitoring_nulls([empty], {"loud": training(1)}, n_draws=99)[0].set_index(["test", "family"])
    assert nothing.loc[(f"loud, system, {JUDGE}, within", "random_directions"), "p"] > 0.05


@pytest.mark.slow
def test_the_interval_for_new_conditions_covers_what_new_conditions_show_and_that_for_these_does_not() -> None:
    """Truth: the correlation over 400 conditions drawn alike. The interval over questions alone covers it far less."""
    n_sets, hits = 60, {"": 0, "_new": 0}
    rng = np.random.default_rng(5)
    many = drawn_conditions(rng, 400)
    truth = float(np.corrcoef(many.projections[:, 0], many.units[JUDGE])[0, 1])
    for _ in range(n_sets):
        found = monitoring_table(
            [drawn_conditions(rng, 8)], named_layers={"loud": LAYER}, n_permutations=9, n_resamples=300
        )
        row = found[(found["predictor"] == "projection") & (found["scope"] == "overall")].iloc[0]
        for scope in hits:
            hits[scope] += int(row[f"low{scope}"] <= truth <= row[f"high{scope}"])
    assert hits["_new"] / n_sets >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / n_sets)
    assert hits[""] / n_sets < 0.75


def drawn_conditions(rng: np.random.Generator, n: int) -> Monitoring:
    """Conditions that move projection and expression together, each in its own way."""
    result = simulate(Truth(between=0, within=0), int(rng.integers(2**31)))
    of_condition, of_question = rng.standard_normal((2, n)), rng.standard_normal((2, N_QUESTIONS))
    x, e = of_condition[:, :, None] + 0.4 * of_question[:, None] + 0.4 * rng.standard_normal((2, n, N_QUESTIONS))
    units = pd.DataFrame({"kind": "system", "condition": np.repeat([f"c{k}" for k in range(n)], N_QUESTIONS)})
    units["level"], units["question"] = 0.0, [f"q{k}" for k in range(N_QUESTIONS)] * n
    units[JUDGE] = 50 + 10 * (0.7 * x + np.sqrt(0.51) * e).ravel()
    units["level"] = rng.standard_normal(len(units))
    held = {"layers": (LAYER,), "units": units, "answers": units, "projections": x.reshape(-1, 1)}
    return Monitoring(**{**vars(result), **held})


def test_without_varying_expression_within_is_missing_not_zero() -> None:
    result = simulate(Truth(1, 0), 0)
    flat = result.units.assign(**{JUDGE: 50 + 10 * result.units["level"]})
    found = table(Monitoring(**{**vars(result), "units": flat}))
    within = found.loc[("projection", "within", LAYER)]
    assert np.isnan(within["estimate"]) and np.isnan(within["q"]) and within["n"] == 0


def neutral(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Answers of 5 to 40 tokens with heavy tails, tokens of one answer alike."""
    return [0.8 * rng.normal() + 0.6 * rng.standard_t(3, size=rng.integers(5, 40)) for _ in range(n)]


@pytest.mark.parametrize("per", ["answer", "token"])
@pytest.mark.parametrize("n", [19, 60])
def test_the_false_alarm_rate_holds_on_new_neutral_traffic(per: str, n: int) -> None:
    """Mean over 150 calibrations at .05: measured .048 and .044 per answer, .002 and .033 per token (19 and 60)."""
    rng, shares = np.random.default_rng(n), []
    fresh = neutral(400, rng)
    for _ in range(150):
        threshold = calibrate_threshold(neutral(n, rng), false_alarm_rate=0.05, per=per)  # pyright: ignore
        if per == "answer":
            shares.append(measure_false_alarms(threshold, fresh).estimate)
        else:
            shares.append(np.mean([np.mean(scores > threshold.value) for scores in fresh]))
    error = np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) < 0.05 + 3 * error + 0.02, "0.02: the fresh answers are a sample of 400"
    if per == "answer":
        assert np.mean(shares) > 0.02, "and it is not needlessly strict"


def test_the_exact_interval_covers() -> None:
    rng = np.random.default_rng(0)
    for share in (0.01, 0.05, 0.3):
        hits = rng.binomial(80, share, size=400)
        intervals = {k: exact_share(int(k), 80) for k in np.unique(hits)}
        assert np.mean([intervals[k].low <= share <= intervals[k].high for k in hits]) >= 0.93


def test_one_condition_has_no_overall_p_and_unrated_units_do_not_spoil_it() -> None:
    result = simulate(Truth(between=1, within=1, of_level=3), seed=0)
    gone = np.arange(N_CONDITIONS) * (N_QUESTIONS + 1)  # another question in every condition
    units = result.units.assign(**{JUDGE: result.units[JUDGE].mask(result.units.index.isin(gone))})
    found = table(Monitoring(**{**vars(result), "units": units}))
    assert found.loc[("projection", "overall", LAYER), "p"] < 0.05
    assert found.loc[("projection", "overall", LAYER), "n"] == (N_QUESTIONS - 1) * N_CONDITIONS
    first = slice(0, N_QUESTIONS)
    one = {"units": result.units[first], "projections": result.projections[first]}
    alone = table(Monitoring(**{**vars(result), **one}))
    assert np.isnan(alone.loc[("projection", "overall", LAYER), "p"])
    assert alone.loc[("projection", "within", LAYER), "p"] < 0.05
