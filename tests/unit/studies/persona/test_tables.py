import numpy as np
import pandas as pd
import pytest

from persona_interp.judges.consensus import CONSENSUS, Standard
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.measurements.setting import Setting
from persona_interp.studies.persona.tables import EFFECT_COLUMNS, effect_rows
from tests.small import TRAIT, WordEncoder


def test_answers_that_nobody_could_rate_give_an_empty_table_with_its_columns() -> None:
    judge, setting = EmbeddingJudge(WordEncoder(["here"])), Setting(1, 0.3, coherent=False)
    scored = pd.DataFrame({"layer": [1, None], "coefficient": [0.3, 0.0], "question": ["Why?"] * 2})
    unrated = effect_rows(TRAIT, scored.assign(**{judge.name: np.nan}), setting, [judge], n_resamples=9, seed=0)
    assert unrated.empty and list(unrated) == list(EFFECT_COLUMNS)
    rated = effect_rows(TRAIT, scored.assign(**{judge.name: [3.0, 1.0]}), setting, [judge], n_resamples=9, seed=0)
    assert list(rated) == list(EFFECT_COLUMNS) and rated["effect"].tolist() == [2.0]


def test_the_consensus_is_first_and_in_deviations_of_unsteered_answers() -> None:
    judges, setting = (
        [EmbeddingJudge(WordEncoder([word])) for word in ("here", "there")],
        Setting(1, 0.3, coherent=True),
    )
    names = [f"{judge.name} {k}" for k, judge in enumerate(judges)]
    for judge, name in zip(judges, names, strict=True):
        judge.name = name
    plain = pd.DataFrame({"layer": None, "coefficient": 0.0, "question": list("abcd"), names[0]: [0.0, 10, 20, 30]})
    plain[names[1]] = [50.0, 50.5, 51.0, 51.5]
    steered = plain.assign(layer=1, coefficient=0.3, **{names[0]: plain[names[0]] + 10, names[1]: plain[names[1]] + 1})
    scored = pd.concat([steered, plain], ignore_index=True)
    standard = Standard.of(plain, names)
    assert standard.means == (15.0, 50.75)
    least = 1.0  # point of 100
    np.testing.assert_allclose(standard.deviations, np.array([np.std([0, 10, 20, 30], ddof=1), least]))
    scored[CONSENSUS] = standard.consensus(scored)
    table = effect_rows(TRAIT, scored, setting, judges, names, n_resamples=50, seed=0)
    assert table["judge"].tolist() == [CONSENSUS, *names]
    by_each = 10 / np.std([0, 10, 20, 30], ddof=1), 1 / least
    changes = scored.groupby(scored["coefficient"] > 0)[CONSENSUS].mean()
    assert table["effect"].iloc[0] == pytest.approx(changes[True] - changes[False]), "as the dose-response has it"
    np.testing.assert_allclose(table["effect"].to_numpy(float), np.array([sum(map(float, by_each)) / 2, 10.0, 1.0]))


def test_the_effect_is_paired_over_questions() -> None:
    """Questions differ by 90 points, the effect is 10 at every one: nothing is left to vary."""
    judge, setting = EmbeddingJudge(WordEncoder(["here"])), Setting(1, 0.3, coherent=True)
    levels = np.array([0.0, 30.0, 90.0])
    steered, plain = (
        pd.DataFrame({"layer": layer, "coefficient": c, "question": ["a", "b", "c"], judge.name: levels + 10 * (c > 0)})
        for layer, c in ((1, 0.3), (None, 0.0))
    )
    lower = steered.assign(coefficient=-0.3)
    scored = pd.concat([steered, plain, lower, steered.assign(layer=2)], ignore_index=True)
    row = effect_rows(TRAIT, scored, setting, [judge], n_resamples=50, seed=0).iloc[0]
    np.testing.assert_allclose(row[["effect", "effect_low", "effect_high"]].to_numpy(float), 10.0)
