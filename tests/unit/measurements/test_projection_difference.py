"""Projection difference: a planted direction raises it, one's own answers have none, and prompts are answered once."""

from pathlib import Path

import numpy as np
import pytest
import torch

from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, ConfigError, ContextLengthError, IncompatibleDirectionError
from persona_interp.measurements.projection_difference import METRICS, ProjectionDifference, projection_difference
from persona_interp.measurements.sample_projections import conversation_ids, project_samples
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import render_prompt
from persona_interp.rollouts.generate import answer, plain_requests
from persona_interp.types import Edit, Hookpoint
from tests.contract.tiny import D_MODEL, N_LAYERS
from tests.small import make_small, provenance

QUESTIONS = ("Why?", "Who is it?", "What now?", "How?", "When is it?", "Where?")
LAYER = 1
NEW = 12


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HookedModelBase:
    return make_small(tmp_path_factory.mktemp("small")).hooked("transformer_lens")


def own_answers(model: HookedModelBase, edit: Edit | None = None) -> list[str]:
    """Greedy answers, under an edit at every token where one is given."""
    made = answer(
        model,
        plain_requests(QUESTIONS),
        sampling=Sampling(NEW, temperature=0.0),
        edits={} if edit is None else {Hookpoint(LAYER): (edit,)},
        progress=False,
    )
    return made.frame["answer"].tolist()


def steered(vector: torch.Tensor) -> Edit:
    return Edit(lambda residual, mask: residual + mask[..., None] * vector)


def direction(model: HookedModelBase, vectors: torch.Tensor, trait: str = "loud") -> Direction:
    points = tuple(Hookpoint(layer) for layer in range(N_LAYERS))
    return Direction(vectors, points, trait, "planted", "loud", model.provenance)


def talks(answers: list[str]) -> list[Conversation]:
    return [
        question_and_answer(question, text, name=question) for question, text in zip(QUESTIONS, answers, strict=True)
    ]


@pytest.fixture(scope="module")
def planted(model: HookedModelBase) -> tuple[Direction, list[Conversation]]:
    """A direction, and the model's answers while it was steered by a random vector.

    The direction is the mean difference between steered and plain answers, from every other question.
    """
    vector = 4 * torch.randn(D_MODEL, generator=torch.Generator().manual_seed(5))
    plain, loud = talks(own_answers(model)), talks(own_answers(model, steered(vector)))
    basis = [direction(model, row.expand(N_LAYERS, -1), str(i)) for i, row in enumerate(torch.eye(D_MODEL))]
    means = [
        np.nanmean(project_samples(model, side[::2], basis, [LAYER], progress=False).response, axis=0)[:, 0]
        for side in (loud, plain)
    ]
    found = torch.tensor(means[0] - means[1]).expand(N_LAYERS, -1).clone()
    return direction(model, found), loud


def measure(model: HookedModelBase, vector: Direction, data: list[Conversation], **options) -> ProjectionDifference:
    return projection_difference(model, [vector], data, layers=[LAYER], max_new_tokens=NEW, progress=False, **options)


def test_a_planted_direction_raises_the_difference_and_its_opposite_lowers_it(
    model: HookedModelBase, planted: tuple[Direction, list[Conversation]]
) -> None:
    vector, loud = planted
    random = torch.randn(30, N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(6))
    null = [direction(model, each, f"random {i}") for i, each in enumerate(random)]
    found = projection_difference(model, [vector, *null], loud, layers=[LAYER], max_new_tokens=NEW, progress=False)
    held_out = np.nanmean(found.difference[1::2, :, 0], axis=0)
    assert held_out[0] > np.abs(held_out[1:]).max()
    found = measure(model, vector, loud)
    row = found.summary().set_index("metric").loc["projection_difference"]
    assert row["low"] > 0 and row["n"] == len(QUESTIONS) - found.n_empty
    np.testing.assert_allclose(measure(model, -vector, loud).difference, -found.difference, atol=1e-5)


def test_the_models_own_answers_have_no_difference(
    model: HookedModelBase, planted: tuple[Direction, list[Conversation]]
) -> None:
    found = measure(model, planted[0], talks(own_answers(model)))
    there = np.isfinite(found.difference)
    assert there.any()
    np.testing.assert_allclose(found.difference[there], 0, atol=1e-4)
    assert np.abs(found.prompt_difference[there]).max() > 0.01


def test_the_parts_are_the_projections_of_data_and_of_given_answers(
    model: HookedModelBase, planted: tuple[Direction, list[Conversation]]
) -> None:
    vector, loud = planted
    given = ["yes", "", "no", "yes", "no", "may be"]
    found = measure(model, vector, loud, base_answers=given)
    data = project_samples(model, loud, [vector], [LAYER], progress=False)
    base = project_samples(model, talks(given), [vector], [LAYER], progress=False)
    np.testing.assert_allclose(found.difference, data.response - base.response, atol=1e-4)
    np.testing.assert_allclose(found.prompt_difference, data.response - data.prompt_last, atol=1e-4)
    assert found.base_answers == tuple(given)


def test_an_empty_own_answer_is_missing_and_counted(
    model: HookedModelBase, planted: tuple[Direction, list[Conversation]]
) -> None:
    found = measure(model, planted[0], planted[1], base_answers=["yes", " ", "no", "yes", "no", ""])
    assert found.n_empty == 2
    assert np.isnan(found.difference[:, 0, 0]).tolist() == [False, True, False, False, False, True]
    summary = found.summary().set_index("metric")
    assert summary.loc["projection_difference", ["n", "n_missing"]].tolist() == [4, 2]
    assert summary.loc["projection", ["n", "n_missing"]].tolist() == [6, 0]
    assert np.isclose(summary.loc["projection_difference", "mean"], np.nanmean(found.difference))
    nothing = measure(model, planted[0], planted[1], base_answers=[""] * 6).summary().set_index("metric")
    assert nothing.loc["projection_difference"].isna().sum() == 3
    assert nothing.loc["projection_difference", "n_missing"] == 6


def test_frames_hold_one_row_a_sample_direction_and_layer(model: HookedModelBase) -> None:
    vectors = torch.randn(2, N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(9))
    pair = [direction(model, vectors[0], "loud"), direction(model, vectors[1], "rude")]
    data = talks(["a b c", "d e", "f", "g h", "i", "k l m"])
    found = projection_difference(model, pair, data, layers=[2, 0], base_answers=["so"] * 6, progress=False)
    frame = found.frame()
    assert len(frame) == 6 * 2 * 2
    row = frame[(frame["sample"] == 4) & (frame["trait"] == "rude") & (frame["layer"] == 0)].iloc[0]
    assert row["name"] == QUESTIONS[4] and row["n_answer_tokens"] == found.n_answer_tokens[4]
    for metric in METRICS:
        assert row[metric] == found.metric(metric)[4, 1, 1]
    summary = found.summary(n_resamples=50)
    assert len(summary) == 2 * 2 * len(METRICS)
    chosen = summary[(summary["trait"] == "rude") & (summary["layer"] == 0) & (summary["metric"] == "projection")]
    assert np.isclose(chosen["mean"].iloc[0], found.projection[:, 1, 1].mean())


def test_samples_of_one_prompt_share_its_answer_and_are_resampled_together(model: HookedModelBase) -> None:
    data = [question_and_answer("Why?", text) for text in ("a b c", "d e f", "g h i")] + [
        question_and_answer("Who is it?", "k l m")
    ]
    vector = direction(model, torch.randn(N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(9)))
    found = measure(model, vector, data)
    assert found.prompts.tolist() == [0, 0, 0, 1]
    assert len(set(found.base_answers[:3])) == 1
    one = measure(model, vector, data[:3]).summary().set_index("metric").loc["projection"]
    assert np.isfinite(one["mean"]) and np.isnan(one["low"])


def test_own_answers_are_kept_in_the_folder(
    model: HookedModelBase,
    planted: tuple[Direction, list[Conversation]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vector, loud = planted
    first = measure(model, vector, loud, folder=tmp_path / "own")
    assert list(first.base_answers) == own_answers(model)
    asked = []
    monkeypatch.setattr(type(model), "generate", lambda *_, **__: asked.append(1))
    again = measure(model, vector, loud, folder=tmp_path / "own")
    assert not asked and again.base_answers == first.base_answers
    np.testing.assert_array_equal(again.difference, first.difference)
    with pytest.raises(ConfigError):
        measure(model, vector, loud[:3], folder=tmp_path / "own")


def test_what_does_not_fit_is_refused(model: HookedModelBase, planted: tuple[Direction, list[Conversation]]) -> None:
    vector, loud = planted
    with pytest.raises(AlignmentError, match="got 2 base answers and 6 conversations"):
        measure(model, vector, loud, base_answers=["a", "b"])
    long = question_and_answer("why " * 120, "so", name="line 9")
    with pytest.raises(ContextLengthError, match="line 9 is .* tokens long, and 40 are to be generated"):
        projection_difference(model, [vector], [*loud, long], layers=[LAYER], max_new_tokens=40, progress=False)
    other = Direction(vector.vectors, vector.hookpoints, "t", "m", "p", provenance(d_model=D_MODEL))
    with pytest.raises(IncompatibleDirectionError, match="belongs to"):
        measure(model, other, loud)


def test_the_prompt_is_that_of_generation(model: HookedModelBase) -> None:
    ids, _ = conversation_ids(model.tokenizer, question_and_answer("Why?", "so"))
    assert model.tokenizer.decode(ids) == render_prompt(model.tokenizer, "Why?")
