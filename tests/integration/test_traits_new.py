"""`persona-interp traits new`: from a name to a vector and a report, with a scripted model as the API."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_interp.data.traits import load_trait
from persona_interp.directions.direction import Direction
from tests.author import Author, scripted_author
from tests.integration.conftest import Shell

JOY = "Is full of joy."


@pytest.fixture
def author() -> Iterator[Author]:
    with scripted_author() as server:
        yield server


def test_one_command_goes_from_a_name_to_a_report_and_goes_on_where_it_was_stopped(
    author: Author, shell: Shell, model_folder: Path, tmp_path: Path
) -> None:
    api = ("--base-url", author.url, "--api-model", "scripted")
    asked = ("traits", "new", "joy", "--description", JOY, "--out", tmp_path, *api)
    written = shell(*asked, "--only-trait")
    assert (written.code, written.out) == (0, f"{tmp_path / 'joy.json'}\n"), written.err
    n_requests = len(author.requests)
    small = ("--n-questions", 8, "--n-eval-questions", 8, "--n-eval-samples", 1, "--max-new-tokens", 4)
    small += ("--layers", 1, "--coefficients", "-0.3,0.3")
    done = shell(*asked, *small, "--filter", "none", "--model", model_folder, "--dtype", "float32")
    vector, report = tmp_path / "joy" / "vectors" / "joy.response_mean.safetensors", tmp_path / "joy" / "report.html"
    assert (done.code, done.out) == (0, f"{tmp_path / 'joy.json'}\n{vector}\n{report}\n"), done.err
    assert len(author.requests) == n_requests  # the trait that was there is used
    assert Direction.load(vector).trait == "joy"
    assert "cheerful" in load_trait(tmp_path / "joy.json").positive
    assert "<img" in report.read_text() or "<svg" in report.read_text()
    refused = shell(*asked[:4], "Is gloomy.", *asked[5:])
    assert (refused.code, refused.out) == (1, "")
    assert refused.error.startswith(
        f"TraitError: {tmp_path / 'joy.json'} holds a trait with another description: 'Is full of joy.'.\n"
    )


def test_a_lost_trait_file_is_written_again_from_the_cache(author: Author, shell: Shell, tmp_path: Path) -> None:
    api = ("--base-url", author.url, "--api-model", "scripted", "--api-key", "sk-secret-word")
    asked = ("traits", "new", "joy", "--description", JOY, "--out", tmp_path, *api, "--only-trait")
    assert shell(*asked).code == 0
    before, n_requests = (tmp_path / "joy.json").read_bytes(), len(author.requests)
    (tmp_path / "joy.json").unlink()
    assert shell(*asked).code == 0
    assert ((tmp_path / "joy.json").read_bytes(), len(author.requests)) == (before, n_requests)
    assert json.loads(before)["generated_by"]["model"] == "scripted"
    assert not any(b"sk-secret-word" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_model_that_never_answers_in_form_is_one_error_and_no_trait(
    author: Author, shell: Shell, tmp_path: Path
) -> None:
    author.reply = lambda _texts, _request: "Sorry, no."
    api = ("--base-url", author.url, "--api-model", "scripted", "--max-repairs", 1)
    done = shell("traits", "new", "joy", "--description", JOY, "--out", tmp_path, *api)
    assert (done.code, done.out) == (1, "")
    assert done.error.startswith(f"TraitError: scripted at {author.url} did not write the trait joy: of its adjectives")
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("../evil", "--description", JOY), "TraitError: the command line names its trait '../evil'."),
        (("joy", "--description", JOY, "--filter", "some"), "ConfigError: filter must be paired, independent or none"),
    ],
)
def test_what_cannot_work_is_refused_before_the_api_is_asked(
    author: Author, shell: Shell, tmp_path: Path, arguments: tuple[str, ...], error: str
) -> None:
    done = shell("traits", "new", *arguments, "--out", tmp_path / "out", "--base-url", author.url, "--api-model", "m")
    assert (done.code, done.out) == (1, "")
    assert done.error.startswith(error)
    assert author.requests == []
    assert list(tmp_path.iterdir()) == []
