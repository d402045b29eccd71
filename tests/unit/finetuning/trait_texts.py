"""Texts of capital or small letters, more capitals where the first trait is high, and short training runs on them."""

from pathlib import Path
from typing import Any

import numpy as np

from persona_interp.data.trait_texts import TraitTexts
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.studies.psychadapter.train import train_psychadapter
from persona_interp.studies.psychadapter.training_run import TrainedPsychAdapter
from tests.contract.tiny import Tiny

CAPITALS, SMALL = "ABCDEFGH", "qrstuvwx"


def planted(n: int, *, seed: int = 0, slope: float = 3.0, longest: int = 20) -> TraitTexts:
    """Every letter is a capital with probability 1 / (1 + exp(-slope z1)); z2 is noise. Scores are 10 + 2 z."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 2))
    texts = []
    for first, length in zip(z[:, 0], rng.integers(6, longest, size=n), strict=True):
        capital = rng.random(length) < 1 / (1 + np.exp(-slope * first))
        texts.append("".join(str(rng.choice(list(CAPITALS if is_so else SMALL))) for is_so in capital))
    return TraitTexts(tuple(texts), 10 + 2 * z, ("one", "two"), "planted", estimated=False)


def quick(**changes: Any) -> PsychAdapterSettings:
    """Two epochs of four steps."""
    plain: dict[str, Any] = {
        "learning_rate": 1e-2,
        "n_epochs": 2,
        "batch_size": 4,
        "accumulation": 2,
        "checkpoint_every": 3,
        "holdout": 0.2,
        "start": "x",
        "init_scale": 1.0,
    }
    return PsychAdapterSettings(**{**plain, **changes})


def run(tiny: Tiny, out: Path, data: TraitTexts | None = None, **options: Any) -> TrainedPsychAdapter:
    """A run without a bar."""
    options = {"settings": quick(), "device": "cpu", "progress": False, **options}
    return train_psychadapter(tiny.folder, planted(40) if data is None else data, out=out, **options)
