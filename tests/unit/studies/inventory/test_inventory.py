"""Administering inventories: the rows that are asked, both backends, virtual tokens, and what is refused."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from persona_interp.data.inventories import Inventory, load_inventory
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.interventions.residual import Add
from persona_interp.measurements.text_logprobs import text_logprobs
from persona_interp.models.tokens import render_prompt
from persona_interp.studies.inventory.administer import administer
from persona_interp.studies.inventory.answers import InventoryAnswers
from persona_interp.studies.inventory.scores import compare_inventories, score_inventory
from persona_interp.types import NO_EDITS, Edits, KVPrefix
from tests.contract.tiny import BACKENDS, N_LAYERS, Tiny
from tests.small import direction
from tests.unit.studies.inventory.inventory_respondent import RuleModel

RATED, CHOSEN = load_inventory("big_five_50").take(2), load_inventory("types_32").take(2)
ALIKE = dict(rtol=1e-4, atol=1e-4)


@dataclass(frozen=True, eq=False)
class Virtual:
    """A virtual token, the same for all rows."""

    seed: int = 0

    @property
    def edits(self) -> Edits:
        return NO_EDITS

    @property
    def prefix(self) -> KVPrefix:
        made = torch.randn(2, N_LAYERS, 1, 2, 1, 8, generator=torch.Generator().manual_seed(self.seed))
        return KVPrefix(made[0], made[1])

    def check(self, model: Any) -> None:
        pass


def asked(model: Any, inventory: Inventory = RATED, **options: Any) -> InventoryAnswers:
    return administer(model, inventory, progress=False, **options)


@pytest.fixture(scope="module")
def tilted() -> InventoryAnswers:
    """Answers of a stand-in whose options have probability one half, a quarter, and so on, by their text."""
    return asked(RuleModel(lambda prompt, option: -float(len(option) % 5) - 0.1 * (len(prompt) % 3)))


def test_every_option_is_scored_once_in_every_wording_and_order(tilted: InventoryAnswers) -> None:
    options = tilted.options
    assert len(options) == len(RATED.items) * 3 * 2 * 5
    counts = options.groupby(["wording", "order", "item"]).size()
    assert (counts == 5).all()
    for _, rows in options.groupby(["wording", "order", "item"]):
        assert sorted(rows["value"]) == [1, 2, 3, 4, 5]
        assert sorted(rows["position"]) == [0, 1, 2, 3, 4]
    backwards = options[options["order"] == "reversed"]
    assert (backwards["value"] == 5 - backwards["position"]).all()


def test_answers_are_expectations_and_mass_is_what_the_options_hold(tilted: InventoryAnswers) -> None:
    first = tilted.options.iloc[:5]
    chances = np.exp(first["logprob"].to_numpy())
    row = tilted.frame.iloc[0]
    assert row["mass"] == pytest.approx(chances.sum())
    assert row["answer"] == pytest.approx((chances / chances.sum() * first["value"].to_numpy()).sum())
    negative = tilted.frame[tilted.frame["key"] < 0] if (tilted.frame["key"] < 0).any() else tilted.frame.iloc[:0]
    assert (negative["keyed"] == 6 - negative["answer"]).all()


def test_normalisations_compare_the_same_log_probabilities(tilted: InventoryAnswers) -> None:
    first = tilted.options.iloc[:5]
    values = first["value"].to_numpy()
    for normalise, points in (
        ("mean", first["logprob"] / first["n_tokens"]),
        ("pmi", first["logprob"] - first["neutral"]),
    ):
        chances = np.exp(points.to_numpy())
        found = tilted.normalised(normalise)
        assert found.frame.iloc[0]["answer"] == pytest.approx((chances / chances.sum() * values).sum())
        assert score_inventory(found, n_resamples=10)["normalise"].tolist() == [normalise] * 5


def test_statements_are_asked_once_and_calibrated_by_default() -> None:
    answers = asked(RuleModel(lambda prompt, option: -float(len(prompt + option) % 7)), CHOSEN)
    said = answers.options[answers.options["format"] == "statement"]
    assert set(said["order"]) == {"unlisted"}
    assert set(said["position"]) == {-1}
    rows, frame = said.iloc[:2], answers.frame.iloc[0]
    gap = (rows["logprob"] - rows["neutral"]).to_numpy()
    assert frame["log_odds"] == pytest.approx((gap[0] - gap[1]) * (1 if rows["value"].iloc[0] else -1))
    assert frame["answer"] == pytest.approx(1 / (1 + np.exp(-frame["log_odds"])))
    assert np.isnan(frame["mass"])
    listed = answers.frame[answers.frame["format"] == "choice"].iloc[0]
    ours = answers.options[answers.options["format"] == "choice"].iloc[:2]
    assert abs(listed["log_odds"]) == pytest.approx(abs(np.subtract(*ours["logprob"])))


def test_shuffled_orders_are_the_same_for_the_same_seed_and_differ_between_items() -> None:
    model = RuleModel(lambda _, option: -float(len(option)))
    one, two = (asked(model, orders=["shuffled"], wordings=["agreement_letters"], seed=1) for _ in range(2))
    assert one.options.equals(two.options)
    orders = {tuple(rows["value"]) for _, rows in one.options.groupby("item")}
    assert len(orders) > 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_real_passes_give_each_options_probability_on_both_backends(small: Tiny, backend: str) -> None:
    model = small.hooked(backend)
    answers = asked(model, wordings=["frequency_words"])
    plain = small.hooked("nnsight")
    row = answers.options.iloc[7]
    item = RATED.statements[int(row["item"])]
    wording = next(w for w in RATED.wordings if w.name == "frequency_words")
    prompt = render_prompt(model.tokenizer, wording.prompt(wording.labels, f"You {item.text.replace('my', 'your')}."))
    ids = [plain.tokenizer.encode(text) for text in (prompt, f" {row['option']}")]
    logits = small.plain(torch.tensor([ids[0] + ids[1]])).logits[0].log_softmax(-1)
    expected = sum(float(logits[len(ids[0]) + k - 1, token]) for k, token in enumerate(ids[1]))
    assert row["logprob"] == pytest.approx(expected, abs=1e-3)
    assert row["n_tokens"] == len(ids[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_options_behind_virtual_tokens_equal_those_read_one_by_one(small: Tiny, backend: str) -> None:
    model, change = small.hooked(backend), Virtual()
    rows = [(f"Question: {word}?\nAnswer:", option) for word in ("who", "where is it") for option in ("a", "b", "abc")]
    prompts, options = map(list, zip(*rows, strict=True))
    found = [logprobs.sum() for logprobs in text_logprobs(model, prompts, options, change, progress=False)]
    for (prompt, option), value in zip(rows, found, strict=True):
        ids = model.tokenizer.encode(prompt) + model.tokenizer.encode(option)
        n, prefix = len(model.tokenizer.encode(option)), change.prefix
        logits = small.run(_batch(ids), prefix=prefix).logits[0].log_softmax(-1)
        expected = sum(float(logits[len(ids) - n + k - 1, ids[len(ids) - n + k]]) for k in range(n))
        assert value == pytest.approx(expected, abs=1e-4)
    plain = [logprobs.sum() for logprobs in text_logprobs(model, prompts, options, progress=False)]
    assert not np.allclose(found, plain)


def _batch(ids: list[int]) -> Any:
    from persona_interp.models.tokens import token_batch

    return token_batch([ids])


def test_an_intervention_changes_answers_and_not_the_calibration(small: Tiny) -> None:
    model = small.hooked("nnsight")
    vectors = torch.randn(N_LAYERS, 32, generator=torch.Generator().manual_seed(0))
    steer = Add(direction(vectors, norms=torch.ones(N_LAYERS), provenance=model.provenance), layer=1, coefficient=3.0)
    before, after = (asked(model, CHOSEN, intervention=change) for change in (None, steer))
    assert np.allclose(before.options["neutral"], after.options["neutral"])
    assert not np.allclose(before.options["logprob"], after.options["logprob"])
    assert (before.condition, after.condition) == ("baseline", "intervention")
    table = compare_inventories(before, after, measure="log_odds", n_resamples=100)
    assert set(table["format"]) == {"statement", "choice"}
    assert np.isfinite(table["estimate"]).all()


def test_system_prompts_and_respondents_are_in_the_prompts() -> None:
    seen: list[str] = []
    model = RuleModel(lambda prompt, _: (seen.append(prompt), -1.0)[1])
    answers = asked(model, respondents=["Be a.", "Be b."], wordings=["agreement_letters"], orders=["given"])
    assert set(answers.options["respondent"]) == {0, 1}
    assert answers.respondents == ("Be a.", "Be b.")
    assert any("Be a." in prompt for prompt in seen)
    assert asked(model, system="Be c.").condition == "system prompt"
    assert any("Be c." in prompt for prompt in seen)


def test_options_that_hold_little_probability_are_pointed_out() -> None:
    answers = asked(RuleModel(lambda *_: -9.0), wordings=["frequency_words"])
    assert answers.warnings == ("frequency_words: options hold 0.06% of the probability; the model answers otherwise",)
    assert score_inventory(answers, n_resamples=10)["note"].str.contains("hold 0.06%").all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wordings": ["shouted"]}, "got 'shouted'"),
        ({"wordings": []}, "wordings must be a list of texts that is not empty"),
        ({"orders": ["sideways"]}, "got 'sideways'"),
        ({"orders": []}, "orders must be a list of texts that is not empty"),
        ({"normalise": "length"}, "got 'length'"),
        ({"system": "Be a.", "respondents": ["Be b."]}, "got both system and respondents"),
        ({"respondents": ["Be b.", "Be b."]}, "must be different system prompts, got 2"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asked(RuleModel(lambda *_: 0.0), **options)


def test_answers_to_other_items_or_wordings_cannot_be_compared(tilted: InventoryAnswers) -> None:
    model = RuleModel(lambda *_: -1.0)
    with pytest.raises(AlignmentError, match="are not the same inventory"):
        compare_inventories(tilted, asked(model, CHOSEN))
    with pytest.raises(AlignmentError, match="differ in wordings, orders"):
        compare_inventories(tilted, asked(model, orders=["given"]))
    with pytest.raises(ConfigError, match="no log-odds"):
        compare_inventories(tilted, tilted, measure="log_odds")


def test_a_calibration_is_taken_over_where_it_fits() -> None:
    model = RuleModel(lambda prompt, option: -float(len(prompt + option) % 7))
    before = asked(model, CHOSEN)
    n_rows, model.n_rows = model.n_rows, 0
    after = asked(model, CHOSEN, respondents=["Be a.", "Be b."], calibration=before)
    assert model.n_rows <= 2 * n_rows
    again = asked(model, CHOSEN, respondents=["Be a.", "Be b."])
    assert np.allclose(after.options["neutral"], again.options["neutral"])
    with pytest.raises(AlignmentError, match="is not of this model and these options"):
        asked(model, RATED, calibration=before)
    with pytest.raises(AlignmentError, match="is not of this model and these options"):
        asked(model, CHOSEN, orders=["given"], calibration=before)


def test_a_model_whose_numbers_overflow_is_refused() -> None:
    with pytest.raises(ConfigError, match="log-probabilities are not finite .big_five_50.") as caught:
        asked(RuleModel(lambda *_: float("nan")), orders=["given"], wordings=["frequency_words"])
    assert "smaller coefficient" in str(caught.value)
