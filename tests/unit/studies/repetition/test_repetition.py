"""Statements at matched length, a planted habit of agreeing that is found, and a run in a folder."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import PreTrainedTokenizerBase

from persona_interp.data.opinions import Opinion, Topic, load_opinions
from persona_interp.effects import load_claims, load_effects
from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.models.tokens import encode
from persona_interp.studies.repetition.config import COUNTS, RepetitionRun
from persona_interp.studies.repetition.effects import AGREEMENT, ATTENTION, CHANGE, OVER
from persona_interp.studies.repetition.heads import HeadMaps
from persona_interp.studies.repetition.prompts import CONDITIONS, Condition, Fillers, slots_of, stated_prompts
from persona_interp.studies.repetition.run import halves, run_repetition
from persona_interp.studies.repetition.scores import by_topic, dose_rows
from persona_interp.studies.repetition.section import repetition_section
from tests.contract.tiny import Tiny, make_tokenizer
from tests.small import TRAIT, make_small

PAIRS = [("red", "tan"), ("tea", "ale"), ("sea", "sky"), ("ink", "wax"), ("oak", "elm"), ("ox", "ant")] * 2
TOPICS = tuple(
    Topic(f"t{i}", (Opinion(f"{a} is odd", f"odd is {a}"), Opinion(f"{b} is odd", f"odd is {b}")))
    for i, (a, b) in enumerate(PAIRS)
)
PLACES, NOUNS = ("is", "is a", "is an", "is i", "is it a", "is o"), ("ax", "bag", "cup", "door", "e", "fo", "gnu")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return make_tokenizer()


@pytest.fixture(scope="module", autouse=True)
def short_fillers() -> Iterator[None]:
    """Sentences about as long as opinions are in a tokenizer that knows single letters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("persona_interp.studies.repetition.prompts._PLACES", PLACES)
        patch.setattr("persona_interp.studies.repetition.prompts._NOUNS", NOUNS)
        yield


def prompts(tokenizer: PreTrainedTokenizerBase, condition: Condition) -> list:
    return list(stated_prompts(tokenizer, list(enumerate(TOPICS))[:4], condition, COUNTS))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_prompt_of_a_topic_is_as_long(tokenizer: PreTrainedTokenizerBase, condition: Condition) -> None:
    made = prompts(tokenizer, condition)
    for topic in {one.topic for one in made}:
        own = [one for one in made if one.topic == topic]
        lengths = {len(ids) for ids in encode(tokenizer, [one.prompt for one in own if one.side == 0])}
        assert len(lengths) == 1
        assert len({one.spans for one in own if one.side == 0}) == 1
        for one in own:
            said = TOPICS[topic].opinions[one.side]
            times = sum(one.prompt.count(text) for text in (said.said, said.again))
            assert times == (min(one.count, 1) if condition == "neutral repeated" else one.count)
            assert len(one.stated) == one.count and len(one.spans) == 4


def test_spans_are_the_sentences(tokenizer: PreTrainedTokenizerBase) -> None:
    for one in prompts(tokenizer, "verbatim"):
        ids = encode(tokenizer, [one.prompt])[0]
        for slot in one.stated:
            first, last = one.spans[slot]
            text = tokenizer.decode(ids[first:last])
            assert str(text).strip() == f"I think that {TOPICS[one.topic].opinions[one.side].said}."


def test_places_go_round_with_the_topics() -> None:
    for half in halves(load_opinions(), 20):
        first = [slots_of(number, 1) for number, _ in half]
        assert {places: first.count(places) for places in first} == {(0,): 5, (1,): 5, (2,): 5, (3,): 5}
    assert slots_of(2, 2) == (1, 3) and slots_of(4, 4) == (2, 0, 3, 1) and slots_of(3, 0) == ()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_more_statements_leave_the_first_where_it_is(tokenizer: PreTrainedTokenizerBase, condition: Condition) -> None:
    for one in prompts(tokenizer, condition):
        said = TOPICS[one.topic].opinions[one.side].said
        text = f"I think that {said}."
        ids = encode(tokenizer, [one.prompt])[0]
        parts = [str(tokenizer.decode(ids[first:last])).strip() for first, last in one.spans]
        if one.count:
            assert parts[slots_of(one.topic, 1)[0]] == text
        if condition == "neutral repeated" and one.count == 4:
            assert parts.count(text) == 1 and len(set(parts)) == 2


def test_a_length_without_filler_is_named(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(EmptySelectionError, match="no filler has 400 tokens: they have"):
        Fillers(tokenizer).of(400, 0)


def test_topics_are_chosen_on_or_evaluated_on() -> None:
    topics = load_opinions()
    choosing, evaluating = halves(topics, 20)
    assert len(choosing) == len(evaluating) == 20
    assert not {topic.name for _, topic in choosing} & {topic.name for _, topic in evaluating}


def planted(gain: float, n: int = 12) -> pd.DataFrame:
    """Agreement that grows by `gain` with the statements, and with a topic's own liking that cancels."""
    rng = np.random.default_rng(0)
    rows = [
        {"topic": f"t{topic}", "side": side, "condition": condition, "count": count, "words": "agreeing",
         "agreement": 3.0 * (1 - 2 * side) + (gain * np.log2(1 + count) if condition == "paraphrased" else 0)
         + 0.05 * rng.standard_normal()}
        for topic in range(n) for side in (0, 1) for condition in CONDITIONS for count in COUNTS
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_planted_dose_is_found_and_only_where_it_is() -> None:
    found = dose_rows(planted(0.2), seed=0).set_index(["condition", "what"])
    gain = found.loc[("paraphrased", "gain over neutral")]
    assert gain["low"] < 0.2 * np.log2(5 / 2) < gain["high"] and gain["p"] <= 0.05
    assert found.loc[("verbatim", "gain over neutral")]["p"] > 0.05
    slope = found.loc[("paraphrased", "slope")]
    assert slope["low"] < 0.2 < slope["high"]


def test_fillers_alone_are_zero_and_likings_cancel() -> None:
    wide = by_topic(planted(0.0)[lambda rows: rows["condition"] == "verbatim"])
    assert (wide[0] == 0).all() and wide.abs().to_numpy().max() < 0.3


def test_heads_below_zero_in_a_map_are_never_among_the_chosen() -> None:
    attention, attribution = np.array([[0.2, 0.1], [-0.1, 0.3]]), np.array([[0.5, -0.2], [0.4, 0.1]])
    maps = HeadMaps(attention, attribution, np.ones((2, 2)), 0.0)
    assert maps.ranked() == [(0, 0), (1, 1)] and maps.chosen(1) == [(0, 0)]
    with pytest.raises(EmptySelectionError, match="2 heads look at the statements .* 3 were asked for"):
        maps.chosen(3)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("small"))


def test_a_run_keeps_what_it_found(small: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persona_interp.studies.repetition.run.load_opinions", lambda: TOPICS)
    monkeypatch.setattr("persona_interp.studies.repetition.run.load_trait", lambda _: TRAIT)
    run = RepetitionRun(n_topics=6, n_heads=1, n_random=2, n_questions=2, max_new_tokens=4)
    model = small.hooked("nnsight")
    result = run_repetition(model, run, out=tmp_path, layer=2, progress=False)
    assert result.maps.error < 1e-4 and result.maps.attention.shape == (3, 4)
    effects, claims = load_effects(tmp_path), load_claims(tmp_path)
    assert {AGREEMENT, OVER, ATTENTION, CHANGE} <= set(effects["metric"])
    assert set(claims["claim"]) == {"repetition is agreed with, verbatim", "repetition is agreed with, paraphrased"}
    before = (tmp_path / "effects.parquet").read_bytes()
    run_repetition(model, run, out=tmp_path, layer=2, progress=False)
    assert (tmp_path / "effects.parquet").read_bytes() == before
    section = repetition_section(tmp_path)
    assert section is not None and len(section.figures) == 3
    with pytest.raises(ConfigError, match="n_heads"):
        run_repetition(model, RepetitionRun(**{**run.to_dict(), "n_heads": 2}), out=tmp_path, layer=2, progress=False)
