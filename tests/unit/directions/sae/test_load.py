"""Dictionaries from folders give SAELens' own numbers, whatever their architecture and normalisation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.directions.sae.check import check_dictionary
from persona_interp.directions.sae.load import load_sae
from persona_interp.directions.sae.quality import QUALITY_FILE
from persona_interp.directions.sae.tokens import mean_norm_at
from persona_interp.errors import (
    ArtefactError,
    ConfigError,
    EmptySelectionError,
    HookpointError,
    IncompatibleDirectionError,
)
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import Hookpoint
from tests.unit.directions.sae.dictionaries import CLASSES, make_sae
from tests.unit.directions.sae.test_latents import quality

X = torch.randn(9, 16, generator=torch.Generator().manual_seed(5)) * 3


def saved(folder: Path, kind: str, **options: Any) -> tuple[Any, Path]:
    sae = make_sae(kind, **options)
    sae.save_model(folder)
    return sae, folder


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
def test_encode_and_decode_are_those_of_saelens(kind: str, normalisation: str, tmp_path: Path) -> None:
    if "transcoder" in kind and normalisation != "none":
        pytest.skip("SAELens leaves what it divided by in the transcoder")
    sae, folder = saved(tmp_path, kind, normalize_activations=normalisation)
    made = load_sae(folder)
    torch.testing.assert_close(made.reconstruct(X), sae(X), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made.encode(X), sae.encode(X))
    assert made.reconstruct(X[:0]).shape == (0, 16) and made.reconstruct(X[None]).shape == (1, 9, 16)
    assert made.n_latents == 24 and made.d_in == 16


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
def test_a_change_of_latents_is_written_along_scaled_decoder_vectors(
    kind: str, normalisation: str, tmp_path: Path
) -> None:
    if "transcoder" in kind and normalisation != "none":
        pytest.skip("SAELens leaves what it divided by in the transcoder")
    _, folder = saved(tmp_path, kind, normalize_activations=normalisation)
    made = load_sae(folder)
    latents = made.encode(X)
    other = latents.clone()
    other[:, [2, 7]] += torch.tensor([1.5, -0.5])
    change = made.decode(other, like=X) - made.decode(latents, like=X)
    scales = made.scales(X)
    expected = ((other - latents) @ made.decoder) * (1 if scales is None else scales[:, None])
    torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", CLASSES)
def test_some_latents_are_those_of_the_whole(kind: str, tmp_path: Path) -> None:
    _, folder = saved(tmp_path, kind)
    made = load_sae(folder)
    torch.testing.assert_close(made.some([20, 3, 11]).encode(X), made.encode(X)[:, [20, 3, 11]], rtol=1e-5, atol=1e-5)


def test_factors_of_the_norm_are_folded_where_they_are_given(tmp_path: Path) -> None:
    _, folder = saved(tmp_path, "standard", normalize_activations="expected_average_only_in")
    with pytest.raises(ConfigError, match="Give the mean norm of the activations"):
        load_sae(folder)
    made = load_sae(folder, mean_norm=8.0)
    scaled = make_sae("standard")
    torch.testing.assert_close(made.reconstruct(X), scaled(X * 4 / 8) * 8 / 4, rtol=1e-5, atol=1e-5)


def test_a_factor_that_is_not_known_is_measured_with_the_model(tmp_path: Path, model: HookedModelBase) -> None:
    wide = make_sae("standard", d_in=model.d_model, normalize_activations="expected_average_only_in")
    eye = torch.eye(model.d_model)
    for name, value in (("W_enc", torch.cat([eye, -eye], 1)), ("W_dec", torch.cat([eye, -eye]))):
        setattr(wide, name, torch.nn.Parameter(value))
    wide.b_enc, wide.cfg.d_sae = torch.nn.Parameter(torch.zeros(2 * model.d_model)), 2 * model.d_model
    wide.b_dec.data.zero_()
    wide.save_model(tmp_path)
    norm = mean_norm_at(model, load_neutral_texts(), Hookpoint(1))
    with pytest.raises(IncompatibleDirectionError, match="coordinates shuffled"):
        load_sae(tmp_path, model=model)  # it reconstructs whatever it is given
    made = load_sae(tmp_path, mean_norm=norm)
    x = torch.randn(3, model.d_model)
    torch.testing.assert_close(made.encode(x), torch.relu(x @ torch.cat([eye, -eye], 1)) * model.d_model**0.5 / norm)


def test_dictionaries_of_one_head_are_refused(tmp_path: Path) -> None:
    _, folder = saved(tmp_path, "standard", metadata={"hook_head_index": 2})
    with pytest.raises(HookpointError, match="is of head 2 alone"):
        load_sae(folder)


def test_whitening_that_was_not_folded_is_refused(tmp_path: Path) -> None:
    _, folder = saved(tmp_path, "standard", normalize_activations="covariance_whitening")
    with pytest.raises(ConfigError, match="covariance_whitening"):
        load_sae(folder)


def test_heads_may_stay_side_by_side(tmp_path: Path) -> None:
    _, folder = saved(
        tmp_path, "standard", reshape_activations="hook_z", metadata={"hook_name": "blocks.0.attn.hook_z"}
    )
    made = load_sae(folder)
    assert made.hookpoint == Hookpoint(0, "head_out")
    assert made.reconstruct(X).shape == X.shape


def test_a_centred_basis_takes_the_mean_over_coordinates_off(tmp_path: Path) -> None:
    sae, folder = saved(tmp_path, "standard")
    made = load_sae(folder, basis="centred")
    mean = X.mean(-1, keepdim=True)
    torch.testing.assert_close(made.reconstruct(X), sae(X - mean) + mean, rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="its basis is centred"):
        made.decode(made.encode(X))


def test_a_transcoder_writes_what_its_file_says(tmp_path: Path) -> None:
    metadata = {"hook_name": "blocks.2.hook_mlp_in", "hook_name_out": "blocks.2.hook_mlp_out"}
    _, folder = saved(tmp_path, "transcoder", metadata=metadata)
    made = load_sae(folder)
    assert (made.hookpoint, made.writes) == (Hookpoint(2, "mlp_in"), Hookpoint(2, "mlp_out"))
    assert made.is_transcoder


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    sae = make_sae("standard")
    sae.W_dec.data[3, 2] = float("nan")
    sae.save_model(tmp_path)
    with pytest.raises(ArtefactError, match="W_dec of .* has values that are not finite"):
        load_sae(tmp_path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="there is no folder"):
        load_sae(tmp_path / "none")
    with pytest.raises(ArtefactError, match="cfg.json does not exist"):
        load_sae(tmp_path)
    with pytest.raises(ConfigError, match="It has 13: blocks.0.hook_resid_pre"):
        load_sae("gpt2-small-res-jb")
    _, folder = saved(tmp_path, "standard", metadata={"hook_name": "blocks.0.hook_resid_mid"})
    with pytest.raises(HookpointError, match="none of the streams"):
        load_sae(folder)


def test_activations_of_another_width_are_refused(tmp_path: Path) -> None:
    _, folder = saved(tmp_path, "standard")
    with pytest.raises(IncompatibleDirectionError, match="reads activations of width 16, got 8"):
        load_sae(folder).encode(torch.zeros(2, 8))


def test_other_thresholds_are_another_dictionary(tmp_path: Path) -> None:
    sae, folder = saved(tmp_path / "one", "jumprelu")
    sae.threshold.data += 1
    sae.save_model(tmp_path / "other")
    assert load_sae(folder).weights != load_sae(tmp_path / "other").weights


def test_the_card_of_another_dictionary_is_refused(tmp_path: Path) -> None:
    _, folder = saved(tmp_path, "standard")
    quality(torch.ones(24)).save(folder / QUALITY_FILE)
    assert load_sae(folder).quality is not None
    quality(torch.ones(7)).save(folder / QUALITY_FILE)
    with pytest.raises(ArtefactError, match="has 24 latents; the quality card in it is of 7"):
        load_sae(folder)


def test_what_is_no_folder_of_a_dictionary_is_told_apart(tmp_path: Path, model: HookedModelBase) -> None:
    _, folder = saved(tmp_path / "out" / "dictionary", "standard", d_in=model.d_model)
    with pytest.raises(ArtefactError, match=f"out is no dictionary, but holds one: give .*{folder.name}"):
        load_sae(tmp_path / "out")
    with pytest.raises(ArtefactError, match=r"cfg.json is a file, no folder"):
        load_sae(str(folder / "cfg.json"))
    with pytest.raises(ConfigError, match="sae_id names a dictionary of a release or a hub id"):
        load_sae(folder, sae_id="layer_3")
    with pytest.raises(EmptySelectionError, match="is checked on have 0 tokens"):
        check_dictionary(replace(load_sae(folder), norm_limit=5.0), model, [""])
    with pytest.raises(IncompatibleDirectionError, match="decodes 24 latents, got 5"):
        load_sae(folder).decode(torch.zeros(2, 5))
    weights = folder / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ArtefactError, match="copy or train it anew"):
        load_sae(folder)
