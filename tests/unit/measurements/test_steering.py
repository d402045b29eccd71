from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, HookpointError, IncompatibleDirectionError
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.protocol import Score
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.steering import (
    measure_steering,
    score_answers,
    steered_answers,
    steering_table,
    to_measurements,
)
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.generate import answer, plain_requests
from tests.small import TRAIT, WordEncoder, direction

QUESTIONS = ["a?", "b?", "c?", "d?"]
Cell = tuple[int | None, float, float, float]
"""layer, coefficient, mean expression, share of answers that pass the gate"""


def scored(*cells: Cell, judges: tuple[str, ...] = ("j",), n_samples: int = 2) -> pd.DataFrame:
    """Answers whose expression is the cell's mean plus -3, -1, 1, 3 by question."""
    rows = []
    for layer, coefficient, mean, share in cells:
        n = len(QUESTIONS) * n_samples
        for k in range(n):
            question, sample = divmod(k, n_samples)
            rows.append(
                {"question": QUESTIONS[question], "sample": sample, "prompt": "p", "answer": "x", "layer": layer,
                 "coefficient": coefficient, **{judge: mean + 2 * question - 3 for judge in judges},
                 "coherence": -0.5, "passes_gate": k < share * n}
            )  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(layer=frame["layer"].astype("Int64"))


def measured(*cells: Cell, method: str = "persona_vector", judges: tuple[str, ...] = ("j",)) -> Measurements:
    return to_measurements(scored(*cells, judges=judges), model="m", trait="loud", method=method, run_id="r")


UNSTEERED: Cell = (None, 0.0, 20.0, 1.0)


def test_every_number_is_a_row():
    frame = measured(UNSTEERED, (1, 0.5, 60.0, 0.5), judges=("j", "k (x)")).frame
    assert len(frame) == 16 * 4
    assert set(frame["metric"]) == {"expression", "coherence", "passes_gate"}
    assert set(frame["judge"]) == {"j", "k (x)", ""}
    assert set(frame["run_id"]) == {"r"} and set(frame["stream"]) == {"resid_post"}
    assert frame.loc[frame["coefficient"] == 0, "layer"].isna().all()
    gate = frame[(frame["metric"] == "passes_gate") & (frame["coefficient"] == 0.5)]["value"]
    assert gate.mean() == 0.5 and set(gate) == {0.0, 1.0}


def test_scores_that_are_missing_are_left_out():
    table = scored(UNSTEERED)
    table.loc[0, "j"] = np.nan
    frame = to_measurements(table, model="m", trait="loud", method="x").frame
    assert (frame["judge"] == "j").sum() == 7 and (frame["metric"] == "coherence").sum() == 8


def test_table_of_cells():
    table = steering_table(measured(UNSTEERED, (1, 0.5, 60.0, 0.75), (1, 1.0, 80.0, 0.5)), n_resamples=200)
    expression = table[table["metric"] == "expression"].reset_index(drop=True)
    assert sorted(expression["estimate"]) == [20.0, 60.0, 80.0]
    at = expression.set_index("coefficient")
    assert at["coherent"].to_dict() == {0.0: True, 0.5: True, 1.0: False}
    assert at["estimate"].to_dict() == {0.0: 20.0, 0.5: 60.0, 1.0: 80.0}
    assert pd.isna(at["layer"][0.0]) and at["layer"][0.5] == 1
    assert (expression["judge"] == "j").all() and (expression["role"] == "treatment").all()
    assert (expression["n"] == 8).all() and (expression["n_questions"] == 4).all()
    assert ((expression["low"] < expression["estimate"]) & (expression["estimate"] < expression["high"])).all()
    coherence = table[table["metric"] == "coherence"]
    assert (coherence["judge"] == "three signs").all() and (coherence["estimate"] == -0.5).all() and len(coherence) == 3
    assert set(table["metric"]) == {"expression", "coherence"}


def test_random_directions_are_rows_of_their_own():
    both = Measurements.concat(
        [measured(UNSTEERED, (1, 0.5, 60.0, 1.0)), measured((1, 0.5, 90.0, 1.0), method="random")]
    )
    table = steering_table(both, n_resamples=50)
    steered = table[(table["metric"] == "expression") & (table["coefficient"] == 0.5)].set_index("role")
    assert steered["estimate"].to_dict() == {"treatment": 60.0, "null_draw": 90.0}
    assert (steered["n"] == 8).all()


def steerable(model: HookedModelBase, seed: int = 0) -> Direction:
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(seed))
    return direction(vectors, norms=torch.tensor([20.0, 30.0, 40.0]), provenance=model.provenance)


def sweep(model: HookedModelBase, made: Direction, **changes: Any) -> pd.DataFrame:
    plain = {"layers": [0, 2], "coefficients": [0.5, 0.0, -0.5], "max_new_tokens": 5, "progress": False}
    return steered_answers(model, made, ["Why?", "Who is it?"], **{**plain, **changes})


def test_steered_answers(model: HookedModelBase):
    frame = sweep(model, steerable(model), n_samples=2)
    cells = frame.groupby(["layer", "coefficient"], dropna=False, sort=False).size()
    assert list(cells.index)[1:] == [(0, 0.5), (0, -0.5), (2, 0.5), (2, -0.5)]
    assert pd.isna(cells.index[0][0]) and cells.index[0][1] == 0.0, "coefficient 0 once, without a layer"
    assert (cells == 4).all() and str(frame["layer"].dtype) == "Int64"
    unsteered = answer(
        model, plain_requests(["Why?", "Who is it?"]), sampling=Sampling(5, 0.7, n_samples=2), progress=False
    )
    assert frame["answer"][:4].tolist() == unsteered.frame["answer"].tolist()
    by_cell = [tuple(cell["answer"]) for _, cell in frame.groupby(["layer", "coefficient"], dropna=False, sort=False)]
    assert len(set(by_cell)) == 5, "steering changes the answers, differently in every cell"


def test_without_unsteered_answers(model: HookedModelBase):
    whole, steered = sweep(model, steerable(model)), sweep(model, steerable(model), unsteered=False)
    expected = whole[whole["coefficient"] != 0].reset_index(drop=True)
    assert_frame_equal(steered, expected)


def test_steering_goes_on_in_its_folder(model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = steerable(model)
    first = sweep(model, made, folder=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "layer-00_coefficient-+0.500", "layer-00_coefficient--0.500", "layer-02_coefficient-+0.500",
        "layer-02_coefficient--0.500", "unsteered",
    ]  # fmt: skip

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("every cell is there already")

    monkeypatch.setattr(model, "generate", refuse)
    assert_frame_equal(sweep(model, made, folder=tmp_path), first)


@pytest.mark.parametrize("other", ["direction", "norms", "span"])
def test_a_folder_of_other_steering_is_refused(model: HookedModelBase, tmp_path: Path, other: str):
    sweep(model, steerable(model), folder=tmp_path)
    changed = steerable(model, seed=1 if other == "direction" else 0)
    if other == "norms":
        changed = direction(changed.vectors, norms=torch.tensor([2.0, 3.0, 4.0]), provenance=model.provenance)
    more = {"span": "all"} if other == "span" else {}
    with pytest.raises(ConfigError, match=r"holds results of another configuration\.\n  edits: there "):
        sweep(model, changed, folder=tmp_path, **more)


def test_coefficients_that_share_a_folder_name_do_not_share_answers(model: HookedModelBase, tmp_path: Path):
    sweep(model, steerable(model), coefficients=[0.00012341], folder=tmp_path)
    with pytest.raises(ConfigError, match="edits: there "):
        sweep(model, steerable(model), coefficients=[0.00012344], folder=tmp_path)


def test_steering_refusals(model: HookedModelBase):
    with pytest.raises(IncompatibleDirectionError):
        sweep(model, direction(torch.ones(3, 32)))
    with pytest.raises(ConfigError, match="^layers must be a list of whole numbers that is not empty"):
        sweep(model, steerable(model), layers=[])
    with pytest.raises(HookpointError):
        sweep(model, steerable(model), layers=[7])


class LengthJudge:
    name = "length"
    description = "counts letters"

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(float(len(answer)) if answer else float("nan"), 0.0) for answer in answers]


class HandCoherence(CoherenceJudge):
    """Reads the three signs off the answers: numbers in a text."""

    def signs(self, questions: Any, answers: Any, trait: Any = None) -> pd.DataFrame:  # noqa: ARG002
        values = [[float(word) for word in answer.split()] or [np.nan, 0.0, 0.0] for answer in answers]
        return pd.DataFrame(values, columns=["logprob", "distinct_2", "cosine"])


def test_scoring_uses_the_unsteered_answers_as_reference(model: HookedModelBase):
    texts = ["-1 1 1", "-2 0.9 0.9", "-3 0.8 0.8", "-2 0.9 0.9", "-9 0.9 0.9", ""]
    answers = pd.DataFrame(
        {"question": "a?", "answer": texts, "coefficient": [0, 0, 0, 1, 1, 1], "layer": [None] * 3 + [1] * 3}
    )
    coherence = HandCoherence(model, WordEncoder([]))
    made, reference = score_answers(answers, TRAIT, judges=[LengthJudge()], coherence=coherence)
    assert reference.mean == pytest.approx((-2.0, 0.9, 0.9)) and reference.deviation == pytest.approx((1, 0.1, 0.1))
    np.testing.assert_allclose(made["coherence"], [1.0, 0.0, -1.0, 0.0, -7.0, -10.0], atol=1e-6)
    assert reference.gate == pytest.approx(-0.8)
    assert made["passes_gate"].tolist() == [True, True, False, True, False, False]
    assert made["length"][:5].tolist() == [6, 10, 10, 10, 10] and np.isnan(made["length"][5])
    assert "length" not in answers
    steered = answers[3:].reset_index(drop=True)
    again, same = score_answers(steered, TRAIT, judges=[], coherence=coherence, reference=reference)
    assert same is reference and again["coherence"].tolist() == made["coherence"][3:].tolist()


def test_measure_steering_end_to_end(model: HookedModelBase):
    coherence = CoherenceJudge(model, WordEncoder(["a", "e"]), progress=False)
    made = measure_steering(
        model, steerable(model), TRAIT, layers=[1], coefficients=[0.5], judges=[LengthJudge()], coherence=coherence,
        questions=["Why?", "Who is it?", "What?"], n_samples=2, max_new_tokens=8, progress=False, run_id="r",
    )  # fmt: skip
    assert set(made.frame["metric"]) == {"expression", "coherence", "passes_gate"}
    assert set(made.frame["judge"]) == {"length", ""}
    assert set(made.frame["method"]) == {"persona_vector"} and set(made.frame["trait"]) == {"loud"}
    table = steering_table(made, n_resamples=50)
    assert sorted(table["coefficient"].unique()) == [0.0, 0.5]


def test_a_sweep_without_a_cell_is_refused(model: HookedModelBase):
    with pytest.raises(ConfigError, match="every coefficient is 0"):
        steered_answers(model, steerable(model), ["Why?"], layers=[0], coefficients=[0.0], unsteered=False)
