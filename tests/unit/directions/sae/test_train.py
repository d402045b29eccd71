"""Training on a small model: what SAELens loads, the same numbers after a kill, and what quality says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sae_lens import SAE, SAETrainer

from persona_interp.directions.sae.load import load_sae
from persona_interp.directions.sae.measure import measure_dictionary
from persona_interp.directions.sae.quality import load_quality
from persona_interp.directions.sae.settings import Architecture, SAETraining
from persona_interp.directions.sae.train import train_sae
from persona_interp.errors import ConfigError, IncompatibleDirectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import Hookpoint
from tests.small import StubModel

WORDS = "the cat dog sat on a mat red blue sun moon runs far away why not how so it is"
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS.split(), 12)) for _ in range(80)]
SMALL: dict[str, Any] = {
    "n_latents": 64,
    "k": 8,
    "n_tokens": 4096,
    "learning_rate": 5e-3,
    "batch_tokens": 64,
    "buffer_tokens": 512,
    "checkpoint_tokens": 512,
    "dead_after": 640,
}


def settings_of(architecture: Architecture = "batchtopk", **changes: Any) -> SAETraining:
    return SAETraining(Hookpoint(1), architecture, **{**SMALL, **changes})


@pytest.mark.parametrize("architecture", ["batchtopk", "topk", "gated", "jumprelu"])
def test_what_is_trained_loads_in_saelens_and_reconstructs(
    architecture: Architecture, model: HookedModelBase, tmp_path: Path
) -> None:
    made = train_sae(model, TEXTS, settings_of(architecture), folder=tmp_path, progress=False)
    quality = made.quality
    assert quality is not None and quality.n_texts == 8
    assert quality.fvu.estimate < 0.9 and quality.fvu.low < quality.fvu.estimate < quality.fvu.high
    assert quality.ce_recovered.n_clusters == 8 and quality.ce_recovered.over == "text"
    if architecture in ("batchtopk", "topk"):
        assert quality.l0 == pytest.approx(8, abs=1.5)
    theirs = SAE.load_from_disk(tmp_path)
    x = torch.randn(5, model.d_model)
    torch.testing.assert_close(made.reconstruct(x), theirs(x), rtol=1e-5, atol=1e-4)
    assert made.kind == {"batchtopk": "jumprelu"}.get(architecture, architecture)
    assert theirs.cfg.metadata.hook_name == "blocks.1.hook_resid_post"
    assert not list(tmp_path.glob("checkpoint-*"))
    again = load_sae(tmp_path, model=model, texts=TEXTS)
    assert again.quality is not None and again.quality.fvu == quality.fvu
    assert torch.equal(again.quality.density, quality.density)
    assert again.residual_norm == made.residual_norm and again.norm_limit == made.norm_limit


@pytest.mark.parametrize("architecture", ["batchtopk", "jumprelu"])
def test_a_training_that_is_stopped_comes_to_the_same_numbers(
    architecture: Architecture, model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_sae(model, TEXTS, settings_of(architecture), folder=tmp_path / "whole", progress=False)
    step, calls = SAETrainer.step, []

    def stops(self: Any, batch: Any) -> Any:
        calls.append(1)
        if len(calls) == 37:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(SAETrainer, "step", stops)
    with pytest.raises(KeyboardInterrupt):
        train_sae(model, TEXTS, settings_of(architecture), folder=tmp_path / "parts", progress=False)
    assert len(list((tmp_path / "parts").glob("checkpoint-*.safetensors"))) == 1
    again = train_sae(model, TEXTS, settings_of(architecture), folder=tmp_path / "parts", progress=False)
    assert len(calls) == 37 + 64 - 32
    torch.testing.assert_close(again.decoder, whole.decoder, rtol=0, atol=0)
    files = [(tmp_path / part / "sae_weights.safetensors").read_bytes() for part in ("whole", "parts")]
    assert files[0] == files[1]
    assert (tmp_path / "whole" / "losses.json").read_bytes() == (tmp_path / "parts" / "losses.json").read_bytes()


def test_a_folder_belongs_to_one_training(model: HookedModelBase, tmp_path: Path) -> None:
    short = settings_of(n_tokens=256)
    train_sae(model, TEXTS, short, folder=tmp_path, progress=False)
    with pytest.raises(ConfigError, match="n_tokens"):
        train_sae(model, TEXTS, settings_of(n_tokens=320), folder=tmp_path, progress=False)
    with pytest.raises(IncompatibleDirectionError, match="was trained on weights"):
        measure_dictionary(StubModel(d_model=model.d_model), load_sae(tmp_path), TEXTS)  # pyright: ignore
    bound = load_sae(tmp_path, model=model, texts=TEXTS, rebind=True)
    assert "weights" not in bound.metadata


def test_texts_are_trained_on_or_measured_on(model: HookedModelBase, tmp_path: Path) -> None:
    made = train_sae(
        model, TEXTS, settings_of(n_tokens=256), folder=tmp_path, held_out=TEXTS[:5], data={"source": "words"}
    )
    assert made.quality is not None
    assert made.quality.data["n_held_out"] == 5 and made.quality.data["n_texts"] == len(set(TEXTS)) - 5
    assert made.quality.data["source"] == "words" and made.quality.data["epochs"] > 0
    with pytest.raises(ConfigError, match="got 0 and 2"):
        train_sae(model, ["a", "b"], settings_of(), folder=tmp_path / "few")


def test_quality_says_what_falls_short(model: HookedModelBase, tmp_path: Path) -> None:
    made = train_sae(model, TEXTS, settings_of(n_tokens=64), folder=tmp_path, progress=False)
    assert made.quality is not None
    assert made.quality.verdict.startswith("poor: fvu")
    assert made.name.startswith(f"{tmp_path.parent.name}/{tmp_path.name} (poor: fvu")
    card = made.quality.card()
    assert sum(card["histogram"].values()) == 64 and card["n_tokens"] == made.quality.n_tokens
    assert load_quality(tmp_path / "quality.safetensors").verdict == made.quality.verdict


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"k": 65}, "k must be at most the number of latents, 64, got 65"),
        ({"buffer_tokens": 100}, "buffer_tokens must be at least two batches of 64, got 100"),
        ({"n_tokens": 63}, "n_tokens must be at least a batch of 64, got 63"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        settings_of(**changes)
