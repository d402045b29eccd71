"""The judges of a main job: further ones, one behind an API, and one that cannot see the trait."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from persona_interp.data.traits import Trait
from persona_interp.effects import load_effects
from persona_interp.endpoint.usage import Usage
from persona_interp.errors import EmptySelectionError, TraitError
from persona_interp.judges.consensus import CONSENSUS
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Calibration, Score
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.rows import ALPHA, CHANGE, RHO
from persona_interp.studies.persona.run import run_main_job
from tests.integration.main_job.conftest import results_of

KEY = "a-key-that-no-file-may-hold"


class FakeAPI:
    """Stands in for the API judge: rates by length, refuses the first answer, counts what it was asked."""

    name, description = "api (rater)", "rates by length"
    asked = 0

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        self.asked += len(answers)
        rated = [Score(float(min(100, len(answer))), float(len(answer))) for answer in answers]
        return [Score(float("nan"), float("nan"), "REFUSAL"), *rated[1:]]


def sizes(folder: Path) -> pd.DataFrame:
    """The effects of steering at the chosen setting."""
    effects = load_effects(folder)
    return effects[(effects["metric"] == CHANGE) & (effects["place"] == "chosen")]


@pytest.fixture
def fake_api(monkeypatch: pytest.MonkeyPatch) -> FakeAPI:
    fake = FakeAPI()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(
        "persona_interp.studies.persona.run.with_api_judge",
        lambda bench: replace(bench, api=fake, usage=lambda: Usage(requests=fake.asked)),
    )
    return fake


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the likelihood judge of a model unable to tell exemplars apart."""

    def of(model: str) -> None:
        calibrate = LikelihoodJudge.calibration

        def calibration(self: LikelihoodJudge, trait: Trait) -> Calibration:
            if model in self.name:
                raise TraitError(f"cannot calibrate {self.name} for {trait.name}.", "Use another.")
            return calibrate(self, trait)

        monkeypatch.setattr(LikelihoodJudge, "calibration", calibration)

    return of


def test_further_judges_rate_held_out_answers_and_the_chosen_setting(
    small: RunConfig, other_model_folder: Path, fake_api: FakeAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LikelihoodJudge, "calibration", lambda *_: Calibration(0.0, 1.0))
    models = (small.model, str(other_model_folder))
    config = replace(small, judge_models=models, api_judge="rater", coefficients=(-0.3, 0.2, 0.3))
    run_main_job(config, tmp_path)
    names = ["embedding (all-MiniLM-L6-v2)", *(f"likelihood ({name})" for name in models), "api (rater)"]
    effects = sizes(tmp_path)
    assert list(effects["judge"]) == [CONSENSUS, *names]
    assert list(effects["n"]) == [6, 6, 6, 6, 5]  # 3 steered and 3 unsteered answers, the first one refused
    scored = pd.read_parquet(tmp_path / "steering" / "cheerful" / "evaluation" / "scored.parquet")
    assert scored[names].notna().sum().tolist() == [12, 12, 6, 5]
    assert fake_api.asked == 6 + 6 + 6  # held-out answers, steered ones, and both sides of three exemplars
    found = load_effects(tmp_path)
    pairs = found[found["metric"] == RHO]
    assert len(pairs[pairs["condition"] == "all answers"]) == 6
    assert set(found.loc[found["metric"] == ALPHA, "reference"]) == {"all 4 judges"}
    unscored = pd.read_csv(tmp_path / "tables" / "unscored.csv", keep_default_na=False)
    assert unscored[["condition", "judge", "reason"]].values.tolist() == [
        ["prompted", "api (rater)", "REFUSAL"],
        ["steered", "api (rater)", "REFUSAL"],
    ]
    assert json.loads((tmp_path / "provenance_persona.json").read_text())["api"]["requests"] == 18
    assert [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []
    before = results_of(tmp_path)
    run_main_job(config, tmp_path)
    assert fake_api.asked == 18
    assert results_of(tmp_path) == before


def test_a_further_judge_that_cannot_see_a_trait_is_named_and_left_out(
    small: RunConfig, other_model_folder: Path, blind: Callable[[str], None], tmp_path: Path
) -> None:
    blind(str(other_model_folder))
    run_main_job(replace(small, judge_models=(small.model, str(other_model_folder))), tmp_path)
    (summary,) = json.loads((tmp_path / "summary.json").read_text())
    name = f"likelihood ({other_model_folder})"
    assert f"Without the judge {name}: cannot calibrate {name} for cheerful." in summary["notes"]
    assert summary["n_judges_beside"] == 2, "the two that make the consensus"
    assert name not in set(sizes(tmp_path)["judge"])


def test_the_judge_that_filters_must_see_the_trait(
    small: RunConfig, blind: Callable[[str], None], tmp_path: Path
) -> None:
    blind(small.model)
    with pytest.raises(TraitError, match="cannot calibrate"):
        run_main_job(replace(small, filter="paired"), tmp_path / "filtered")
    run_main_job(small, tmp_path / "none")
    effects = sizes(tmp_path / "none")
    assert list(effects["judge"]) == [CONSENSUS, "embedding (all-MiniLM-L6-v2)"]
    assert RHO not in set(load_effects(tmp_path / "none")["metric"])


def test_a_filter_that_leaves_nothing_names_itself(
    small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undecided(*arguments: Sequence[str]) -> list[Score]:
        return [Score(50.0, 0.0)] * len(arguments[-1])

    monkeypatch.setattr(LikelihoodJudge, "rate", undecided)
    with pytest.raises(EmptySelectionError) as caught:
        run_main_job(replace(small, filter="paired"), tmp_path)
    assert str(caught.value).startswith(
        "the filter 'paired' (threshold 50) left 0 positive and 0 negative answers of 16"
    )
