"""Rollouts kept in a folder: an interrupted run goes on, and what does not belong there is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.interventions.residual import Add
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.generate import (
    Rollouts,
    answer,
    generate_rollouts,
    plain_requests,
)
from persona_interp.tables import write_table
from persona_interp.types import POOLINGS
from tests.small import TRAIT, direction
from tests.unit.rollouts.runs import check_equal, make


class Kill:
    """Counts the calls of a function and is a keyboard interrupt at one of them."""

    def __init__(self, function: Any, at: int | None = None) -> None:
        self.function, self.at, self.calls = function, at, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.function(*args, **kwargs)


def test_a_folder_changes_nothing(model: HookedModelBase, whole: Rollouts, tmp_path: Path):
    kept = make(model, tmp_path / "kept")
    check_equal(kept, whole)
    assert all(type(ids) is list for ids in kept.frame["response_ids"])
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == sorted(
        ["config.json", *(f"part-{k:05d}.{end}" for k in range(6) for end in ("parquet", "safetensors", "json"))]
    )


def test_an_interrupted_run_goes_on_where_it_stopped(
    model: HookedModelBase, whole: Rollouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    killed = Kill(model.generate, at=2)
    monkeypatch.setattr(model, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        make(model, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "config.json", "part-00000.json", "part-00000.parquet", "part-00000.safetensors",
    ]  # fmt: skip
    monkeypatch.undo()
    counted = Kill(model.generate)
    monkeypatch.setattr(model, "generate", counted)
    check_equal(make(model, tmp_path), whole)
    assert counted.calls == 5, "the first of six batches is not generated again"
    counted.calls = 0
    check_equal(make(model, tmp_path), whole)
    assert counted.calls == 0


@pytest.mark.parametrize("at", [1, 2])
def test_a_kill_between_activations_and_table(
    model: HookedModelBase, whole: Rollouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
):
    """The table is what makes a batch count: before it is written, the batch is made again."""
    monkeypatch.setattr("persona_interp.rollouts.parts.write_table", Kill(write_table, at=at))
    with pytest.raises(KeyboardInterrupt):
        make(model, tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == at - 1 and len(list(tmp_path.glob("*.safetensors"))) == at
    monkeypatch.undo()
    check_equal(make(model, tmp_path), whole)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 8}, "batch_size: there 4, now 8"),
        ({"pool": ("response_mean",)}, f"pool: there {list(POOLINGS)!r}, now ['response_mean']"),
        ({"n_questions": 2}, "requests: there "),
        ({"seed": 3}, "sampling: there {'seed': 0}, now {'seed': 3}"),
        ({"temperature": 0.5}, "sampling: there "),
    ],
)
def test_a_folder_of_another_configuration_is_refused(
    model: HookedModelBase, tmp_path: Path, changes: dict[str, Any], said: str
):
    make(model, tmp_path, n_questions=1, n_instructions=1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ConfigError) as caught:
        make(model, tmp_path, **{"n_questions": 1, "n_instructions": 1, **changes})
    lines = str(caught.value).split("\n  ")
    assert lines[0] == f"{tmp_path} holds results of another configuration."
    assert lines[1].startswith(said)
    assert lines[-1] == "Use another folder, or delete this one to start again."
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_of_other_instructions_is_refused(model: HookedModelBase, tmp_path: Path):
    make(model, tmp_path, n_questions=1)
    other = replace(TRAIT, instructions=TRAIT.instructions[::-1])
    with pytest.raises(ConfigError, match="requests"):
        generate_rollouts(
            model, other, n_questions=1, n_samples=2, max_new_tokens=6, batch_size=4, folder=tmp_path, progress=False
        )


def test_a_truncated_table_is_named(model: HookedModelBase, tmp_path: Path):
    make(model, tmp_path, n_questions=1, n_instructions=1)
    table = tmp_path / "part-00000.parquet"
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(ArtefactError) as caught:
        make(model, tmp_path, n_questions=1, n_instructions=1)
    assert str(caught.value).startswith(f"{table} is not a whole Parquet file: ")
    assert str(caught.value).endswith("\n  Delete it and run the same command again, or restore it.")
    table.unlink()
    check_equal(make(model, tmp_path, n_questions=1, n_instructions=1), make(model, n_questions=1, n_instructions=1))


def test_altered_activations_are_refused(model: HookedModelBase, tmp_path: Path):
    made = make(model, tmp_path, n_questions=1, n_instructions=1)
    part = tmp_path / "part-00000.safetensors"
    part.write_bytes(part.read_bytes()[:-4])
    with pytest.raises(ArtefactError, match="does not match its manifest"):
        made.activations()


@pytest.mark.parametrize("part", ["weights", "files", "backend", "dtype", "chat_template"])
def test_answers_of_a_model_that_computes_otherwise_are_refused(
    model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
):
    make(model, tmp_path, n_questions=1, n_instructions=1)
    monkeypatch.setattr(model, "provenance", replace(model.provenance, **{part: "another"}))
    with pytest.raises(ConfigError, match=rf"{part}: there .*, now 'another'"):
        make(model, tmp_path, n_questions=1, n_instructions=1)


def test_answers_under_edits_that_nothing_describes_are_not_kept(model: HookedModelBase, tmp_path: Path):
    edits = Add(direction(torch.ones(2, model.d_model), norms=torch.ones(2)), 0, 1.0).edits
    options: dict[str, Any] = {"sampling": Sampling(2), "edits": edits, "progress": False}
    with pytest.raises(ConfigError, match="without edits_hash"):
        answer(model, plain_requests(["Why?"]), folder=tmp_path / "kept", **options)
    assert not (tmp_path / "kept").exists()
    assert len(answer(model, plain_requests(["Why?"]), **options).frame) == 1
