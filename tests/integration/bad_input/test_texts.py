"""Traits, prompts and texts that cannot be used: the file, the key and the line are named."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.integration.bad_input.conftest import extract
from tests.integration.conftest import CONTEXT, TRAIT


def without(key: str) -> str:
    return json.dumps({name: value for name, value in TRAIT.items() if name != key})


def with_(**changes: object) -> str:
    return json.dumps(TRAIT | changes)


def test_a_bad_trait_file_names_the_file_and_the_key(
    refused: Callable[..., str], model_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "brave.json"
    for content, words in (
        ('{"name": ', f"ArtefactError: {path} is not valid JSON: "),
        ("[1, 2]", f"TraitError: {path} holds a list.\n  Expected one JSON object."),
        ("{}", f"TraitError: {path} lacks instruction, questions, eval_prompt.\n  Found name; needed "),
        (without("instruction"), f"TraitError: {path} lacks instruction.\n  Found "),
        (without("eval_prompt"), f"TraitError: {path} lacks eval_prompt.\n  Found "),
        (with_(questions="Why?"), f"TraitError: questions of {path} must be a list of non-empty texts."),
        (with_(questions=["Why?", ""]), f"TraitError: questions of {path} must be a list of non-empty texts."),
        (with_(instruction=[{"pos": "Be brave."}]), f"TraitError: instruction of {path} must be a list of objects"),
        (with_(eval_prompt="Rate it."), f"TraitError: the eval_prompt of {path} lacks {{question}} or {{answer}}."),
        (with_(exemplars=[{"question": "Why?"}]), f"TraitError: exemplars of {path} must be a list of objects"),
    ):
        path.write_text(content)
        assert refused(*extract(path, tmp_path / "out", model_folder)).startswith(words)
        assert refused("traits", "show", path).startswith(words)
    assert not (tmp_path / "out").exists()


def test_a_prompt_longer_than_the_context_is_refused(
    refused: Callable[..., str], vector: Path, model_folder: Path, tmp_path: Path
) -> None:
    longest = "x " * CONTEXT
    options = ("--layer", 1, "--model", model_folder, "--dtype", "float32")
    (tmp_path / "long.jsonl").write_text(json.dumps({"prompt": "Why?", "response": longest}))
    (tmp_path / "long.json").write_text(with_(questions=[longest, longest]))
    for arguments in (
        ("steer", vector, "--prompt", longest, *options),
        ("steer", vector, "--prompt", "Why?", "--max-new-tokens", CONTEXT, *options),
        ("project", longest, "--vector", vector, *options),
        ("project", tmp_path / "long.jsonl", "--vector", vector, *options),
        extract(tmp_path / "long.json", tmp_path / "out", model_folder),
    ):
        error = refused(*arguments)
        assert error.startswith("ContextLengthError: a sequence of ")
        assert f"does not fit {model_folder}.\n  Its context holds {CONTEXT} tokens" in error
        assert "nothing was truncated" in error


def test_bad_lines_to_project_are_named(
    refused: Callable[..., str], vector: Path, model_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "texts.jsonl"
    options = ("--vector", vector, "--layer", 1, "--model", model_folder)
    for content, words in (
        ('{"text": "good"}\n{"text": \n', "ArtefactError: texts.jsonl, line 2 is no text to project: not valid JSON"),
        (
            '{"text": "good"}\n\n{"txt": "bad"}\n',
            "ArtefactError: texts.jsonl, line 3 is no text to project: none of the known forms",
        ),
        ('{"prompt": "Why?", "response": 3}\n', "ArtefactError: texts.jsonl, line 1 is no text to project: response"),
        ("[1]\n", "ArtefactError: texts.jsonl, row 1 is no text to project: not an object"),
        ("\n\n", f"ArtefactError: {path} is empty: it holds no row."),
        ('{"text": " "}\n', f"EmptySelectionError: '{path}' holds no text to project."),
    ):
        path.write_text(content)
        assert refused("project", path, *options).startswith(words)
    path.unlink()
    assert refused("project", path, *options).startswith(f"ArtefactError: {path} does not exist.")
    assert refused("project", " ", *options).startswith("EmptySelectionError: ' ' holds no text to project.")
