"""Texts over trait values: who gets which vector, what judges see, slopes of planted effects, and of none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from persona_interp.data.traits import Trait, load_trait
from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.protocol import Score
from persona_interp.models.protocol import Sampling
from persona_interp.statistics.streams import derived_seed
from persona_interp.studies.psychadapter.expression import judged_traits, score_texts, trait_texts_over_z
from persona_interp.studies.psychadapter.expression_tables import effect_table, expression_table
from tests.unit.studies.psychadapter.planted_adapter import PlantedModel, planted_adapter

OPENINGS = ("Today I", "My friends", "I just", "We", "It was")
JUDGED = {"loud": load_trait("extraversion"), "slow": load_trait("openness")}


class Counts:
    """Exclamation marks for extraversion, question marks for openness."""

    name = "counts"
    description = "Counts marks."

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        assert len(set(questions)) == 1
        mark = "!" if trait.name == "extraversion" else "?"
        return [Score(float(text.count(mark)), 0.0) for text in answers]


def shouts(texts: list[str], z: Tensor, _: int) -> list[str]:
    """As many marks as the first trait says; the second trait does nothing."""
    return ["!" * int(value + 4) + "?" * (len(text) % 3) for value, text in zip(z[:, 0], texts, strict=True)]


def written(write: Any = shouts, **options: Any) -> pd.DataFrame:
    model: Any = PlantedModel(write=write)
    plain = {"openings": OPENINGS, "sampling": Sampling(4), "progress": False}
    return trait_texts_over_z(model, planted_adapter(), **{**plain, **options})


def test_every_opening_meets_every_value_and_neutral_texts_are_shared():
    model: Any = PlantedModel(write=shouts)
    texts = trait_texts_over_z(
        model, planted_adapter(), openings=OPENINGS, n_samples=2, sampling=Sampling(4), progress=False
    )
    assert model.passes == [5] * 13 * 2
    counts = texts.groupby(["trait", "z"]).size()
    assert set(counts) == {10}
    assert len(counts) == 14
    neutral = texts[texts["z"] == 0]
    assert neutral[neutral["trait"] == "loud"]["text"].tolist() == neutral[neutral["trait"] == "slow"]["text"].tolist()
    loud = texts[(texts["trait"] == "loud") & (texts["sample"] == 1)]
    assert all(row.text.count("!") == int(row.z + 4) for row in loud.itertuples())
    assert all(row.text.startswith(row.opening) for row in loud.itertuples())
    assert all(row.text.count("!") == 4 for row in texts[texts["trait"] == "slow"].itertuples())


def test_samples_differ_in_their_seed_and_values_do_not():
    seen: list[tuple[str, int]] = []

    def noted(texts: list[str], z: Tensor, seed: int) -> list[str]:
        assert len(z) == len(set(texts))
        seen.extend((text, seed) for text in texts)
        return ["x"] * len(texts)

    written(noted, n_samples=2, seed=5)
    assert {seed for _, seed in seen} == {derived_seed(5, "sample", 0), derived_seed(5, "sample", 1)}
    assert len(set(seen)) == 2 * len(OPENINGS)


def test_an_interrupted_call_goes_on(tmp_path):
    before = written(folder=tmp_path)
    (tmp_path / "part-00003.parquet").unlink()
    calls: list[int] = []

    def counted(texts: list[str], z: Tensor, seed: int) -> list[str]:
        calls.append(len(texts))
        return shouts(texts, z, seed)

    after = written(counted, folder=tmp_path)
    assert calls == [5]
    pd.testing.assert_frame_equal(before, after)
    with pytest.raises(ConfigError, match="holds results of another configuration"):
        written(folder=tmp_path, seed=1)


def test_a_planted_effect_is_found_on_target_and_nowhere_else():
    few = effect_table(score_texts(written(), JUDGED, [Counts()]), n_resamples=200, n_permutations=499)
    assert few["p"].isna().all(), "five openings cannot reach 0.05"
    scored = score_texts(written(openings=(*OPENINGS, "You", "He", "She", "They", "One")), JUDGED, [Counts()])
    table = effect_table(scored, n_resamples=200, n_permutations=499).set_index(["trait", "judged"])
    own = table.loc[("loud", "loud")]
    assert own["estimate"] == pytest.approx(1)
    assert (own["spearman"], own["rising"], own["n_openings"]) == (pytest.approx(1), 1, 10)
    assert own["q"] <= 0.01
    for pair in (("loud", "slow"), ("slow", "loud"), ("slow", "slow")):
        assert table.loc[pair, "estimate"] == 0
        assert table.loc[pair, "p"] == 1
    means = expression_table(scored, n_resamples=100)
    loud = means[(means["trait"] == "loud") & (means["judged"] == "loud")]
    assert loud["estimate"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert set(loud["n"]) == {10}


@pytest.mark.slow
@pytest.mark.parametrize("differ", [0.0, 1.0])
def test_without_an_effect_one_slope_in_twenty_is_called_one(differ: float):
    """Also where openings follow z each in its own way; with z permuted inside openings 0.3 of those are called one."""
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(200):
        cells = [
            {"trait": "a", "judged": "a", "judge": "j", "z": float(z), "opening": str(i), "sample": 0}
            | {"score": rng.exponential() + slope * z}
            for i in range(8)
            for slope in (differ * rng.standard_normal(),)
            for z in range(-3, 4)
        ]
        p_values.append(effect_table(pd.DataFrame(cells), n_resamples=2, n_permutations=199, seed=seed)["p"].iloc[0])
    assert 0.015 < np.mean(np.array(p_values) <= 0.05) < 0.09


def test_lexical_judges_rate_traits_with_a_valence_only():
    scored = score_texts(written(), {"loud": JUDGED["loud"], "slow": load_trait("neuroticism")}, [LexicalJudge()])
    assert set(scored["judged"]) == {"slow"}
    with pytest.raises(ConfigError, match="can rate a trait, got 1 judges and 1 traits"):
        score_texts(written(), {"loud": JUDGED["loud"]}, [LexicalJudge()])


def test_score_columns_are_judged_by_the_traits_they_stand_for():
    found = judged_traits(("ope_z", "neuroticism", "sentiment", "dep_score"))
    assert {name: trait.name for name, trait in found.items()} == {
        "ope_z": "openness", "neuroticism": "neuroticism", "sentiment": "optimistic",
    }  # fmt: skip


def test_too_little_is_refused():
    with pytest.raises(ConfigError, match="1 sample, got 1, 5 and 1"):
        written(z_values=(1.0,))
    scored = score_texts(written(), JUDGED, [Counts()])
    hollow = scored[~((scored["z"] == 1) & (scored["trait"] == "loud"))]
    partial = pd.concat([hollow, scored[scored["z"] == 1].assign(opening="elsewhere")])
    with pytest.raises(EmptySelectionError, match="no opening was scored at every value of loud by counts"):
        effect_table(partial[partial["trait"] == "loud"], n_resamples=2, n_permutations=2)
