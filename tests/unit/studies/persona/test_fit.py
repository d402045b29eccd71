"""A run that fits the minutes it is given."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.data.traits import load_trait
from persona_interp.errors import ArtefactError
from persona_interp.models.speed import Speed
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.effort import EFFORTS, cut_sentence
from persona_interp.studies.persona.fit import FIT, LADDER, Fitted, TimeLimit, fitted, keep_fit, kept_fit
from persona_interp.studies.persona.plan import plan_of
from persona_interp.studies.plan import total_seconds

TRAITS = [load_trait("impolite")]
QUICK = RunConfig("m", ("impolite",), effort="quick", **EFFORTS["quick"])
STANDARD = RunConfig("m", ("impolite",), **EFFORTS["standard"])
EIGHT = TimeLimit(8.0)


def at(share: float, config: RunConfig = QUICK, limit: TimeLimit = EIGHT) -> Fitted:
    """At a share of a speed with which the quick run takes a little less than eight minutes."""
    return fitted(config, TRAITS, 30, Speed(200 * share, 575 * share), limit)


def test_nothing_is_cut_where_it_fits():
    found = at(1.0)
    assert (found.config, found.changed, found.sentence) == (QUICK, {}, "")


def test_as_little_is_cut_as_fits_in_the_stated_order():
    found = at(0.9)
    assert found.changed == {"n_random": 39} and found.seconds <= 480
    assert found.sentence == "Cut to fit 8 minutes: random 60 to 39."
    more = at(0.5)
    assert more.config.n_selection_questions == 12 and more.config.n_eval_questions == 10
    assert more.config.kl == (0.1, 0.2), "the middle one of three stays the one of the test"
    assert more.config.n_random == 39 and "kl 0.1, 0.2, 0.4 to 0.1, 0.2" in more.sentence


def test_where_the_floor_does_not_fit_it_is_taken_and_said():
    found = at(0.01)
    assert found.config.n_random == 19 and found.seconds > 480
    assert found.sentence.startswith("Cut to fit 8 minutes: ")
    assert "These are the least sizes, and they take about " in found.sentence
    assert found.sentence.endswith(" minutes here, not 8.")
    again = fitted(found.config, TRAITS, 30, Speed(2.0, 5.75), EIGHT)
    assert again.config == found.config and again.sentence.startswith("There is nothing to cut, and they take")


def test_what_was_asked_for_is_not_cut():
    asked = tuple({name for rung in LADDER for name in rung} - {"n_random"})
    found = at(0.01, limit=TimeLimit(8.0, asked))
    assert found.config == replace(QUICK, n_random=19)
    given = replace(QUICK, coefficients=(-0.3, 0.3))
    assert at(0.01, given).config.kl == given.kl, "strengths that are not used are not cut"
    assert at(0.01, replace(QUICK, n_random=0)).config.n_random == 0


@settings(max_examples=12, deadline=None)
@given(st.floats(0.01, 4.0), st.floats(0.01, 4.0), st.sampled_from([QUICK, STANDARD]))
def test_a_slower_machine_never_gets_more(one: float, other: float, config: RunConfig):
    slow, fast = at(min(one, other), config), at(max(one, other), config)
    assert set(fast.changed) <= set(slow.changed)
    speed = Speed(200.0, 575.0)
    took = [total_seconds(plan_of(found.config, TRAITS, 30), speed) for found in (slow, fast)]
    assert took[0] <= took[1]
    for found in (slow, fast):
        assert (found.config.n_random or 100) >= 19 and found.config.n_selection_questions >= 3
        assert found.seconds <= 480 or "least sizes" in found.sentence


def test_every_size_has_a_floor_that_later_rungs_do_not_raise():
    floors: dict[str, float] = {}
    for rung in LADDER:
        for name, value in rung.items():
            if name != "sweep":
                assert value < floors.get(name, 1000)
                floors[name] = value
    assert floors["n_random"] == 19 and floors["n_eval_questions"] == 10


def test_a_run_that_goes_on_takes_the_sizes_that_it_began_with(tmp_path: Path):
    found = at(0.5)
    assert kept_fit(tmp_path, QUICK, EIGHT) is None
    keep_fit(tmp_path, QUICK, EIGHT, found)
    assert kept_fit(tmp_path, QUICK, EIGHT) == found
    assert kept_fit(tmp_path, QUICK, TimeLimit(9.0)) is None
    assert kept_fit(tmp_path, QUICK, TimeLimit(8.0, ("kl",))) is None
    assert kept_fit(tmp_path, replace(QUICK, seed=1), EIGHT) is None
    (tmp_path / FIT).write_text("{")
    with pytest.raises(ArtefactError, match="chosen again"):
        kept_fit(tmp_path, QUICK, EIGHT)


def test_the_report_says_what_was_cut_for_time():
    found = at(0.5)
    said = cut_sentence(found.config.to_dict(), {"fit": {"minutes": 8.0, "sentence": found.sentence}})
    assert said.startswith("Effort quick. Cut against standard: ") and said.endswith(found.sentence)
    assert "kl 0.1, 0.2 instead of 0.1, 0.2, 0.4" in said
