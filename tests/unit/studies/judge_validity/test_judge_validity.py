"""Judges that are planted to see a trait, or not to: their AUC, its test, and what is claimed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, concat

from persona_interp.data.traits import Exemplar, Trait
from persona_interp.effects import Effect, claims_table, effects_table
from persona_interp.judges.protocol import Judge, Score
from persona_interp.studies.judge_validity.effects import judge_runs, model_of
from persona_interp.studies.judge_validity.run import HARD, PLAIN, consensus_gain, judge_scores, judge_validity


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


PAIRS = [Exemplar("How?", f"so {i}!", f"so {i}") for i in range(12)]


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


def scored(gaps: dict[str, float], traits: int = 8, seed: int = 0) -> DataFrame:
    """Independent judges, each with its own gap between the poles, on 42 pairs a trait."""
    rng, rows = np.random.default_rng(seed), []
    for trait in range(traits):
        for judge, gap in gaps.items():
            sides = {"with_trait": gap + rng.standard_normal(42), "without": rng.standard_normal(42)}
            rows.append(DataFrame({"trait": f"t{trait}", "answers": HARD, "judge": judge, "pair": range(42), **sides}))
    return concat(rows, ignore_index=True)


def test_independent_judges_gain_by_their_mean_and_a_blind_one_costs() -> None:
    table, gain = consensus_gain(scored({"a": 0.8, "b": 0.8, "c": 0.8}), ["a", "b", "c"])
    assert len(table) == 8 and gain.low > 0 and 0.05 < gain.estimate < 0.25 and gain.n_clusters == 8
    _, loss = consensus_gain(scored({"a": 2.0, "b": 0.0, "c": 0.0}), ["a", "b", "c"])
    assert loss.high < 0


def test_the_best_judge_is_not_chosen_by_the_pairs_it_is_tested_on() -> None:
    """Twelve blind judges: the best on all pairs looks good, the best on other pairs does not."""
    judges = {f"j{k}": 0.0 for k in range(12)}
    scores = scored(judges, traits=40)
    table, _ = consensus_gain(scores, list(judges))
    assert abs(table["best"].mean() - 0.5) < 3 * table["best"].std() / np.sqrt(40)
    found = judge_validity(scores[scores["trait"].isin(["t0", "t1", "t2"])]).groupby("trait")["auc"].max()
    assert found.min() > 0.56, "the largest on the same pairs is above chance by being the largest"


def test_a_trait_that_a_judge_did_not_rate_is_left_out() -> None:
    scores = scored({"a": 1.0, "b": 1.0}, traits=3)
    table, _ = consensus_gain(scores[(scores["trait"] != "t0") | (scores["judge"] != "b")], ["a", "b"])
    assert table["trait"].tolist() == ["t1", "t2"]
