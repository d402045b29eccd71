"""Steering in the main job for one trait: a setting, the answers under it, their scores; kept like every stage."""

import numpy as np
import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.baselines import random_directions
from persona_interp.directions.direction import Direction
from persona_interp.judges.consensus import CONSENSUS, Standard
from persona_interp.judges.factual import FactualRuleJudge, load_factual_questions
from persona_interp.measurements.roles import UNSTEERED
from persona_interp.measurements.setting import Setting, choose_setting
from persona_interp.measurements.steering import score_answers, steered_answers
from persona_interp.measurements.steering_null import answer_by_direction, direction_effects, rate_by_direction
from persona_interp.rollouts.generate import Rollouts
from persona_interp.statistics.streams import derived_seed
from persona_interp.studies.persona.bench import Bench, Panel
from persona_interp.studies.persona.kept import ask_again, rate_answers
from persona_interp.studies.persona.strengths import coefficients_by_layer, place_of_test
from persona_interp.studies.persona.validity import Shown
from persona_interp.tables import kept_table
from persona_interp.types import Hookpoint


def select_setting(bench: Bench, trait: Trait, judges: Panel, shown: Shown, direction: Direction) -> Setting:
    """The layer and coefficient chosen on extraction questions by the consensus of the judges shown to work.

    The place of the test, named beforehand, where no judge is.
    """
    config, strengths = bench.config, coefficients_by_layer(bench, trait, direction)
    if not shown.heads:
        return Setting(*place_of_test(bench, trait, direction), coherent=True)
    folder = bench.folder / "steering" / trait.name / "selection"

    def score() -> pd.DataFrame:
        answers = steered_answers(
            bench.model,
            direction,
            trait.questions[: config.n_selection_questions],
            layers=config.steered_layers(bench.model.n_layers),
            coefficients={layer: [c for c in of if c > 0] for layer, of in strengths.items()},
            n_unsteered=config.n_unsteered,
            max_new_tokens=config.eval_tokens,
            temperature=config.eval_temperature,
            seed=derived_seed(config.seed, "selection"),
            folder=folder,
        )
        rating = [judge for judge in judges.everywhere if judge.name in shown.heads]
        return score_answers(answers, trait, judges=rating, coherence=bench.coherence)[0]

    scored = with_consensus(kept_table(folder / "scored.parquet", score), shown)
    return choose_setting(scored, judge=CONSENSUS, seed=config.seed)


def with_consensus(scored: pd.DataFrame, shown: Shown, standard: Standard | None = None) -> pd.DataFrame:
    """The scored answers with the consensus of the judges shown to work; as they are where none is.

    Args:
        standard: default: that of the answers at coefficient 0 among these.
    """
    if not shown.heads:
        return scored
    standard = Standard.of(scored[scored["coefficient"] == 0], shown.heads) if standard is None else standard
    return scored.assign(**{CONSENSUS: standard.consensus(scored)})


def evaluate(
    bench: Bench, trait: Trait, judges: Panel, shown: Shown, direction: Direction, setting: Setting
) -> pd.DataFrame:
    """Scored answers to the evaluation questions, of the whole sweep, with the consensus.

    A judge that is asked rarely has no score (NaN) where it was not asked.
    """
    config, strengths = bench.config, coefficients_by_layer(bench, trait, direction)
    folder = bench.folder / "steering" / trait.name / "evaluation"
    questions = trait.eval_questions[: config.n_eval_questions]

    def sweep() -> pd.DataFrame:
        answers = steered_answers(
            bench.model,
            direction,
            questions,
            layers=[setting.layer] if config.sweep == "chosen" else config.steered_layers(bench.model.n_layers),
            coefficients=strengths,
            n_samples=config.n_eval_samples,
            n_unsteered=config.n_unsteered,
            max_new_tokens=config.eval_tokens,
            temperature=config.eval_temperature,
            seed=derived_seed(config.seed, "evaluation"),
            folder=folder,
        )
        scored = score_answers(answers, trait, judges=judges.everywhere, coherence=bench.coherence)[0]
        return scored.join(rate_answers(trait, judges.asked_rarely, selected(scored), folder))

    def selected(scored: pd.DataFrame) -> pd.DataFrame:
        chosen = (scored["layer"] == setting.layer).fillna(False) & (scored["coefficient"] == setting.coefficient)
        asked = chosen | (scored["coefficient"] == 0) | (config.extra_judges_on == "all")
        return scored[asked.to_numpy(bool)]

    ask_again(folder / "scored.parquet", trait, judges.asked_rarely, selected)
    return with_consensus(kept_table(folder / "scored.parquet", sweep), shown)


def against_random(
    bench: Bench, trait: Trait, judges: Panel, shown: Shown, direction: Direction, rollouts: Rollouts
) -> pd.DataFrame | None:
    """Effects of the direction and of random ones at the place of the test (`direction_effects`), by the consensus.

    It is in standard deviations of the unsteered answers of this test. None without directions, or without a judge that
    is shown to work.
    """
    config = bench.config
    layer, coefficient = place_of_test(bench, trait, direction)
    folder = bench.folder / "steering" / trait.name / "random"

    def score() -> pd.DataFrame:
        drawn = random_directions(
            rollouts.activations("response_mean"),
            Hookpoint(layer),
            like=direction,
            n=config.n_drawn(),
            seed=derived_seed(config.seed, "random directions"),
            poles=rollouts.frame["side"].to_numpy(str),
        )
        answers = answer_by_direction(
            bench.model,
            direction,
            drawn,
            trait.eval_questions[: config.n_test_questions or config.n_eval_questions],
            layer=layer,
            coefficient=coefficient,
            max_new_tokens=config.test_tokens,
            folder=folder,
        )
        return rate_by_direction(answers, trait, [judge for judge in judges.everywhere if judge.name in shown.heads])

    if config.n_drawn() == 0 or not shown.heads:
        return None
    scored = kept_table(folder / "scored.parquet", score)
    standard = Standard.of(scored[scored["role"] == UNSTEERED], shown.heads)
    effects = direction_effects(scored.assign(**{CONSENSUS: standard.consensus(scored)}), CONSENSUS)
    return effects.assign(trait=trait.name, judge=CONSENSUS, layer=layer, coefficient=coefficient)


def factual_check(bench: Bench, trait: Trait, direction: Direction, setting: Setting) -> pd.DataFrame | None:
    """Where a rule can judge the trait: answers to factual questions at minus, zero and plus the setting."""
    config, known = bench.config, load_factual_questions()
    judge = FactualRuleJudge(known)
    if judge.unable(trait) is not None:
        return None
    questions = [*known.unanswerable, *known.known]
    folder = bench.folder / "steering" / trait.name / "factual"

    def score() -> pd.DataFrame:
        answers = steered_answers(
            bench.model,
            direction,
            questions,
            layers=[setting.layer],
            coefficients=[-setting.coefficient, setting.coefficient],
            max_new_tokens=config.eval_tokens,
            temperature=0.0,
            seed=derived_seed(config.seed, "factual"),
            folder=folder,
        )
        values = [s.value for s in judge.rate(trait, list(answers["question"]), list(answers["answer"]))]
        kind = np.where(answers["question"].isin(known.unanswerable), "unanswerable", "known")
        return answers.assign(invented=values, kind=kind)

    return kept_table(folder / "scored.parquet", score)
