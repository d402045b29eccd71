"""`train_psychadapter`: what is trained and kept, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import persona_interp.studies.psychadapter.steps as steps_module
from persona_interp.data.trait_texts import TraitTexts
from persona_interp.directions.psychadapter import PsychAdapter, check_psychadapter
from persona_interp.errors import ConfigError, DataError, IncompatibleDirectionError, TrainingError
from persona_interp.finetuning.settings import LoRA
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.interventions.text import generate_text
from persona_interp.models.identity import fingerprint
from persona_interp.models.plain import load_plain
from persona_interp.studies.psychadapter.settings import (
    PAPER_PSYCHADAPTER,
    PAPER_PSYCHADAPTER_LORA,
    PAPER_PSYCHADAPTER_LORA_GPT2,
    PsychAdapterSettings,
)
from persona_interp.studies.psychadapter.training_run import ADAPTER, LOSSES, checkpoints
from tests.contract.tiny import Tiny
from tests.unit.finetuning.trait_texts import planted, quick, run

FEW = LoRA(rank=2, alpha=4.0, dropout=0.1)


def test_the_published_settings() -> None:
    s = PAPER_PSYCHADAPTER
    assert (s.learning_rate, s.n_epochs, s.batch_size, s.accumulation, s.warmup_steps) == (5e-5, 5, 32, 2, 0)
    assert (s.max_tokens, s.dtype, s.too_long, s.start, s.init_scale) == (128, "bfloat16", "cut", None, 1.0)
    for lora in (PAPER_PSYCHADAPTER_LORA, PAPER_PSYCHADAPTER_LORA_GPT2):
        assert (lora.rank, lora.alpha, lora.dropout, lora.rank_stabilised) == (8, 32.0, 0.1, False)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and at most 10"),
        ({"lora_learning_rate": 0.0}, "lora_learning_rate must be above 0"),
        ({"n_epochs": 0}, "n_epochs must be 1 to"),
        ({"batch_size": 0}, "batch_size must be 1 to 65536"),
        ({"max_tokens": 1}, "max_tokens must be 2 to"),
        ({"holdout": 1.0}, r"holdout must be at least 0 and below 1"),
        ({"dtype": "int8"}, "dtype must be float32, bfloat16 or auto"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        PsychAdapterSettings(**change)


@pytest.fixture(scope="module")
def made(small: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("psychadapter") / "run"
    return out, run(small, out)


def test_only_the_adapter_is_trained_and_it_belongs_to_the_base(small: Tiny, made: tuple[Path, Any]) -> None:
    _, trained = made
    check_psychadapter(trained.adapter, small.hooked("nnsight"))
    assert trained.load("nnsight").provenance.weights == fingerprint(small.plain)
    assert (trained.lora, trained.parameters.lora) == (None, 0)
    assert trained.parameters.psychadapter == 3 * 3 * 2 * 2 * 8
    assert trained.parameters.base == sum(weight.numel() for weight in small.plain.parameters())
    assert trained.parameters.share == trained.parameters.psychadapter / trained.parameters.base
    assert trained.holdout_loss < min(trained.base_loss, trained.start_loss)


def test_what_is_kept(made: tuple[Path, Any]) -> None:
    out, trained = made
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [ADAPTER, "psychadapter.json", LOSSES, "result.json", "finetune.json"]
    )
    losses = pd.read_csv(out / LOSSES)
    assert losses["step"].tolist() == list(range(1, trained.n_steps + 1)) and trained.n_steps == 8
    assert losses["learning_rate"].tolist() == pytest.approx([1e-2 * (8 - k) / 8 for k in range(8)])
    assert (trained.n_texts, trained.n_cut, trained.n_left_out) == (32, 0, 0)
    told = PsychAdapter.load(out / ADAPTER)
    assert told.start == "x" and told.provenance.details["n_texts"] == 32
    assert told.provenance.details["data"] == planted(40).data_hash


def test_scores_are_standardised_by_the_texts_trained_on(made: tuple[Path, Any]) -> None:
    _, trained = made
    train, _ = planted(40).split(held_out=0.2, seed=0)
    assert trained.adapter.standard.mean == pytest.approx(train.scores.mean(0))
    assert trained.adapter.standard.std == pytest.approx(train.scores.std(0))


def test_scores_may_come_standardised(small: Tiny, tmp_path: Path, made: tuple[Path, Any]) -> None:
    data = planted(40).standardised()
    trained = run(small, tmp_path / "run", data)
    assert trained.adapter.standard == data.standard
    assert trained.adapter.standard != made[1].adapter.standard


def test_it_returns_at_once_where_it_is_done(small: Tiny, made: tuple[Path, Any], monkeypatch: Any) -> None:
    out, trained = made
    monkeypatch.setattr(steps_module, "_step", lambda *_: pytest.fail("nothing should be trained"))
    again = run(small, out)
    assert torch.equal(again.adapter.affine.weight, trained.adapter.affine.weight)
    pd.testing.assert_frame_equal(again.losses, trained.losses, check_exact=True)


def test_without_texts_held_out_there_is_no_such_loss(small: Tiny, tmp_path: Path) -> None:
    trained = run(small, tmp_path / "run", settings=quick(holdout=0.0, n_epochs=1))
    assert (trained.holdout_loss, trained.base_loss, trained.start_loss, trained.n_texts) == (None, None, None, 40)


def test_lora_is_trained_beside_and_the_pair_belongs_together(small: Tiny, tmp_path: Path) -> None:
    trained = run(small, tmp_path / "run", lora=FEW)
    assert trained.lora == tmp_path / "run" / "adapter" and trained.parameters.lora > trained.parameters.psychadapter
    model = trained.load("nnsight")
    check_psychadapter(trained.adapter, model)
    with pytest.raises(IncompatibleDirectionError):
        check_psychadapter(trained.adapter, small.hooked("nnsight"))
    plain, _ = load_plain(small.folder, device="cpu")
    assert fingerprint(plain) == fingerprint(small.plain) != model.provenance.weights


def test_lora_has_a_learning_rate_of_its_own(small: Tiny, tmp_path: Path) -> None:
    moved = {}
    for rate in (1e-9, 1e-3):
        made = run(small, tmp_path / f"{rate}", lora=FEW, settings=quick(lora_learning_rate=rate))
        assert made.lora is not None
        weights = load_file(made.lora / "adapter_model.safetensors")
        moved[rate] = max(float(weight.abs().max()) for name, weight in weights.items() if "lora_B" in name)
    assert moved[1e-9] < 1e-6 < 1e-4 < moved[1e-3]  # B starts at zero, and a step of AdamW is about its rate


@pytest.mark.parametrize("lora", [None, FEW])
def test_bfloat16_weights(small: Tiny, tmp_path: Path, lora: LoRA | None) -> None:
    trained = run(small, tmp_path / "run", lora=lora, settings=quick(dtype="bfloat16", n_epochs=1))
    model = trained.load("nnsight")
    check_psychadapter(trained.adapter, model)
    assert trained.adapter.affine.weight.dtype == torch.float32 and np.isfinite(trained.losses["loss"]).all()
    made = generate_text(model, ["x"] * 2, intervention=TraitPrefix(trained.adapter, [{"one": 2.0}, {"one": -2.0}]))
    assert len(made) == 2


def test_an_initialisation_of_zero_keeps_what_a_zero_token_takes(small: Tiny, tmp_path: Path) -> None:
    trained = run(small, tmp_path / "run", settings=quick(init_scale=0.0, n_epochs=1))
    assert trained.start_loss != trained.base_loss
    assert trained.adapter.affine.weight.abs().max() > 0


@pytest.mark.parametrize(
    ("change", "key"),
    [({"settings": quick(seed=1)}, "psychadapter"), ({"data": planted(40, seed=1)}, "data"), ({"lora": FEW}, "lora")],
)
def test_a_folder_of_another_run_is_refused(
    small: Tiny, made: tuple[Path, Any], change: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=f"holds results of another configuration.\n  {key}: there "):
        run(small, made[0], **change)


def test_data_from_which_nothing_can_be_learnt_are_refused(small: Tiny, tmp_path: Path) -> None:
    constant = planted(40)
    constant = replace(constant, scores=np.where([True, False], 3.0, constant.scores))
    with pytest.raises(DataError, match="column one: all 40 scores are 3"):
        run(small, tmp_path / "run", constant)
    with pytest.raises(DataError, match="holds one text"):
        run(small, tmp_path / "run", planted(40).rows([0]))
    with pytest.raises(DataError, match="text 2, two: the score is nan"):
        TraitTexts(("a", "b"), np.array([[0.0, 1.0], [1.0, np.nan]]), ("one", "two"), "made", estimated=False)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    small: Tiny, tmp_path: Path, monkeypatch: Any
) -> None:
    real, calls = steps_module.text_loss, []

    def breaks(*args: Any) -> torch.Tensor:
        calls.append(None)
        return real(*args) * (float("nan") if len(calls) == 9 else 1.0)

    monkeypatch.setattr(steps_module, "text_loss", breaks)
    with pytest.raises(TrainingError) as caught:
        run(small, tmp_path / "run")
    kept = tmp_path / "run" / "checkpoints" / "step-000003.safetensors"
    assert str(caught.value) == (
        f"the loss is nan at step 5. Training of {tmp_path / 'run'} stopped.\n"
        f"  The last good checkpoint is kept: {kept}.\n"
        "  Lower the learning rate, or look at the data."
    )
    assert checkpoints(tmp_path / "run" / "checkpoints") == [kept]
