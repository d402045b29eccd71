"""Steering in the main job for one trait: a setting, the answers under it, their scores; kept like every stage."""

import numpy as np
import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.baselines import random_directions
from persona_interp.directions.direction import Direction
from persona_interp.judges.factual import FactualRuleJudge, load_factual_questions
from persona_interp.measurements.steering import (
    Setting,
    choose_setting,
    score_answers,
    steered_answers,
    steering_table,
    to_measurements,
)
from persona_interp.measurements.steering_null import answer_by_direction, direction_effects, rate_by_direction
from persona_interp.rollouts.generate import Rollouts
from persona_interp.statistics.streams import derived_seed
from persona_interp.studies.persona.bench import Bench, Panel
from persona_interp.studies.persona.kept import ask_again, rate_answers
from persona_interp.studies.persona.strengths import coefficients_by_layer, place_of_test
from persona_interp.tables import kept_table
from persona_interp.types import Hookpoint


def select_setting(bench: Bench, trait: Trait, direction: Direction) -> tuple[Setting, pd.DataFrame]:
    """The layer and coefficient chosen on extraction questions by the embedding judge, with the whole table."""
    config, strengths = bench.config, coefficients_by_layer(bench, trait, direction)
    folder = bench.folder / "steering" / trait.name / "selection"

    def score() -> pd.DataFrame:
        answers = steered_answers(
            bench.model,
            direction,
            trait.questions[: config.n_selection_questions],
            layers=config.steered_layers(bench.model.n_layers),
            coefficients={layer: [c for c in of if c > 0] for layer, of in strengths.items()},
            max_new_tokens=config.eval_tokens,
            temperature=config.eval_temperature,
            seed=derived_seed(config.seed, "selection"),
            folder=folder,
        )
        return score_answers(answers, trait, judges=[bench.embedding], coherence=bench.coherence)[0]

    scored = kept_table(folder / "scored.parquet", score)
    measured = to_measurements(scored, model=bench.model.name, trait=trait.name, method=direction.method)
    table = steering_table(measured, n_resamples=config.n_resamples, seed=config.seed)
    return choose_setting(table, judge=bench.embedding.name), table


def evaluate(bench: Bench, trait: Trait, judges: Panel, direction: Direction, setting: Setting) -> pd.DataFrame:
    """Scored answers to the evaluation questions, of the whole sweep.

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
            layers=config.steered_layers(bench.model.n_layers),
            coefficients=strengths,
            n_samples=config.n_eval_samples,
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
    return kept_table(folder / "scored.parquet", sweep)


def against_random(bench: Bench, trait: Trait, direction: Direction, rollouts: Rollouts) -> pd.DataFrame | None:
    """Effects of the direction and of random ones at the place of the test (`direction_effects`); None without any."""
    config, judge = bench.config, bench.embedding
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
            trait.eval_questions[: config.n_eval_questions],
            layer=layer,
            coefficient=coefficient,
            max_new_tokens=config.test_tokens,
            folder=folder,
        )
        return rate_by_direction(answers, trait, judge)

    if config.n_drawn() == 0:
        return None
    effects = direction_effects(kept_table(folder / "scored.parquet", score), judge.name)
    return effects.assign(trait=trait.name, judge=judge.name, layer=layer, coefficient=coefficient)


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
