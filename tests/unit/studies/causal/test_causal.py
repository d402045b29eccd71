"""The panel of a small random model in a folder: what it keeps, says and draws, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from persona_interp.effects import load_claims, load_effects
from persona_interp.errors import ConfigError
from persona_interp.figures.frames import keep
from persona_interp.studies.causal.config import CausalRun
from persona_interp.studies.causal.effects import AUC, CHANGE, EXPRESSION, KL, MATCH, PREFERENCE
from persona_interp.studies.causal.run import CausalResult, causal_panel
from persona_interp.studies.causal.section import causal_section
from tests.contract.tiny import Tiny
from tests.small import TRAIT, make_small
from tests.unit.studies.substrates.test_run import Letters

LOUD = replace(TRAIT, eval_questions=("How?", "When is it?", "Where is it?", "Who was it?"))
RUN = CausalRun(n_questions=3, n_instructions=2, n_eval=4, max_new_tokens=4, n_layers=2, n_random=2, kl=0.1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def made(small: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CausalResult]:
    folder = tmp_path_factory.mktemp("run")
    return folder, causal_panel(small.hooked("nnsight"), LOUD, [Letters()], RUN, out=folder, progress=False)


def test_layers_are_spread_over_the_depth_and_end_with_the_last() -> None:
    assert RUN.layers(3) == (1, 2) and RUN.layers(1) == (0,)
    assert CausalRun(n_layers=6).layers(30) == (4, 9, 14, 19, 24, 29)
    assert CausalRun(n_layers=200).layers(18) == tuple(range(18))


def test_the_whole_residual_of_the_last_block_carries_the_whole_effect(made: tuple[Path, CausalResult]) -> None:
    panel = made[1].panel
    assert panel.layers == (1, 2)
    whole = panel.changed["layer", "patched whole", 2].change
    assert whole.estimate == pytest.approx(panel.total.estimate, abs=1e-4)


def test_every_number_is_an_effect(made: tuple[Path, CausalResult]) -> None:
    effects = load_effects(made[0])
    assert {AUC, CHANGE, EXPRESSION, KL, MATCH, PREFERENCE} <= set(effects["metric"])
    changes = keep(effects, "metric", CHANGE)
    assert set(changes["layers"].dropna()) == {"1", "2", "0+1", "0+1+2", "1+2"}
    assert (keep(effects, "metric", KL)["estimate"].astype(float) - 0.1).abs().max() <= 0.011
    assert changes["p"].isna().all()  # two random directions can show nothing
    claims = load_claims(made[0])
    assert "reading and acting come apart" in set(claims["claim"])


def test_the_same_call_finds_all_of_it_kept(small: Tiny, made: tuple[Path, CausalResult]) -> None:
    before = (made[0] / "effects.parquet").read_bytes()
    model = small.hooked("nnsight")
    causal_panel(model, LOUD, [Letters()], RUN, out=made[0], progress=False)
    assert (made[0] / "effects.parquet").read_bytes() == before
    with pytest.raises(ConfigError, match="n_eval"):
        causal_panel(model, LOUD, [Letters()], replace(RUN, n_eval=3), out=made[0], progress=False)


def test_the_section_has_its_figures(made: tuple[Path, CausalResult]) -> None:
    section = causal_section(made[0])
    assert section is not None and len(section.figures) == 2
    assert "loud" in section.title
