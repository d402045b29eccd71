"""An adapter trained on texts whose style depends on one trait moves that trait and no other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import text_batch
from persona_interp.statistics import Interval, bootstrap_mean
from persona_interp.studies.psychadapter.samples import TraitSamples, text_loss, trait_samples
from persona_interp.studies.psychadapter.training_run import TrainedPsychAdapter
from tests.contract.tiny import Tiny
from tests.small import make_small
from tests.unit.finetuning.trait_texts import CAPITALS, SMALL, planted, quick, run

SETTINGS = quick(learning_rate=0.1, n_epochs=10, batch_size=48, accumulation=1, holdout=0.0, checkpoint_every=1000)
N_TEXTS, SLOPE, N_SAMPLES = 1200, 1.5, 200
LEVELS = (-2.0, -1.0, 0.0, 1.0, 2.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def trained(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> TrainedPsychAdapter:
    torch.set_num_threads(1)
    return run(tiny, tmp_path_factory.mktemp("planted") / "run", planted(N_TEXTS, slope=SLOPE), settings=SETTINGS)


def interval(values: np.ndarray) -> Interval:
    """The mean over texts, which are independent."""
    return bootstrap_mean(values, np.arange(len(values)), seed=0)


def losses_of_texts(tiny: Tiny, trained: TrainedPsychAdapter, samples: TraitSamples) -> np.ndarray:
    """Nats a token of every text."""
    with torch.no_grad():
        summed = [float(text_loss(tiny.plain, trained.adapter, samples, [i])) for i in range(len(samples))]
    return np.array(summed) / np.array([len(ids) for ids in samples.ids])


def shares_of_capitals(model: HookedModelBase, trained: TrainedPsychAdapter, z: list[float]) -> np.ndarray:
    """The share of capitals among planted letters in every sample of new texts."""
    made = model.generate(
        text_batch(model.tokenizer, [trained.adapter.start or ""]),
        sampling=Sampling(max_new_tokens=24, n_samples=N_SAMPLES, seed=11),
        prefix=TraitPrefix(trained.adapter, z).prefix,
    )
    counts = [(sum(c in CAPITALS for c in text), sum(c in CAPITALS + SMALL for c in text)) for text in made.texts]
    return np.array([capitals / letters for capitals, letters in counts if letters])


def test_held_out_texts_are_likelier_under_their_own_traits(tiny: Tiny, trained: TrainedPsychAdapter) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny.folder)
    held = planted(120, seed=77, slope=SLOPE).standardised(trained.adapter.standard)
    right = trait_samples(tokenizer, held, SETTINGS, context=512)
    order = np.random.default_rng(0).permutation(len(held))

    def shuffled(columns: list[int]) -> TraitSamples:
        z = right.z.clone()
        z[:, columns] = right.z[order][:, columns]
        return TraitSamples(right.start, right.ids, z)

    own = losses_of_texts(tiny, trained, right)
    gain = {
        name: interval(losses_of_texts(tiny, trained, shuffled(columns)) - own)
        for name, columns in {"both": [0, 1], "one": [0], "two": [1]}.items()
    }
    assert gain["both"].low > 0.1 and gain["one"].low > 0.1
    assert abs(gain["two"].estimate) < 0.05 * gain["one"].estimate


def test_the_trait_moves_the_style_and_the_other_does_not(tiny: Tiny, trained: TrainedPsychAdapter) -> None:
    model = tiny.hooked("nnsight")
    one = [interval(shares_of_capitals(model, trained, [z, 0.0])) for z in LEVELS]
    estimates = [share.estimate for share in one]
    assert estimates == sorted(estimates) and estimates[-1] - estimates[0] > 0.3
    assert one[-1].low > one[2].high > one[2].low > one[0].high
    two = [interval(shares_of_capitals(model, trained, [0.0, z])) for z in LEVELS]
    assert all(share.low <= two[2].high and two[2].low <= share.high for share in two)
    assert abs(two[-1].estimate - two[0].estimate) < 0.1


@pytest.mark.slow
def test_scores_that_say_nothing_move_nothing(tiny: Tiny, tmp_path: Path) -> None:
    made = run(tiny, tmp_path / "run", planted(N_TEXTS, slope=0.0), settings=SETTINGS)
    model = tiny.hooked("nnsight")
    low, high = (interval(shares_of_capitals(model, made, [z, 0.0])) for z in (-1.0, 1.0))
    assert low.low <= high.high and high.low <= low.high
