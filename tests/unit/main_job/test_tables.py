import numpy as np
import pandas as pd

from persona_interp.main_job.tables import EFFECT_COLUMNS, effect_rows
from persona_interp.measurements.steering import Setting
from tests.small import TRAIT


class _Named:
    name = "words"


def test_answers_that_nobody_could_rate_give_an_empty_table_with_its_columns() -> None:
    scored = pd.DataFrame({"layer": [1, None], "coefficient": [0.3, 0.0], "question": ["Why?"] * 2})
    setting = Setting(1, 0.3, coherent=False)
    judges = [_Named()]
    assert (
        list(effect_rows(TRAIT, scored.assign(words=np.nan), setting, judges, n_resamples=9, seed=0)) == EFFECT_COLUMNS
    )  # pyright: ignore
    rated = scored.assign(words=[3.0, 1.0])
    rows = effect_rows(TRAIT, rated, setting, judges, n_resamples=9, seed=0)  # pyright: ignore
    assert list(rows) == EFFECT_COLUMNS and rows["effect"].tolist() == [2.0]
