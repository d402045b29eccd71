import pandas as pd
import pytest
import torch

from persona_interp.directions.persona import mean_difference, passes_filter, persona_vector
from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.types import Hookpoint
from tests.small import activations, contrastive_frame, provenance, rollouts

NAN = float("nan")


def noise(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 2, 4, generator=torch.Generator().manual_seed(seed))


def test_mean_difference():
    positive, negative = noise(3), noise(5, 1)
    made = mean_difference(
        activations(positive, norms=torch.full((3, 2), 1.0)),
        activations(negative, norms=torch.full((5, 2), 3.0)),
        trait="loud",
    )
    torch.testing.assert_close(made.vectors, positive.mean(0) - negative.mean(0))
    assert made.residual_norms is not None and made.residual_norms.tolist() == [2.0, 2.0]
    assert (made.trait, made.positive_pole, made.method) == ("loud", "loud", "mean_difference")
    assert made.provenance.details == {"n_positive": 3, "n_negative": 5}
    assert made.provenance.pooling == "response_mean" and made.provenance.weights == "aaaa"


def test_mean_difference_swaps_its_sign_with_its_sides():
    one, other = activations(noise(3)), activations(noise(3, 1))
    there, back = mean_difference(one, other, trait="x"), mean_difference(other, one, trait="x")
    torch.testing.assert_close(there.vectors, -back.vectors)
    assert there.residual_norms is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hookpoints": (Hookpoint(1), Hookpoint(2))}, "differ in hookpoints."),
        ({"pooling": "prompt_last"}, "differ in pooling."),
        ({"provenance": provenance(weights="b")}, "come from different models."),
    ],
)  # fmt: skip
def test_sets_that_do_not_match(changes: dict, said: str):
    with pytest.raises(AlignmentError) as caught:
        mean_difference(activations(noise(3)), activations(noise(3), **changes), trait="loud")
    assert str(caught.value).split("\n")[0] == f"positive and negative activations of loud {said}"


def kept(frame: pd.DataFrame, filter: str, threshold: float = 50.0) -> list[bool]:
    return passes_filter(frame, filter=filter, threshold=threshold).tolist()  # pyright: ignore


def test_paired_filter_keeps_or_drops_both_answers():
    frame = contrastive_frame({"positive": [50, 49, 90, NAN, 90], "negative": [49, 10, 50, 10, NAN]})
    assert kept(frame, "paired") == [True, False, False, False, False] * 2


def test_independent_filter_looks_at_each_side_alone_and_is_strict():
    frame = contrastive_frame({"positive": [50, 51, 90, NAN], "negative": [10, 49, 50, 10]})
    assert kept(frame, "independent") == [False, True, True, False, True, True, False, True]


def test_paired_filter_asks_for_coherence_and_independent_does_not():
    scores = {"positive": [90.0, 90.0, 90.0], "negative": [10.0, 10.0, 10.0]}
    frame = contrastive_frame(scores, {"positive": [True, False, True], "negative": [True, True, False]})
    assert kept(frame, "paired") == [True, False, False] * 2
    assert kept(frame, "independent") == [True] * 6
    assert kept(frame, "none") == [True] * 6


def test_pairs_are_of_one_question_instruction_and_sample():
    frame = contrastive_frame({"positive": [90, 10], "negative": [10, 10]})
    for column in ("question", "instruction", "sample"):
        same = frame.assign(question="q", instruction=0, sample=0)
        same[column] = frame["question"] if column == "question" else [0, 1, 0, 1]
        assert kept(same, "paired") == [True, False, True, False]


def test_order_of_rows_does_not_matter():
    frame = contrastive_frame({"positive": [90, 10, 70], "negative": [10, 10, 80]})
    moved = frame.iloc[[5, 2, 0, 4, 1, 3]]
    assert passes_filter(moved, filter="paired").sort_index().tolist() == kept(frame, "paired")


def test_threshold():
    frame = contrastive_frame({"positive": [30], "negative": [20]})
    assert kept(frame, "paired", 25.0) == [True, True] and kept(frame, "paired", 50.0) == [False, False]


def test_filter_without_scores():
    frame = contrastive_frame({"positive": [30], "negative": [20]}).drop(columns="expression")
    with pytest.raises(AlignmentError) as caught:
        kept(frame, "paired")
    assert str(caught.value) == (
        "the filter 'paired' needs expression scores, and these rollouts have none.\n"
        '  Score them first (judge.score(rollouts)), or use filter="none".'
    )
    assert kept(frame, "none") == [True, True]


def test_persona_vector_is_the_mean_difference_of_what_passes():
    values = noise(6)
    frame = contrastive_frame({"positive": [90, 10, 70], "negative": [10, 10, 20]})
    made = persona_vector(rollouts(frame, values))
    torch.testing.assert_close(made.vectors, values[[0, 2]].mean(0) - values[[3, 5]].mean(0))
    assert made.provenance.details == {"n_positive": 2, "n_negative": 2, "filter": "paired"}
    assert (made.method, made.provenance.method, made.positive_pole) == ("persona_vector", "persona_vector", "loud")
    assert made.residual_norms is not None and made.residual_norms.tolist() == [2.0, 2.0]
    everything = persona_vector(rollouts(frame, values), filter="none")
    torch.testing.assert_close(everything.vectors, values[:3].mean(0) - values[3:].mean(0))


def test_answers_without_a_token_are_left_out():
    values = noise(6)
    values[1] = NAN
    values[5] = NAN
    frame = contrastive_frame({"positive": [90, 90, 70], "negative": [10, 10, 20]})
    made = persona_vector(rollouts(frame, values), filter="none")
    torch.testing.assert_close(made.vectors, values[[0, 2]].mean(0) - values[[3, 4]].mean(0))
    assert (made.provenance.details["n_positive"], made.provenance.details["n_negative"]) == (2, 2)


def test_rows_may_have_any_index():
    values = noise(4)
    frame = contrastive_frame({"positive": [90, 90], "negative": [10, 10]}).set_axis([3, 1, 7, 5])
    made = persona_vector(rollouts(frame, values))
    torch.testing.assert_close(made.vectors, values[:2].mean(0) - values[2:].mean(0))


def test_nothing_left_says_how_many_on_each_side():
    frame = contrastive_frame({"positive": [10, 90], "negative": [10, 80]})
    with pytest.raises(EmptySelectionError) as caught:
        persona_vector(rollouts(frame, noise(4)), filter="independent", threshold=95.0)
    assert str(caught.value) == (
        "the filter 'independent' (threshold 95) left 0 positive and 2 negative answers of 4 for loud.\n"
        '  Make more rollouts, lower the threshold, or use filter="none" and say so.'
    )


def test_a_pooling_that_was_not_recorded():
    frame = contrastive_frame({"positive": [90], "negative": [10]})
    with pytest.raises(AlignmentError) as caught:
        persona_vector(rollouts(frame, noise(2)), pooling="prompt_last")
    assert str(caught.value) == "these rollouts hold no prompt_last activations.\n  Recorded: response_mean."
