"""A main job that can only fail is refused before it starts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from persona_interp.errors import ConfigError, HookpointError, ModelError, TraitError
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.run import run_main_job
from tests.integration.conftest import TRAIT


@pytest.fixture
def misspelt(tmp_path: Path) -> Callable[..., Path]:
    """Trait files with something wrong."""

    def write(**changes: object) -> Path:
        data = {key: value for key, value in (TRAIT | changes).items() if value is not None}
        path = tmp_path / "misspelt.json"
        path.write_text(json.dumps(data))
        return path

    return write


def test_a_run_that_cannot_start_leaves_its_folder_free(
    config: RunConfig, tmp_path: Path, misspelt: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "run"
    few = str(misspelt(exemplars=TRAIT["exemplars"][:2]))
    for wrong, error, words in (
        (replace(config, model=str(tmp_path)), ModelError, "cannot load"),
        (replace(config, layers=(1, 3)), HookpointError, r"resid_post at layer 3 .*\n  Layers run 0\.\.2"),
        (replace(config, api_judge="rater"), ConfigError, "cannot ask https://api.openai.com/v1: the key"),
        (replace(config, n_questions=5), ConfigError, r"questions of cheerful \(extract\) must be 1 to 4, got 5"),
        (replace(config, n_held_out_questions=9), ConfigError, r"questions of cheerful \(eval\) must be 1 to 3, got 9"),
        (
            replace(config, n_instructions=3),
            ConfigError,
            r"instructions of cheerful \(.*\) must be 1 to 2, got 3",
        ),
        (replace(config, traits=(few,)), TraitError, "needs at least 3 exemplar answers a pole; cheerful has 2"),
    ):
        with pytest.raises(error, match=words):
            run_main_job(wrong, folder)
        assert not folder.exists()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"traits": ()}, "traits must be a list of texts that is not empty"),
        ({"traits": ("evil", "evil")}, "traits must not name a trait twice"),
        ({"coefficients": (-0.1,)}, "coefficients must hold a positive number"),
        ({"coefficients": (0.1, float("inf"))}, r"coefficients\[1\] must be a finite number, got inf"),
        ({"judge_models": ("a", "a")}, "judge_models must not name a model twice"),
        ({"n_samples": 0}, "n_samples must be 1 to 1000000, got 0"),
    ],
)
def test_a_configuration_that_can_only_fail_is_refused(config: RunConfig, changes: dict, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        replace(config, **changes)
