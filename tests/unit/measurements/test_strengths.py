"""Tables of strengths at every layer: found, kept, and used for steering, on a small model behind both backends."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, EmptySelectionError, IncompatibleDirectionError
from persona_interp.interventions.divergence import kl_divergence, unsteered_answers
from persona_interp.interventions.residual import Add
from persona_interp.interventions.strength import kl
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.measurements.steering import measure_steering, steered_answers, steering_table
from persona_interp.measurements.strengths import STRENGTHS, coefficients_by_layer, strength_table, with_targets
from persona_interp.models.hooked import HookedModelBase
from tests.contract.tiny import BACKENDS, Tiny
from tests.small import TRAIT, WordEncoder, direction, make_small
from tests.unit.measurements.test_steering import LengthJudge, steerable

PROMPTS = ["Why?", "Who is it?", "What now?", "Where to?"]
TARGETS = kl(-0.2, 0.05, 0.2)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def model(tiny: Tiny) -> HookedModelBase:
    return tiny.hooked(BACKENDS[0])


def strengths(model: HookedModelBase, made: Direction | None = None, **changes: Any) -> pd.DataFrame:
    plain = {"layers": [0, 2], "prompts": PROMPTS, "max_new_tokens": 6, "progress": False}
    made = steerable(model) if made is None else made
    return strength_table(model, made, TARGETS, **{**plain, **changes})


def test_every_layer_reaches_every_target(model: HookedModelBase):
    table = strengths(model)
    assert list(zip(table["layer"], table["kl"], strict=True)) == [(n, t) for n in (0, 2) for t in TARGETS.targets]
    assert list(table.columns) == STRENGTHS.names and (table["trait"] == "loud").all()
    assert (np.sign(table["coefficient"]) == np.sign(table["kl"])).all()
    np.testing.assert_allclose(table["mean"], table["kl"].abs(), rtol=0.05)
    assert (table["n_passes"] <= 12).all() and (table["median"] < table["p95"]).all()
    answers = unsteered_answers(model, PROMPTS, max_new_tokens=6, progress=False)
    for row in table.itertuples():
        add = Add(steerable(model), int(row.layer), float(row.coefficient))  # pyright: ignore
        assert kl_divergence(model, add, answers=answers).mean == pytest.approx(row.mean, rel=1e-5)
    assert coefficients_by_layer(table) == {n: tuple(table.loc[table["layer"] == n, "coefficient"]) for n in (0, 2)}


def test_backends_agree(tiny: Tiny):
    tables = [strengths(tiny.hooked(backend)) for backend in BACKENDS]
    assert_frame_equal(*tables, rtol=1e-3)


def test_a_larger_coefficient_has_a_larger_kl(model: HookedModelBase):
    answers = unsteered_answers(model, PROMPTS, max_new_tokens=6, progress=False)
    for span in ("response", "all", "last"):
        means = [
            kl_divergence(model, Add(steerable(model), [0, 1], c, span=span), answers=answers).mean  # pyright: ignore
            for c in (0.0, 0.02, 0.1, 0.3)
        ]
        assert means[0] == 0 and means == sorted(means)


def test_layers_that_are_done_are_kept(model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole, run, asked = strengths(model, folder=tmp_path / "whole"), model.run, []

    def stops(*arguments: Any, **options: Any) -> Any:
        asked.append(1)
        if len(asked) > 8:
            raise KeyboardInterrupt
        return run(*arguments, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(model, "run", stops)
        strengths(model, folder=tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept").glob("layer-*")) == ["layer-00.parquet"]
    assert_frame_equal(strengths(model, folder=tmp_path / "kept"), whole)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("every layer is there already")

    monkeypatch.setattr(model, "run", refuse)
    monkeypatch.setattr(model, "generate", refuse)
    assert_frame_equal(strengths(model, folder=tmp_path / "kept"), whole)


def test_folders(model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = strengths(model, folder=tmp_path / "a", answers_folder=tmp_path / "answers")
    assert not (tmp_path / "a" / "answers").exists()
    others: list[dict[str, Any]] = [{"made": steerable(model, seed=1)}, {"span": "all"}, {"layers": [0]}, {"seed": 1}]
    for changes in others:
        with pytest.raises(ConfigError, match="holds results of another configuration"):
            strengths(model, folder=tmp_path / "a", answers_folder=tmp_path / "answers", **changes)
    monkeypatch.setattr(model, "generate", lambda *_, **__: pytest.fail("the answers are shared"))
    second = strengths(model, steerable(model, seed=1), folder=tmp_path / "b", answers_folder=tmp_path / "answers")
    assert first["n_tokens"].tolist() == second["n_tokens"].tolist()


def test_refusals(model: HookedModelBase, tmp_path: Path):
    answers = unsteered_answers(model, PROMPTS, max_new_tokens=6, progress=False)
    with pytest.raises(ConfigError, match="^got answers and a folder"):
        strengths(model, answers=answers, folder=tmp_path)
    with pytest.raises(IncompatibleDirectionError):
        strengths(model, direction(torch.ones(3, 32)))
    weak = direction(steerable(model).vectors, norms=torch.full((3,), 1e-6), provenance=model.provenance)
    with pytest.raises(EmptySelectionError) as caught:
        strengths(model, weak, answers=answers)
    assert str(caught.value).startswith("loud at layer 0: the mean KL does not reach 0.05 nats: at the largest")
    assert "\n  Of the " in str(caught.value)


def test_coefficients_of_each_layer(model: HookedModelBase, tmp_path: Path):
    asked: Any = {"max_new_tokens": 4, "progress": False, "folder": tmp_path}
    own = steered_answers(
        model, steerable(model), ["Why?"], layers=[0, 2], coefficients={0: [0.5, -0.2], 2: (0.12345,)}, **asked
    )
    cells = own[["layer", "coefficient"]].drop_duplicates()
    assert list(cells.itertuples(index=False, name=None))[1:] == [(0, 0.5), (0, -0.2), (2, 0.12345)]
    assert (tmp_path / "layer-02_coefficient-+0.1235").is_dir() and (tmp_path / "layer-00_coefficient-+0.500").is_dir()
    with pytest.raises(ConfigError, match=r"^coefficients has none of layer 2, got those of 0, 1\."):
        steered_answers(model, steerable(model), ["Why?"], layers=[0, 2], coefficients={0: [1.0], 1: [1.0]})


def measured(model: HookedModelBase, **changes: Any):
    coherence = CoherenceJudge(model, WordEncoder(["a", "e"]), progress=False)
    return measure_steering(
        model, steerable(model), TRAIT, layers=[0, 2], judges=[LengthJudge()], coherence=coherence,
        questions=["Why?", "Who is it?", "What?"], n_samples=2, max_new_tokens=8, progress=False, **changes,
    )  # fmt: skip


def test_steering_by_strength(model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = measured(model, strengths=kl(-0.2, 0.2), folder=tmp_path)
    table = steering_table(made, n_resamples=50)
    cells = table[["layer", "coefficient", "kl"]].drop_duplicates()
    assert len(cells) == 5 and cells["coefficient"].nunique() == 5
    assert cells.loc[cells["coefficient"] == 0, "kl"].isna().all()
    steered = cells[cells["coefficient"] != 0]
    assert (np.sign(steered["kl"]) == np.sign(steered["coefficient"])).all() and set(steered["kl"].abs()) == {0.2}
    monkeypatch.setattr(model, "generate", lambda *_, **__: pytest.fail("all answers are kept"))
    again = measured(model, strengths=kl(-0.2, 0.2), folder=tmp_path)
    assert_frame_equal(again.frame, made.frame)


def test_steering_takes_coefficients_or_strengths(model: HookedModelBase):
    plain = measured(model, coefficients=[0.5])
    assert plain.frame["kl"].isna().all() and steering_table(plain, n_resamples=20)["kl"].isna().all()
    for given, word in (({}, "neither"), ({"coefficients": [0.5], "strengths": kl(0.2)}, "both")):
        with pytest.raises(ConfigError, match=f"^measure_steering got {word} of coefficients and strengths"):
            measured(model, **given)


def test_answers_get_the_target_of_their_coefficient():
    table = pd.DataFrame({"layer": [1, 1, 2], "coefficient": [0.5, -0.5, 0.5], "kl": [0.3, -0.3, 1.0]})
    answers = pd.DataFrame(
        {"layer": pd.Series([None, 1, 1, 2, 2], dtype="Int64"), "coefficient": [0.0, 0.5, -0.5, 0.5, -0.5]}
    )
    assert with_targets(answers, table)["kl"].fillna(0).tolist() == [0, 0.3, -0.3, 1.0, 0]
