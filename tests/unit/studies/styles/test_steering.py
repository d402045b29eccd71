"""Steered styles: arms at equal strength, answers and scores that are kept, the table and its tests, and refusals."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.data.styles import style_trait
from persona_interp.data.traits import Trait
from persona_interp.directions.style import extract_style_activations, style_vector
from persona_interp.errors import ConfigError, IncompatibleDirectionError
from persona_interp.interventions.residual import Add
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.lexical import LexicalJudge, LexicalSign
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Score
from persona_interp.measurements.frame import Measurements
from persona_interp.models.hooked import HookedModelBase
from persona_interp.statistics import benjamini_hochberg
from persona_interp.studies.styles.arms import (
    StyleArm,
    StyleSteering,
    answer_arm,
    answer_random,
    in_units,
    random_style_directions,
    style_arms,
)
from persona_interp.studies.styles.steering import able_judges, measure_styles, rate_style
from persona_interp.studies.styles.table import style_table
from persona_interp.types import Hookpoint
from tests.contract.tiny import D_MODEL
from tests.small import WordEncoder, direction
from tests.styles import corpus

SETTINGS = StyleSteering(((1,), (0, 1)), (0.5, 1.0), n_random=3, max_new_tokens=4)
TESTED = ("1", 0.5)
SELECTION = ("Why run?", "Who am I?", "What is tea?")
PROMPTS = {"factual": ("How?", "When is it?", "Which one?"), "subjective": ("Is it so?", "Must we?", "Shall I?")}


class Counting:
    """Rates by the number of letters."""

    name, description = "letters", "counts letters"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        self.asked.append(list(questions))
        return [Score(float(len(text)), 0.0) for text in answers]


def measure(model: HookedModelBase, judge: Counting, folder: Path | None = None, **options: object) -> Measurements:
    activations = extract_style_activations(model, corpus(), progress=False)
    vectors = {"warm": {"style_vector": style_vector(activations, "warm")}}
    plain = {"selection": SELECTION, "prompts": PROMPTS, "settings": SETTINGS, "vectors": vectors}
    chosen = {**plain, **options}
    return measure_styles(
        model,
        corpus(),
        chosen["vectors"],
        activations=activations,
        settings=chosen["settings"],
        judges=[judge],
        coherence=CoherenceJudge(model, WordEncoder(["why"]), progress=False),
        selection=chosen["selection"],
        prompts=chosen["prompts"],
        folder=folder,
        progress=False,
    )


@pytest.fixture(scope="module")
def measured(model: HookedModelBase) -> Measurements:
    return measure(model, Counting())


def test_every_arm_answers_every_prompt(measured: Measurements) -> None:
    frame = measured.frame[measured.frame["judge"] == "letters"]
    sizes = frame.groupby(["method", "layers", "coefficient", "prompts"]).size()
    assert (sizes == 3).all() and len(sizes) == (1 + 1 + 4) * 3 + 3 * 2
    assert set(frame["method"]) == {"unsteered", "prompt", "style_vector", "random 0", "random 1", "random 2"}
    assert set(frame["stream"]) == {"resid_post"}
    assert set(frame["layers"]) == {"", "0+1"}
    assert frame.loc[frame["layers"] == "0+1", "layer"].isna().all()
    random = frame[frame["method"].str.startswith("random")]
    assert set(random["layer"]) == {1} and set(random["coefficient"]) == {1.0}
    assert set(random["prompts"]) == {"factual", "subjective"}, "selection prompts need no null"


def test_the_table_has_an_effect_a_null_and_tests_for_every_arm(measured: Measurements) -> None:
    table = style_table(measured, judge="letters", tested=TESTED, n_resamples=50)
    assert set(table["prompts"]) == {"factual", "subjective"}, "selection prompts evaluate nothing"
    plain = table[table["method"] == "unsteered"]
    steered = table[table["method"] == "style_vector"]
    assert plain[["effect", "p", "q"]].isna().all(axis=None)
    assert steered["effect"].notna().all()
    varied = steered["effect_high"] > steered["effect_low"]
    assert steered["detectable"].notna().tolist() == varied.tolist(), "nothing is known where nothing varied"
    assert steered["p"].isna().all(), "three questions have four arrangements each way"
    assert table.set_index("method")["role"].to_dict() == {
        "unsteered": "unsteered", "prompt": "control", "style_vector": "treatment"
    }  # fmt: skip
    for row in steered.itertuples():
        unsteered = plain.loc[plain["prompts"] == row.prompts, "estimate"].item()
        assert row.effect == pytest.approx(row.estimate - unsteered)
        if (row.layers, row.coefficient) == TESTED:
            assert np.isnan([row.p_random, row.null_low]).all(), "three draws have no range and no p below 1 / 4"
            assert row.n_random == 3
        else:
            assert np.isnan(row.p_random) and row.n_random == 0
    chosen = steered[steered["chosen"]]
    assert chosen.groupby(["prompts", "layers"]).size().tolist() == [1] * 4
    assert table.loc[table["method"] == "prompt", "chosen"].all()
    assert not table.loc[table["method"] == "unsteered", "chosen"].any()


def test_one_place_and_judge_is_the_primary_family(measured: Measurements) -> None:
    frame = measured.frame
    six = Measurements(pd.concat([frame, frame.assign(question=frame["question"] + " Please.")], ignore_index=True))
    table = style_table(six, judge="letters", tested=TESTED, n_resamples=50)
    steered = table["method"] == "style_vector"
    primary = steered & (table["layers"] == TESTED[0]) & (table["coefficient"] == TESTED[1])
    assert primary.sum() == 2 and set(table.loc[primary, "declared"]) == {"primary"}
    assert set(table.loc[table["effect"].notna() & ~primary, "declared"]) == {"exploratory"}
    assert set(table.loc[table["effect"].isna(), "declared"]) == {"no test"}
    np.testing.assert_allclose(table.loc[primary, "q"], benjamini_hochberg(table.loc[primary, "p"].to_numpy()))


def test_random_directions_answer_as_they_do_one_by_one(model: HookedModelBase) -> None:
    settings = replace(SETTINGS, n_samples=2, placements=((0, 1),))
    activations = extract_style_activations(model, corpus(), progress=False)
    norms = torch.tensor([4.0, 5.0, 6.0])
    drawn = random_style_directions(activations, (0, 1), n=3, seed=0)
    directions = [in_units(one, norms, model) for one in drawn]
    together = answer_random(model, directions, PROMPTS, settings, folder=None, progress=False)
    for k, one in enumerate(directions):
        arm = StyleArm(f"random {k}", None, (0, 1), 1.0, Add(one, (0, 1), 1.0))
        alone = answer_arm(model, arm, PROMPTS, settings, folder=None, label="", progress=False).frame
        ours = together[together["method"] == f"random {k}"]
        columns = ["prompts", "question", "sample", "answer"]
        assert ours[columns].to_numpy().tolist() == alone[columns].to_numpy().tolist()
    assert together["answer"].nunique() > 6


def test_the_coefficient_is_chosen_on_selection_prompts_alone(measured: Measurements) -> None:
    frame = measured.frame
    ours = (frame["method"] == "style_vector") & (frame["judge"] == "letters")
    best = {}
    for coefficient in (0.5, 1.0):
        wins = ours & (frame["prompts"] == "selection") & (frame["coefficient"] == coefficient)
        value = frame["value"].where(~wins, 1000.0).where(~(ours & ~wins), 0.0)
        gate = frame["metric"] == "passes_gate"
        table = style_table(
            Measurements(frame.assign(value=value.where(~gate, 1.0))), judge="letters", tested=TESTED, n_resamples=10
        )
        best[coefficient] = set(table.loc[table["chosen"] & (table["method"] == "style_vector"), "coefficient"])
    assert best == {0.5: {0.5}, 1.0: {1.0}}


def test_an_interrupted_run_goes_on(model: HookedModelBase, tmp_path: Path, measured: Measurements) -> None:
    first, again = Counting(), Counting()
    made = measure(model, first, tmp_path)
    pd.testing.assert_frame_equal(made.frame, measured.frame)
    before = len(again.asked)
    second = measure(model, again, tmp_path)
    pd.testing.assert_frame_equal(second.frame, made.frame)
    assert all(len(asked) == 1 for asked in again.asked[before:]), "only asked whether it can rate"
    with pytest.raises(ConfigError, match="holds results of another configuration"):
        measure(model, Counting(), tmp_path, settings=replace(SETTINGS, max_new_tokens=5))


def test_all_arms_add_the_same_length(model: HookedModelBase) -> None:
    activations = extract_style_activations(model, corpus(), progress=False)
    norms = torch.tensor([4.0, 5.0, 6.0])
    long = style_vector(activations, "warm")
    vectors = {
        "warm": {
            "a": in_units(long, norms, model),
            "b": in_units(replace(long, vectors=9 * long.vectors), norms, model),
        }
    }
    arms = style_arms(corpus(), vectors, SETTINGS)
    residual, mask = torch.zeros(1, 2, D_MODEL), torch.ones(1, 2, dtype=torch.bool)
    for arm in arms:
        if arm.intervention is None:
            assert arm.method == "prompt"
            continue
        edits = arm.intervention.edits
        assert set(edits) == {Hookpoint(layer) for layer in arm.layers}
        for hookpoint, (edit,) in edits.items():
            added = edit.function(residual, mask)[0, 0].norm() / norms[hookpoint.layer]  # pyright: ignore[reportCallIssue]
            assert float(added) == pytest.approx(arm.coefficient / len(arm.layers), rel=1e-5)
    assert len({arm.name for arm in arms}) == len(arms)


def test_the_prompted_arm_asks_for_the_style(model: HookedModelBase) -> None:
    arm = StyleArm("prompt", "warm", description="a warm")
    made = answer_arm(model, arm, {"factual": ("How?",)}, SETTINGS, folder=None, label="", progress=False).frame
    assert made["question"].tolist() == ["How?"] and "How? Write the answer in a warm manner." in made["prompt"][0]
    assert made["prompts"].tolist() == ["factual"]


def test_judges_that_cannot_rate_are_named_with_their_reason(model: HookedModelBase) -> None:
    trait = style_trait(corpus(), "warm", questions=["How?"])

    class Unable(Counting):
        name = "unable"

        def unable(self, trait: Trait) -> str | None:
            return f"cannot calibrate for {trait.name}."

        def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
            raise AssertionError("nothing is rated to find out")

    judges = [
        Counting(),
        LexicalJudge({"cold": LexicalSign(-1, "x")}),
        Unable(),
        LikelihoodJudge(model, progress=False),
    ]
    able, unable = able_judges(judges, replace(trait, instructions=()))
    assert [judge.name for judge in able] == ["letters"]
    assert list(unable.values()) == [
        "warm has no declared valence", "cannot calibrate for warm.", "warm has no contrastive prompts"
    ]  # fmt: skip


def test_the_embedding_judge_sees_the_answer_alone() -> None:
    judge = EmbeddingJudge(WordEncoder(["oh", "the"]))
    trait = style_trait(corpus(), "warm", questions=["The the?"])
    scores = [rate_style(judge, trait, [question], ["Oh, a lamp"])[0] for question in ("", "The the the?")]
    assert scores[0] == scores[1] and np.isfinite(scores[0])
    counting = Counting()
    rate_style(counting, trait, ["Why?"], ["x"])
    assert counting.asked == [["Why?"]]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"selection": ("How?", "Who?", "What?")}, "'How?' both selects and evaluates."),
        ({"prompts": {"selection": ("A?",)}}, "'selection' names a set to evaluate."),
        ({"selection": ()}, "selection must be a list of texts that is not empty"),
        ({"prompts": {"factual": ()}}, "needs a style, prompts to choose a coefficient on"),
        ({"vectors": {}}, "needs a style, prompts to choose a coefficient on"),
    ],
)
def test_refusals(model: HookedModelBase, options: dict, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        measure(model, Counting(), **options)
    assert text in str(error.value)


def test_foreign_vectors_and_empty_settings_are_refused(model: HookedModelBase, measured: Measurements) -> None:
    with pytest.raises(IncompatibleDirectionError):
        measure(model, Counting(), vectors={"warm": {"x": direction(torch.randn(2, D_MODEL))}})
    refused: list[dict[str, Any]] = [{"placements": ()}, {"placements": ((),)}]
    for wrong in refused:
        with pytest.raises(ConfigError, match=r"^placements.* must be a list of .* that is not empty"):
            StyleSteering(**wrong)
    with pytest.raises(ConfigError, match=r"coefficients\[0\] must be above 0"):
        StyleSteering(((1,),), (0.0,))
    with pytest.raises(ConfigError, match="no answer was rated by 'nobody'.\n  Judges: letters."):
        style_table(measured, judge="nobody", tested=TESTED)


def test_kept_scores_are_of_one_judge_and_one_version(
    model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(model, Counting(), tmp_path)
    again = Counting()
    measure(model, again, tmp_path)
    assert again.asked == []
    other = Counting()
    other.description = "counts vowels"
    with pytest.raises(ConfigError, match="judge: there {'letters': 'counts letters'}, now"):
        measure(model, other, tmp_path)
    monkeypatch.setattr("persona_interp.studies.styles.steering.METHOD_VERSION", 0)
    with pytest.raises(ConfigError, match="method_version: there 2, now 0"):
        measure(model, Counting(), tmp_path)
