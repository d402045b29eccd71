"""Families compared in a folder: what is found, kept and drawn, on a small random model."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.activations.store import Activations
from persona_interp.data.neutral_prompts import neutral_prompts
from persona_interp.data.traits import Exemplar, Trait
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.effects import load_claims, load_effects
from persona_interp.errors import ConfigError, HookpointError
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import paper_style
from persona_interp.interventions.residual import Add
from persona_interp.judges.protocol import Score
from persona_interp.models.tokens import text_batch
from persona_interp.studies.comparison import steered, strength
from persona_interp.studies.comparison.axes_effects import COSINE, PROJECTIONS, STABILITY, VARIANCE
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.families import texts
from persona_interp.studies.comparison.families.adapter import adapter_families
from persona_interp.studies.comparison.families.answers import Contrast, answer_families
from persona_interp.studies.comparison.families.components import latent_families
from persona_interp.studies.comparison.families.family import Family, Made
from persona_interp.studies.comparison.figures.drawing import draw_comparison
from persona_interp.studies.comparison.off_target_effects import SLOPE
from persona_interp.studies.comparison.run import ComparisonResult, compare_methods
from persona_interp.studies.comparison.section import comparison_section
from persona_interp.studies.comparison.strength import spread_items
from persona_interp.studies.comparison.strength_effects import AREA, CHANGE, COEFFICIENT, KL, OVER, area
from persona_interp.types import POOLINGS, Pooling
from tests.contract.tiny import Tiny
from tests.small import TRAIT, activations, direction, make_small
from tests.unit.directions.sae.dictionaries import dictionary

WORDS = ("red", "new", "odd", "big", "far", "hot", "low", "dim")
LOUD = replace(
    TRAIT,
    questions=tuple(f"Why is it {word}?" for word in WORDS),
    eval_questions=("How?", "When is it?", "Where is it?", "Who is it?"),
)
OTHERS = tuple(replace(LOUD, name=name) for name in ("bright", "calm", "grim", "tall"))
PAIRS = tuple(Exemplar(f"Is it {word}?", f"IT IS {word.upper()}!", f"it is {word}.") for word in WORDS)
RUN = ComparisonRun(
    n_questions=8, n_held_out=4, n_instructions=2, n_samples=2, n_eval=4, max_new_tokens=5, targets=(0.05,), n_random=1,
    n_neurons=3, n_splits=2, n_flips=0, n_null=100, n_items=2, n_texts=1, n_pairs=8,
)  # fmt: skip


class Letters:
    """Rates by the number of letters."""

    name, description = "letters", "counts letters"

    def __init__(self, *_: object) -> None:
        """Takes an encoder, as the embedding judge does, and leaves it."""

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(float(len(text) + len(trait.name) * (len(text) % 3)), 0.0) for text in answers]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module", autouse=True)
def few_traits() -> Iterator[None]:
    """Four other traits, with the same few texts as the trait itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steered, "off_target", lambda trait: list(OTHERS))  # noqa: ARG005
        patch.setattr(steered, "EmbeddingJudge", Letters)
        patch.setattr(strength, "neutral_prompts", lambda: neutral_prompts()[:4])
        patch.setattr(texts, "hard_pairs", lambda trait: PAIRS)  # noqa: ARG005
        yield


def make(small: Tiny, folder: Path, run: ComparisonRun = RUN, **more) -> list[ComparisonResult]:
    return compare_methods(
        small.hooked("nnsight"), [LOUD], [Letters()], run, out=folder, layer=1, progress=False, **more
    )


@pytest.fixture(scope="module")
def made(small: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ComparisonResult]:
    folder = tmp_path_factory.mktemp("comparison")
    (result,) = make(small, folder)
    return folder, result


def test_every_family_is_on_the_axes_and_steered(made: tuple[Path, ComparisonResult]) -> None:
    folder, result = made
    effects = load_effects(folder)
    named = keep(keep(effects, "metric", COSINE), "place", "named")
    assert len(named) == 9 * 8 / 2
    assert {"persona vector", "probe", "PCA", "LDA", "style vector", "top neurons"} <= set(named["method"])
    for metric in (PROJECTIONS, VARIANCE, STABILITY, AREA, OVER, SLOPE):
        assert len(keep(effects, "metric", metric)), metric
    assert result.missing == {
        "top latents": "no dictionary was given (--sae)",
        "induced direction": "no adapter was given (--adapter)",
    }
    changes = keep(effects, "metric", CHANGE)
    assert {"system prompt", "mild prompt", "random direction"} <= set(changes["method"])
    assert set(keep(changes, "method", "random direction")["role"]) == {"null"}


def test_strengths_reach_their_target(made: tuple[Path, ComparisonResult]) -> None:
    effects = load_effects(made[0])
    reached = keep(effects, "metric", KL)
    steered_at = reached[reached["condition"] != "system prompt"]
    assert steered_at["estimate"].to_numpy() == pytest.approx(0.05, rel=0.051)
    assert (keep(effects, "metric", COEFFICIENT)["estimate"] > 0).all()


def test_claims_name_their_rule_and_a_relation(made: tuple[Path, ComparisonResult]) -> None:
    claims = load_claims(made[0])
    names = set(claims["claim"])
    assert {"same direction as probe", "persona vector steers", "off-target movement follows cosine"} <= names
    assert claims["sentence"].str.endswith(".").all()


def test_the_same_call_gives_the_same_and_another_is_refused(small: Tiny, made: tuple[Path, ComparisonResult]) -> None:
    folder, first = made
    (again,) = make(small, folder)
    assert again.axes["cosines"].equals(first.axes["cosines"])
    with pytest.raises(ConfigError, match="n_splits"):
        make(small, folder, replace(RUN, n_splits=4))


def test_figures_and_section_are_drawn(made: tuple[Path, ComparisonResult]) -> None:
    folder, _ = made
    with paper_style():
        names = [one.name for one in draw_comparison(load_effects(folder))]
    assert {"comparison_map_loud", "comparison_frontier_loud", "comparison_off_target_loud"} <= set(names)
    section = comparison_section(folder)
    assert section is not None and section.title == "Ways to a direction: loud"
    assert any("top latents (no dictionary" in note for note in section.notes)


@pytest.mark.slow
def test_without_strength_nothing_is_steered_and_given_directions_take_part(small: Tiny, tmp_path: Path) -> None:
    model = small.hooked("nnsight")
    own = replace(direction(torch.eye(model.d_model)[:2]), provenance=model.provenance)
    (result,) = make(small, tmp_path, replace(RUN, strength=False), given={"from a file": own})
    assert result.steered is None
    assert "from a file" in distinct(keep(load_effects(tmp_path), "metric", VARIANCE), "method")
    with pytest.raises(ConfigError, match="cannot be called 'probe'"):
        make(small, tmp_path / "other", given={"probe": own})


def test_an_adapter_gives_its_induced_direction(small: Tiny) -> None:
    model = small.hooked("nnsight")
    torch.manual_seed(0)
    adapter = PsychAdapter(KVShape.of(model.config), ("loud", "calm"), model.provenance).requires_grad_(False)
    torch.nn.init.normal_(adapter.affine.weight)
    (family,), _ = adapter_families(model, adapter, "loud", n_texts=8)
    halved = family.with_halves(2, seed=0)
    assert halved.halves(1, np.ones(model.d_model, dtype=bool), 2) is not None
    assert float(family.vector(1) @ family.vector(1)) > 0
    assert adapter_families(model, adapter, "grim")[1][0].why == "the adapter has no trait grim, but loud, calm"


def test_latents_steer_as_their_sum(small: Tiny) -> None:
    torch.manual_seed(0)
    model = small.hooked("nnsight")
    vectors = torch.randn(2, model.d_model)
    own = replace(direction(vectors, norms=torch.full((2,), 3.0)), provenance=model.provenance)
    made = Made(lambda keep, positive: vectors, np.arange(8).astype(str), np.arange(8) > 3, "question")  # noqa: ARG005
    persona = Family("persona vector", "persona vectors", "residual", own, made)
    latents = dictionary(torch.randn(24, model.d_model), residual_norm=3.0)
    (family,), _ = latent_families(latents, persona, 1, 3)
    assert family.direction is not None
    assert made.refit(np.ones(8, dtype=bool), made.positive).shape == vectors.shape
    batch = text_batch(model.tokenizer, ["why is it red"])
    steered_by = (family.intervention(1, 0.5), Add(family.direction, 1, 0.5))
    one, other = (model.run(batch, edits=intervention.edits).logits for intervention in steered_by)
    assert one is not None and other is not None
    assert torch.allclose(one, other, atol=1e-4)


def test_what_cannot_be_done_is_refused(small: Tiny, tmp_path: Path) -> None:
    model = small.hooked("nnsight")
    with pytest.raises(ConfigError, match="loud is given twice"):
        compare_methods(model, [LOUD, LOUD], [Letters()], RUN, out=tmp_path, progress=False)
    with pytest.raises(HookpointError):
        compare_methods(model, [LOUD], [Letters()], RUN, out=tmp_path, layer=99, progress=False)
    with pytest.raises(ConfigError, match="n_questions must be at least 8, got 4"):
        replace(RUN, n_questions=4)
    with pytest.raises(ConfigError, match="targets must rise"):
        replace(RUN, targets=(0.3, 0.1))


def test_refits_of_everything_are_the_direction() -> None:
    values = torch.randn(24, 2, 12, generator=torch.Generator().manual_seed(0))
    frame = pd.DataFrame({"question": [f"q{i // 2}" for i in range(24)], "instruction": 0, "sample": 0})
    positive = np.arange(24) % 2 == 0
    pooled: dict[Pooling, Activations] = {
        pooling: activations(values, samples=frame, pooling=pooling) for pooling in POOLINGS
    }
    for family in answer_families(Contrast("loud", pooled, positive), seed=0):
        assert family.made is not None and family.direction is not None
        again = family.made.refit(np.ones(24, dtype=bool), positive)
        cosines = torch.nn.functional.cosine_similarity(again, family.direction.vectors.double())
        assert cosines.numpy() == pytest.approx(1, abs=1e-5), family.name


def test_the_area_is_the_mean_over_strengths() -> None:
    curve = np.array([[1.0, 2.0], [3.0, 0.0]])
    assert area(np.array([0.1, 0.3]), curve) == pytest.approx([(0.05 + 0.4) / 0.3, (0.1 + 0.2) / 0.3])


def test_items_are_spread_over_the_subjects() -> None:
    assert len({item.subject for item in spread_items(12)}) > 3
    assert len(spread_items(None)) == len(spread_items(10**6))
