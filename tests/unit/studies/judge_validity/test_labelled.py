"""Judges on labelled answers: planted validity and calibration are found, and no judge is dropped silently."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from persona_interp.data.labelled import Labelled, read_labelled
from persona_interp.data.traits import Trait, load_trait
from persona_interp.effects import saved_claims, saved_effects
from persona_interp.errors import ConfigError, TraitError
from persona_interp.judges.protocol import Score
from persona_interp.report import write_report
from persona_interp.studies.judge_validity.effects import STUDY
from persona_interp.studies.judge_validity.labelled import found_of
from persona_interp.studies.judge_validity.labelled_run import measure_judges

TRAIT = load_trait("impolite")
N_QUESTIONS = 60


@dataclass
class Planted:
    """Gives every answer the score that its text says, moved and stretched; some it cannot tell."""

    name: str = "planted (tiny)"
    slope: float = 1.0
    shift: float = 0.0
    mute: int = 0
    why: str | None = None
    description: str = "planted"
    asked: list[int] = field(default_factory=list)

    def unable(self, trait: Trait) -> str | None:
        del trait
        return self.why

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        del trait, questions
        self.asked.append(len(answers))
        values = [self.slope * float(answer.split()[0]) + self.shift for answer in answers]
        return [Score(np.nan if k < self.mute else value, value) for k, value in enumerate(values)]


def two_valued(distance: float, seed: int = 0) -> Labelled:
    """Each question with an answer on either side, scores two normals this far apart in units of their spread."""
    rng = np.random.default_rng(seed)
    labels = np.tile([1.0, 0.0], N_QUESTIONS)
    scores = 50 + 10 * (rng.standard_normal(2 * N_QUESTIONS) + distance * labels)
    return labelled(scores, labels, graded=False)


def labelled(scores: np.ndarray, labels: np.ndarray, *, graded: bool) -> Labelled:
    questions = tuple(f"q{k // 2}" for k in range(len(scores)))
    answers = tuple(f"{score:.6f} {k}" for k, score in enumerate(scores))
    return Labelled(questions, answers, labels, questions, graded, "planted")


def scores_of(data: Labelled) -> np.ndarray:
    return np.array([float(answer.split()[0]) for answer in data.answers])


@pytest.mark.parametrize("auc", [0.5, 0.75, 0.9])
def test_a_planted_auc_is_in_its_interval(auc: float) -> None:
    data = two_valued(np.sqrt(2) * norm.ppf(auc), seed=3)
    found = found_of("j", data, scores_of(data)).orders
    assert found is not None and found.low <= auc <= found.high and (found.n, found.n_clusters) == (120, 60)


def test_calibrated_scores_have_slope_one_and_no_bias_and_overconfident_ones_less() -> None:
    rng = np.random.default_rng(1)
    scores = rng.uniform(5, 95, 400)
    data = labelled(scores, (rng.random(400) < scores / 100).astype(float), graded=False)
    found = found_of("j", data, scores)
    assert found.slope is not None and found.bias is not None
    assert found.slope.low < 1 < found.slope.high and found.bias.low < 0 < found.bias.high
    assert all(one.label.low - 0.05 <= one.score / 100 <= one.label.high + 0.05 for one in found.bins)
    assert len(found.bins) == 5 and sum(one.label.n for one in found.bins) == 400
    loud = found_of("j", data, np.clip(50 + 3 * (scores - 50), 0, 100))
    assert loud.slope is not None and loud.slope.high < 1
    high = found_of("j", data, scores + 20)
    assert high.bias is not None and high.bias.low > 10


def test_graded_labels_give_a_rank_correlation_and_a_regression() -> None:
    rng = np.random.default_rng(2)
    scores = rng.uniform(0, 100, 200)
    labels = np.clip(0.5 * scores + 20 + 8 * rng.standard_normal(200), 0, 100)
    found = found_of("j", labelled(scores, labels, graded=True), scores)
    assert found.orders is not None and found.slope is not None and found.bias is not None
    assert found.orders.low > 0.7 and found.p < 1e-6
    assert found.slope.low < 0.5 < found.slope.high
    assert found.bias.low < np.mean(scores - labels) < found.bias.high
    assert found.bins[0].label.estimate < found.bins[-1].label.estimate


def test_a_perfect_judge_has_a_test_and_a_constant_one_a_reason() -> None:
    data = two_valued(100.0)
    found = found_of("j", data, scores_of(data))
    assert found.orders is not None and found.orders.estimate == 1 and found.p < 0.001
    constant = found_of("j", data, np.full(len(data), 50.0))
    assert constant.orders is None and constant.unable == "it gives all 120 answers the same score, 50"
    mute = np.full(len(data), np.nan)
    assert found_of("j", data, mute).unable == "it could rate 0 of 120 answers, at least 10 are needed"


def test_every_judge_is_said_whatever_it_can(tmp_path: Path) -> None:
    judges = [
        Planted(),
        Planted("mute (tiny)", mute=20),
        Planted("flat", slope=0.0, shift=50.0),
        Planted("none", why="impolite has no rubric"),
    ]
    table = measure_judges(judges, TRAIT, two_valued(2.0), out=tmp_path).set_index("judge")
    assert table["n_rated"].tolist() == [120, 100, 120, 0]
    assert table.loc["none", "unable"] == "impolite has no rubric" and np.isnan(table.loc["none", "orders"])
    claims, effects = saved_claims(tmp_path, STUDY), saved_effects(tmp_path, STUDY)
    assert claims is not None and effects is not None
    said = dict(zip(claims["verdict"].index, claims["sentence"], strict=True))
    assert claims["verdict"].tolist() == ["holds", "holds", "undecided", "undecided"]
    assert "n = 100 of 120, the others it could not rate, 50 groups" in said[1]
    assert said[3] == "none is not tried on planted: impolite has no rubric."
    tested = effects[effects["q"].notna()]
    assert set(tested["n_family"]) == {2} and set(tested["metric"]) == {"AUC"}
    page = write_report(tmp_path).read_text()
    assert "none is not tried on planted" in page and (tmp_path / "figures" / "reliability.png").is_file()


def test_scores_are_kept_and_a_folder_belongs_to_its_data(tmp_path: Path) -> None:
    judge, data = Planted(), two_valued(1.0)
    first = measure_judges([judge], TRAIT, data, out=tmp_path)
    assert measure_judges([judge], TRAIT, data, out=tmp_path).equals(first) and judge.asked == [120]
    with pytest.raises(ConfigError, match="labelled answers"):
        measure_judges([judge], TRAIT, two_valued(1.0, seed=9), out=tmp_path)
    with pytest.raises(ConfigError, match="two judges have one name"):
        measure_judges([judge, judge], TRAIT, data, out=tmp_path)
    with pytest.raises(TraitError, match="no judge can rate impolite: planted .tiny.: blind"):
        measure_judges([Planted(why="blind")], TRAIT, data, out=tmp_path / "other")


def test_groups_default_to_questions_and_answers_without_one_stand_alone(tmp_path: Path) -> None:
    lines = "answer,label,group\n" + "".join(f"a{k},{k % 2},{'' if k < 4 else k // 4}\n" for k in range(12))
    (tmp_path / "d.csv").write_text(lines)
    assert read_labelled(tmp_path / "d.csv").groups == ("row 0", "row 1", "row 2", "row 3", *"11112222")
