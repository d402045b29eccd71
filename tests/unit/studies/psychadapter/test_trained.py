"""How far the scores of an adapter's texts agree with another judge: kept for what made it, and as effects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame

from persona_interp.data.trait_texts import TraitTexts
from persona_interp.data.traits import Trait
from persona_interp.errors import ConfigError
from persona_interp.judges.protocol import Score
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.psychadapter import trained
from persona_interp.studies.psychadapter.trained import AdapterStudy, agreement_effects, score_agreement

TEXTS = TraitTexts(
    tuple(f"text {i}" for i in range(20)), np.arange(20.0)[:, None], ("openness",), "twenty texts", estimated=True
)
STUDY = AdapterStudy(n_agreement=12)


@dataclass
class ByNumber:
    """As much openness as the number at a text's end says."""

    model: Any
    n_pairs: int
    name: str = "numbers"

    @property
    def description(self) -> str:
        return f"reads {self.n_pairs} numbers"

    def unable(self, trait: Trait) -> str | None: ...

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        del trait, questions
        return [Score(float(text.split()[-1]), 0.0) for text in answers]


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "LikelihoodJudge", ByNumber)


def test_agreement_is_measured_once_and_of_one_set_of_texts_and_judge(model: HookedModelBase, tmp_path: Path) -> None:
    table = score_agreement(model, TEXTS, STUDY, folder=tmp_path)
    assert table["estimate"].tolist() == pytest.approx([1.0])
    assert table["n"].tolist() == [12]
    assert score_agreement(model, TEXTS, STUDY, folder=tmp_path).equals(table)
    with pytest.raises(ConfigError, match="judges: there {'numbers': 'reads 1 numbers'}, now {'numbers': 'reads 2"):
        score_agreement(model, TEXTS, replace(STUDY, judge_pairs=2), folder=tmp_path)
    with pytest.raises(ConfigError, match="data: there "):
        score_agreement(model, replace(TEXTS, scores=-TEXTS.scores), STUDY, folder=tmp_path)


def test_agreement_of_scores_is_an_effect_a_trait() -> None:
    row = {"trait": "openness", "judge": "texts", "other_judge": "likelihood", "estimate": 0.4, "low": 0.1, "high": 0.6}
    first, second = agreement_effects(DataFrame([row | {"n": 80}, row | {"trait": "evil", "n": 80, "low": None}]))
    assert (first.trait, first.data, first.judge, first.n_cluster) == ("openness", "texts", "likelihood", 80)
    assert (first.low, second.low, second.trait) == (0.1, None, "evil")
