"""How far the scores of an adapter's texts agree with another judge, as effects."""

from pandas import DataFrame

from persona_interp.studies.psychadapter.trained import agreement_effects


def test_agreement_of_scores_is_an_effect_a_trait() -> None:
    row = {"trait": "openness", "judge": "texts", "other_judge": "likelihood", "estimate": 0.4, "low": 0.1, "high": 0.6}
    first, second = agreement_effects(DataFrame([row | {"n": 80}, row | {"trait": "evil", "n": 80, "low": None}]))
    assert (first.trait, first.data, first.judge, first.n_cluster) == ("openness", "texts", "likelihood", 80)
    assert (first.low, second.low, second.trait) == (0.1, None, "evil")
