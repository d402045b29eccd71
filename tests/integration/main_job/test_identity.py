"""A folder is used again for the inputs that made it, and for no others."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.errors import ConfigError
from persona_interp.models.identity import fingerprint
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.identity import KEEPS
from persona_interp.studies.persona.run import run_main_job
from tests.integration.conftest import make_model
from tests.integration.main_job.conftest import results_of


@pytest.fixture
def own(small: RunConfig, trait_files: tuple[Path, Path], tmp_path: Path) -> RunConfig:
    """A run of a trait file and a model that a test may change."""
    path = tmp_path / "cheerful.json"
    path.write_text(trait_files[0].read_text())
    return replace(small, traits=(str(path),), model=str(make_model("llama", tmp_path / "model")))


def other_exemplars(trait: dict[str, Any]) -> None:
    trait["exemplars"][0]["pos"] = "Splendid, I sing at work all day!"


def other_rubric(trait: dict[str, Any]) -> None:
    trait["eval_prompt"] = "From 0 to 100, how glad is {answer} as an answer to {question}?"


@pytest.mark.parametrize("change", [other_exemplars, other_rubric])
def test_an_edited_trait_is_refused_before_a_model_is_loaded(
    own: RunConfig, tmp_path: Path, change: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, path = tmp_path / "out", Path(own.traits[0])
    run_main_job(own, out)
    before, trait = results_of(out), json.loads(path.read_text())
    change(trait)
    path.write_text(json.dumps(trait))
    monkeypatch.setattr("persona_interp.studies.persona.run.load_bench", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(ConfigError, match="contents of trait cheerful: there"):
        run_main_job(own, out)
    assert results_of(out) == before


def test_other_weights_under_the_same_name_are_refused(own: RunConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_main_job(own, out)
    before = results_of(out)
    make_model("qwen2", tmp_path / "model")
    with pytest.raises(ConfigError, match="model: there"):
        run_main_job(own, out)
    assert results_of(out) == before


def test_another_judge_under_the_same_name_is_refused(own: RunConfig, tmp_path: Path) -> None:
    judge = make_model("llama", tmp_path / "judge")
    config, out = replace(own, judge_models=(str(judge),)), tmp_path / "out"
    run_main_job(config, out)
    before = results_of(out)
    make_model("qwen2", judge)
    with pytest.raises(ConfigError, match="judges: there"):
        run_main_job(config, out)
    assert results_of(out) == before


def test_two_files_of_one_trait_are_refused_at_the_start(own: RunConfig, tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text(Path(own.traits[0]).read_text())
    with pytest.raises(ConfigError, match="two traits are called cheerful: .*cheerful.json, .*copy.json"):
        run_main_job(replace(own, traits=(*own.traits, str(copy))), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_does_not_say_what_made_it_is_refused(own: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "measurements.parquet").write_text("")
    with pytest.raises(ConfigError, match="made by an earlier version"):
        run_main_job(own, tmp_path / "out")


@pytest.mark.parametrize(
    "kept", ["rollouts/a/held_out/part-0.parquet", "steering/a/evaluation/scored.parquet", "baselines/a.parquet"]
)
def test_whatever_of_a_run_is_left_binds_the_folder(kept: str, tmp_path: Path) -> None:
    RunFolder.claim(tmp_path, "persona", {"seed": 0}, keeps=KEEPS)
    (tmp_path / kept).parent.mkdir(parents=True)
    (tmp_path / kept).write_text("")
    with pytest.raises(ConfigError, match="seed: there 0, now 1"):
        RunFolder.claim(tmp_path, "persona", {"seed": 1}, keeps=KEEPS)


def test_a_folder_that_other_studies_wrote_into_is_free(tmp_path: Path) -> None:
    for name in (
        "vectors/style.a.b.activation.json",
        "screening.json",
        "effects.parquet",
        "style_rollouts/part-0.parquet",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    RunFolder.check(tmp_path, "persona", {"seed": 0}, keeps=KEEPS)


def test_the_fingerprint_is_that_of_the_model_in_any_dtype() -> None:
    model = torch.nn.Linear(1000, 1000, bias=False)
    before = fingerprint(model)
    assert fingerprint(model.to(torch.bfloat16)) == before
