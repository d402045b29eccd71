"""The projection penalty: its value by hand, a planted direction that stays put, the adaptive weight."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, HookpointError
from persona_interp.finetuning.penalty import PENALISED, PenaltyState, ProjectionPenalty
from persona_interp.finetuning.run_folder import Finetuned
from persona_interp.models.plain import load_plain
from persona_interp.models.tokens import encode, render_chat, token_batch
from persona_interp.types import Hookpoint, Span
from tests.contract.tiny import Tiny
from tests.small import direction
from tests.unit.finetuning.runs import ROWS, quick, run
from tests.unit.finetuning.training import loud

LAYER, NORM = 1, 5.0
SETTINGS = quick(n_epochs=4.0)


def made_up(n_layers: int = 2, width: int = 6) -> Direction:
    vectors = torch.randn(n_layers, width, generator=torch.Generator().manual_seed(1))
    return direction(vectors, norms=torch.tensor([2.0, 3.0]))


def test_its_value_is_the_weighted_square_of_the_mean_shift_in_shares_of_the_norm() -> None:
    generator = torch.Generator().manual_seed(0)
    vector, places = made_up(), (Hookpoint(0), Hookpoint(1))
    now, base = torch.randn(2, 2, 3, 4, 6, generator=generator)
    positions = torch.tensor([[False, True, True, False], [True, True, True, True], [False, False, False, True]])
    state = PenaltyState(ProjectionPenalty(vector, places, weight=7.0))
    came = state.loss(dict(zip(places, now, strict=True)), dict(zip(places, base, strict=True)), positions)
    squares = []
    for k, norm in enumerate((2.0, 3.0)):
        unit = vector.vectors[k] / vector.vectors[k].norm()
        for i, row in enumerate(positions):
            shift = sum(float((now[k, i, p] - base[k, i, p]) @ unit) for p in range(4) if row[p]) / int(row.sum())
            squares.append((shift / norm) ** 2)
    assert came.item() == pytest.approx(7.0 * sum(squares) / len(squares), rel=1e-4)
    assert state.shift == pytest.approx((sum(squares) / len(squares)) ** 0.5, rel=1e-4)


def test_the_weight_follows_the_target_within_bounds() -> None:
    state = PenaltyState(ProjectionPenalty(made_up(), 0, weight=10.0, target=0.1))
    state.shift = 0.2
    state.adapt()
    assert state.weight == pytest.approx(11.0)
    state.shift = 0.05
    state.adapt()
    assert state.weight == pytest.approx(10.0)
    for _ in range(200):
        state.adapt()
    assert state.weight == pytest.approx(0.1)
    state.shift = 1.0
    for _ in range(300):
        state.adapt()
    assert state.weight == pytest.approx(10_000.0)
    fixed = PenaltyState(ProjectionPenalty(made_up(), 0, weight=10.0))
    fixed.shift = 9.0
    fixed.adapt()
    assert fixed.weight == 10.0


def mean_residual(model: Any, tokenizer: Any) -> Tensor:
    """Mean residual over the answers of the data, at the layer."""
    rows = [render_chat(tokenizer, row.prompt) for row in ROWS]
    prompts, answers = encode(tokenizer, rows), encode(tokenizer, [f" {row.answer}\n\n" for row in ROWS])
    batch = token_batch(prompts, answers)
    made = model.run(batch, read=[Hookpoint(LAYER)], pool=["response_mean"], outputs="none")
    return made.pooled["response_mean"][:, 0].mean(0)


@pytest.fixture(scope="module")
def planted(small: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Direction, Finetuned, Tensor, Any]:
    """The very direction in which training on these data moves the answers, and a run without a penalty."""
    made = run(small, tmp_path_factory.mktemp("free") / "run", settings=SETTINGS)
    _, tokenizer = load_plain(small.folder, device="cpu")
    base = mean_residual(small.hooked("nnsight"), tokenizer)
    moved = mean_residual(made.load("nnsight", device="cpu"), tokenizer) - base
    vectors = torch.ones(3, len(moved))
    vectors[LAYER] = moved
    vector = replace(loud(small), vectors=vectors, residual_norms=torch.full((3,), NORM))
    return vector, made, base, tokenizer


def shift(made: Finetuned, planted: tuple[Direction, Finetuned, Tensor, Any]) -> float:
    """Along the planted direction, in shares of the norm."""
    vector, _, base, tokenizer = planted
    moved = mean_residual(made.load("nnsight", device="cpu"), tokenizer) - base
    return float(moved @ vector.unit().at(LAYER)) / NORM


def test_the_projection_stays_where_it_is_paid_for(small: Tiny, planted: Any, tmp_path: Path) -> None:
    vector, free, _, _ = planted
    penalty = ProjectionPenalty(vector, LAYER, weight=2000.0)
    made = run(small, tmp_path / "run", settings=SETTINGS, penalty=penalty)
    free_shift, kept_shift = shift(free, planted), shift(made, planted)
    assert free_shift > 0.1
    assert abs(kept_shift) < 0.2 * free_shift
    assert made.losses["penalty_shift"].iloc[0] == pytest.approx(0.0, abs=1e-6), "a fresh adapter moves nothing"
    assert made.losses["loss"].iloc[0] == pytest.approx(free.losses["loss"].iloc[0], abs=1e-5)
    plain = made.losses["loss"] - penalty.weight * made.losses["penalty_shift"] ** 2
    assert plain.iloc[-1] < 0.9 * plain.iloc[0], "the data are still learnt"
    assert set(made.losses["penalty_weight"]) == {2000.0}


def test_an_adaptive_weight_grows_above_its_target_and_shrinks_below(small: Tiny, planted: Any, tmp_path: Path) -> None:
    vector = planted[0]
    tight = ProjectionPenalty(vector, LAYER, weight=1.0, target=1e-4)
    made = run(small, tmp_path / "tight", settings=SETTINGS, penalty=tight).losses
    expected = 1.0
    for above, weight in zip(made["penalty_shift"] > 1e-4, made["penalty_weight"], strict=True):
        expected *= 1.1 if above else 1 / 1.1
        assert weight == pytest.approx(expected)
    assert made["penalty_weight"].iloc[-1] > 3
    loose = ProjectionPenalty(vector, LAYER, weight=1.0, target=1e4)
    made = run(small, tmp_path / "loose", settings=SETTINGS, penalty=loose).losses
    assert made["penalty_weight"].tolist() == pytest.approx([1.1**-k for k in range(1, 17)])


@pytest.mark.parametrize("span", PENALISED)
def test_accumulated_batches_pay_what_one_batch_pays(small: Tiny, planted: Any, tmp_path: Path, span: Span) -> None:
    penalty = ProjectionPenalty(planted[0], LAYER, weight=50.0, span=span)
    losses = [
        run(
            small,
            tmp_path / str(size),
            penalty=penalty,
            settings=quick(batch_size=size, accumulation=16 // size, n_epochs=4.0, warmup_steps=0, learning_rate=1e-3),
        ).losses
        for size in (16, 4)
    ]
    assert losses[0]["loss"].tolist() == pytest.approx(losses[1]["loss"].tolist(), rel=1e-4)
    assert losses[0]["penalty_shift"].iloc[-1] > 1e-3


def test_in_bfloat16_a_fresh_adapter_pays_nothing(small: Tiny, planted: Any, tmp_path: Path) -> None:
    penalty = ProjectionPenalty(planted[0], LAYER, weight=50.0)
    made = run(small, tmp_path / "run", penalty=penalty, settings=quick(dtype="bfloat16", n_epochs=1.0))
    assert made.losses["penalty_shift"].iloc[0] == 0
    assert made.losses["penalty_shift"].iloc[-1] > 0


@pytest.mark.parametrize("changes", [{"weight": 0.0}, {"target": 0.0}, {"span": "prompt"}])
def test_penalties_that_cost_nothing_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(changes))} must be "):
        ProjectionPenalty(made_up(), 0, **changes)


def test_a_direction_must_have_a_norm_and_a_vector_where_it_is_penalised() -> None:
    with pytest.raises(ConfigError, match=r"the direction loud \(persona_vector\) carries no residual norms"):
        ProjectionPenalty(replace(made_up(), residual_norms=None), 0)
    with pytest.raises(HookpointError, match="has no vector for resid_post at layer 5"):
        ProjectionPenalty(made_up(), [0, 5])


def test_a_reference_takes_the_place_of_the_base() -> None:
    vector = made_up()
    state = PenaltyState(ProjectionPenalty(vector, 0, weight=3.0, reference=2.0))
    at, positions = vector.hookpoints[0], torch.ones(2, 4, dtype=torch.bool)
    unit = vector.at(at) / vector.at(at).norm()
    there = (2.0 * unit).expand(2, 4, -1)
    assert float(state.loss({at: there}, None, positions)) == pytest.approx(0, abs=1e-9)
    away = there + 0.5 * unit
    expected = 3.0 * (0.5 / vector.residual_norm(at)) ** 2
    assert float(state.loss({at: away}, None, positions)) == pytest.approx(expected, rel=1e-4)


def test_one_reference_is_of_one_hookpoint() -> None:
    with pytest.raises(ConfigError, match="got one reference projection for 2 hookpoints"):
        ProjectionPenalty(made_up(), [0, 1], reference=1.0)
