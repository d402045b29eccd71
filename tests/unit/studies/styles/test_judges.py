"""How well judges tell sentences of styles apart: exact where they do, and named where they cannot."""

from collections.abc import Sequence

import pytest

from persona_interp.data.traits import Trait
from persona_interp.judges.lexical import LexicalJudge, LexicalSign
from persona_interp.judges.protocol import Score
from persona_interp.studies.styles.judges import style_judge_table
from tests.styles import corpus


class Exclamations:
    """Rates by exclamation marks, and cannot rate an empty answer."""

    name, description = "marks", "counts exclamation marks"

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(100.0 * text.count("!"), 0.0) for text in answers]


def test_a_judge_that_sees_the_style_has_an_auc_of_one_and_others_are_named() -> None:
    judges = [Exclamations(), LexicalJudge({"wet": LexicalSign(1, "for the test")})]
    whole = corpus("cold", "warm", "wet")
    table = style_judge_table(judges, whole, whole, styles=["warm", "wet"])
    rows = table.set_index(["style", "judge"])
    assert rows.loc[("warm", "marks"), "auc"] == 1 and 0.5 < rows.loc[("warm", "marks"), "low"] < 1
    assert rows.loc[("wet", "marks"), "auc"] == pytest.approx(0.25), "half of the others have a mark, ties count half"
    assert rows.loc[("warm", "lexical (VADER)"), "note"] == "warm has no declared valence"
    assert rows.loc[("warm", "marks"), ["n", "n_style"]].tolist() == [24, 8]
