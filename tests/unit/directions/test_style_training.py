"""Trained style vectors: kept by their loss, averaged by style, resumed, counted and refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.directions.style_training import StyleTraining, TrainedStyleVectors, train_style_vectors
from persona_interp.errors import ConfigError, EmptySelectionError, HookpointError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import Hookpoint
from tests.small import StubModel
from tests.styles import corpus

FAST = StyleTraining(0.05, 3, max_loss=1e6, batch_size=3)


def train(model: HookedModelBase, folder: Path | None = None, settings: StyleTraining = FAST) -> TrainedStyleVectors:
    return train_style_vectors(model, corpus(n=2), layers=(0, 1), settings=settings, folder=folder, progress=False)


def test_the_direction_is_the_difference_of_kept_means(model: HookedModelBase) -> None:
    made = train(model)
    assert made.hookpoints == (Hookpoint(0), Hookpoint(1))
    cold = torch.tensor((made.sentences["style"] == "cold").to_numpy())
    found = made.direction("warm")
    torch.testing.assert_close(found.vectors, made.values[~cold].mean(0) - made.values[cold].mean(0))
    assert found.method == "style_vector_trained" and found.provenance.pooling is None
    assert found.residual_norms is not None
    torch.testing.assert_close(found.residual_norms, made.norms.mean(0))


def test_a_vector_counts_below_the_loss(model: HookedModelBase) -> None:
    losses = sorted(train(model).sentences["loss"])
    made = train(model, settings=StyleTraining(0.05, 3, max_loss=(losses[2] + losses[3]) / 2))
    counts = made.counts()
    assert counts["n"].sum() == 4 and counts["n_kept"].sum() == 3
    assert made.provenance.details["counts"] == counts.to_dict("records")
    with pytest.raises(EmptySelectionError, match=r"no trained vector of cold, warm was kept: the lowest loss is \d"):
        train(model, settings=StyleTraining(0.05, 1, max_loss=1e-6)).direction("warm")


def test_an_interrupted_run_goes_on(model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(model, tmp_path)
    (tmp_path / "part-00001.json").unlink()
    calls: list[int] = []
    monkeypatch.setattr(
        "persona_interp.directions.style_training.emission_vectors",
        lambda *arguments, **options: calls.append(1) or real(*arguments, **options),
    )
    second = train(model, tmp_path)
    assert calls == [1], "only what was missing is trained"
    torch.testing.assert_close(first.values, second.values)
    assert first.sentences.equals(second.sentences)
    with pytest.raises(ConfigError, match="learning_rate: there 0.05, now 0.1"):
        train(model, tmp_path, StyleTraining(0.1, 3, max_loss=1e6, batch_size=3))


def real(*arguments, **options):
    from persona_interp.directions import emission

    return emission.emission_vectors(*arguments, **options)


def test_long_sentences_are_left_out_and_counted(model: HookedModelBase) -> None:
    made = train_style_vectors(
        model, corpus(), layers=(0,), settings=StyleTraining(0.05, 1, 1e6, max_characters=18), progress=False
    )
    assert made.counts()["n_too_long"].tolist() == [6, 3]
    with pytest.raises(EmptySelectionError, match="every sentence of cold, warm has 3 characters or more"):
        train(model, settings=StyleTraining(max_characters=3))


def test_refusals(model: HookedModelBase) -> None:
    with pytest.raises(ConfigError, match="layers must be a list of whole numbers that is not empty"):
        train_style_vectors(StubModel(), corpus(), layers=())
    with pytest.raises(HookpointError, match="Layers run 0..2"):
        train_style_vectors(model, corpus(), layers=(3,), progress=False)
    refused: list[dict[str, Any]] = [{"learning_rate": 0.0}, {"max_epochs": 0}, {"max_loss": -1.0}, {"batch_size": 0}]
    for wrong in refused:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            StyleTraining(**wrong)


@pytest.mark.parametrize("part", ["weights", "files", "backend", "dtype", "chat_template"])
def test_kept_vectors_of_a_model_that_computes_otherwise_are_refused(
    model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    train(model, tmp_path)
    monkeypatch.setattr(model, "provenance", replace(model.provenance, **{part: "another"}))
    with pytest.raises(ConfigError, match=rf"model: there .*, now {{'{part}': 'another'}}"):
        train(model, tmp_path)


def test_kept_vectors_of_another_version_are_refused(
    model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(model, tmp_path)
    monkeypatch.setattr("persona_interp.directions.style_training.METHOD_VERSION", 0)
    with pytest.raises(ConfigError, match="method_version: there 1, now 0"):
        train(model, tmp_path)
