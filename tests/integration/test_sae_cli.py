"""`persona-interp sae`: a dictionary, its card, tables and report in a folder; resumed; refusals in one paragraph."""

import json
from pathlib import Path

import numpy as np
import pytest
from sae_lens import SAE

from persona_interp.directions.sae.load import load_sae
from persona_interp.effects import load_claims, load_effects
from tests.integration.conftest import Done, Shell

OPTIONS = (
    "--no-own", "--dtype", "float32", "--layer", 1, "--n-latents", 64, "--k", 8, "--n-tokens", 2048,
    "--batch-tokens", 64, "--learning-rate", 0.005,
)  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("texts") / "words.txt"
    words = ("the", "cat", "dog", "sat", "on", "mat", "red", "blue", "sun", "moon", "runs", "far", "away", "why")
    path.write_text("\n\n".join(" ".join(rng.choice(words, 12)) for _ in range(60)))
    return path


def call(shell: Shell, texts: Path, out: Path, model: Path, *more: object) -> Done:
    return shell("sae", "--text", texts, "--out", out, "--model", model, *OPTIONS, *more)


@pytest.mark.slow
def test_it_leaves_a_dictionary_with_its_card_and_goes_on(
    shell: Shell, texts: Path, model_folder: Path, tmp_path: Path
) -> None:
    done = call(shell, texts, tmp_path, model_folder)
    assert done.code == 0, done.err
    assert "fvu 0." in done.out and "latents fire on a token" in done.out and "report:" in done.out
    made = load_sae(tmp_path / "dictionary")
    assert made.n_latents == 64 and made.kind == "jumprelu" and made.quality is not None
    assert SAE.load_from_disk(tmp_path / "dictionary").cfg.metadata.hook_name == "blocks.1.hook_resid_post"
    card = json.loads((tmp_path / "dictionary" / "quality.json").read_text())
    assert card["data"]["files"] == ["words.txt"] and card["data"]["n_held_out"] == 6
    assert card["verdict"] == made.quality.verdict
    effects, claims = load_effects(tmp_path), load_claims(tmp_path)
    assert set(effects["substrate"]) == {"latent"} and set(effects["layers"]) == {"1"}
    fvu = effects[effects["metric"] == "fraction of variance unexplained"].iloc[0]
    assert fvu["estimate"] == pytest.approx(made.quality.fvu.estimate) and fvu["cluster"] == "text"
    assert list(claims["claim"]) == ["dictionary at layer 1"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Dictionary of latents" in page and "passed over" in page and "data:image/png" in page
    weights = (tmp_path / "dictionary" / "sae_weights.safetensors").stat().st_mtime_ns
    again = call(shell, texts, tmp_path, model_folder)
    assert again.code == 0 and again.out == done.out
    assert (tmp_path / "dictionary" / "sae_weights.safetensors").stat().st_mtime_ns == weights
    other = call(shell, texts, tmp_path, model_folder, "--seed", 1)
    assert other.code == 2 and "another configuration" in other.error


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--layer", 1, "--depth", 0.5), "got both --layer and --depth"),
        (("--layer", 9), "Layers run 0..2"),
        (("--k", 65), "k must be at most the number of latents, 64, got 65"),
    ],
)
def test_what_cannot_be_is_said(
    shell: Shell, texts: Path, model_folder: Path, tmp_path: Path, more: tuple[object, ...], what: str
) -> None:
    done = call(shell, texts, tmp_path / "out", model_folder, *more)
    assert done.code in (1, 2) and what in done.error and "Traceback" not in done.err


def test_texts_are_needed(shell: Shell, model_folder: Path, tmp_path: Path) -> None:
    none = shell("sae", "--no-own", "--out", tmp_path / "out", "--model", model_folder)
    assert none.code == 2 and "there is nothing to train on" in none.error
    missing = shell("sae", "--text", tmp_path / "no.txt", "--out", tmp_path / "out", "--model", model_folder)
    assert missing.code == 1 and "does not exist" in missing.error
    (tmp_path / "few.txt").write_text("a cat\n\na dog")
    few = shell("sae", "--no-own", "--text", tmp_path / "few.txt", "--out", tmp_path / "o", "--model", model_folder)
    assert few.code == 2 and "--text holds 2 texts" in few.error
