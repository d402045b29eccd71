"""Samples that are planted are found by the score that has them, and effects and claims say so with the right sign."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.data.traits import Trait, load_trait
from persona_interp.directions.direction import Direction
from persona_interp.effects import Effect, Source, effects_table, q_of
from persona_interp.judges.protocol import Score
from persona_interp.measurements.projection_difference import METRICS, projection_difference
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import render_chat
from persona_interp.statistics.exceedances import exceedances
from persona_interp.studies.screening.figures import draw_planted
from persona_interp.studies.screening.planted import (
    ALONE,
    CHOOSER,
    DIFFERENCE,
    PROXY,
    RAW,
    TEXT,
    PlantedConfig,
    PlantedData,
    planted_samples,
)
from persona_interp.studies.screening.planted_effects import MIXED, ONE, planted_claims, planted_effects

CONFIG = PlantedConfig(levels=("level_2",), k=5)
N = 45


class Length:
    """A judge that counts letters."""

    name, description = "length", "letters of the answer"

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(float(len(answer)), float(len(answer))) for answer in answers]


def talks(answer: str) -> list[Conversation]:
    return [question_and_answer(f"why {k}", f"{answer} {k}") for k in range(6)]


def test_every_sample_is_scored_once_a_mixture(model: HookedModelBase, directions: tuple[Direction, ...]) -> None:
    evil = directions[1]
    plain, bad, other = talks("tea"), talks("no tea"), [question_and_answer("two", "four")]
    own = {render_chat(model.tokenizer, talk.prompt): "rain" for talk in (*plain, *other)}
    data = PlantedData({"evil": plain}, {"evil": {"level_2": bad}}, {"sums": other}, own)
    samples = planted_samples(
        model,
        {"evil": evil},
        data,
        traits={"evil": load_trait("evil")},
        likelihood=Length(),
        embedding=Length(),
        layer=1,
        config=CONFIG,
    )
    assert len(samples) == 6 + 6 + 1
    mixed = samples[samples["mixed"]]
    assert not mixed["question"].duplicated().any()
    assert mixed["planted"].sum() == 2  # every third of six
    assert (samples["reserved"] <= (samples["mixed"] & ~samples["planted"])).all()
    expected = projection_difference(model, [evil], [*plain, *bad, *other], layers=[1], base_answers=["rain"] * 13)
    for label, metric in zip((RAW, DIFFERENCE, PROXY), METRICS, strict=True):
        assert sorted(samples[label]) == pytest.approx(sorted(expected.metric(metric)[:, 0, 0]))
    assert samples[TEXT].tolist() == [len(answer) for answer in samples["answer"]] == samples[CHOOSER].tolist()


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    """The projection difference finds planted samples, the likelihood judge orders them the wrong way."""
    rng, rows = np.random.default_rng(0), []
    for k in range(N):
        for planted in (False, True):
            scores = {name: rng.standard_normal() for name in ALONE}
            scores[DIFFERENCE] += 3 * planted
            scores[TEXT] -= 3 * planted
            mixed = planted == (k % 3 == 0)
            rows.append(
                {"question": f"q{k}", "answer": "a", "source": "own", "planted": planted, "mixed": mixed} | scores
            )
    for k in range(40):
        scores = {name: rng.standard_normal() for name in ALONE}
        rows.append({"question": f"s{k}", "answer": "a", "source": "sums", "planted": False, "mixed": True} | scores)
    frame = pd.DataFrame(rows)
    clean = ~frame["planted"] & frame["mixed"]
    return frame.assign(reserved=clean & (clean.cumsum() % 3 == 0), trait="evil", level="level_2")


@pytest.fixture(scope="module")
def effects(samples: pd.DataFrame) -> list[Effect]:
    return planted_effects(samples, CONFIG, layer=1, n_layers=3)


def test_claims_are_of_the_projection_difference_in_every_mixture(effects: list[Effect]) -> None:
    claims = planted_claims(effects, q_of(effects))
    assert [claim.verdict for claim in claims] == ["holds"] * 4
    assert claims[0].sentence.startswith(f"The projection difference finds planted samples of evil, level II, {ONE}")
    assert "is ahead of a likelihood judge" in claims[3].sentence
    assert [claim.effects[0].condition for claim in claims] == [f"level II, {s}" for s in (ONE, MIXED)] * 2


@pytest.mark.slow
def test_claims_of_scores_the_other_way_round_are_refuted(samples: pd.DataFrame) -> None:
    turned = samples.rename(columns={DIFFERENCE: TEXT, TEXT: DIFFERENCE})
    made = planted_effects(turned, CONFIG, layer=1, n_layers=3)
    claims = planted_claims(made, q_of(made))
    assert [claim.verdict for claim in claims] == ["does not"] * 4
    assert "orders the wrong way" in claims[0].sentence and "is behind" in claims[2].sentence


def test_effects_are_placed_and_counted(effects: list[Effect], samples: pd.DataFrame) -> None:
    by = {(e.metric, e.method, e.condition, e.reference): e for e in effects}
    assert len(by) == len(effects)
    auc = by["AUC", DIFFERENCE, f"level II, {MIXED}", "chance, 0.5"]
    assert (auc.layers, auc.depth, auc.role, auc.cluster) == ("1", 2 / 3, "treatment", "question")
    text = by["AUC", TEXT, f"level II, {MIXED}", "chance, 0.5"]
    assert (text.layers, text.role, text.judge) == (None, "control", "likelihood")
    hits = by["share above the clean threshold", DIFFERENCE, f"level II, {MIXED}, planted samples", "new clean samples"]
    reserved = int(samples["reserved"].sum())
    k = int(np.ceil((reserved + 1) * 0.95))
    limit = np.sort(samples.loc[samples["reserved"], DIFFERENCE])[k - 1]
    planted = samples[samples["planted"] & samples["mixed"]][DIFFERENCE]
    expected = exceedances(
        int((planted > limit).sum()), 15, n_reference=reserved, k=int(np.ceil((reserved + 1) * 0.95))
    )
    assert (hits.estimate, hits.p, hits.n) == (expected.share, expected.p, 15)
    alarms = by["share above the clean threshold", TEXT, f"level II, {MIXED}, clean samples", "new clean samples"]
    assert (alarms.role, alarms.p, alarms.family) == ("null", None, None)


def test_figures_are_of_the_effects(effects: list[Effect], samples: pd.DataFrame) -> None:
    table = effects_table(Source("screening", "x"), effects)
    detected, spread = draw_planted(table, samples, percentile=95.0)
    assert set(detected.frame["metric"]) == {"AUC"}
    assert isinstance(detected.figure, Figure) and len(detected.frame) == 2 * 7
    assert len(spread.frame) == int((samples["mixed"] & ~samples["reserved"]).sum())
    plt.close("all")
