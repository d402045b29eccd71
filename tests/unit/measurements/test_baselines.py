import pandas as pd
import pytest
import torch

from persona_interp.directions.baselines import BASELINE_METHODS, fit_direction
from persona_interp.errors import AlignmentError, EmptySelectionError, IncompatibleDirectionError
from persona_interp.measurements.baselines import COLUMNS, compare_separation
from persona_interp.statistics import auc
from persona_interp.types import Hookpoint
from tests.small import activations, direction, provenance

QUESTIONS = pd.DataFrame({"question": [f"q{i // 2}" for i in range(20)]})
GENERATOR = torch.Generator().manual_seed(0)
NEGATIVE = activations(torch.randn(20, 2, 4, generator=GENERATOR) + 30, samples=QUESTIONS)
POSITIVE = activations(
    torch.randn(20, 2, 4, generator=GENERATOR) + 30 + torch.tensor([1.5, 0, 0, 0]), samples=QUESTIONS
)
ALONG, ACROSS = direction(torch.eye(4)[[0, 0]]), direction(torch.tensor([[0, 2.0, 0, 0], [-3, 0, 0, 0]]))


def test_one_row_a_method_and_layer():
    table = compare_separation({"along": ALONG, "across": ACROSS}, POSITIVE, NEGATIVE)
    assert list(table.columns) == list(COLUMNS)
    assert list(zip(table["method"], table["layer"], strict=True)) == [
        ("along", 0), ("along", 1), ("across", 0), ("across", 1),
    ]  # fmt: skip
    assert table["cosine"].tolist() == [1.0, 1.0, 0.0, -1.0]
    ours, theirs = POSITIVE.values[:, 1, 0].numpy(), NEGATIVE.values[:, 1, 0].numpy()
    assert table["auc"][1] == pytest.approx(auc(ours, theirs))
    assert table["auc"][3] == pytest.approx(1 - table["auc"][1])
    assert (table["low"] <= table["auc"]).all() and (table["auc"] <= table["high"]).all()
    assert (table["n_positive"] == 20).all() and (table["n_questions"] == 10).all()


def test_the_reference_may_be_named_and_hold_fewer_hookpoints():
    short = direction(torch.eye(4)[:1], hookpoints=(Hookpoint(1),))
    table = compare_separation({"along": ALONG, "short": short}, POSITIVE, NEGATIVE, reference="short")
    assert table["cosine"].isna().tolist() == [True, False, False]
    assert table["auc"][2] == table["auc"][1]


def test_a_zero_vector_separates_nothing():
    table = compare_separation({"zero": direction(torch.zeros(2, 4))}, POSITIVE, NEGATIVE)
    assert table["auc"].tolist() == [0.5, 0.5]
    assert table["cosine"].isna().all()


def test_every_baseline_in_one_table():
    directions = {method: fit_direction(method, POSITIVE, NEGATIVE, trait="loud") for method in BASELINE_METHODS}
    table = compare_separation(directions, POSITIVE, NEGATIVE)
    assert len(table) == 2 * len(BASELINE_METHODS)
    assert (table.loc[table["method"].isin(["mean_difference", "logistic", "lda"]), "auc"] > 0.7).all()


def test_mistakes_are_named():
    with pytest.raises(EmptySelectionError, match="no direction was given to compare"):
        compare_separation({}, POSITIVE, NEGATIVE)
    with pytest.raises(AlignmentError, match="no direction is called 'pca'"):
        compare_separation({"along": ALONG}, POSITIVE, NEGATIVE, reference="pca")
    with pytest.raises(AlignmentError, match="differ in hookpoints"):
        compare_separation({"along": ALONG}, POSITIVE, activations(NEGATIVE.values[:, :1], samples=QUESTIONS))
    with pytest.raises(IncompatibleDirectionError):
        other = direction(torch.eye(4)[[0, 0]], provenance=provenance(weights="bbbb"))
        compare_separation({"other": other}, POSITIVE, NEGATIVE)
