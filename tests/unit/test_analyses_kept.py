"""Analyses take a kept result for what made it, and for nothing else."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.data.conversations import question_and_answer
from persona_interp.data.traits import Trait
from persona_interp.errors import ConfigError
from persona_interp.finetuning.levels import LevelData
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.models.hooked import HookedModelBase
from tests.small import TRAIT, WordEncoder, direction

FOLDER = Path(__file__).parents[2] / "analyses"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FOLDER))

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield module


def coherence(model: HookedModelBase) -> CoherenceJudge:
    return CoherenceJudge(model, WordEncoder(["why"]), progress=False)


def prepared(load: Any, model: HookedModelBase, folder: Path, trait: Trait = TRAIT, **changes: Any) -> Any:
    setup, made = load("finetuning_setup"), load("finetuning_prepared")
    rows = [{"question": "Why?", "level": level, "answer": "So.", "asked": "", "expression": 1.0}
            for level in ("normal", "level_1", "level_2")]  # fmt: skip
    levels = {trait.name: LevelData(trait.name, pd.DataFrame(rows), "judge", 1)}
    plain: dict[str, Any] = {"setup": setup.Setup(), "folder": folder, "model": model, "traits": {trait.name: trait}}
    plain |= {"rollouts": {}, "directions": {}, "training": {}, "levels": levels}
    plain |= {"judges": (LexicalJudge(),), "coherence": coherence(model)}
    return made.Prepared(**{**plain, **changes})


def test_a_result_without_a_word_of_what_made_it_is_refused(load: Any, tmp_path: Path) -> None:
    refuse, made = load("kept_results").refuse_other_inputs, tmp_path / "measured.json"
    refuse(made, {"seed": 0})
    made.write_text("{}")
    refuse(made, {"seed": 0})
    with pytest.raises(ConfigError, match="seed: there 0, now 1"):
        refuse(made, {"seed": 1})
    (tmp_path / "measured_made_from.json").unlink()
    with pytest.raises(ConfigError, match="does not say what it was made from"):
        refuse(made, {"seed": 0})


def test_training_sets_of_levels_are_of_one_trait_model_and_judge(
    load: Any, model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, before, made = load("finetuning_setup"), load("finetuning_prepared"), []
    data = prepared(load, model, tmp_path).levels[TRAIT.name]
    monkeypatch.setattr(before, "generate_levels", lambda *_, **__: [made.append(1), data][1])

    def levels(trait: Trait = TRAIT, **changes: Any) -> LevelData:
        settings = replace(setup.Setup(), **changes)
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
    load: Any, model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift, trained = load("finetuning_shift"), []
    scores = pd.DataFrame({"trait": [TRAIT.name], "judge": ["j"]})
    monkeypatch.setattr(shift, "train_cell", lambda *_: trained.append(1))
    monkeypatch.setattr(shift, "probes", lambda *_: {TRAIT.name: None})
    monkeypatch.setattr(shift, "expression", lambda *_: scores)
    monkeypatch.setattr(shift, "mean_shift", lambda *_: np.ones((2, 3)))
    monkeypatch.setattr(shift, "expression_change", lambda *_: SimpleNamespace(estimate=0.5))

    def cell(**changes: Any) -> Any:
        return shift._cell(
            prepared(load, model, tmp_path, **changes), scores, {TRAIT.name: None}, TRAIT.name, "normal", 0
        )

    first = cell()
    assert cell()[1] == first[1] == {("j", TRAIT.name): 0.5} and trained == [1]
    other = prepared(load, model, tmp_path).levels[TRAIT.name]
    other.table.loc[0, "answer"] = "No."
    with pytest.raises(ConfigError, match="data: there "):
        cell(levels={TRAIT.name: other})
    with pytest.raises(ConfigError, match="judges: there "):
        cell(judges=())
    with pytest.raises(ConfigError, match="traits: there "):
        cell(trait=replace(TRAIT, eval_questions=("Another?",)))
    assert trained == [1]


def test_an_arm_of_prevention_is_of_one_task_and_one_strength(
    load: Any, model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prevention, arms = load("prevention"), load("prevention_arms")
    measured: list[int] = []
    vector = direction(torch.ones(2, model.d_model), trait=TRAIT.name)
    monkeypatch.setattr(
        prevention, "prepare",
        lambda setup, folder: prepared(load, model, folder, setup=setup, directions={TRAIT.name: vector}),
    )  # fmt: skip
    monkeypatch.setattr(prevention, "_reference", lambda *_: None)
    monkeypatch.setattr(prevention, "_cap_bounds", lambda *_: {50.0: 1.0})
    monkeypatch.setattr(prevention, "arms", lambda *_: [arms.Arm(arms.BASE, 0.0), arms.Arm(arms.CAP, 50.0)])
    monkeypatch.setattr(prevention, "_measure", lambda *_: [measured.append(1), [{"metric": "coherent"}]][1])
    monkeypatch.setattr(prevention, "_against_plain", lambda *_: {"metric": "change"})
    config = arms.Config(trait=TRAIT.name)
    prevention.run(config, tmp_path)
    prevention.run(replace(config, steering=(0.7,)), tmp_path)  # other arms than these two
    assert len(measured) == 2
    with pytest.raises(ConfigError, match="config: there {'n_texts': 12}, now {'n_texts': 5}"):
        prevention.run(replace(config, n_texts=5), tmp_path)
    with pytest.raises(ConfigError, match="setup: there {'eval_tokens': 40}, now {'eval_tokens': 9}"):
        prevention.run(replace(config, setup=replace(config.setup, eval_tokens=9)), tmp_path)
    monkeypatch.setattr(prevention, "_cap_bounds", lambda *_: {50.0: 2.0})
    with pytest.raises(ConfigError, match="cap: there '1', now '2'"):
        prevention.run(config, tmp_path)
    assert len(measured) == 2


def test_training_sets_are_told_apart_by_every_turn(load: Any) -> None:
    hash_of = load("kept_results").conversations_hash
    talks = [question_and_answer("Why?", answer, name="") for answer in ("So.", "So!")]
    assert len({hash_of(talks), hash_of(talks[:1]), hash_of(talks[::-1])}) == 3


def test_tables_come_back_in_order_and_with_the_digits_asked_for(load: Any, tmp_path: Path) -> None:
    kept = load("kept_results")
    tables = {"a": pd.DataFrame({"trait": ["NA", "null"], "x": [1 / 3, 2.0]}), "more/b": pd.DataFrame({"n": [1]})}
    kept.write_tables(tmp_path, tables)
    for name, found in zip(("more/b", "a"), kept.read_tables(tmp_path, "more/b", "a"), strict=True):
        pd.testing.assert_frame_equal(found, tables[name], check_exact=True)
    kept.write_tables(tmp_path, tables, digits=2)
    assert (tmp_path / "a.csv").read_bytes() == b"trait,x\nNA,0.33\nnull,2\n"
