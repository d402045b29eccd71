"""Every weight is hashed at most once, and only where something is compared with it."""

from pathlib import Path

import pytest

from persona_interp.finetuning.callback import DriftCallback
from persona_interp.finetuning.settings import LoRA
from persona_interp.interventions.residual import Add
from persona_interp.models import file_hashes, identity
from persona_interp.studies.monitoring.monitor import Monitor
from tests.contract.tiny import Tiny
from tests.unit.finetuning import runs, trait_texts
from tests.unit.finetuning.training import PROMPTS, loud, make_trainer


class Counted:
    """How many weights have been hashed, in units of a model's."""

    def __init__(self, n_weights: int) -> None:
        self.n_weights, self.n_hashed = n_weights, 0

    def taken(self) -> float:
        """Fingerprints since the last call."""
        found, self.n_hashed = self.n_hashed / self.n_weights, 0
        return found


@pytest.fixture
def fingerprints(small: Tiny, monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted, digest = Counted(len(list(small.plain.parameters()))), identity._digest

    def count(weight: object) -> bytes:
        counted.n_hashed += 1
        return digest(weight)  # pyright: ignore

    monkeypatch.setattr(identity, "_digest", count)
    return counted


def test_finetuning_hashes_the_base_for_directions_alone(small: Tiny, tmp_path: Path, fingerprints: Counted) -> None:
    runs.run(small, tmp_path / "plain")
    assert fingerprints.taken() == 0
    steered = Add(loud(small), 1, 0.0)
    fingerprints.taken()
    runs.run(small, tmp_path / "steered", intervention=steered)
    assert fingerprints.taken() == 1


@pytest.mark.parametrize("lora", [True, False])
def test_the_callback_hashes_the_base_once(small: Tiny, tmp_path: Path, fingerprints: Counted, lora: bool) -> None:
    callback = DriftCallback([loud(small), loud(small, trait="calm", seed=1)], [0], prompts=PROMPTS, every=4)
    fingerprints.taken()
    make_trainer(small, tmp_path, [callback], lora=lora).train()
    assert fingerprints.taken() == 1


def test_a_monitor_hashes_a_plain_model_once(small: Tiny, fingerprints: Counted) -> None:
    monitor = Monitor([loud(small), loud(small, trait="calm", seed=1)], 1)
    fingerprints.taken()
    with monitor.watching(small.plain):
        assert fingerprints.taken() == 1


def test_a_psychadapter_takes_the_kept_fingerprint_of_its_base(
    small: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fingerprints: Counted
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "LEAST_KEPT", 1)
    monkeypatch.setattr(file_hashes, "_SETTLED_S", 0.0)
    seen = {trait_texts.run(small, tmp_path / name).adapter.provenance.weights for name in ("one", "two")}
    assert fingerprints.taken() == 1 and len(seen) == 1


def test_with_a_lora_only_the_merged_weights_are_hashed(small: Tiny, tmp_path: Path, fingerprints: Counted) -> None:
    trained = trait_texts.run(small, tmp_path / "run", lora=LoRA(rank=2, alpha=4.0))
    assert fingerprints.taken() == 1
    assert trained.adapter.provenance.weights.startswith("w2-")
