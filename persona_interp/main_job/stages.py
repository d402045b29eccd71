"""The stages of the main job for one trait; each keeps what it made, and a second call finds it."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.baselines import random_directions
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import passes_filter, persona_vector
from persona_interp.io import atomic_write_bytes
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.factual import FactualRuleJudge, load_factual_questions
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.main_job.config import RunConfig
from persona_interp.measurements.separation import SeparationProfile, separation_profile
from persona_interp.measurements.steering import (
    Setting,
    choose_setting,
    score_answers,
    steered_answers,
    steering_table,
    to_measurements,
)
from persona_interp.models.hooked import HookedModelBase
from persona_interp.rollouts.generate import Questions, Rollouts, generate_rollouts
from persona_interp.rollouts.parts import read_table
from persona_interp.types import POOLINGS, Hookpoint, Pooling


@dataclass(frozen=True, eq=False)
class Bench:
    """The model under test and the judges, loaded once for all traits."""

    config: RunConfig
    folder: Path
    model: HookedModelBase
    embedding: EmbeddingJudge
    likelihood: LikelihoodJudge
    coherence: CoherenceJudge

    @property
    def judges(self) -> tuple[Judge, Judge]:
        """The embedding judge, whose verdicts choose and headline, and the likelihood judge beside it."""
        return self.embedding, self.likelihood


def scored_rollouts(bench: Bench, trait: Trait, questions: Questions) -> Rollouts:
    """Contrastive answers with the score of every judge; `expression`, by the likelihood judge, is what filters."""
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

    def score() -> pd.DataFrame:
        asked, answers = list(rollouts.frame["question"]), list(rollouts.frame["answer"])
        scores = {j.name: [s.value for s in j.rate(trait, asked, answers)] for j in bench.judges}
        signs = bench.coherence.signs(asked, answers)
        reference = bench.coherence.reference(signs)
        coherent = bench.coherence.score(signs, reference) >= reference.gate
        return pd.DataFrame(scores).assign(coherent=coherent)

    scores = kept_table(folder / "scores.parquet", score)
    columns = {str(name): scores[name].to_numpy() for name in scores.columns}
    return rollouts.with_columns(**columns, expression=scores[bench.likelihood.name].to_numpy())


def vectors(bench: Bench, trait: Trait, rollouts: Rollouts) -> dict[Pooling, Direction]:
    """Persona vectors of the three poolings, saved with their manifests."""
    made: dict[Pooling, Direction] = {
        pooling: persona_vector(rollouts, pooling=pooling, filter=bench.config.filter) for pooling in POOLINGS
    }
    for pooling, direction in made.items():
        direction.save(bench.folder / "vectors" / f"{trait.name}.{pooling}.safetensors")
    return made


def separation(bench: Bench, train: Rollouts, test: Rollouts, pooling: Pooling) -> SeparationProfile:
    """Held-out separation per layer: trained on the filtered answers, tested on all answers to other questions."""
    parts = {}
    for name, rollouts in (("train", train), ("test", test)):
        activations = rollouts.activations(pooling)
        keep = activations.values.isfinite().flatten(1).all(1).numpy()
        if name == "train":
            keep &= passes_filter(rollouts.frame, filter=bench.config.filter).to_numpy()
        for side in ("positive", "negative"):
            chosen = activations.select(keep & (rollouts.frame["side"] == side).to_numpy())
            parts[f"{name}_{side}"] = chosen.values.numpy()
            parts[f"{name}_{side}_questions"] = chosen.samples["question"].to_numpy()
    config = bench.config
    return separation_profile(
        **parts,
        n_null=config.n_null,
        n_resamples=config.n_resamples,
        seed=config.seed,
        # Test labels are shuffled too, and each pole is centred: otherwise a strong true difference inflates its nulls.
        shuffled_splits="both",
        random_covariance="within",
    )


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
    bench: Bench, trait: Trait, direction: Direction, setting: Setting, rollouts: Rollouts
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scored answers to the evaluation questions: of the whole sweep, and of random directions at the setting."""
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
        return score_answers(answers, trait, judges=bench.judges, coherence=bench.coherence)[0]

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


def kept_table(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The table at a path, made and kept there if it is not there yet."""
    if not path.is_file():
        buffer = BytesIO()
        make().to_parquet(buffer, index=False)
        atomic_write_bytes(path, buffer.getvalue())
    return read_table(path)
