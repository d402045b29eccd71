"""Every kind of adapter by both routes, as `adapter=` and as the name: PEFT's own logits, or one paragraph."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from persona_interp.errors import ModelError
from persona_interp.models.adapters import without_peft_noise
from persona_interp.models.load import load_model
from persona_interp.models.plain import load_plain
from tests.contract.tiny import BACKENDS, D_VOCAB, make_config, make_tokenizer, uneven_batch

KIND: dict[str, Any] = {"task_type": "CAUSAL_LM"}
ON_Q: dict[str, Any] = {**KIND, "target_modules": ["q_proj"]}
TOKENS = [5, 6, 7, 20]
EMBEDDED: dict[str, Any] = {"r": 2, "target_modules": ["embed_tokens", "q_proj"]}

KINDS: dict[str, Callable[[], Any]] = {
    "LoRA": lambda: LoraConfig(**KIND, r=2, target_modules="all-linear"),
    "rsLoRA": lambda: LoraConfig(**ON_Q, r=4, use_rslora=True),
    "DoRA": lambda: LoraConfig(**KIND, r=2, use_dora=True, target_modules="all-linear"),
    "LoRA on the embedding": lambda: LoraConfig(**KIND, **EMBEDDED),
    "LoRA on both embeddings, tied": lambda: LoraConfig(**KIND, **EMBEDDED, ensure_weight_tying=True),
    "LoRA on the unembedding": lambda: LoraConfig(**KIND, r=2, target_modules=["lm_head", "q_proj"]),
    "embedding saved": lambda: LoraConfig(**ON_Q, modules_to_save=["embed_tokens"]),
    "unembedding saved": lambda: LoraConfig(**ON_Q, modules_to_save=["lm_head"]),
    "both saved": lambda: LoraConfig(**ON_Q, modules_to_save=["lm_head", "embed_tokens"]),
    "LoRA with tokens": lambda: LoraConfig(**ON_Q, trainable_token_indices=TOKENS),
    "tokens": lambda: peft.TrainableTokensConfig(**KIND, token_indices=TOKENS, target_modules=["embed_tokens"]),
    "LoRA on parameters": lambda: LoraConfig(**ON_Q, target_parameters=["mlp.gate_proj.weight"]),
    "IA3": lambda: peft.IA3Config(
        **KIND, target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
    "LoHa": lambda: peft.LoHaConfig(**ON_Q, r=2),
    "LoKr": lambda: peft.LoKrConfig(**ON_Q, r=2),
    "OFT": lambda: peft.OFTConfig(**ON_Q, oft_block_size=4),
    "VeRA": lambda: peft.VeraConfig(**ON_Q, r=4),
    "AdaLoRA": lambda: peft.AdaLoraConfig(**ON_Q, total_step=10),
    "VB-LoRA": lambda: peft.VBLoRAConfig(**ON_Q, r=2, vector_length=4, num_vectors=8),
}
UNMERGEABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "prompt": (lambda: peft.PromptTuningConfig(**KIND, num_virtual_tokens=3), "PROMPT_TUNING"),
    "prefix": (lambda: peft.PrefixTuningConfig(**KIND, num_virtual_tokens=3), "PREFIX_TUNING"),
    "p-tuning": (lambda: peft.PromptEncoderConfig(**KIND, num_virtual_tokens=3), "P_TUNING"),
    "adaption prompt": (lambda: peft.AdaptionPromptConfig(**KIND, adapter_len=3, adapter_layers=2), "ADAPTION_PROMPT"),
    "activated LoRA": (lambda: LoraConfig(**ON_Q, r=2, alora_invocation_tokens=[5, 6]), "LORA"),
}
RESIZED = {"LoRA": True, "DoRA": True, "LoRA on the embedding": True, "embedding saved": True, "both saved": True}
RESIZED |= {"tokens": True, "LoRA on the unembedding": False, "LoRA with tokens": False}


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("untied"), tied=False)


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("tied"), tied=True)


def save_base(folder: Path, *, tied: bool) -> Path:
    config = make_config("llama")
    config.tie_word_embeddings = tied
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def save_adapter(base: Path, config: Any, folder: Path, *, rows: int = D_VOCAB, **options: Any) -> PeftModel:
    """A random adapter in a folder; PEFT's model with it."""
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    plain.resize_token_embeddings(rows, mean_resizing=False)
    draw = torch.Generator().manual_seed(0)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        made = get_peft_model(plain, config)
        for weight in made.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn(weight.shape, generator=draw))
        made.save_pretrained(str(folder), **options)
    return made.eval()  # pyright: ignore


def logits_of(model: Any) -> Tensor:
    batch = uneven_batch()
    with torch.no_grad():
        inputs = {"attention_mask": batch.mask.long(), "position_ids": batch.position_ids}
        return model(input_ids=batch.ids, **inputs).logits[batch.mask]


def check_both_routes(base: Path, folder: Path, expected: Tensor, backend: Any = "nnsight") -> None:
    batch = uneven_batch()
    by_base = load_model(base, backend, device="cpu", adapter=folder)
    by_name = load_model(folder, backend, device="cpu")
    for loaded in (by_base, by_name):
        logits = loaded.run(batch).logits
        assert logits is not None
        torch.testing.assert_close(logits[batch.mask], expected, rtol=1e-4, atol=1e-4)
    assert by_base.provenance == by_name.provenance
    assert by_base.name == f"{base} + {folder}"


@pytest.mark.parametrize("kind", KINDS)
def test_both_routes_give_the_logits_of_peft(tied: Path, tmp_path: Path, kind: str) -> None:
    check_kind(tied, tmp_path, kind)


@pytest.mark.parametrize("kind", ["LoRA on the embedding", "LoRA on the unembedding", "both saved"])
def test_embeddings_that_are_not_tied(untied: Path, tmp_path: Path, kind: str) -> None:
    check_kind(untied, tmp_path, kind)


def check_kind(base: Path, tmp_path: Path, kind: str) -> None:
    made = save_adapter(base, KINDS[kind](), tmp_path / "adapter")
    expected = logits_of(made)
    assert (logits_of(AutoModelForCausalLM.from_pretrained(base)) - expected).abs().max() > 0.1
    check_both_routes(base, tmp_path / "adapter", expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_adapter_on_a_tied_embedding_leaves_the_unembedding(tied: Path, tmp_path: Path, backend: Any) -> None:
    """Merged into the weight that both share it would change logits by more than they are."""
    made = save_adapter(tied, KINDS["LoRA on the embedding"](), tmp_path / "adapter")
    check_both_routes(tied, tmp_path / "adapter", logits_of(made), backend)
    plain, _ = load_plain(tmp_path / "adapter", device="cpu")
    assert plain.config.tie_word_embeddings is False
    assert plain.get_output_embeddings().weight is not plain.get_input_embeddings().weight  # pyright: ignore


def test_an_adapter_elsewhere_leaves_embeddings_tied(tied: Path, tmp_path: Path) -> None:
    save_adapter(tied, KINDS["LoRA"](), tmp_path / "adapter")
    plain, _ = load_plain(tmp_path / "adapter", device="cpu")
    assert plain.get_output_embeddings().weight is plain.get_input_embeddings().weight  # pyright: ignore


@pytest.mark.parametrize("kind", UNMERGEABLE)
def test_what_cannot_be_merged_is_refused(tied: Path, tmp_path: Path, kind: str) -> None:
    config, name = UNMERGEABLE[kind]
    save_adapter(tied, config(), tmp_path / "adapter")
    for given, adapter in ((tied, tmp_path / "adapter"), (tmp_path / "adapter", None)):
        with pytest.raises(ModelError, match=rf"\({name}\) cannot be merged"):
            load_model(given, device="cpu", adapter=adapter)


@pytest.mark.parametrize("kind", RESIZED)
def test_more_tokens_than_the_base_has(tied: Path, tmp_path: Path, kind: str) -> None:
    """The vectors of the rows added are taken from the adapter's file, or the adapter is refused where one is not."""
    made = save_adapter(tied, KINDS[kind](), tmp_path / "adapter", rows=D_VOCAB + 8)
    if RESIZED[kind]:
        check_both_routes(tied, tmp_path / "adapter", logits_of(made))
        assert load_model(tmp_path / "adapter", "nnsight", device="cpu").d_vocab == D_VOCAB + 8
        return
    with pytest.raises(ModelError, match="was trained with 208 tokens, this model has 200|does not fit this model"):
        load_model(tied, device="cpu", adapter=tmp_path / "adapter")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_merge_in_half_precision_rounds(untied: Path, tmp_path: Path, dtype: str) -> None:
    made = save_adapter(untied, KINDS["DoRA"](), tmp_path / "adapter")
    batch, expected = uneven_batch(), logits_of(made)
    logits = load_model(tmp_path / "adapter", "nnsight", device="cpu", dtype=dtype).run(batch).logits
    assert logits is not None
    assert (logits[batch.mask].float() - expected).norm() < 0.1 * expected.norm()


def test_a_merge_that_computes_another_thing_is_refused(
    untied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_adapter(untied, KINDS["LoRA"](), tmp_path / "adapter")
    monkeypatch.setattr("peft.tuners.lora.layer.Linear.get_delta_weight", lambda _, __: torch.zeros(1))
    with pytest.raises(ModelError, match=r"\(LORA\) computes another thing when it is merged"):
        load_model(tmp_path / "adapter", device="cpu")


def test_adapters_by_their_names_below_a_folder(untied: Path, tmp_path: Path) -> None:
    made = save_adapter(untied, KINDS["LoRA"](), tmp_path / "unused")
    made.add_adapter("other", KINDS["rsLoRA"]())
    with without_peft_noise():
        made.save_pretrained(str(tmp_path / "both"), selected_adapters=["other"])
    with pytest.raises(ModelError, match="adapter_config.json is not there.\n  Folders in it hold adapters.* other"):
        load_model(untied, device="cpu", adapter=tmp_path / "both")
    made.set_adapter("other")
    check_both_routes(untied, tmp_path / "both" / "other", logits_of(made))


def test_an_adapter_of_an_adapter(untied: Path, tmp_path: Path) -> None:
    first = save_adapter(untied, KINDS["LoRA"](), tmp_path / "first").merge_and_unload()  # pyright: ignore
    first.save_pretrained(tmp_path / "merged")
    second = save_adapter(tmp_path / "merged", KINDS["LoHa"](), tmp_path / "second")
    settings = tmp_path / "second" / "adapter_config.json"
    settings.write_text(settings.read_text().replace(str(tmp_path / "merged"), str(tmp_path / "first")))
    loaded, batch = load_model(tmp_path / "second", "nnsight", device="cpu"), uneven_batch()
    torch.testing.assert_close(loaded.run(batch).logits[batch.mask], logits_of(second), rtol=1e-4, atol=1e-4)  # pyright: ignore
    assert loaded.name == f"{untied} + {tmp_path / 'first'} + {tmp_path / 'second'}"


def test_a_whole_model_with_an_adapter_beside_it(untied: Path, tmp_path: Path) -> None:
    made = save_adapter(untied, KINDS["LoRA"](), tmp_path)
    AutoModelForCausalLM.from_pretrained(untied).save_pretrained(tmp_path / "copy")
    for file in (tmp_path / "copy").iterdir():
        file.rename(tmp_path / file.name)
    make_tokenizer().save_pretrained(tmp_path)
    loaded, batch = load_model(tmp_path, "nnsight", device="cpu"), uneven_batch()
    torch.testing.assert_close(loaded.run(batch).logits[batch.mask], logits_of(made), rtol=1e-4, atol=1e-4)  # pyright: ignore


def test_the_tokenizer_beside_an_adapter_is_taken(untied: Path, tmp_path: Path) -> None:
    save_adapter(untied, KINDS["LoRA"](), tmp_path)
    before = load_model(untied, "nnsight", device="cpu", adapter=tmp_path).provenance
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ messages[0].content }}!"
    tokenizer.save_pretrained(tmp_path)
    one = load_model(untied, "nnsight", device="cpu", adapter=tmp_path)
    assert one.tokenizer.chat_template == tokenizer.chat_template
    assert one.provenance == load_model(tmp_path, "nnsight", device="cpu").provenance
    assert (one.provenance.files, one.provenance.weights) != (before.files, before.weights)
    assert one.provenance.weights == before.weights


def test_pickled_weights_are_not_read(untied: Path, tmp_path: Path) -> None:
    save_adapter(untied, KINDS["LoRA"](), tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    (tmp_path / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    for given, adapter in ((untied, tmp_path), (tmp_path, None)):
        with pytest.raises(ModelError, match="adapter_model.bin is a pickle, which can run code"):
            load_model(given, device="cpu", adapter=adapter)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("{", "cannot be read: it is damaged"),
        ("[]", "cannot be read: it is damaged"),
        ("{}", "does not say which model it was trained on"),
        ('{"base_model_name_or_path": 3}', "does not say which model it was trained on"),
        ('{"base_model_name_or_path": "SELF"}', "names itself"),
        ('{"base_model_name_or_path": "no/where/at/all"}', "was trained on 'no/where/at/all', which cannot be loaded"),
    ],
)
def test_an_adapter_that_does_not_lead_to_its_base(untied: Path, tmp_path: Path, settings: str, says: str) -> None:
    save_adapter(untied, KINDS["rsLoRA"](), tmp_path)
    (tmp_path / "adapter_config.json").write_text(settings.replace("SELF", str(tmp_path)))
    with pytest.raises(ModelError, match=says):
        load_model(tmp_path, device="cpu")
