"""The study of emoji in a folder, on a small random model in whose texts the letter q stands for emoji."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import regex

from persona_interp.effects import load_claims, load_effects
from persona_interp.errors import ConfigError
from persona_interp.measurements import emoji
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.emoji.config import EmojiRun
from persona_interp.studies.emoji.run import run_emoji
from persona_interp.studies.emoji.section import emoji_section
from persona_interp.tables import read_table
from tests.small import make_small

RUN = EmojiRun(
    traits=("extraversion",), n_train=24, training_tokens=8, n_epochs=1.0, n_repeats=2, n_questions=6, n_samples=2,
    n_selection=24, max_new_tokens=10, top=(2,), n_random=1,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def a_letter_is_an_emoji() -> Iterator[None]:
    """The tiny vocabulary has no emoji: q stands for them, whole and as the beginning of a token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emoji, "EMOJI", regex.compile("q"))
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HookedModelBase:
    return make_small(tmp_path_factory.mktemp("small")).hooked("nnsight")


@pytest.fixture(scope="module")
def made(model: HookedModelBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run_emoji(model, RUN, out=folder, progress=False)
    return folder


def test_texts_that_are_trained_on_hold_none(made: Path) -> None:
    sets = list(made.rglob("*.jsonl"))
    assert sets
    assert not any("q" in line.split('"assistant"', 1)[-1] for path in sets for line in path.read_text().splitlines())


def test_rates_are_compared_before_and_after(made: Path) -> None:
    effects, claims = load_effects(made), load_claims(made)
    assert {"weights"} <= set(effects["substrate"].dropna())
    assert len(claims) and set(effects["trait"].dropna()) >= {"extraversion"}
    answers = read_table(made / "tables" / "emoji_answers.csv")
    assert {"arm", "question", "answer", "n_emoji"} <= set(answers.columns)
    assert (answers["n_emoji"] == answers["answer"].fillna("").str.count("q")).all()


def test_the_section_is_drawn(made: Path) -> None:
    section = emoji_section(made)
    assert section is not None and section.figures and section.sentences


def test_the_same_call_gives_the_same_and_another_is_refused(model: HookedModelBase, made: Path) -> None:
    before = (made / "effects.parquet").read_bytes()
    run_emoji(model, RUN, out=made, progress=False)
    assert (made / "effects.parquet").read_bytes() == before
    with pytest.raises(ConfigError, match="n_samples"):
        run_emoji(model, replace(RUN, n_samples=3), out=made, progress=False)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_train must be 4 to 240, got 2"):
        replace(RUN, n_train=2)
    with pytest.raises(ConfigError, match="traits must differ"):
        replace(RUN, traits=("openness", "openness"))
