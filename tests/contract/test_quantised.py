"""A folder with weights of two bits, by transformers' own BitNet: the quantiser that a CPU runs without a package."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TorchAoConfig

from persona_interp.activations.extract import extract_activations
from persona_interp.models.load import load_model
from persona_interp.types import Edit, Hookpoint
from tests.contract.tiny import BACKENDS, Tiny, make_tokenizer, shifting, uneven_batch

# torch.compile, which the module uses, imports what torch itself has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def folders(llama: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The model with ternary maps, two bits a weight, and the same numbers as plain weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from transformers.integrations.bitnet import pack_weights

    packed, plain = tmp_path_factory.mktemp("packed"), tmp_path_factory.mktemp("plain")
    weights = load_file(llama.folder / "model.safetensors")
    of_packed, of_plain = dict(weights), dict(weights)
    for name, weight in weights.items():
        if name.split(".")[-2] not in MAPS:
            continue
        size = weight.abs().mean()
        ternary = (weight / size).round().clamp(-1, 1)
        of_plain[name] = ternary * size
        of_packed[name] = pack_weights(ternary.clone())
        of_packed[f"{name}_scale"] = (1 / size).reshape(1)  # BitLinear divides by it
    settings = json.loads((llama.folder / "config.json").read_text())
    for folder, values in ((packed, of_packed), (plain, of_plain)):
        save_file(values, folder / "model.safetensors", metadata={"format": "pt"})
        quantised = {"quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}}
        (folder / "config.json").write_text(json.dumps(settings | (quantised if folder == packed else {})))
        make_tokenizer().save_pretrained(folder)
    return packed, plain


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_bits_read_and_steer_near_the_same_weights(folders: tuple[Path, Path], backend: Any) -> None:
    """Within 5 % of the size: BitNet rounds what goes into each map to eight bits, the plain weights do not."""
    with torch.compiler.set_stance("force_eager"):
        packed, plain = (load_model(folder, backend, device="cpu") for folder in folders)
        assert packed.provenance.weights != plain.provenance.weights
        batch, reads = uneven_batch(), [Hookpoint(layer, "resid_post") for layer in range(3)]
        edits = {reads[1]: (Edit(shifting(1), "all"),)}
        still, moved = ([model.run(batch, read=reads, edits=e) for model in (packed, plain)] for e in ({}, edits))
    for got, expected in (still, moved):
        pairs = [(got.logits, expected.logits), *((got.residuals[h], expected.residuals[h]) for h in reads)]
        for one, other in pairs:
            assert (one - other)[batch.mask].norm() <= 0.05 * other[batch.mask].norm()  # pyright: ignore
    assert (moved[0].logits - still[0].logits).norm() > 0.1 * still[0].logits.norm()  # pyright: ignore


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("bits", "least", "most"), [(8, 1e-4, 0.05), (4, 0.02, 0.5)])
def test_torchao_reads_as_transformers_does_and_steers(
    backend: str, bits: int, least: float, most: float, llama: Tiny
) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    tokenizer = AutoTokenizer.from_pretrained(llama.folder)
    if bits == 8:
        kind = torchao.Int8WeightOnlyConfig()
    else:
        kind = torchao.IntxWeightOnlyConfig(
            weight_dtype=torch.int4,  # pyright: ignore
            granularity=torchao.PerGroup(16),
        )
    quantised = AutoModelForCausalLM.from_pretrained(llama.folder, quantization_config=TorchAoConfig(kind))
    own, whole = (
        load_model(quantised, backend, tokenizer=tokenizer),  # pyright: ignore
        load_model(llama.folder, backend, device="cpu"),  # pyright: ignore
    )
    ids = tokenizer("How is tea?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        states = quantised(ids, output_hidden_states=True).hidden_states
    found, before = (
        extract_activations(model, ["How is tea?"], ["Good."], pooling="prompt_last").values[0]
        for model in (own, whole)
    )
    torch.testing.assert_close(found[0], states[1][0, -1], rtol=1e-4, atol=1e-5)
    error = ((found - before).norm(dim=-1) / before.norm(dim=-1)).max()
    assert least < error < most
    assert own.provenance.weights != whole.provenance.weights
    moved = extract_activations(
        own,
        ["How is tea?"],
        ["Good."],
        pooling="prompt_last",
        edits={Hookpoint(0): (Edit(lambda residual, _: residual + 1),)},
    )
    torch.testing.assert_close(moved.values[0, 0], found[0] + 1, rtol=1e-4, atol=1e-4)
