"""Strengths by effect in the main job: found once a trait, before any steered answer, kept, and used from then on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.strengths import STRENGTHS
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.persona import strengths
from persona_interp.studies.persona.bench import Bench, load_bench
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.run import run_main_job
from persona_interp.tables import read_table
from persona_interp.types import TokenBatch
from tests.integration.main_job.conftest import results_of
from tests.small import direction

TARGETS = (0.02, 0.1)


@pytest.fixture(scope="module")
def by_kl(small: RunConfig) -> RunConfig:
    return replace(small, coefficients=(), kl=TARGETS, layers=(0, 1))


def bench_in(config: RunConfig, folder: Path) -> tuple[Bench, Any, Direction]:
    bench = load_bench(config, folder)
    vectors = np.random.default_rng(0).standard_normal((2, bench.model.d_model))
    made = direction(torch.tensor(vectors).float(), norms=torch.tensor([5.0, 8.0]), provenance=bench.model.provenance)
    return bench, config.load_traits()[0], made


def test_given_coefficients_stay(small: RunConfig, tmp_path: Path) -> None:
    bench, trait, made = bench_in(small, tmp_path)
    assert strengths.calibrated(bench, trait, made) is None
    assert strengths.coefficients_by_layer(bench, trait, made) == {1: (-0.3, 0.3)}
    assert strengths.place_of_test(bench, trait, made) == (1, 0.3)


def test_each_layer_has_its_own(by_kl: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, trait, made = bench_in(by_kl, tmp_path)
    found = strengths.coefficients_by_layer(bench, trait, made)
    assert list(found) == [0, 1] and all(len(of) == 4 and list(of) == sorted(of) for of in found.values())
    assert all(of[1] < 0 < of[2] for of in found.values()) and found[0] != found[1]
    folder = tmp_path / "steering" / trait.name / "strengths"
    table = read_table(folder / "layer-01.parquet", STRENGTHS)
    assert table["kl"].tolist() == [-0.1, -0.02, 0.02, 0.1] and sorted(table["coefficient"]) == list(found[1])
    assert (tmp_path / "neutral" / "part-00000.parquet").is_file()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("they are kept")

    monkeypatch.setattr(HookedModelBase, "run", refuse)
    monkeypatch.setattr(HookedModelBase, "generate", refuse)
    assert strengths.coefficients_by_layer(bench, trait, made) == found
    assert strengths.place_of_test(bench, trait, made) == (1, found[1][-1])
    given = replace(bench, config=replace(by_kl, test_coefficient=0.7))
    assert strengths.place_of_test(given, trait, made) == (1, 0.7)


def test_refusals(small: RunConfig, by_kl: RunConfig) -> None:
    for changes, said in (
        ({"kl": (0.3, 0.31)}, "a quarter apart, got 0.3 and 0.31"),
        ({"kl": ()}, "kl must"),
        ({"kl": (-0.1,)}, r"kl\[0\] must be above 0"),
    ):
        with pytest.raises(ConfigError, match=said):
            replace(small, **changes)
    assert by_kl.kl_targets().targets == (-0.1, -0.02, 0.02, 0.1)
    assert by_kl.to_dict()["kl"] == list(TARGETS)


@pytest.fixture(scope="module")
def whole(by_kl: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_main_job(by_kl, tmp_path_factory.mktemp("by_kl") / "whole")


def test_the_whole_job_uses_them(whole: Path) -> None:
    measured = Measurements.load(whole / "measurements.parquet").frame
    cells = measured.loc[measured["coefficient"] != 0, ["layer", "coefficient"]].drop_duplicates()
    assert cells.groupby("layer").size().to_dict() == {0: 4, 1: 4} and cells["coefficient"].nunique() == 8
    null = read_table(whole / "tables" / "steering_null.csv")
    assert set(null["coefficient"]) == {cells.loc[cells["layer"] == 1, "coefficient"].max()}, "one norm for all"


@pytest.mark.slow
def test_a_job_killed_while_strengths_are_found_goes_on_to_the_same_results(
    by_kl: RunConfig, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[bool] = []
    run = HookedModelBase.run

    def stops(self: HookedModelBase, batch: TokenBatch, **options: Any) -> Any:
        runs.append(options.get("outputs") == "response_logits")
        if sum(runs) > 6:
            raise KeyboardInterrupt
        return run(self, batch, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(HookedModelBase, "run", stops)
        run_main_job(by_kl, tmp_path)
    assert not list(tmp_path.rglob("*coefficient-*")), "strengths come before steered answers"
    run_main_job(by_kl, tmp_path)
    assert results_of(tmp_path) == results_of(whole)
