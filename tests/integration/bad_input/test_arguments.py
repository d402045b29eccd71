"""Names, counts and choices that cannot be: each is answered with what can be, and never with a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from persona_interp.data.traits import load_trait
from persona_interp.directions.persona import passes_filter, persona_vector
from persona_interp.errors import EmptySelectionError
from persona_interp.models.load import load_model
from persona_interp.rollouts.generate import Rollouts, generate_rollouts
from tests.integration.bad_input.conftest import Uses, extract
from tests.integration.conftest import Shell


def test_unknown_names_are_answered_with_the_known_ones(
    refused: Callable[..., str], model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    trait = trait_files[0]
    expected = {
        (trait, "--model", "no/such-model"): (
            "ModelError: cannot load 'no/such-model'",
            "Give a hub id, a folder with config.json and safetensors, a .gguf file, or one of smollm2-135m-instruct",
        ),
        (trait, "--backend", "vllm"): ("ConfigError: backend must be transformer_lens or nnsight", "got 'vllm'"),
        (trait, "--dtype", "int4"): ("ConfigError: no dtype is called 'int4'.", "float32, bfloat16, float16, auto"),
        (trait, "--filter", "best"): ("ConfigError: no filter is called 'best'.", "paired, independent, none"),
        ("evill",): ("TraitError: no trait is called 'evill'.", "impolite", "Or give the path of a JSON file"),
        ("../evil",): ("TraitError: no trait is called '../evil'.",),
        ("none.json",): ("TraitError: the trait file none.json does not exist.", "impolite"),
        (trait, "--n-questions", 9): ("ConfigError: questions of cheerful (extract) must be 1 to 4, got 9.",),
        (trait, "--max-new-tokens", 0): ("ConfigError: max_new_tokens must be 1 to 1000000, got 0.",),
    }
    for (name, *options), words in expected.items():
        error = refused(*extract(name, tmp_path / "out", model_folder, *options))
        assert error.startswith(words[0])
        assert all(word in error for word in words)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_run_refuses_the_same_names(
    refused: Callable[..., str], model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    base = ("run", "--out", tmp_path / "run", "--model", model_folder, "--traits", trait_files[0])
    counts = ("--n-questions", 4, "--n-instructions", 2, "--n-eval-questions", 3)
    for options, words in (
        (("--backend", "vllm"), "backend must be transformer_lens or nnsight, got 'vllm'"),
        (("--filter", "best"), "filter must be paired, independent or none"),
        (("--coefficients", "0.1;0.2"), "coefficients must be numbers separated by commas, got '0.1;0.2'."),
        (("--coefficients", "0.1,nan"), "coefficients must be numbers separated by commas, got '0.1,nan'."),
        (("--coefficients", "-0.1"), "coefficients must hold a positive number"),
        (("--layers", "1.5"), "layers must be whole numbers separated by commas, got '1.5'."),
        (("--layers", "1,3"), "Layers run 0..2."),
        (("--dtype", "int4"), "no dtype is called 'int4'."),
        (("--traits", "evil,evill"), "no trait is called 'evill'."),
        (("--n-instructions", 7), "instructions of cheerful (extract) must be 1 to 2, got 7."),
    ):
        assert words in refused(*base, *counts, *options)
        assert not (tmp_path / "run").exists()


def test_layers_that_do_not_exist_are_refused(refused: Callable[..., str], using: Uses, vector: Path) -> None:
    for layer in (-1, 3):
        error = refused(*using(vector, layer=layer))
        assert error.startswith("HookpointError: ")
        assert f"resid_post at layer {layer}" in error
        assert "0..2" in error or "resid_post at layer 0 … resid_post at layer 2" in error


@pytest.mark.parametrize("text", ["a,b", "nan", "inf", "0.1 0.2"])
def test_coefficients_must_be_numbers(refused: Callable[..., str], vector: Path, model_folder: Path, text: str) -> None:
    arguments = ("steer", vector, "--prompt", "Hi", "--layer", 1, "--model", model_folder, "--coefficients", text)
    assert refused(*arguments) == f"ConfigError: coefficients must be numbers separated by commas, got {text!r}."


def test_rollouts_of_another_configuration_are_not_mixed(
    refused: Callable[..., str], shell: Shell, model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    assert shell(*extract(trait_files[0], tmp_path, model_folder)).code == 0
    error = refused(*extract(trait_files[0], tmp_path, model_folder, "--max-new-tokens", 4, "--seed", 1))
    folder = tmp_path / "rollouts" / "cheerful"
    assert error.startswith(f"ConfigError: {folder} holds results of another configuration.\n  sampling: there ")
    assert error.endswith("Use another folder, or delete this one to start again.")


@pytest.fixture
def rollouts(model_folder: Path, trait_files: tuple[Path, Path]) -> Rollouts:
    """A few contrastive answers of the tiny model."""
    model, trait = load_model(model_folder, device="cpu"), load_trait(trait_files[0])
    return generate_rollouts(model, trait, n_questions=1, n_instructions=1, max_new_tokens=3)


def test_a_selection_of_nothing_is_refused(rollouts: Rollouts) -> None:
    scored = rollouts.with_columns(expression=[0.0] * len(rollouts))
    for keep in ("paired", "independent"):
        assert not passes_filter(scored.frame[scored.frame["side"] == "positive"], filter=keep).any()
        with pytest.raises(EmptySelectionError) as caught:
            persona_vector(scored, filter=keep)
        assert str(caught.value).startswith(f"the filter '{keep}' (threshold 50) left 0 positive and ")
        assert 'lower the threshold, or use filter="none"' in str(caught.value)
