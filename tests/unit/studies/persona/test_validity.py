"""Which judges of a run are shown to work, alone or together, and what its gate of coherence is said to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.traits import Trait, load_trait
from persona_interp.judges.consensus import CONSENSUS
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Score
from persona_interp.rollouts.generate import Rollouts
from persona_interp.studies.persona.bench import Bench, Panel
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.gate import PROMPTED, UNSTEERED, gate_notes
from persona_interp.studies.persona.identity import of_inputs
from persona_interp.studies.persona.validity import NO_JUDGE, NOT_EXPRESSIBLE, Shown, judges_shown, own_answers

TRAIT = load_trait("impolite")
POSITIVE = {pair.pos for pair in hard_pairs(TRAIT)} | {exemplar.pos for exemplar in TRAIT.exemplars}


@dataclass
class Planted:
    """Rates answers with the trait higher by `gap` standard deviations of noise of its own."""

    name: str
    gap: float
    seed: int
    asked: int = 0
    description: str = "planted"

    def unable(self, trait: Trait) -> str | None: ...

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        self.asked += 1
        noise = np.random.default_rng(self.seed).standard_normal(len(answers))
        values = 50 + 10 * (noise + self.gap * np.array([answer in POSITIVE for answer in answers]))
        return [Score(value, value) for value in values]


def rollouts(judges: Sequence[Planted], gap: float | None = None) -> Rollouts:
    """Forty answers a side to ten questions and four prompts, rated by every judge with its gap or the one given."""
    sides = np.repeat(["positive", "negative"], 40)
    places = {
        "side": sides,
        "question": [f"{k % 10}?" for k in range(80)],
        "instruction": [k // 10 % 4 for k in range(80)],
    }
    scores = {
        judge.name: 10 * np.random.default_rng(judge.seed + 1).standard_normal(80)
        + 10 * (judge.gap if gap is None else gap) * (sides == "positive")
        for judge in judges
    }
    made: Any = object.__new__(Rollouts)
    object.__setattr__(made, "frame", pd.DataFrame(places | scores))
    return made


@pytest.fixture
def tried(tmp_path: Path) -> Callable[..., Shown]:
    def shown(judges: Sequence[Planted], own_gap: float | None = None) -> Shown:
        bench: Any = object.__new__(Bench)
        object.__setattr__(bench, "folder", tmp_path)
        made = rollouts(judges, own_gap)
        return judges_shown(bench, TRAIT, Panel(tuple(judges), (), {}), made, made)

    return shown


def test_judges_that_pass_head_alone_and_those_that_do_not_are_named(tried: Callable[..., Shown]) -> None:
    found = tried([Planted("sees", 2.0, 1), Planted("blind", 0.0, 2)])
    assert found.heads == ("sees",) and list(found.reasons) == ["blind"] and "under 0.7" in found.reasons["blind"]
    assert found.auc("sees") == found.auc(CONSENSUS) > 0.85 and found.ungraded is None


def test_weak_judges_that_pass_together_head_together(tried: Callable[..., Shown]) -> None:
    weak = [Planted(name, 0.65, seed) for name, seed in (("one", 2), ("two", 3), ("three", 5))]
    found = tried([*weak, Planted("blind", 0.0, 8)])
    assert max(found.auc(judge.name) for judge in weak) < 0.7 < found.auc(CONSENSUS)
    assert found.heads == ("one", "two", "three") and set(found.reasons) == {"one", "two", "three", "blind"}


def test_what_the_judges_said_of_the_texts_is_kept(tried: Callable[..., Shown]) -> None:
    judge = Planted("sees", 2.0, 1)
    first = tried([judge])
    assert judge.asked == 2 and tried([judge]) == first and judge.asked == 2


@pytest.mark.parametrize(("gap", "own", "why"), [(2.0, 0.0, NOT_EXPRESSIBLE), (0.0, 2.0, NO_JUDGE)])
def test_why_nothing_is_graded(tried: Callable[..., Shown], gap: float, own: float, why: str) -> None:
    found = tried([Planted("one", gap, 1), Planted("two", gap, 4)], own)
    assert found.heads == () and found.ungraded == why


def test_answers_to_prompts_that_the_judge_reads_do_not_count() -> None:
    class Reads(LikelihoodJudge):
        """Sees the trait in answers to its own first prompts alone."""

        @property
        def description(self) -> str:
            return "reads"

        def __init__(self) -> None:
            self.name, self.n_pairs = "reads", 2

        def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
            return Planted("reads", 3.0, 1).rate(trait, questions, answers)

    judge: Any = Reads()
    judge.gap, judge.seed = 0.0, 11
    made = rollouts([judge])
    own = (made.frame["instruction"] < 2) & (made.frame["side"] == "positive")
    made.frame.loc[own, "reads"] += 200.0
    found = own_answers([judge], TRAIT, made, judge.name)
    assert found.low < 0.5 < found.high and found.n == 40


def test_a_run_belongs_to_the_hard_pairs_that_tried_its_judges() -> None:
    config = RunConfig("m", ("impolite", "evil"))
    found = of_inputs(config, [TRAIT, load_trait("evil")])
    assert found["hard pairs of trait impolite"] != found["hard pairs of trait evil"]
    renamed = replace(TRAIT, name="unheard")
    assert of_inputs(config, [renamed])["hard pairs of trait unheard"] not in found.values()


def shares(prompted: float, shuffled: float) -> pd.DataFrame:
    kinds = {UNSTEERED: 0.9, "shuffled answers": shuffled, PROMPTED: prompted}
    return pd.DataFrame({"kind": list(kinds), "estimate": list(kinds.values())})


def test_a_gate_that_stops_a_persona_or_lets_nonsense_pass_is_named() -> None:
    (said,) = gate_notes(shares(0.8, 0.0))
    assert "lets pass 90% of unsteered answers, 0% of shuffled answers, 80% of answers to a positive" in said
    assert said.endswith("Expected are at least 75% of prompted and at most 10% of corrupted answers.")
    assert gate_notes(shares(0.3, 0.0))[0].endswith(f": 30% of {PROMPTED}.")
    assert gate_notes(shares(0.75, 0.2))[0].endswith(": 20% of shuffled answers.")
