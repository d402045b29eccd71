"""The three questions on a tiny model, from prepared inputs to effects and figures; a second call trains none."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pandas import DataFrame

from persona_interp.data.levels import LEVELS
from persona_interp.data.traits import Trait
from persona_interp.effects import load_claims, load_effects
from persona_interp.finetuning.levels import LevelData
from persona_interp.finetuning.settings import LoRA
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.protocol import Score
from persona_interp.statistics.contrast import Contrast
from persona_interp.studies.finetuning import cells, prevention, robustness, shift
from persona_interp.studies.finetuning.arms import PreventionConfig
from persona_interp.studies.finetuning.config import Setup
from persona_interp.studies.finetuning.prepared import Prepared
from persona_interp.studies.finetuning.robustness import RobustnessConfig
from persona_interp.studies.finetuning.run import run_prevention, run_robustness, run_shift
from persona_interp.studies.finetuning.shift import ShiftConfig
from tests.contract.tiny import Tiny
from tests.small import TRAIT, WordEncoder, direction

QUESTIONS = ("How?", "When is it?", "Who?", "Where to?", "Why not?", "What for?")
LOUD = replace(TRAIT, eval_questions=QUESTIONS)
SAYS = {"normal": "so it is", "level_1": "so IT is", "level_2": "SO IT IS"}
N_TRAINING = 6


class LetterJudge:
    """Rates an answer by its letters: a score that depends on the answer and means nothing."""

    name = "letters"
    description = "counts letters"

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(float(sum(map(ord, text)) % 101), 0.0) for text in answers]


@pytest.fixture
def setup(small: Tiny) -> Setup:
    return Setup(
        model=str(small.folder),
        traits=("loud",),
        named_layer=1,
        train_dtype="float32",
        n_level_questions=N_TRAINING,
        level_tokens=4,
        n_eval_questions=len(QUESTIONS),
        eval_tokens=4,
        extraction_tokens=4,
        n_instructions=1,
        n_epochs=1.0,
        lora=LoRA(rank=2, alpha=4.0),
    )


@pytest.fixture
def trained(small: Tiny, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained, in order; everything before training is planted, and the rest is as it is."""
    model, done = small.hooked("transformer_lens"), []

    def prepare(setup: Setup, folder: Path) -> Prepared:
        rows = [
            {"question": f"Is {i}?", "level": level, "answer": f"{text} {i}", "asked": "", "expression": 1.0}
            for i in range(N_TRAINING)
            for level, text in SAYS.items()
        ]
        shape = (model.n_layers, model.d_model)
        values = np.random.default_rng(0).normal(size=(2, 8, *shape)).astype(np.float32)
        vector = direction(
            torch.ones(shape).cumsum(0),
            provenance=replace(model.provenance, method="persona_vector"),
            norms=torch.ones(model.n_layers),
        )
        return Prepared(
            setup=setup,
            folder=folder,
            model=model,
            traits={"loud": LOUD},
            directions={"loud": vector},
            training={"loud": Contrast.of(*values, *[np.arange(8).astype(str)] * 2)},
            levels={"loud": LevelData("loud", DataFrame(rows), "letters", N_TRAINING)},
            judges=(LetterJudge(),),
            coherence=CoherenceJudge(model, WordEncoder(["is"]), progress=False),
        )

    def counted(train: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, out: Path, **more: Any) -> Any:
            if not (out / "result.json").is_file():
                done.append(str(out.name))
            return train(*given, out=out, **more)

        return call

    for module in (shift, prevention, robustness):
        monkeypatch.setattr(module, "prepare", prepare)
    for module in (cells, prevention, robustness):
        monkeypatch.setattr(module, "finetune", counted(module.finetune))
    monkeypatch.setattr(robustness, "_against_text", lambda _, prepared, __: prepared.data("loud", "level_1"))
    return done


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix not in (".pdf", ".png")}


COMMON = {"provenance.json", "effects.parquet", "claims.parquet"}


def test_the_shift(setup: Setup, trained: list[str], tmp_path: Path) -> None:
    config = ShiftConfig(setup, levels=LEVELS, flawed_levels=("normal", "level_2"), n_draws=20)
    claims = run_shift(config, work=tmp_path / "work", out=tmp_path / "out")
    assert len(trained) == 7
    figures = {"shift_and_expression.csv", "specificity.csv", "before_training.csv"}
    tables = {"cells.csv", "correlations.csv", "nulls.csv", "predictors.csv"}
    assert files(tmp_path / "out") == COMMON | figures | tables
    named = pd.read_csv(tmp_path / "out" / "correlations.csv").query("named")
    effects = load_effects(tmp_path / "out")
    own = effects[effects["family"] == "shift and expression, the trait's own direction"]
    np.testing.assert_allclose(own[["estimate", "low", "high", "p"]], named[["estimate", "low", "high", "p"]])
    assert "shift tells expression, letters" in set(claims["claim"])
    again = run_shift(config, work=tmp_path / "work", out=tmp_path / "again")
    pd.testing.assert_frame_equal(again, claims)
    assert len(trained) == 7


@pytest.mark.slow
def test_prevention(setup: Setup, trained: list[str], tmp_path: Path) -> None:
    config = PreventionConfig(
        setup, "loud", holdout=3, steering=(0.1,), prompts=(), ablation_layers=("one",), penalties=(1.0,),
        correcting=(0.1,), every_choice=200, n_texts=2,
    )  # fmt: skip
    claims = run_prevention(config, work=tmp_path / "work", out=tmp_path / "out")
    names = {"plain finetuning 0", "preventative steering 0.1", "preventative steering, all layers 1"}
    assert set(trained) == names | {"concept ablation 1", "projection penalty 1"} and len(trained) == 5
    assert files(tmp_path / "out") == COMMON | {"measured.csv", "frontier.csv"}
    assert len(claims) == 7 and set(claims["study"]) == {"finetuning"}
    effects = load_effects(tmp_path / "out")
    changes = effects[effects["metric"] == "change of expression"]
    assert set(changes["test"]) == {"sign flips over questions"} and set(changes["n_cluster"]) == {len(QUESTIONS)}
    measured = pd.read_csv(tmp_path / "out" / "measured.csv").query("metric == 'change from plain finetuning'")
    held = measured[measured["method"] != "plain finetuning"]
    np.testing.assert_allclose(changes[["estimate", "low", "high"]], held[["estimate", "low", "high"]])
    run_prevention(config, work=tmp_path / "work", out=tmp_path / "out")
    assert len(trained) == 5


@pytest.mark.slow
def test_training_against_a_monitor(setup: Setup, trained: list[str], tmp_path: Path) -> None:
    config = RobustnessConfig(setup, "loud", weight=1.0, other_layers=(0,), n_samples=1, n_instructions=1)
    claims = run_robustness(config, work=tmp_path / "work", out=tmp_path / "out")
    assert len(trained) == 5
    assert files(tmp_path / "out") == COMMON | {"measured.csv", "detectors.csv"}
    runs = ("trait data", "projection penalty", "adaptive penalty", "data against the text monitor")
    detectors = (
        "monitored direction",
        "monitored direction at the last prompt token",
        "monitored direction at layer 0",
    )
    expected = {*detectors, "vector extracted again", "fresh probe", "trait expression: letters"}
    assert set(claims["claim"]) == {f"{detector} sees {run}, seed 0" for detector in expected for run in runs}
    pd.testing.assert_frame_equal(load_claims(tmp_path / "out"), claims, check_dtype=False)
