"""Analyses take a kept result for what made it, and for nothing else."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from persona_interp.errors import ConfigError
from persona_interp.models.hooked import HookedModelBase

FOLDER = Path(__file__).parents[2] / "analyses"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FOLDER))

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield module


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


def test_agreement_of_estimated_scores_is_of_one_model_and_data(load: Any, model: HookedModelBase) -> None:
    psychadapter = load("psychadapter")
    data = SimpleNamespace(data_hash="a", traits=("openness",))
    seen = [psychadapter.agreement_identity(psychadapter.Config(), model, data)]
    data.data_hash = "b"
    seen += [psychadapter.agreement_identity(psychadapter.Config(), model, data)]
    seen += [psychadapter.agreement_identity(psychadapter.Config(judge_pairs=2), model, data)]
    assert len({json.dumps(one, sort_keys=True) for one in seen}) == 3


def test_tables_come_back_in_order_and_with_the_digits_asked_for(load: Any, tmp_path: Path) -> None:
    kept = load("kept_results")
    tables = {"a": pd.DataFrame({"trait": ["NA", "null"], "x": [1 / 3, 2.0]}), "more/b": pd.DataFrame({"n": [1]})}
    kept.write_tables(tmp_path, tables)
    for name, found in zip(("more/b", "a"), kept.read_tables(tmp_path, "more/b", "a"), strict=True):
        pd.testing.assert_frame_equal(found, tables[name], check_exact=True)
    kept.write_tables(tmp_path, tables, digits=2)
    assert (tmp_path / "a.csv").read_bytes() == b"trait,x\nNA,0.33\nnull,2\n"
