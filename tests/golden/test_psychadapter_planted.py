"""Planted truth: of two scores, texts depend on one. An adapter trained on them must use that one and move it alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from persona_interp.data.trait_texts import TraitTexts
from persona_interp.data.traits import Trait
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.judges.protocol import Score
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.studies.psychadapter.expression import score_texts, trait_texts_over_z
from persona_interp.studies.psychadapter.expression_tables import effect_table
from persona_interp.studies.psychadapter.nll import adapter_nll
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.studies.psychadapter.train import train_psychadapter
from tests.small import TRAIT, make_small

OPENINGS = ("x", "q", "xq", "qx", "xx", "qq", "a", "e")


class ShareOfX:
    """100 where a text has only x of x and q, 0 where it has only q; the same for every trait."""

    name = "share of x"
    description = "Counts letters."

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        counts = [(text.count("x"), text.count("q")) for text in answers]
        return [Score(100 * (a + 1) / (a + b + 2), 0.0) for a, b in counts]


def planted(n: int = 240) -> TraitTexts:
    """Ten letters, x or q: x the likelier, the higher the first score is; the second says nothing."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, 2))
    chances = 1 / (1 + np.exp(-3 * z[:, 0]))
    texts = tuple("".join(rng.choice(["x", "q"], p=[p, 1 - p]) for _ in range(10)) for p in chances)
    return TraitTexts(texts, z, ("loud", "slow"), "planted", estimated=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[HookedModelBase, PsychAdapter, TraitTexts]:
    """The model, its adapter, and texts that were held out."""
    folder: Path = tmp_path_factory.mktemp("planted")
    small = make_small(folder / "model")
    train, held_out = planted().split(held_out=0.25)
    settings = PsychAdapterSettings(learning_rate=0.03, n_epochs=6, holdout=0.0)
    made = train_psychadapter(small.folder, train, out=folder / "run", settings=settings, progress=False)
    return small.hooked("nnsight"), made.adapter, held_out


def test_held_out_texts_are_likelier_at_the_score_that_made_them(trained):
    model, adapter, held_out = trained
    table = adapter_nll(model, adapter, held_out, n_shuffles=3, by_trait=True, progress=False)
    gains = table[table["metric"] == "nll difference"].set_index(["trait", "condition"])
    assert gains.loc[("all", "shuffled"), "low"] > 0.1
    assert gains.loc[("loud", "shuffled"), "low"] > 0.1
    assert gains.loc[("loud", "shuffled"), "p"] < 0.001
    unused = gains.loc[("slow", "shuffled")]
    assert unused["low"] < 0 < unused["high"]
    assert unused["p"] > 0.05
    assert gains.loc[("all", "mean author"), "low"] > 0
    assert gains.loc[("all", "no adapter"), "low"] > 1


def test_the_planted_trait_alone_moves_what_is_written(trained):
    model, adapter, _ = trained
    texts = trait_texts_over_z(
        model,
        adapter,
        z_values=(-3.0, 0.0, 3.0),
        openings=OPENINGS,
        n_samples=2,
        sampling=Sampling(12, 0.5),
        progress=False,
    )
    effects = effect_table(score_texts(texts, {"loud": TRAIT}, [ShareOfX()]), n_resamples=500).set_index("trait")
    assert effects.loc["loud", "low"] > 1
    assert effects.loc["loud", "p"] < 0.01
    assert effects.loc["loud", "rising"] == 1
    assert effects.loc["slow", "p"] > 0.05
    assert abs(effects.loc["slow", "estimate"]) < effects.loc["loud", "estimate"] / 2
