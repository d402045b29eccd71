"""The stages of the main job for one trait; each keeps what it made, and a second call finds it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from persona_interp.activations.store import Activations
from persona_interp.data.traits import Trait
from persona_interp.directions.baselines import BASELINE_METHODS, fit_direction
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import METHOD as PERSONA
from persona_interp.directions.persona import passes_filter, persona_vector
from persona_interp.measurements.baselines import compare_separation
from persona_interp.measurements.separation import SeparationProfile, separation_profile
from persona_interp.rollouts.generate import Questions, Rollouts, generate_rollouts
from persona_interp.statistics.streams import derived_seed
from persona_interp.studies.persona.bench import Bench, Panel
from persona_interp.studies.persona.kept import ask_again, rate_answers
from persona_interp.tables import kept_table
from persona_interp.types import POOLINGS, Pooling


def scored_rollouts(bench: Bench, trait: Trait, judges: Panel, questions: Questions) -> Rollouts:
    """Contrastive answers with the scores of the judges; `expression`, by the first likelihood judge, is what filters.

    All judges rate the held-out answers; those that make the vector are rated by the judges that rate everything.
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
        seed=derived_seed(config.seed, "held out" if held_out else "extraction"),
        questions=questions,
        folder=folder,
    )
    rating = judges.judges if held_out else judges.everywhere

    def score() -> pd.DataFrame:
        asked, answers = list(rollouts.frame["question"]), list(rollouts.frame["answer"])
        scores = rate_answers(trait, rating, rollouts.frame, folder)
        signs = bench.coherence.signs(asked, answers, trait)
        reference = bench.coherence.reference(signs)
        coherent = bench.coherence.score(signs, reference) >= reference.gate
        return scores.assign(coherent=coherent)

    ask_again(folder / "scores.parquet", trait, rating, lambda _: rollouts.frame)
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

    No pair of system prompts is tested along a direction that it made: pairs that are in both splits are left out in
    turn, and whole prompts are exchanged for the p-value.

    Args:
        others: vectors of the other traits of the run, which a specific vector beats.
    """
    config, sides = bench.config, contrast(bench, train, test, pooling)
    pairs = {name: side.samples["instruction"].to_numpy() for name, side in sides.items()}
    return separation_profile(
        **{name: side.values.numpy() for name, side in sides.items()},
        **{f"{name}_questions": side.samples["question"].to_numpy() for name, side in sides.items()},
        train_prompts=(pairs["train_positive"], pairs["train_negative"]),
        test_prompts=(pairs["test_positive"], pairs["test_negative"]),
        other_directions={name: vector.vectors.numpy() for name, vector in others.items()} or None,
        n_null=config.n_null,
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
                directions[method] = fit_direction(
                    method, *train_sides, trait=trait.name, seed=derived_seed(config.seed, "baselines", method)
                )
        compared = compare_separation(
            directions,
            sides["test_positive"],
            sides["test_negative"],
            reference=PERSONA,
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
