"""What is kept of finetuned models is taken for what made it, and for nothing else."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.data.traits import Trait
from persona_interp.errors import ConfigError
from persona_interp.finetuning.levels import LevelData
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.finetuning import prepared as before
from persona_interp.studies.finetuning import prevention, shift
from persona_interp.studies.finetuning.arm_effects import BASE, CAP
from persona_interp.studies.finetuning.arms import Arm, PreventionConfig
from persona_interp.studies.finetuning.config import Setup
from persona_interp.studies.finetuning.drift import probe_activations
from persona_interp.studies.finetuning.prepared import Prepared
from persona_interp.studies.finetuning.prevention import measure_prevention
from tests.small import TRAIT, WordEncoder, direction


def coherence(model: HookedModelBase) -> CoherenceJudge:
    return CoherenceJudge(model, WordEncoder(["why"]), progress=False)


def prepared(model: HookedModelBase, folder: Path, trait: Trait = TRAIT, **changes: Any) -> Any:
    rows = [{"question": "Why?", "level": level, "answer": "So.", "asked": "", "expression": 1.0}
            for level in ("normal", "level_1", "level_2")]  # fmt: skip
    levels = {trait.name: LevelData(trait.name, pd.DataFrame(rows), "judge", 1)}
    plain: dict[str, Any] = {"setup": Setup(), "folder": folder, "model": model, "traits": {trait.name: trait}}
    plain |= {"directions": {}, "training": {}, "levels": levels}
    plain |= {"judges": (LexicalJudge(),), "coherence": coherence(model)}
    return Prepared(**{**plain, **changes})


def test_training_sets_of_levels_are_of_one_trait_model_and_judge(
    model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    data = prepared(model, tmp_path).levels[TRAIT.name]
    monkeypatch.setattr(before, "generate_levels", lambda *_, **__: [made.append(1), data][1])

    def levels(trait: Trait = TRAIT, **changes: Any) -> LevelData:
        settings = replace(Setup(), **changes)
        return before._levels(model, trait, LexicalJudge(), coherence(model), settings, ["Why?"], tmp_path)

    levels()
    levels()
    assert made == [1]
    with pytest.raises(ConfigError, match="seed: there 0, now 3"):
        levels(seed=3)
    with pytest.raises(ConfigError, match="trait: there "):
        levels(replace(TRAIT, questions=("Another?",)))
    monkeypatch.setattr(model, "provenance", replace(model.provenance, weights="w2-0"))
    with pytest.raises(ConfigError, match="model: there {'weights': "):
        levels()


def test_a_cell_of_the_shift_is_of_one_training_set(
    model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    read = {TRAIT.name: probe_activations(model, TRAIT.eval_questions, progress=False)}
    scores = pd.DataFrame({"trait": [TRAIT.name], "judge": ["j"]})
    monkeypatch.setattr(shift, "train_cell", lambda *_: trained.append(1))
    monkeypatch.setattr(shift, "probes", lambda *_: read)
    monkeypatch.setattr(shift, "expression", lambda *_: scores)
    monkeypatch.setattr(shift, "mean_shift", lambda *_: np.ones((2, 3)))
    monkeypatch.setattr(shift, "expression_change", lambda *_: SimpleNamespace(estimate=0.5))

    def cell(**changes: Any) -> Any:
        return shift._cell(prepared(model, tmp_path, **changes), scores, read, TRAIT.name, "normal", 0)

    first = cell()
    assert cell()[1] == first[1] == {("j", TRAIT.name): 0.5} and trained == [1]
    other = prepared(model, tmp_path).levels[TRAIT.name]
    other.table.loc[0, "answer"] = "No."
    with pytest.raises(ConfigError, match="data: there "):
        cell(levels={TRAIT.name: other})
    with pytest.raises(ConfigError, match="judges: there "):
        cell(judges=())
    with pytest.raises(ConfigError, match="traits: there "):
        cell(trait=replace(TRAIT, eval_questions=("Another?",)))
    assert trained == [1]


def test_an_arm_of_prevention_is_of_one_task_and_one_strength(
    model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    vector = direction(torch.ones(2, model.d_model), trait=TRAIT.name)
    monkeypatch.setattr(
        prevention, "prepare",
        lambda setup, folder: prepared(model, folder, setup=setup, directions={TRAIT.name: vector}),
    )  # fmt: skip
    monkeypatch.setattr(prevention, "_reference", lambda *_: None)
    monkeypatch.setattr(prevention, "_cap_bounds", lambda *_: {50.0: 1.0})
    monkeypatch.setattr(prevention, "arms", lambda *_: [Arm(BASE, 0.0), Arm(CAP, 50.0)])
    monkeypatch.setattr(prevention, "_measure", lambda *_: [measured.append(1), [{"metric": "coherent"}]][1])
    monkeypatch.setattr(prevention, "_against_plain", lambda *_: {"metric": "change"})
    config = PreventionConfig(trait=TRAIT.name)
    measure_prevention(config, tmp_path)
    measure_prevention(replace(config, steering=(0.7,)), tmp_path)  # other arms than these two
    assert len(measured) == 2
    with pytest.raises(ConfigError, match="config: there {'n_texts': 12}, now {'n_texts': 5}"):
        measure_prevention(replace(config, n_texts=5), tmp_path)
    with pytest.raises(ConfigError, match="setup: there {'eval_tokens': 40}, now {'eval_tokens': 9}"):
        measure_prevention(replace(config, setup=replace(config.setup, eval_tokens=9)), tmp_path)
    monkeypatch.setattr(prevention, "_cap_bounds", lambda *_: {50.0: 2.0})
    with pytest.raises(ConfigError, match="cap: there '1', now '2'"):
        measure_prevention(config, tmp_path)
    assert len(measured) == 2
