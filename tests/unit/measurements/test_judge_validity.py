"""The AUC that stands beside a judge's numbers in every study."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.traits import Trait, load_trait
from persona_interp.effects import Effect
from persona_interp.judges.protocol import Score
from persona_interp.measurements.judge_validity import known_validity


class Oracle:
    """Knows the hard answers with the trait, and counts how often it is asked."""

    name = "oracle"
    description = "knows"

    def __init__(self, wrong: int = 0) -> None:
        pairs = hard_pairs(load_trait("impolite"))
        self.known = {pair.pos for pair in pairs[wrong:]} | {pair.neg for pair in pairs[:wrong]}
        self.asked = 0

    def unable(self, trait: Trait) -> str | None:
        return None if trait.name == "impolite" else "knows impoliteness alone"

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        self.asked += len(questions)
        return [Score(100.0 * (text in self.known), 0.0) for text in answers]


@pytest.mark.parametrize("wrong", [0, 21, 42])
def test_it_is_the_share_of_pairs_told_apart(wrong: int, tmp_path: Path):
    traits = [load_trait("impolite"), load_trait("evil")]
    judge = Oracle(wrong)
    known = known_validity([judge], traits, tmp_path)
    assert known == {"impolite": {"oracle": pytest.approx(1 - wrong / 42)}, "evil": {}}


def test_texts_are_rated_once(tmp_path: Path):
    judge, trait = Oracle(), load_trait("impolite")
    first = known_validity([judge], [trait], tmp_path)
    asked = judge.asked
    assert known_validity([judge], [trait], tmp_path) == first and judge.asked == asked > 0


def test_an_effect_has_that_of_its_own_judge_and_trait():
    known = {"evil": {"one": 0.8}}
    rows = [
        Effect(metric="m", trait=t, judge=j).judged_by(known) for t in ("evil", "calm", None) for j in ("one", None)
    ]
    assert [row.judge_validity for row in rows] == [0.8, None, None, None, None, None]
    assert Effect(metric="m", trait="evil", judge="one", judge_validity=0.6).judged_by(known).judge_validity == 0.6


def test_other_hard_pairs_are_rated_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    judge, trait = Oracle(), load_trait("impolite")
    known_validity([judge], [trait], tmp_path)
    asked = judge.asked
    fewer = hard_pairs(trait)[:10]
    for module in ("persona_interp.data.hard_pairs", "persona_interp.judges.validity"):
        monkeypatch.setattr(f"{module}.hard_pairs", lambda _: fewer)
    known_validity([judge], [trait], tmp_path)
    assert judge.asked > asked
