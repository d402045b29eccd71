import numpy as np
import pandas as pd

from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.measurements.steering import Setting
from persona_interp.studies.persona.tables import EFFECT_COLUMNS, effect_rows
from tests.small import TRAIT, WordEncoder


def test_answers_that_nobody_could_rate_give_an_empty_table_with_its_columns() -> None:
    judge, setting = EmbeddingJudge(WordEncoder(["here"])), Setting(1, 0.3, coherent=False)
    scored = pd.DataFrame({"layer": [1, None], "coefficient": [0.3, 0.0], "question": ["Why?"] * 2})
    unrated = effect_rows(TRAIT, scored.assign(**{judge.name: np.nan}), setting, [judge], n_resamples=9, seed=0)
    assert unrated.empty and list(unrated) == list(EFFECT_COLUMNS)
    rated = effect_rows(TRAIT, scored.assign(**{judge.name: [3.0, 1.0]}), setting, [judge], n_resamples=9, seed=0)
    assert list(rated) == list(EFFECT_COLUMNS) and rated["effect"].tolist() == [2.0]


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
