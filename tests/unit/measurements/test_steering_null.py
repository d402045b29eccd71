"""Random directions as draws: the answers, their ranks, and the level and power of the test on simulated effects."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.interventions.residual import Add
from persona_interp.judges.protocol import Score
from persona_interp.measurements.roles import NULL, TREATMENT, UNSTEERED
from persona_interp.measurements.steering_null import (
    DirectionTest,
    answer_by_direction,
    direction_effects,
    direction_test,
    draws_for,
    rate_by_direction,
)
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.generate import answer, plain_requests
from persona_interp.statistics.draws import LEAST_FOR_A_RANGE, rank_among
from persona_interp.studies.persona.claims import corrected
from tests.golden.simulation import binomial_bounds
from tests.small import TRAIT, direction

QUESTIONS = ["How is snow?", "What do you eat?", "Who are you?"]


class Letters:
    """The share of letters e, and nothing for an empty answer."""

    name, description = "letters", "counts the letter e"

    def __init__(self) -> None:
        self.asked = 0

    def unable(self, trait: Trait) -> None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        self.asked += len(answers)
        return [Score(100 * a.count("e") / len(a) if a else float("nan"), 0.0) for a in answers]


def drawn(model: HookedModelBase, n: int) -> tuple[Direction, list[Direction]]:
    generator = torch.Generator().manual_seed(4)
    made = [
        direction(
            torch.randn(model.n_layers, model.d_model, generator=generator),
            norms=torch.full((model.n_layers,), 5.0),
            provenance=model.provenance,
        )
        for _ in range(n + 1)
    ]
    return made[0], made[1:]


def test_each_direction_answers_as_it_does_alone_and_the_same_call_goes_on(
    model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, random = drawn(model, 4)
    options = {"layer": 1, "coefficient": 2.0, "max_new_tokens": 5, "batch_size": 7, "progress": False}
    table = answer_by_direction(model, own, random, QUESTIONS, folder=tmp_path, **options)
    assert table.groupby("role").size().to_dict() == {NULL: 12, TREATMENT: 3, UNSTEERED: 3}
    for draw, one in enumerate([own, *random], start=-1):
        alone = answer(
            model,
            plain_requests(QUESTIONS),
            sampling=Sampling(5, temperature=0.0),
            edits=Add(one, 1, 2.0).edits,
            progress=False,
        )
        here = table[(table["role"] != UNSTEERED) & (table["draw"] == draw)]
        assert here["answer"].tolist() == alone.frame["answer"].tolist()
    assert table.loc[table["role"] == NULL, "answer"].nunique() > 2
    monkeypatch.setattr(HookedModelBase, "generate", lambda *_, **__: pytest.fail("answered again"))
    pd.testing.assert_frame_equal(table, answer_by_direction(model, own, random, QUESTIONS, folder=tmp_path, **options))
    with pytest.raises(ConfigError, match="configuration"):
        answer_by_direction(model, random[0], random, QUESTIONS, folder=tmp_path, **options)
    with pytest.raises(ConfigError, match="a coefficient that is not 0, got 3 and 0"):
        answer_by_direction(model, own, random, QUESTIONS, layer=1, coefficient=0.0)


def test_equal_answers_are_rated_once_and_effects_are_against_the_same_question() -> None:
    rows = [
        (UNSTEERED, -1, "q1", "ee"), (UNSTEERED, -1, "q2", "xx"),
        (TREATMENT, -1, "q1", "ee"), (TREATMENT, -1, "q2", "ex"),
        (NULL, 0, "q1", "xx"), (NULL, 0, "q2", "xx"),
        (NULL, 1, "q1", ""), (NULL, 1, "q2", ""),
    ]  # fmt: skip
    judge = Letters()
    scored = rate_by_direction(pd.DataFrame(rows, columns=["role", "draw", "question", "answer"]), TRAIT, judge)
    assert judge.asked == 6
    effects = direction_effects(scored, judge.name).assign(layer=2, coefficient=0.5).set_index(["role", "draw"])
    assert effects.loc[(TREATMENT, -1), "effect"] == 25
    assert effects.loc[(NULL, 0), "effect"] == -50
    assert np.isnan(effects.loc[(NULL, 1), "effect"]) and effects.loc[(NULL, 1), "n_questions"] == 0
    test = direction_test(effects.reset_index())
    assert np.isnan(test.p), "two draws could never give p <= 0.05"
    assert rank_among(25.0, np.r_[np.full(20, -50.0), np.nan]).p == pytest.approx(2 / 22), "unrated counts against"
    assert np.isnan(test.null_low) and np.isnan(test.detectable), "two draws have no range"
    assert (test.layer, test.coefficient, test.n_draws, test.n_questions) == (2, 0.5, 2, 2)
    with pytest.raises(AlignmentError, match="one row of role treatment, got 0"):
        direction_test(effects.drop((TREATMENT, -1)).reset_index())


def simulated(rng: np.random.Generator, effect: float, n_draws: int) -> pd.DataFrame:
    """Directions differ by 3 points, answers to 20 questions by 10."""
    of_direction = 3 * rng.standard_normal(n_draws + 1)
    of_direction[0] += effect
    change = of_direction[:, None] + 10 * rng.standard_normal((n_draws + 1, 20))
    return pd.DataFrame(
        {
            "role": [TREATMENT, *[NULL] * n_draws],
            "draw": np.arange(-1, n_draws),
            "effect": change.mean(axis=1),
            "se": change.std(axis=1, ddof=1) / np.sqrt(20),
            "n_questions": 20,
            "layer": 1,
            "coefficient": 0.2,
        }
    )


def test_where_directions_differ_a_random_one_is_called_one_time_in_twenty() -> None:
    """Paired over questions, as if the few random directions were all there are, 0.3 of such tests reject."""
    rng, n_sets, rejected = np.random.default_rng(6), 600, 0
    for _ in range(n_sets):
        rejected += direction_test(simulated(rng, 0.0, 100)).p <= 0.05
    low, high = binomial_bounds(0.05, n_sets)
    assert low < rejected / n_sets < high


def test_an_effect_of_the_detectable_size_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(7)
    size = float(np.mean([direction_test(simulated(rng, 0.0, 100)).detectable for _ in range(50)]))
    # what the estimate adds to the size of the effect itself: the spread of directions is in the null already
    found = [direction_test(with_effect(rng, size)).p <= 0.05 for _ in range(300)]
    low, high = binomial_bounds(0.8, 300)
    assert low - 0.05 < np.mean(found) < high + 0.05


def with_effect(rng: np.random.Generator, size: float) -> pd.DataFrame:
    frame = simulated(rng, 0.0, 100)
    frame.loc[0, "effect"] = size + 10 / np.sqrt(20) * rng.standard_normal()
    return frame


def test_one_true_effect_among_the_traits_of_a_run_can_be_found() -> None:
    for n_traits in (1, 3, 7, 12):
        n_draws, rows = (
            draws_for(n_traits),
            {"p_shuffled": 0.6, "p_random": 0.6, "p_other_traits": None, "p_components": None},
        )
        tests = [
            DirectionTest(1, 0.3, 0.0, p, 0.0, 0.0, 0.0, n_draws, 20)
            for p in (1 / (n_draws + 1), *[0.6] * (n_traits - 1))
        ]
        assert (corrected([rows] * n_traits, tests)[0]["q_steering"] or 1.0) <= 0.05, (
            "it alone is true, and only steers"
        )
    assert draws_for(1) == 100 and draws_for(7) == 280


@pytest.mark.parametrize("n", [19, 40, 100, 333])
def test_the_critical_value_is_that_of_p(n: int) -> None:
    draws = np.random.default_rng(n).standard_normal(n)
    upper = np.sort(draws)[-max(1, int(0.05 * (n + 1)))]
    assert rank_among(upper + 1e-9, draws).p <= 0.05 < rank_among(upper - 1e-9, draws).p
    if n >= LEAST_FOR_A_RANGE:
        assert rank_among(0.0, draws).upper == upper
        unknown = np.r_[draws[:-6], np.full(6, np.nan)]
        assert np.isnan(rank_among(0.0, unknown).upper) == (n <= 100), (
            "six that may be larger leave no room for p <= 0.05"
        )


def test_too_few_draws_have_no_p() -> None:
    assert np.isnan(rank_among(9.0, np.zeros(18)).p)
    assert rank_among(9.0, np.zeros(19)).p == 0.05
