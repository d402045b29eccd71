import numpy as np
import pandas as pd
import pytest

from persona_interp.judges.consensus import CONSENSUS
from persona_interp.studies.persona.agreement import (
    agreement_rows,
    alpha_rows,
    judge_names,
    judge_pair_rows,
    percentile_ranks,
)
from persona_interp.studies.persona.result import agreeing_judges
from persona_interp.studies.persona.validity import Shown


def answers(**judges: np.ndarray) -> pd.DataFrame:
    n = len(next(iter(judges.values())))
    conditions = np.resize(["positive prompt", "negative prompt", "steered"], n)
    questions = [f"q{i % 12}" for i in range(n)]
    return pd.DataFrame({"trait": "loud", "condition": conditions, "question": questions, **judges})


@pytest.fixture
def rated() -> pd.DataFrame:
    """One judge repeats another on a narrower scale, one is unrelated and rated every other answer."""
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 100, 120)
    unrelated = np.where(np.arange(120) % 2 == 0, rng.uniform(0, 100, 120), np.nan)
    return answers(first=first, narrow=45 + first / 10, unrelated=unrelated)


def test_an_equal_order_is_full_rank_correlation_though_the_scores_differ(rated: pd.DataFrame):
    rows = agreement_rows(rated, n_resamples=50).set_index(["judge_a", "judge_b", "condition"])
    same = rows.loc[("first", "narrow", "all answers")]
    assert same["spearman"] == pytest.approx(1)
    assert same["low"] == pytest.approx(1)
    assert 0 < same["alpha"] < 0.5
    assert (same["n"], same["n_questions"]) == (120, 12)
    other = rows.loc[("first", "unrelated", "all answers")]
    assert abs(other["spearman"]) < 0.4
    assert other["n"] == 60


def test_conditions_are_parts_of_all_answers(rated: pd.DataFrame):
    rows = agreement_rows(rated, n_resamples=20)
    n = rows[rows["judge_b"] == "narrow"].set_index("condition")["n"]
    assert n.to_dict() == {"all answers": 120, "prompted": 80, "steered": 40}


def test_alpha_of_ranks_leaves_the_scale_out(rated: pd.DataFrame):
    rows = alpha_rows(rated.drop(columns="unrelated"), n_resamples=50)
    of_all = rows[rows["condition"] == "all answers"].set_index("scale")
    assert of_all.loc["ranks", "alpha"] == pytest.approx(1)
    assert of_all.loc["scores", "alpha"] < 0.5
    assert (of_all["low"] <= of_all["alpha"]).all()
    assert set(of_all["n_judges"]) == {2}


def test_alpha_counts_only_answers_that_every_judge_rated(rated: pd.DataFrame):
    rows = alpha_rows(rated, n_resamples=20)
    assert set(rows.loc[rows["condition"] == "all answers", "n"]) == {60}


def test_one_judge_alone_agrees_with_nobody(rated: pd.DataFrame):
    alone = rated[["trait", "condition", "question", "first"]]
    assert judge_names(alone) == ["first"]
    for table in (agreement_rows(alone, n_resamples=5), alpha_rows(alone, n_resamples=5), judge_pair_rows(alone)):
        assert table.empty
        assert "trait" in table


def test_ranks_run_from_0_to_100_with_ties_at_their_mean():
    ranks = percentile_ranks(np.array([[5.0, 1.0, 1.0, 9.0]]))
    np.testing.assert_allclose(ranks, [[62.5, 25.0, 25.0, 87.5]])


def test_judges_agree_by_sign_and_interval():
    effects = pd.DataFrame(
        {
            "judge": [CONSENSUS, "one", "two", "unsure", "against", "blind"],
            "effect": [5.0, 4.0, 4.0, 3.0, -4.0, 9.0],
            "effect_low": [1.0, 1.0, 1.0, -1.0, -6.0, 8.0],
            "effect_high": [9.0, 7.0, 7.0, 7.0, -2.0, 10.0],
        }
    )
    why = {"blind": "AUC 0.52 on hard pairs, under 0.7"}
    assert agreeing_judges(effects, Shown((), ("one", "two"), why)) == (2, 4), "a judge not shown to work says nothing"
    assert agreeing_judges(effects, Shown((), ("one",), why)) == (1, 3), "the whole consensus cannot confirm itself"
    assert agreeing_judges(effects.assign(effect=-effects["effect"]), Shown((), ("one",), why))[0] == 1
    assert agreeing_judges(effects[1:], Shown((), (), why)) == (0, 4)
    assert agreeing_judges(effects.head(1), Shown((), ("one",), why)) == (0, 0)
