"""Judges that are planted to see a trait, or not to: their AUC, its test, and what is claimed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame

from persona_interp.data.traits import Trait
from persona_interp.effects import Effect, claims_table, effects_table
from persona_interp.judges.protocol import Judge, Score
from persona_interp.studies.judge_validity.effects import judge_runs, model_of
from persona_interp.studies.judge_validity.run import HARD, PLAIN, judge_scores, judge_validity


@dataclass
class Planted:
    """Answers with an exclamation mark have more of everything by `gap`, beside noise."""

    gap: float
    name: str = "planted (tiny)"
    description: str = "planted"

    def unable(self, trait: Trait) -> str | None: ...

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        del trait, questions
        noise = np.random.default_rng(0).standard_normal(len(answers))
        return [Score(value=raw, raw=raw) for raw in noise + self.gap * np.array(["!" in text for text in answers])]


PAIRS = [{"question": "How?", "pos": f"so {i}!", "neg": f"so {i}"} for i in range(12)]


def tables(judges: dict[str, Judge]) -> tuple[DataFrame, DataFrame]:
    scores = judge_scores(judges, {"evil": PAIRS})
    scores = scores[scores["answers"] == HARD]
    (run,) = judge_runs(judge_validity(scores), {"pairs": 12})
    source, effects, claims = run
    assert source.model == "tiny"
    return effects_table(source, effects), claims_table(source, claims)


def test_a_judge_that_sees_the_trait_is_told_from_one_that_does_not() -> None:
    effects, claims = tables({"sees (tiny)": Planted(5.0), "blind (tiny)": Planted(0.0)})
    assert claims["verdict"].tolist() == ["holds", "undecided"]
    sees, blind = effects.to_dict("records")
    assert sees["estimate"] > 0.95 and sees["low"] > 0.5 and sees["q"] < 0.05
    assert blind["low"] < 0.5 < blind["high"]
    assert (sees["n"], sees["cluster"], sees["data"]) == (12, "pair", HARD)
    assert claims["sentence"].iloc[1].startswith("blind (tiny) is not shown to tell hard pairs with evil from those")


def test_a_judge_that_sees_the_opposite_does_not_see_the_trait() -> None:
    _, claims = tables({"turned (tiny)": Planted(-5.0)})
    assert claims["verdict"].tolist() == ["does not"]


def test_exemplars_stand_beside_the_hard_pairs() -> None:
    scores = judge_scores({"sees (tiny)": Planted(5.0)}, {"evil": PAIRS})
    assert scores["answers"].unique().tolist() == [HARD, PLAIN]
    assert (scores["answers"] == HARD).sum() == 12


def test_without_a_kept_test_nothing_holds() -> None:
    row = {"trait": "evil", "answers": HARD, "judge": "sees (tiny)", "auc": 0.9, "low": 0.7, "high": 1.0, "n_pairs": 12}
    ((_, effects, claims),) = judge_runs(DataFrame([row]), "saved")
    (effect,) = effects
    assert isinstance(effect, Effect) and effect.family is None and effect.test is None
    assert claims[0].verdict == "undecided" and claims[0].sentence.endswith("AUC 0.90 [0.70, 1.00], without a test.")


def test_runs_are_apart_by_the_model_that_judges() -> None:
    assert model_of("likelihood (smollm2), 5 prompt pairs") == "smollm2"
    assert model_of("rule") is None
