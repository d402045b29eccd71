"""What a folder belongs to, as data, and how a refusal says what differs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.directions.direction import check_same_model
from persona_interp.directions.psychadapter import check_psychadapter
from persona_interp.endpoint.endpoint import Endpoint
from persona_interp.errors import ConfigError, IncompatibleDirectionError
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.openai import OpenAIJudge
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import FORMAT_CHANGED, format_changed
from persona_interp.rollouts.parts import refuse_other_config
from tests.small import WordEncoder, direction, provenance
from tests.unit.studies.psychadapter.planted_adapter import PlantedModel, planted_adapter

EARLIER, NEW, OTHER = "0123456789abcdef", "w2-0123456789abcdef", "w2-fedcba9876543210"


def test_a_model_is_its_weights_and_how_it_computes(model: HookedModelBase) -> None:
    found = of_model(model)
    assert found == {
        "name": model.name,
        "weights": model.provenance.weights,
        "files": model.provenance.files,
        "backend": "nnsight",
        "dtype": "float32",
        "chat_template": model.provenance.chat_template,
    }


def test_judges_are_what_their_ratings_depend_on(model: HookedModelBase) -> None:
    lexical, likelihood = LexicalJudge(), LikelihoodJudge(model, n_pairs=1)
    coherence = CoherenceJudge(model, WordEncoder(["why"]))
    assert of_judges([lexical, coherence, likelihood]) == {
        lexical.name: lexical.description,
        "coherence": coherence.description,
        likelihood.name: [likelihood.description, of_model(model)],
    }


def test_a_judge_behind_an_address_is_the_same_before_and_after_it_rated() -> None:
    judge = OpenAIJudge(Endpoint("judge-1", "http://localhost:1/v1", "secret"))
    before = of_judges([judge])
    judge.ways.add("weighted")
    assert of_judges([judge]) == before == {"api (judge-1)": ["judge-1", "http://localhost:1/v1"]}


def test_the_package_is_its_version_and_the_methods() -> None:
    assert of_package(3) == {"method_version": 3, "package": of_package(1)["package"]}


@pytest.mark.parametrize(
    ("one", "other", "changed"),
    [(EARLIER, NEW, True), (NEW, EARLIER, True), (NEW, OTHER, False), (EARLIER, EARLIER[::-1], False)]
    + [("unknown", NEW, False), ("aaaa", NEW, False), ("unknown", EARLIER, False)],
)
def test_only_fingerprints_of_an_earlier_version_are_of_another_format(one: str, other: str, changed: bool) -> None:
    assert format_changed(one, other) is changed


@pytest.mark.parametrize(
    ("there", "now"),
    [
        ({"weights": EARLIER}, {"weights": NEW}),
        ({"model": {"weights": EARLIER, "dtype": "x"}}, {"model": {"weights": NEW, "dtype": "x"}}),
        ({"judges": {"a": ["said", {"weights": EARLIER}]}}, {"judges": {"a": ["said", {"weights": NEW}]}}),
    ],
)
def test_a_folder_with_a_fingerprint_of_an_earlier_version_says_so(
    tmp_path: Path, there: dict[str, Any], now: dict[str, Any]
) -> None:
    refuse_other_config(tmp_path / "config.json", there)
    refuse_other_config(tmp_path / "config.json", there)
    with pytest.raises(ConfigError) as caught:
        refuse_other_config(tmp_path / "config.json", now)
    assert FORMAT_CHANGED in str(caught.value)


def test_other_weights_of_the_same_format_are_other_weights(tmp_path: Path) -> None:
    refuse_other_config(tmp_path / "config.json", {"weights": NEW})
    with pytest.raises(ConfigError) as caught:
        refuse_other_config(tmp_path / "config.json", {"weights": OTHER})
    assert FORMAT_CHANGED not in str(caught.value)


def test_of_a_setting_with_parts_the_differing_parts_are_named(tmp_path: Path) -> None:
    there = {"model": {"name": "a", "backend": "nnsight"}, "judges": {"one": "sees", "two": "hears"}, "seed": 0}
    refuse_other_config(tmp_path / "config.json", there)
    now = {"model": {"name": "a", "backend": "transformer_lens"}, "judges": {"one": "sees"}, "seed": 0}
    with pytest.raises(ConfigError) as caught:
        refuse_other_config(tmp_path / "config.json", now)
    assert str(caught.value).split("\n  ")[1:3] == [
        "model: there {'backend': 'nnsight'}, now {'backend': 'transformer_lens'}",
        "judges: there {'two': 'hears'}, now {}",
    ]


def test_a_direction_with_a_fingerprint_of_an_earlier_version_says_so() -> None:
    own = direction(torch.ones(2, 4), provenance=provenance(weights=EARLIER))
    for weights, said in ((NEW, True), (EARLIER[::-1], False)):
        with pytest.raises(IncompatibleDirectionError) as caught:
            check_same_model(own, provenance(weights=weights))
        assert (FORMAT_CHANGED in str(caught.value)) is said


def test_an_adapter_with_a_fingerprint_of_an_earlier_version_says_so() -> None:
    adapter, other = planted_adapter(), PlantedModel()
    adapter.provenance = replace(adapter.provenance, weights=EARLIER)
    for weights, said in ((NEW, True), (EARLIER[::-1], False)):
        other.provenance = replace(other.provenance, weights=weights)
        with pytest.raises(IncompatibleDirectionError) as caught:
            check_psychadapter(adapter, other)  # pyright: ignore
        assert (FORMAT_CHANGED in str(caught.value)) is said
