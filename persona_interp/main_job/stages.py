"""The stages of the main job for one trait; each keeps what it made, and a second call finds it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from persona_interp.activations.store import Activations
from persona_interp.data.traits import Trait
from persona_interp.directions.baselines import BASELINE_METHODS, fit_direction, random_directions
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import METHOD as PERSONA
from persona_interp.directions.persona import passes_filter, persona_vector
from persona_interp.judges.factual import FactualRuleJudge, load_factual_questions
from persona_interp.main_job.bench import Bench, Panel
from persona_interp.main_job.kept import kept_table, rate_answers
from persona_interp.measurements.baselines import compare_separation
from persona_interp.measurements.separation import SeparationProfile, separation_profile
from persona_interp.measurements.steering import (
    Setting,
    choose_setting,
    score_answers,
    steered_answers,
    steering_table,
    to_measurements,
)
from persona_interp.rollouts.generate import Questions, Rollouts, generate_rollouts
from persona_interp.types import POOLINGS, Hookpoint, Pooling


def scored_rollouts(bench: Bench, trait: Trait, judges: Panel, questions: Questions) -> Rollouts:
    """Contrastive answers with the scores of the judges; `expression`, by the first likelihood judge, is what filters.

    All judges rate the held-out answers; those that make the vector are rated by the two that are always there.
    """
    config, held_out = bench.config, questions == "eval"
    folder = bench.folder / "rollouts" / trait.name / ("held_out" if held_out else "extract")
    rollouts = generate_rollouts(
        bench.model,
        trait,
        n_questions=config.n_held_out_questions if held_out else config.n_questions,
        n_instructions=config.n_held_out_instructions if held_out else config.n_instructions,
        n_samples=config.n_samples,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        seed=config.seed + (1 if held_out else 0),
        questions=questions,
        folder=folder,
    )
    always = (bench.embedding, bench.filtering)
    rating = judges.judges if held_out else [judge for judge in judges.everywhere if judge in always]

    def score() -> pd.DataFrame:
        asked, answers = list(rollouts.frame["question"]), list(rollouts.frame["answer"])
        scores = rate_answers(trait, rating, rollouts.frame, folder)
        signs = bench.coherence.signs(asked, answers)
        reference = bench.coherence.reference(signs)
        coherent = bench.coherence.score(signs, reference) >= reference.gate
        return scores.assign(coherent=coherent)

    scores = kept_table(folder / "scores.parquet", score)
    columns = {str(name): scores[name].to_numpy() for name in scores.columns}
    filtering = columns.get(bench.filtering.name, np.full(len(scores), np.nan))  # blind, and nothing is filtered
    return rollouts.with_columns(**columns, expression=filtering)


def vectors(bench: Bench, trait: Trait, rollouts: Rollouts) -> dict[Pooling, Direction]:
    """Persona vectors of the three poolings, saved with their manifests."""
    made: dict[Pooling, Direction] = {
        pooling: persona_vector(rollouts, pooling=pooling, filter=bench.config.filter) for pooling in POOLINGS
    }
    for pooling, direction in made.items():
        direction.save(bench.folder / "vectors" / f"{trait.name}.{pooling}.safetensors")
    return made


def separation(
    bench: Bench, train: Rollouts, test: Rollouts, pooling: Pooling, others: Mapping[str, Direction]
) -> SeparationProfile:
    """Held-out separation per layer: trained on the filtered answers, tested on all answers to other questions.

    Args:
        others: vectors of the other traits of the run, which a specific vector beats.
    """
    config, sides = bench.config, contrast(bench, train, test, pooling)
    return separation_profile(
        **{name: side.values.numpy() for name, side in sides.items()},
        **{f"{name}_questions": side.samples["question"].to_numpy() for name, side in sides.items()},
        other_directions={name: vector.vectors.numpy() for name, vector in others.items()} or None,
        n_null=config.n_null,
        n_resamples=config.n_resamples,
        seed=config.seed,
        # Test labels are shuffled too, and each pole is centred: otherwise a strong true difference inflates its nulls.
        shuffled_splits="both",
        random_covariance="within",
    )


def baselines(bench: Bench, trait: Trait, direction: Direction, train: Rollouts, test: Rollouts) -> pd.DataFrame:
    """Held-out AUC by layer of the persona vector and of other methods on the same answers; a row a method and layer.

    Every method is fitted on the filtered answers that made the vector, and tested on all answers to other questions.
    """
    config = bench.config

    def compare() -> pd.DataFrame:
        sides = contrast(bench, train, test, "response_mean")
        directions = {PERSONA: direction}
        for method in BASELINE_METHODS:
            if method != "mean_difference":  # which is the persona vector
                train_sides = sides["train_positive"], sides["train_negative"]
                directions[method] = fit_direction(method, *train_sides, trait=trait.name, seed=config.seed + 6)
        compared = compare_separation(
            directions,
            sides["test_positive"],
            sides["test_negative"],
            reference=PERSONA,
            n_resamples=config.n_resamples,
            seed=config.seed,
        )
        return compared.assign(trait=trait.name)

    return kept_table(bench.folder / "baselines" / f"{trait.name}.parquet", compare)


def contrast(bench: Bench, train: Rollouts, test: Rollouts, pooling: Pooling) -> dict[str, Activations]:
    """The activations of `train_positive`, `train_negative`, `test_positive` and `test_negative` answers."""
    sides = {}
    for name, rollouts in (("train", train), ("test", test)):
        activations = rollouts.activations(pooling)
        keep = activations.values.isfinite().flatten(1).all(1).numpy()
        if name == "train":
            keep &= passes_filter(rollouts.frame, filter=bench.config.filter).to_numpy()
        for side in ("positive", "negative"):
            sides[f"{name}_{side}"] = activations.select(keep & (rollouts.frame["side"] == side).to_numpy())
    return sides


def select_setting(bench: Bench, trait: Trait, direction: Direction) -> tuple[Setting, pd.DataFrame]:
    """The layer and coefficient chosen on extraction questions by the embedding judge, and the table behind it."""
    config = bench.config
    folder = bench.folder / "steering" / trait.name / "selection"

    def score() -> pd.DataFrame:
        answers = steered_answers(
            bench.model,
            direction,
            trait.questions[: config.n_selection_questions],
            layers=config.steered_layers(bench.model.n_layers),
            coefficients=[c for c in config.coefficients if c > 0],
            max_new_tokens=config.eval_tokens,
            temperature=config.eval_temperature,
            seed=config.seed + 2,
            folder=folder,
        )
        return score_answers(answers, trait, judges=[bench.embedding], coherence=bench.coherence)[0]

    scored = kept_table(folder / "scored.parquet", score)
    measured = to_measurements(scored, model=bench.model.name, trait=trait.name, method=direction.method)
    table = steering_table(measured, n_resamples=config.n_resamples, seed=config.seed)
    return choose_setting(table, judge=bench.embedding.name), table


def evaluate(
    bench: Bench, trait: Trait, judges: Panel, direction: Direction, setting: Setting, rollouts: Rollouts
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scored answers to the evaluation questions: of the whole sweep, and of random directions at the setting.

    A sparing judge has no score (NaN) where it was not asked.
    """
    config = bench.config
    folder = bench.folder / "steering" / trait.name / "evaluation"
    questions = trait.eval_questions[: config.n_eval_questions]

    def sweep() -> pd.DataFrame:
        answers = steered_answers(
            bench.model,
            direction,
            questions,
            layers=config.steered_layers(bench.model.n_layers),
            coefficients=config.coefficients,
            n_samples=config.n_eval_samples,
            max_new_tokens=config.eval_tokens,
            temperature=config.eval_temperature,
            seed=config.seed + 3,
            folder=folder,
        )
        scored = score_answers(answers, trait, judges=judges.everywhere, coherence=bench.coherence)[0]
        chosen = (scored["layer"] == setting.layer).fillna(False) & (scored["coefficient"] == setting.coefficient)
        asked = chosen | (scored["coefficient"] == 0) | (config.extra_judges_on == "all")
        return scored.join(rate_answers(trait, judges.sparing, scored[asked.to_numpy(bool)], folder))

    scored = kept_table(folder / "scored.parquet", sweep)

    def control() -> pd.DataFrame:
        hookpoint = Hookpoint(setting.layer)
        drawn = random_directions(
            rollouts.activations("response_mean"), hookpoint, like=direction, n=config.n_random, seed=config.seed + 4
        )
        own = scored[(scored["coefficient"] == 0) & (scored["sample"] == 0)]
        tables = [own[["question", "sample", "prompt", "answer", "layer", "coefficient"]].assign(draw=-1)]
        for number, vector in enumerate(drawn):
            answers = steered_answers(
                bench.model,
                vector,
                questions,
                layers=[setting.layer],
                coefficients=[-setting.coefficient, setting.coefficient],
                max_new_tokens=config.eval_tokens,
                temperature=config.eval_temperature,
                seed=config.seed + 3,
                unsteered=False,
                folder=folder.with_name("random") / f"direction-{number:02d}",
            )
            tables.append(answers.assign(draw=number))
        answers = pd.concat(tables, ignore_index=True)
        return score_answers(answers, trait, judges=[bench.embedding], coherence=bench.coherence)[0]

    if config.n_random == 0:
        return scored, pd.DataFrame()
    return scored, kept_table(folder.with_name("random") / "scored.parquet", control)


def factual_check(bench: Bench, trait: Trait, direction: Direction, setting: Setting) -> pd.DataFrame | None:
    """For the trait hallucinating: answers to factual questions at minus, zero and plus the setting, judged by rule."""
    if trait.name != "hallucinating":
        return None
    config, known = bench.config, load_factual_questions()
    questions = [*known.unanswerable, *known.known]
    folder = bench.folder / "steering" / trait.name / "factual"
    judge = FactualRuleJudge(known)

    def score() -> pd.DataFrame:
        answers = steered_answers(
            bench.model,
            direction,
            questions,
            layers=[setting.layer],
            coefficients=[-setting.coefficient, setting.coefficient],
            max_new_tokens=config.eval_tokens,
            temperature=0.0,
            seed=config.seed + 5,
            folder=folder,
        )
        values = [s.value for s in judge.rate(trait, list(answers["question"]), list(answers["answer"]))]
        kind = np.where(answers["question"].isin(known.unanswerable), "unanswerable", "known")
        return answers.assign(invented=values, kind=kind)

    return kept_table(folder / "scored.parquet", score)
