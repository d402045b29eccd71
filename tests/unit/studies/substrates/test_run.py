"""Substrates in a folder: what is found, kept and drawn, on a small random model."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from persona_interp.data.traits import Trait
from persona_interp.directions.sae.dictionary import with_quality
from persona_interp.effects import load_claims, load_effects
from persona_interp.errors import ConfigError, EmptySelectionError, HookpointError
from persona_interp.figures.frames import keep
from persona_interp.figures.style import paper_style
from persona_interp.judges.protocol import Score
from persona_interp.studies.substrates.config import SubstratesRun
from persona_interp.studies.substrates.effects import AUC, CHANGE, NAMED_K, PIECE, SHARE
from persona_interp.studies.substrates.figures.drawing import draw_substrates
from persona_interp.studies.substrates.latent_effects import AGAINST, ALONG, CARD, FVU
from persona_interp.studies.substrates.run import SubstratesResult, run_substrates
from persona_interp.studies.substrates.section import substrates_section
from tests.contract.tiny import Tiny
from tests.small import TRAIT, make_small
from tests.unit.directions.sae.dictionaries import dictionary
from tests.unit.directions.sae.test_latents import quality

QUESTIONS = tuple(f"Why is it {word}?" for word in ("red", "new", "odd", "big", "far", "hot", "low", "dim"))
LOUD = replace(TRAIT, questions=QUESTIONS, eval_questions=("How?", "When is it?", "Where is it?"))
RUN = SubstratesRun(
    n_questions=8, n_instructions=1, n_eval=3, max_new_tokens=5, neurons=(2, 4), heads=(1,), n_neurons=4, n_heads=1,
    n_random=3, n_curve=1, n_permutations=19, capability=False,
)  # fmt: skip


class Letters:
    """Rates by the number of letters."""

    name, description = "letters", "counts letters"

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(float(len(text)), 0.0) for text in answers]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module", autouse=True)
def few_probes() -> Iterator[None]:
    """Probes of one neuron and of the named number alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("persona_interp.studies.substrates.found.KS", (1, NAMED_K))
        yield


@pytest.fixture(scope="module")
def made(small: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SubstratesResult]:
    folder = tmp_path_factory.mktemp("run")
    return folder, make(small, folder)


def make(small: Tiny, folder: Path, run: SubstratesRun = RUN, layer: int = 1) -> SubstratesResult:
    return run_substrates(small.hooked("nnsight"), LOUD, [Letters()], run, out=folder, layer=layer, progress=False)


def test_effects_speak_of_neurons_and_heads(made: tuple[Path, SubstratesResult]) -> None:
    folder, result = made
    effects, claims = load_effects(folder), load_claims(folder)
    assert {"neuron", "head", "residual"} <= set(effects["substrate"].dropna())
    shares = keep(effects, "metric", SHARE)
    assert set(shares["substrate"]) == {"neuron", "head"} and set(shares["role"]) == {"treatment", "control"}
    pieces = keep(effects, "metric", PIECE).set_index("condition")
    parts = pieces.drop("all parts")["estimate"].sum()
    assert pieces.loc["all parts", "estimate"] == pytest.approx(parts, abs=1e-4)
    assert result.found.error < 1e-4
    probe = keep(effects, "metric", AUC)
    assert {"sparse", "random", "direction", "all"} == set(probe["method"])
    changes = keep(effects, "metric", CHANGE)
    assert set(changes["strength"]) == {1.0, 2.0, 4.0} and changes["judge"].unique() == ["letters"]
    assert set(claims["claim"]) == {"few neurons tell"}  # three random sets are too few for a rank
    assert (folder / "vectors" / "loud.safetensors").is_file()


def test_the_same_call_gives_the_same_and_another_is_refused(small: Tiny, made: tuple[Path, SubstratesResult]) -> None:
    folder, _ = made
    before = (folder / "effects.parquet").read_bytes()
    make(small, folder)
    assert (folder / "effects.parquet").read_bytes() == before
    with pytest.raises(ConfigError, match="n_random"):
        make(small, folder, replace(RUN, n_random=4))


def test_figures_and_section_are_drawn(made: tuple[Path, SubstratesResult]) -> None:
    folder, _ = made
    with paper_style():
        names = [one.name for one in draw_substrates(load_effects(folder))]
    assert names == [f"substrate_{what}_loud" for what in ("parts", "writers", "probe", "ablation")]
    section = substrates_section(folder)
    assert section is not None and section.title == "Substrates: loud"
    assert [one.title for one in section.tables][:3] == ["Outliers", "Writers", "Half of what is written toward it"]


def test_a_dictionary_gives_latents(small: Tiny, tmp_path: Path) -> None:
    model = small.hooked("nnsight")
    decoder = torch.randn(40, model.d_model, generator=torch.Generator().manual_seed(0))
    made = with_quality(dictionary(decoder), quality(torch.linspace(0.05, 0.3, 40)))
    run = replace(RUN, n_latents=6, n_random_latents=20, n_eval=2, heads=(1,), neurons=(2,), n_neurons=2)
    run_substrates(model, LOUD, [Letters()], run, out=tmp_path, dictionary=made, progress=False)
    effects, claims = load_effects(tmp_path), load_claims(tmp_path)
    latents = effects[effects["substrate"] == "latent"]
    assert set(latents["metric"]) == {*CARD, FVU, ALONG, AGAINST}
    assert set(latents.loc[latents["metric"] == FVU, "method"]) == {"cosine", "latent_difference", "pursuit"}
    assert keep(latents, "metric", ALONG)["role"].value_counts().to_dict() == {"treatment": 6, "null": 20}
    assert {"top latents steer", "sparse in latents"} <= set(claims["claim"])
    assert {path.stem for path in (tmp_path / "decompositions").glob("*.safetensors")} == {
        f"loud_{method}" for method in ("cosine", "latent_difference", "pursuit")
    }
    section = substrates_section(tmp_path)
    assert section is not None
    names = {figure.name for figure in section.figures}
    assert {"substrate_decomposition_loud", "substrate_latents_loud"} <= names
    with pytest.raises(ConfigError, match="layer must be that of the dictionary, 1, got 2"):
        run_substrates(model, LOUD, [Letters()], run, out=tmp_path, layer=2, dictionary=made, progress=False)


def test_a_dictionary_without_a_card_is_measured_once(small: Tiny, tmp_path: Path) -> None:
    model = small.hooked("nnsight")
    made = dictionary(torch.randn(40, model.d_model, generator=torch.Generator().manual_seed(0)))
    run = replace(RUN, n_latents=4, n_random_latents=4, n_eval=2, heads=(1,), neurons=(2,), n_neurons=2)
    run_substrates(model, LOUD, [Letters()], run, out=tmp_path, dictionary=made, progress=False)
    assert CARD[0] in set(load_effects(tmp_path)["metric"])
    (card,) = (tmp_path / "cells").rglob("quality-*.json")
    before = card.stat().st_mtime_ns
    run_substrates(model, LOUD, [Letters()], run, out=tmp_path, dictionary=made, progress=False)
    assert card.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"neurons": (4, 60), "n_neurons": 4}, "60 neurons cannot be compared .* has 96 up to layer 1"),
        ({"heads": (5,), "n_heads": 5}, "5 heads cannot be compared .* has 8 up to layer 1"),
        ({"n_latents": 30}, "30 latents and 40 random ones cannot be steered: small has 40 latents, 38"),
    ],
)
def test_more_than_there_is_is_refused_before_answers_are_written(
    small: Tiny, tmp_path: Path, changes: dict, what: str
) -> None:
    density = torch.linspace(0.05, 0.3, 40)
    density[:2] = 0
    model = small.hooked("nnsight")
    made = with_quality(dictionary(torch.randn(40, model.d_model)), quality(density))
    with pytest.raises((ConfigError, EmptySelectionError), match=what):
        run_substrates(model, LOUD, [Letters()], replace(RUN, **changes), out=tmp_path, dictionary=made, progress=False)
    assert not (tmp_path / "rollouts").exists()


def test_the_plan_counts_latents(small: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "persona_interp.studies.substrates.run.say_plan",
        lambda _, steps, *__, **___: said.extend(step.what for step in steps),
    )
    model = small.hooked("nnsight")
    made = with_quality(dictionary(torch.randn(40, model.d_model)), quality(torch.linspace(0.05, 0.3, 40)))
    with pytest.raises(EmptySelectionError):
        run_substrates(model, LOUD, [Letters()], replace(RUN, n_latents=41), out=tmp_path, dictionary=made)
    assert said[-1] == "latents"


def test_bad_input_is_refused(small: Tiny, tmp_path: Path) -> None:
    with pytest.raises(HookpointError, match=r"Layers run 0..2"):
        make(small, tmp_path, layer=9)
    with pytest.raises(ConfigError, match="n_neurons must be one of 2, 4, got 3"):
        replace(RUN, n_neurons=3)
    with pytest.raises(ConfigError, match="n_questions must be at least 4, got 3"):
        replace(RUN, n_questions=3)
