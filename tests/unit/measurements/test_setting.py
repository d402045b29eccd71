"""The setting that selection questions choose, and how often halves of them choose the same."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.errors import EmptySelectionError
from persona_interp.measurements.setting import NEAR, choose_coefficient, choose_setting

QUESTIONS = [f"{k}?" for k in range(10)]


def answers(effects: dict[tuple[int, float], float], *, noise: float = 0.0, passing: float = 1.0, seed: int = 0):
    """An answer a question and cell: unsteered answers differ by question, steered ones by the cell's effect too."""
    rng = np.random.default_rng(seed)
    rows = [{"question": q, "layer": None, "coefficient": 0.0, "passes_gate": True, "j": 5.0 * k}
            for k, q in enumerate(QUESTIONS)]  # fmt: skip
    for (layer, coefficient), effect in effects.items():
        for k, question in enumerate(QUESTIONS):
            score = 5.0 * k + effect + noise * rng.standard_normal()
            cell = {"question": question, "layer": layer, "coefficient": coefficient}
            rows.append(cell | {"passes_gate": k < passing * len(QUESTIONS), "j": score})
    frame = pd.DataFrame(rows)
    return frame.assign(layer=frame["layer"].astype("Int64"))


def test_the_layer_that_is_clearly_best_is_chosen_whole_questions_agreeing():
    weak = {(layer, c): 10 * c for layer in (4, 9) for c in (0.1, 0.3)}
    found = choose_setting(answers(weak | {(14, 0.1): 30, (14, 0.3): 60}), judge="j")
    assert (found.layer, found.coefficient, found.coherent, found.stability) == (14, 0.3, True, 1.0)


def test_among_layers_alike_the_middle_one_wins_however_the_noise_falls():
    """Three layers of one effect: the largest mean is any of them, and the one nearest the middle is chosen."""
    same = {(layer, c): 20.0 * c for layer in (8, 14, 20) for c in (0.1, 0.3)}
    chosen = [choose_setting(answers(same, noise=3.0, seed=seed), judge="j").layer for seed in range(20)]
    assert sum(layer == 14 for layer in chosen) >= 16
    largest = []
    for seed in range(20):
        frame = answers(same, noise=3.0, seed=seed)
        largest.append(int(frame[frame["coefficient"] > 0].groupby("layer")["j"].mean().idxmax()))
    assert sum(layer == 14 for layer in largest) < 14, "the maximum over cells is a toss"


def test_an_incoherent_answer_counts_as_no_change():
    frame = pd.concat([answers({(8, 0.3): 20.0}), answers({(14, 0.3): 90.0}, passing=0.1)], ignore_index=True)
    found = choose_setting(frame.drop_duplicates(["question", "layer", "coefficient"]), judge="j")
    assert (found.layer, found.coherent) == (8, True)


def test_halves_that_choose_other_layers_are_counted():
    """Layer 20 is better at eight questions and far worse at two: a half that holds both does not choose it."""
    frame = answers({(8, 0.3): 10.0, (14, 0.3): 10.0, (20, 0.3): 40.0})
    frame.loc[(frame["layer"] == 20).fillna(False) & frame["question"].isin(["0?", "1?"]), "j"] -= 60.0
    found = choose_setting(frame, judge="j")
    assert found.stability is not None and 0.2 < found.stability < 0.9 and NEAR < 6


@settings(max_examples=25)
@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6), st.permutations(range(10)))
def test_the_order_of_questions_does_not_matter(effects: list[float], order: list[int]):
    cells = dict(zip([(layer, c) for layer in (2, 5, 8) for c in (0.1, 0.3)], effects, strict=True))
    frame = answers(cells, noise=1.0)
    shuffled = frame.assign(rank=frame["question"].map({f"{k}?": order[k] for k in range(10)})).sort_values("rank")
    ours, theirs = choose_setting(frame, judge="j"), choose_setting(shuffled, judge="j")
    assert (ours.layer, ours.coefficient) == (theirs.layer, theirs.coefficient)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([(0.1, 5.0, True), (0.3, 9.0, True), (1.0, 20.0, False)], (0.3, True)),
        ([(0.1, 9.0, True), (0.3, 5.0, True)], (0.1, True)),
        ([(0.3, 9.0, False), (0.1, 5.0, False)], (0.1, False)),
    ],
)
def test_the_best_coherent_coefficient_or_the_weakest(cells: list[tuple[float, float, bool]], expected: object):
    table = pd.DataFrame(cells, columns=pd.Index(["coefficient", "estimate", "coherent"]))
    assert choose_coefficient(table) == expected


@pytest.mark.parametrize("effects", [{}, {(4, -0.3): 10.0}])
def test_nothing_to_choose_from(effects: dict[tuple[int, float], float]):
    with pytest.raises(EmptySelectionError, match="rated by j"):
        choose_setting(answers(effects), judge="j")
