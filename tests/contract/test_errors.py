"""What a caller's mistake says."""

import inspect
from pathlib import Path

import pytest

from persona_interp.errors import ConfigError, ContextLengthError, EmptySelectionError, HookpointError, ModelError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.types import Edit, Hookpoint
from tests.contract.tiny import CONTEXT, N_LAYERS, Tiny, random_prefix, shifting, uneven_batch, words


def test_a_layer_too_high_names_the_range_and_the_slip(model: HookedModelBase) -> None:
    expected = (
        f"cannot reach resid_post at layer 3 of {model.name} ({model.backend}).\n"
        "  Layers run 0..2.\n"
        '  hidden_states[3] is the output of layer 2: Hookpoint(2, "resid_post").'
    )
    wrong = Hookpoint(N_LAYERS)
    edits = {wrong: (Edit(shifting(0)),)}
    for call in (
        lambda: model.run(uneven_batch(), read=[wrong]),
        lambda: model.run(uneven_batch(), edits=edits),
        lambda: model.generate(uneven_batch(), sampling=Sampling(), read=[wrong], pool=["prompt_last"]),
        lambda: model.generate(uneven_batch(), sampling=Sampling(), edits=edits),
    ):
        with pytest.raises(HookpointError) as caught:
            call()
        assert str(caught.value) == expected


def test_a_negative_layer_is_refused(llama_model: HookedModelBase) -> None:
    with pytest.raises(HookpointError) as caught:
        llama_model.run(uneven_batch(), read=[Hookpoint(-1)])
    assert str(caught.value) == (
        f"cannot reach resid_post at layer -1 of {llama_model.name} ({llama_model.backend}).\n  Layers run 0..2."
    )


def test_a_layer_far_too_high_is_no_slip_of_hidden_states(llama_model: HookedModelBase) -> None:
    with pytest.raises(HookpointError) as caught:
        llama_model.run(uneven_batch(), read=[Hookpoint(9)])
    assert str(caught.value) == (
        f"cannot reach resid_post at layer 9 of {llama_model.name} ({llama_model.backend}).\n  Layers run 0..2."
    )


def test_an_unknown_backend_names_the_backends(llama: Tiny) -> None:
    with pytest.raises(ModelError) as caught:
        inspect.unwrap(load_model)(llama.folder, backend="vllm")  # past the annotation that the tests check
    assert str(caught.value) == "no backend is called 'vllm'.\n  Backends: transformer_lens, nnsight."


def test_a_text_longer_than_the_context_is_refused(model: HookedModelBase) -> None:
    with pytest.raises(ContextLengthError) as caught:
        model.run(token_batch([words(CONTEXT + 1, 0)]))
    assert str(caught.value) == (
        f"a sequence of 65 tokens does not fit {model.name}.\n"
        "  Its context holds 64 tokens, prompt and response together.\n"
        "  Shorten the prompt or lower max_new_tokens; nothing was truncated."
    )
    assert model.run(token_batch([words(CONTEXT, 0)])).logits is not None


def test_answers_and_prefixes_count_toward_the_context(llama: Tiny, llama_model: HookedModelBase) -> None:
    batch = token_batch([words(CONTEXT - 4, 0)])
    llama_model.generate(batch, sampling=Sampling(max_new_tokens=4))
    with pytest.raises(ContextLengthError, match="a sequence of 65 tokens"):
        llama_model.generate(batch, sampling=Sampling(max_new_tokens=5))
    with pytest.raises(ContextLengthError, match="a sequence of 65 tokens"):
        llama_model.generate(batch, sampling=Sampling(max_new_tokens=4), prefix=random_prefix(llama, 1))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "nothing-here"
    empty.mkdir()
    with pytest.raises(ModelError) as caught:
        load_model(empty)
    assert str(caught.value).startswith(f"cannot load {str(empty)!r}: ")
    assert "Give a hub id, a folder with config.json and safetensors, a .gguf file, or one of smollm2" in str(
        caught.value
    )


def test_a_missing_gguf_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path / "absent.gguf")
    assert str(caught.value) == f"the GGUF file {tmp_path / 'absent.gguf'} does not exist.\n  Give the path of one."


def test_other_objects_are_refused() -> None:
    with pytest.raises(ModelError) as caught:
        load_model(3.5)
    assert str(caught.value) == (
        "cannot load an object of type float.\n"
        "  Give a name, a folder, a .gguf file, a TransformerBridge, a HookedTransformer, a causal model of"
        " transformers or a PeftModel of one."
    )


def test_an_unknown_dtype_is_named(llama: Tiny) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(llama.folder, dtype="int4")
    assert str(caught.value) == "no dtype is called 'int4'.\n  Choose one of float32, bfloat16, float16, auto."


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 to 1000000, got 0."),
        ({"n_samples": 0}, "n_samples must be 1 to 1000000, got 0."),
        ({"temperature": -0.5}, "temperature must be 0 to 100, got -0.5."),
        ({"top_k": 0}, "top_k must be 1 to 1000000, got 0."),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0."),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5."),
    ],
)
def test_impossible_sampling_is_refused(options: dict, rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Sampling(**options)
    assert str(caught.value) == f"{rule}\n  It is an argument of Sampling."


def test_an_empty_batch_is_refused() -> None:
    for prompts in ([], [[5], []]):
        with pytest.raises(EmptySelectionError, match="there is no prompt, or one without a token"):
            token_batch(prompts)


def test_models_keep_the_protocol(model: HookedModelBase) -> None:
    assert isinstance(model, HookedModel)
