"""Monitoring measured end to end on a tiny model: its table, its effects and claims, its figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.direction import Direction
from persona_interp.effects import load_claims, load_effects
from persona_interp.errors import ConfigError, ContextLengthError
from persona_interp.figures.style import panel_figure, paper_style
from persona_interp.judges.protocol import Score
from persona_interp.rollouts.contexts import graded_system_prompts, many_shot_contexts
from persona_interp.studies.monitoring.conditions import measure_monitoring
from persona_interp.studies.monitoring.config import MonitoringConfig
from persona_interp.studies.monitoring.effects import RANDOM, THESE, R, condition_of
from persona_interp.studies.monitoring.figures.monitoring import (
    draw_monitoring,
    plot_layer_correlations,
    plot_monitoring,
    plot_token_projections,
)
from persona_interp.studies.monitoring.run import run_monitoring
from persona_interp.studies.monitoring.tables import monitoring_table
from tests.contract.tiny import D_MODEL, N_LAYERS, Tiny
from tests.small import TRAIT, direction, make_small


class Vowels:
    """A judge that counts vowels."""

    name = "vowels"
    description = "the share of vowels"

    def unable(self, trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait, questions, answers) -> list[Score]:  # noqa: ARG002
        shares = [100 * sum(c in "aeiou" for c in a) / len(a) if a.strip() else float("nan") for a in answers]
        return [Score(share, share) for share in shares]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def two(small: Tiny) -> list[Direction]:
    vectors = torch.randn(2, N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(0))
    made = small.hooked("nnsight").provenance
    norms = torch.full((N_LAYERS,), 4.0)
    return [direction(v, trait=t, norms=norms, provenance=made) for v, t in zip(vectors, ("loud", "shy"), strict=True)]


def test_monitoring_is_measured_from_contexts_to_a_table(small: Tiny, two: list[Direction], tmp_path: Path) -> None:
    model, shown = small.hooked("nnsight"), pd.DataFrame({"question": ["A?", "B?", "C?"], "answer": ["x", "yes", "o"]})
    shots = many_shot_contexts(shown, questions=TRAIT.eval_questions, counts=(0, 2), n_draws=2)
    options = {
        "judges": [Vowels()], "conditions": (*graded_system_prompts(TRAIT), *shots), 
        "questions": ["How?", "When?", "Where?"],
        "n_samples": 2, "max_new_tokens": 6, "folder": tmp_path, "progress": False,
    }  # fmt: skip
    result = measure_monitoring(model, two[0], TRAIT, **options)  # pyright: ignore
    assert len(result.units) == 10 * 3 and result.kinds == ("system", "shots") and result.projections.shape == (30, 3)
    assert len(result.answers) == 60 and len({*result.answers["prompt"]}) >= 27, "0 shots have one prompt a question"
    unit = result.units.iloc[4]
    here = result.answers[
        (result.answers["condition"] == unit["condition"]) & (result.answers["question"] == unit["question"])
    ]
    assert unit["vowels"] == pytest.approx(here["vowels"].mean())
    held = extract_activations(model, [here["prompt"].iloc[0]], [""], pooling="prompt_last", progress=False)
    np.testing.assert_allclose(result.projections[4], two[0].project(held)[0].numpy(), rtol=1e-4, atol=1e-4)
    again = measure_monitoring(model, two[0], TRAIT, **options)  # pyright: ignore
    np.testing.assert_array_equal(again.projections, result.projections)
    numbers = result.measurements(model=model.name).frame
    assert (numbers["metric"] == "projection").sum() == 90
    table = monitoring_table([result], named_layers={"loud": 1}, n_permutations=19, n_resamples=20)
    assert len(table) == 2 * (1 + 3 * 2) and table["named"].sum() == 4
    with pytest.raises(ConfigError, match="no layer in this measurement was named in advance for loud"):
        monitoring_table([result], named_layers={})
    with pytest.raises(ContextLengthError):
        measure_monitoring(model, two[0], TRAIT, **{**options, "max_new_tokens": 500, "folder": None})  # pyright: ignore


def test_a_run_leaves_tables_effects_and_claims(small: Tiny, tmp_path: Path) -> None:
    config = MonitoringConfig(
        named_layer=1,
        n_instructions=2,
        n_eval_questions=3,
        n_samples=1,
        max_new_tokens=6,
        false_alarm_rate=0.5,
        n_null=19,
    )
    model = small.hooked("nnsight")
    run_monitoring(model, [TRAIT], [Vowels()], config, work=tmp_path / "work", out=tmp_path / "out")
    effects, claims = load_effects(tmp_path / "out"), load_claims(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "correlations.csv")
    projected = effects[(effects["metric"] == R) & (effects["role"] == "treatment")]
    own = projected[~projected["condition"].str.contains(THESE)].reset_index(drop=True)
    rows = table[table["predictor"] == "projection"].reset_index(drop=True)
    np.testing.assert_allclose(own["estimate"], rows["estimate"], atol=1e-12)
    np.testing.assert_allclose(own["low"], rows["low_new"], atol=1e-12)
    np.testing.assert_allclose(own["q"].to_numpy(float), rows["q"].to_numpy(float), atol=1e-12)
    these = projected[projected["condition"].str.contains(THESE)]
    np.testing.assert_allclose(these["high"], rows.loc[rows["low"].notna(), "high"], atol=1e-12)
    shares = effects[effects["metric"] == "share of answers with an alert"]
    assert shares["n"].tolist() == [len(TRAIT.eval_questions)] * 2
    assert "conformal threshold" in shares["fixed"].iloc[0]
    nulls = pd.read_csv(tmp_path / "out" / "nulls.csv")
    n_claims = (rows["declared"] == "primary").sum() + (nulls["family"] == "random_directions").sum()
    assert len(claims) == n_claims >= 4
    with paper_style():
        scatter, curves = draw_monitoring(effects, pd.read_csv(tmp_path / "out" / "units.csv"), judge="vowels")
    assert len(scatter.frame) == len(pd.read_csv(tmp_path / "out" / "units.csv"))
    assert set(curves.frame["metric"]) == {R, RANDOM}


# the command


def test_the_figures_draw_every_point() -> None:
    rng = np.random.default_rng(0)
    points = pd.DataFrame({"condition": [f"c{k // 5}" for k in range(15)], "level": [k // 5 for k in range(15)]})
    points = points.assign(projection=rng.normal(size=15), expression=rng.uniform(0, 100, 15))
    conditions = [condition_of("system", scope) for scope in ("overall", "within")]
    layers = pd.DataFrame({"layers": ["0", "1"] * 2, "condition": np.repeat(conditions, 2), "estimate": [0.1, 0.5] * 2})
    layers = layers.assign(low=layers["estimate"] - 0.1, high=layers["estimate"] + 0.1, metric=R)
    layers = pd.concat(
        [layers, layers.assign(condition=layers["condition"] + f", {THESE}"), layers.assign(metric=RANDOM)]
    )
    tokens = pd.DataFrame({"turn": [1, 1, 3, 3], "token_index": [-1, 0, -1, 0], "trait": "loud", "layer": 1})
    tokens = tokens.assign(score=[np.nan, 1.0, np.nan, 2.0], alert=[False, False, False, True])
    with paper_style():
        _, axes = panel_figure(1, 3)
        scatter, curves, line = axes[0]
        plot_monitoring(points, scatter)
        plot_layer_correlations(layers, curves, kind="system", named_layer=1)
        plot_token_projections(tokens, line, limits={("loud", 1): 1.5})
    assert sum(len(np.atleast_1d(drawn.get_xdata())) for drawn in scatter.lines) == 15 + 3
    labels = {str(drawn.get_label()) for drawn in curves.lines}
    assert labels >= {"overall", "within conditions", "layer named in advance"}
    assert labels >= {"random directions, 95th (overall)", "interval for new conditions (overall)"}
    assert len(curves.collections) == 2, "a band a scope"
    assert [len(np.atleast_1d(drawn.get_xdata())) for drawn in line.lines] == [1, 1, 1, 2]
