"""Stand-in models with a planted personality, or with none, and what the inventory says of them."""

import re

import numpy as np
import pandas as pd
import pytest

from persona_interp.data.inventories import Inventory, Item, Scale, load_inventory
from persona_interp.data.inventory_wordings import RATING_WORDINGS, spoken
from persona_interp.studies.inventory.administer import administer
from persona_interp.studies.inventory.answers import InventoryAnswers
from persona_interp.studies.inventory.draws import interval, scale_draws, scale_score
from persona_interp.studies.inventory.reliability import inventory_reliability
from persona_interp.studies.inventory.scores import compare_inventories, score_inventory
from persona_interp.studies.inventory.types import inventory_type
from tests.golden.simulation import binomial_bounds
from tests.unit.studies.inventory.inventory_respondent import RuleModel, listed

BIG_FIVE = load_inventory("big_five_50")
SAID = {spoken(item.text, person): item for item in BIG_FIVE.statements for person in ("I", "You")}
LEVELS = {"openness": 4.5, "conscientiousness": 1.5, "extraversion": 3.0, "agreeableness": 2.0, "neuroticism": 4.0}
LABELS = {label: point for w in RATING_WORDINGS for point, label in enumerate(w.labels, start=1)}


def item_in(prompt: str) -> Item | None:
    quoted = re.search(r'"(.*?)"', prompt)
    return SAID.get(quoted[1]) if quoted else None


def label_of(prompt: str, option: str) -> str:
    return listed(prompt).get(option, option)


def believer(levels: dict[str, float], *, yes: float = 0.0):
    """Answers near the level of each item's trait, its key counted; a neutral item gets the midpoint."""

    def rule(prompt: str, option: str) -> float:
        item = item_in(prompt)
        target = 3.0 if item is None else 3 + item.key * (levels[item.scale] - 3)
        return -2.0 * (LABELS[label_of(prompt, option)] - target - yes) ** 2 - 1.0

    return rule


def answers_of(rule, inventory: Inventory = BIG_FIVE, **options: object) -> InventoryAnswers:
    return administer(RuleModel(rule), inventory, progress=False, **options)  # pyright: ignore


def scores(answers: InventoryAnswers) -> pd.DataFrame:
    return score_inventory(answers, n_resamples=300).set_index("scale")


def metric(answers: InventoryAnswers, name: str, scale: str = "all") -> float:
    table = inventory_reliability(answers, n_resamples=100)
    return float(table[(table["metric"] == name) & (table["scale"] == scale)]["estimate"].iloc[0])


def test_planted_levels_are_found_whatever_the_keys_and_the_order() -> None:
    answers = answers_of(believer(LEVELS))
    found = scores(answers)
    for scale, level in LEVELS.items():
        assert found.loc[scale, "estimate"] == pytest.approx(level, abs=0.2)
    assert found["acquiescence"].to_numpy() == pytest.approx(np.full(5, 3.0), abs=1e-6)
    assert metric(answers, "order_change") == pytest.approx(0, abs=1e-6)
    assert metric(answers, "position_share") == 0


def test_yes_saying_moves_acquiescence_and_not_the_scores() -> None:
    plain, yes = answers_of(believer(LEVELS)), answers_of(believer(LEVELS, yes=0.3))
    assert scores(yes)["estimate"].to_numpy() == pytest.approx(scores(plain)["estimate"].to_numpy(), abs=0.15)
    assert (scores(yes)["acquiescence"] > 3.1).all()


def test_a_pure_yes_sayer_has_full_acquiescence_midpoint_scores_and_a_strongly_negative_consistency() -> None:
    strength = {"accurately": 30.0, "agree": 1.0, "often": 4.0}

    def rule(prompt: str, option: str) -> float:
        weight = next(weight for word, weight in strength.items() if word in prompt)
        return weight * (LABELS[label_of(prompt, option)] - 5)

    answers = answers_of(rule)
    found = scores(answers)
    assert found["estimate"].to_numpy() == pytest.approx(np.full(5, 3.0), abs=1e-9)
    one = answers_of(rule, wordings=["accuracy_numbers"])
    assert scores(one)["acquiescence"].to_numpy() == pytest.approx(np.full(5, 5.0), abs=1e-6)
    assert (found["acquiescence"] > 4.7).all()
    assert metric(answers, "half_correlation", "openness") == pytest.approx(-1)
    table = inventory_reliability(answers, n_resamples=100)
    alphas = table[table["metric"] == "alpha"]
    assert alphas["estimate"].isna().all() and (alphas["n"] == 6).all()
    assert alphas["note"].str.startswith("alpha needs 10 rows, got 6").all()


def test_a_pure_position_chooser_is_found_out() -> None:
    def rule(prompt: str, option: str) -> float:
        codes = list(listed(prompt)) or re.findall(r"Never|Rarely|Sometimes|Often|Always", prompt)
        return -5.0 * codes.index(option)

    answers = answers_of(rule)
    assert scores(answers)["estimate"].to_numpy() == pytest.approx(np.full(5, 3.0), abs=1e-9)
    assert scores(answers)["acquiescence"].to_numpy() == pytest.approx(np.full(5, 3.0), abs=1e-9)
    assert metric(answers, "position_share") == 1
    assert metric(answers, "content_share") == 0
    assert metric(answers, "order_change") > 3.9


def test_a_moved_trait_is_found_and_the_others_are_not() -> None:
    before, after = answers_of(believer(LEVELS)), answers_of(believer({**LEVELS, "extraversion": 4.2}))
    table = compare_inventories(before, after, n_resamples=300).set_index("scale")
    assert table.loc["extraversion", "estimate"] == pytest.approx(1.2, abs=0.1)
    assert table.loc["extraversion", "q"] < 0.05
    others = table.drop("extraversion")
    assert others["estimate"].abs().max() < 1e-9
    assert others["q"].min() > 0.5


def test_respondents_who_differ_in_the_traits_have_a_high_alpha_above_its_null() -> None:
    def rule(prompt: str, option: str) -> float:
        level = next((level for who, level in people.items() if who in prompt), 3.0)
        return believer(dict.fromkeys(LEVELS, level))(prompt, option)

    people = {
        f"You are person {name}.": level for name, level in zip("abcdefghijkl", np.linspace(2, 4.5, 12), strict=True)
    }
    answers = answers_of(rule, respondents=list(people), orders=["given"], wordings=["accuracy_numbers"])
    table = inventory_reliability(answers, n_resamples=200)
    alpha = table[table["metric"] == "alpha"]
    assert set(alpha["over"]) == {"respondents"}
    assert (alpha["n"] == 12).all()
    assert (alpha["estimate"] > 0.95).all()
    assert (alpha["estimate"] > alpha["null_high"]).all()
    assert (alpha["q"] < 0.05).all() and (alpha["low"] > 0.8).all() and (alpha["high"] <= 1).all()
    assert metric(answers, "half_correlation", "openness") > 0.95


def test_a_planted_type_is_found_in_both_formats_and_a_toss_up_is_undecided() -> None:
    types = load_inventory("types_32")
    wanted = {"E": 0.0, "I": 3.0, "S": 0.0, "N": 3.0, "T": 3.0, "F": 0.0}

    def rule(prompt: str, option: str) -> float:
        text = listed(prompt).get(option, option)
        for index, item in enumerate(types.choices):
            for choice in item.options:
                if text in (spoken(choice.text, "I"), spoken(choice.text, "You")):
                    toss = 3.0 * ((index + (choice.pole == "J")) % 2)
                    bonus = toss if item.scale == "JP" else wanted[choice.pole]
                    return -6.0 + (
                        bonus if not any(word in prompt for word in ("Write one", "Say any", "Give me")) else 0.0
                    )
        return -6.0

    answers = administer(RuleModel(rule), types, progress=False)  # pyright: ignore
    for form in ("statement", "choice"):
        found = inventory_type(answers, format=form, n_resamples=1000)
        assert (found.format, found.text[:3], found.modal[:3]) == (form, "INT", "INT")
        assert found.text == "INTX"
        assert {name for name, _ in found.credible} == {"INTJ", "INTP"}


@pytest.mark.parametrize(("n_wordings", "spread", "rate"), [(2, 0.0, 0.96), (3, 0.25, 0.965), (1, 0.0, 0.947)])
def test_the_intervals_of_scores_cover(n_wordings: int, spread: float, rate: float) -> None:
    n_sets, keys, covered = 400, np.array([1, -1] * 5), 0
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, 1])
        values = rng.standard_normal((10, 1)) + 0.5 * rng.standard_normal((10, n_wordings))
        values += spread * rng.standard_normal((1, n_wordings)) + 2.0 * keys[:, None]
        draws = scale_draws(values, keys, n_resamples=400, seed=seed)
        found = interval(scale_score(values, keys), draws, 10)
        covered += found.low <= 0 <= found.high
    low, high = binomial_bounds(rate, n_sets)
    assert low <= covered / n_sets <= high


def test_probabilities_of_poles_are_calibrated() -> None:
    stated, right = [], []
    for seed in range(600):
        rng = np.random.default_rng([seed, 2])
        mean = rng.uniform(-1, 1)
        values = mean + rng.standard_normal((8, 1)) + 0.3 * rng.standard_normal((8, 2))
        share = float((scale_draws(values, np.ones(8, dtype=int), n_resamples=400, seed=seed) > 0).mean())
        stated.append(max(share, 1 - share))
        right.append((share >= 0.5) == (mean > 0))
    stated, right = np.array(stated), np.array(right)
    for low, high in ((0.5, 0.75), (0.75, 0.95), (0.95, 1.01)):
        rows = (stated >= low) & (stated < high)
        spread = 3.5 * np.sqrt(0.25 / rows.sum())
        assert abs(right[rows].mean() - stated[rows].mean()) < spread
    assert right[stated >= 0.95].mean() > 0.93


def test_acquiescence_cannot_be_told_apart_where_all_items_are_keyed_one_way() -> None:
    items = tuple(Item(text, "warmth", 1) for text in ("hug people", "smile often", "help strangers"))
    inventory = Inventory("warm", "likert", items, (Scale("warmth"),), RATING_WORDINGS[:1], "here", "none")
    answers = answers_of(lambda prompt, option: LABELS[label_of(prompt, option)] - 6.0, inventory)
    row = scores(answers).loc["warmth"]
    assert row["estimate"] > 4
    assert np.isnan(row["acquiescence"])
    assert "keyed one way" in row["note"]
