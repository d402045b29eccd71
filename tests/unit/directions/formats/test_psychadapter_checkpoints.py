"""Checkpoints of the published PsychAdapter code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from persona_interp.data.trait_texts import Standard
from persona_interp.directions.formats.psychadapter import load_official
from persona_interp.errors import ArtefactError, IncompatibleDirectionError
from persona_interp.models.hooked import HookedModelBase

N_OUTPUTS = 3 * 2 * 2 * 8
TRAITS = ("ope_z", "neu_z")


def a_map() -> dict[str, torch.Tensor]:
    """What `nn.Linear(2, 96).state_dict()` holds."""
    linear = torch.nn.Linear(2, N_OUTPUTS)
    return {key: tensor.detach().clone() for key, tensor in linear.state_dict().items()}


@pytest.mark.parametrize(
    "prefix", ["", "transform_matrix.", "base_model.model.transform_matrix.modules_to_save.default."]
)
@pytest.mark.parametrize("spelling", ["weight", "weights"])
def test_every_spelling_is_read(model: HookedModelBase, tmp_path: Path, prefix: str, spelling: str) -> None:
    state = a_map()
    stored = {f"{prefix}{spelling}": state["weight"], f"{prefix}bias": state["bias"]}
    torch.save(
        stored | ({"decoder.lora_A.weight": torch.ones(2)} if prefix else {}), tmp_path / "transform_matrix.weights"
    )
    adapter = load_official(tmp_path / "transform_matrix.weights", model, TRAITS)
    z = torch.tensor([[1.0, -2.0]])
    numbers = (z @ state["weight"].T + state["bias"]).reshape(1, 3, 2, 2, 1, 8)
    torch.testing.assert_close(adapter.prefix(z).values[1], numbers[:, 1, 1])
    assert adapter.traits == TRAITS and adapter.provenance.weights == model.provenance.weights
    assert adapter.provenance.details["source"] == "transform_matrix.weights"


def test_safetensors_and_folders_are_read(model: HookedModelBase, tmp_path: Path) -> None:
    state, standard = a_map(), Standard(TRAITS, (0.0, 0.0), (1.0, 1.0))
    inside = tmp_path / "run" / "transform_matrix"
    inside.mkdir(parents=True)
    torch.save(state, inside / "transform_matrix.weights")
    first = load_official(tmp_path / "run", model, TRAITS, standard=standard)
    save_file({f"transform_matrix.{key}": tensor for key, tensor in state.items()}, tmp_path / "t.safetensors")
    second = load_official(tmp_path / "t.safetensors", model, TRAITS)
    assert torch.equal(first.affine.weight, second.affine.weight) and first.standard == standard
    with pytest.raises(ArtefactError, match="holds no checkpoint of a PsychAdapter"):
        load_official(tmp_path, model, TRAITS)


@pytest.mark.parametrize("traits", [TRAITS[:1], (*TRAITS, "ext_z")])
def test_shapes_that_do_not_fit_are_refused(model: HookedModelBase, tmp_path: Path, traits: tuple[str, ...]) -> None:
    torch.save(a_map(), tmp_path / "a.pt")
    with pytest.raises(IncompatibleDirectionError) as caught:
        load_official(tmp_path / "a.pt", model, traits)
    assert str(caught.value) == (
        "a.pt maps 96 x 2 numbers (bias 96).\n"
        f"  {model.name} with {len(traits)} traits ({', '.join(traits)}) needs 96 x {len(traits)}: 3 layers,"
        " 2 key/value heads of width 8.\n"
        "  Give the model that it was trained on, and a name for each of its traits."
    )


@pytest.mark.parametrize(
    "content", [{"decoder.weight": torch.ones(2)}, [1, 2], {"transform_matrix.weight": torch.ones(2)}]
)
def test_files_of_something_else_are_refused(model: HookedModelBase, tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ArtefactError, match="holds no transform_matrix"):
        load_official(tmp_path / "a.pt", model, TRAITS)


def test_values_that_are_not_finite_are_refused(model: HookedModelBase, tmp_path: Path) -> None:
    state = a_map()
    state["bias"][3] = float("nan")
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ArtefactError, match="not finite"):
        load_official(tmp_path / "a.pt", model, TRAITS)


def test_code_in_a_pickle_is_not_run(model: HookedModelBase, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, N_OUTPUTS), tmp_path / "a.pt")
    with pytest.raises(ArtefactError, match="nothing of this one was run"):
        load_official(tmp_path / "a.pt", model, TRAITS)
