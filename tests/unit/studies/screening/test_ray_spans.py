"""How batches are handed out to workers, and whose error ends a run; no cluster is started."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.directions.direction import Direction
from persona_interp.errors import ArtefactError, ModelError
from persona_interp.io import TEMPORARY
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.screening import ray_engine
from persona_interp.studies.screening.batch import Screener
from persona_interp.studies.screening.config import ScreenConfig
from persona_interp.studies.screening.ray_engine import (
    Recipe,
    Worker,
    missing_batches,
    screen_on_ray,
    spans,
    worker_error,
)
from persona_interp.studies.screening.store import Shards
from tests.contract.tiny import Tiny
from tests.unit.studies.screening.conftest import ROWS, Write


@given(st.sets(st.integers(0, 60)), st.integers(1, 9))
def test_spans_cover_what_is_missing_once_and_nothing_else(missing: set[int], longest: int) -> None:
    found = spans(sorted(missing), longest)
    assert [number for start, stop in found for number in range(start, stop)] == sorted(missing)
    assert all(1 <= stop - start <= longest for start, stop in found)


def test_a_run_of_batches_is_one_span() -> None:
    assert spans([2, 3, 4, 8, 9], 8) == [(2, 5), (8, 10)]
    assert spans([0, 1, 2], 2) == [(0, 2), (2, 3)]


def test_rows_are_counted_by_reading_where_the_source_cannot_say(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, shards = write("data.jsonl", ROWS), Shards(tmp_path / "out")
    shards.write(1, pa.table({"row": [4]}))
    assert missing_batches(source, shards, 4) == [0, 2, 3]
    monkeypatch.setattr("persona_interp.studies.screening.ray_engine.count_rows", lambda _: None)
    assert missing_batches(source, shards, 4) == [0, 2, 3]
    with pytest.raises(ArtefactError, match="empty.jsonl is empty: 0 bytes"):
        missing_batches(write("empty.jsonl", []), shards, 4)


def test_a_recipe_makes_an_equal_screener(
    small: Tiny, model: HookedModelBase, directions: tuple[Direction, ...]
) -> None:
    screener = Screener.make(model, directions, ScreenConfig((1,)))
    recipe = Recipe.of(screener)
    assert (recipe.model, recipe.backend, recipe.dtype) == (str(small.folder), "nnsight", "float32")
    again = recipe.make()
    assert again.model is not model
    assert again.model.provenance == model.provenance
    assert again.columns == screener.columns
    with pytest.raises(ModelError, match=f"has weights {model.provenance.weights}, not other"):
        replace(recipe, weights="other").make()


def test_a_workers_error_comes_back_as_what_it_was(
    model: HookedModelBase, directions: tuple[Direction, ...], tmp_path: Path
) -> None:
    recipe = replace(Recipe.of(Screener.make(model, directions, ScreenConfig((1,)))), model=str(tmp_path / "none"))
    values = ("data.jsonl", str(tmp_path), 0, 1)
    span = {name: np.array([value]) for name, value in zip(("source", "folder", "start", "stop"), values, strict=True)}
    done = Worker(recipe)(span)
    assert done["error"].tolist() == ["ModelError"]
    error = worker_error(done["error"][0], done["text"][0])
    assert type(error) is ModelError
    assert str(error).startswith(f"cannot load '{tmp_path / 'none'}'")


def test_what_a_killed_worker_had_half_written_is_removed_at_the_end(
    model: HookedModelBase,
    directions: tuple[Direction, ...],
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shards = Shards(tmp_path / "out")
    shards.write(0, pa.table({"row": [4]}))
    killed = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = tmp_path / "out" / f".part.parquet.{int(killed.stdout)}-abc{TEMPORARY}"
    monkeypatch.setattr(ray_engine, "_ray", lambda: SimpleNamespace(is_initialized=lambda: True))
    monkeypatch.setattr(ray_engine, "_map", lambda *_: left.write_bytes(b"half"))
    screener = Screener.make(model, directions, ScreenConfig((1,), batch_rows=4))
    screen_on_ray(screener, [(write("data.jsonl", ROWS), shards)])
    assert not left.exists()
    assert shards.has(0)
