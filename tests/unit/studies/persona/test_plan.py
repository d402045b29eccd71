"""What a run is planned to do, and what it says that it left out."""

from dataclasses import asdict, replace

import pytest

from persona_interp.data.traits import load_trait
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.speed import Speed, matrix_speed, measure_speed
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.effort import EFFORTS, cut_sentence
from persona_interp.studies.persona.plan import CHOOSING, RANDOM, ROLLOUTS, STAGES, STEERING, plan_of

IMPOLITE = load_trait("impolite")
QUICK = RunConfig("m", ("impolite",), effort="quick", **EFFORTS["quick"])


def answers(config: RunConfig, n_traits: int = 1) -> dict[str, int]:
    return {step.what: step.n for step in plan_of(config, [IMPOLITE] * n_traits, 30)}


def test_the_plan_counts_the_answers_that_the_run_writes():
    found = answers(QUICK)
    assert tuple(found) == STAGES
    assert found[ROLLOUTS] == 2 * (10 * 5 + 10 * 5)
    assert found[CHOOSING] == (3 * 3 + 3) * 20, "three layers at three strengths, and unsteered three times"
    assert found[STEERING] == (1 * 6 + 3) * 20 and found[RANDOM] == (60 + 2) * 10
    assert answers(replace(QUICK, sweep="all"))[STEERING] == (3 * 6 + 3) * 20
    given = answers(replace(QUICK, coefficients=(-0.3, 0.3), n_unsteered=None))
    assert given[CHOOSING] == (3 * 1 + 1) * 20 and given[STEERING] == (1 * 2 + 1) * 20
    assert answers(QUICK, 2)[ROLLOUTS] == 2 * found[ROLLOUTS]


def test_more_work_takes_longer_and_a_faster_machine_less():
    def total(config: RunConfig, speed: Speed) -> float:
        return sum(step.seconds(speed) for step in plan_of(config, [IMPOLITE], 30))

    slow, fast = Speed(100.0, 500.0), Speed(200.0, 1000.0)
    standard, paper = (RunConfig("m", ("impolite",), **EFFORTS[name]) for name in ("standard", "paper"))
    assert total(QUICK, fast) < total(QUICK, slow) < total(standard, slow) < total(paper, slow)


@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort_is_a_configuration(effort: str):
    config = RunConfig("m", ("impolite",), **EFFORTS[effort])  # pyright: ignore[reportArgumentType]
    assert asdict(config)["seed"] == 0


def test_a_quick_run_says_what_it_left_out():
    said = cut_sentence(QUICK.to_dict(), {"time_s": {"load": 30.0, "tables": 90.0}})
    assert said.startswith("Effort quick. It took 2.0 minutes. Cut against standard: ")
    assert "questions 10 instead of 20" in said and "random 60 instead of 100" in said
    assert "sweep chosen instead of all" in said and "eval samples 1 instead of 2" in said
    standard = RunConfig("m", ("impolite",), **EFFORTS["standard"])
    assert cut_sentence(standard.to_dict(), {}) == "Effort standard."
    assert cut_sentence({"model": "m"}, {}) == "", "a run of an earlier version"


def test_speed_is_measured_in_tokens_a_second(model: HookedModelBase):
    found = measure_speed(model, seconds=0.0)
    assert found.written > 0 and found.read > 0 and matrix_speed(seconds=0.01, size=64) > 0
