"""What the scripts of analyses share."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[2] / "analyses"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FOLDER))

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield module


def test_tables_come_back_in_order_and_with_the_digits_asked_for(load: Any, tmp_path: Path) -> None:
    kept = load("kept_results")
    tables = {"a": pd.DataFrame({"trait": ["NA", "null"], "x": [1 / 3, 2.0]}), "more/b": pd.DataFrame({"n": [1]})}
    kept.write_tables(tmp_path, tables)
    for name, found in zip(("more/b", "a"), kept.read_tables(tmp_path, "more/b", "a"), strict=True):
        pd.testing.assert_frame_equal(found, tables[name], check_exact=True)
    kept.write_tables(tmp_path, tables, digits=2)
    assert (tmp_path / "a.csv").read_bytes() == b"trait,x\nNA,0.33\nnull,2\n"
