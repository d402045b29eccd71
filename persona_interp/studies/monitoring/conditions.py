"""Monitoring measured: the projection before an answer against the expression of the answer that follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, Some, Temperature
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.io import path_part
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.frame import Measurements
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import encode, render_chat
from persona_interp.rollouts.contexts import Condition, condition_turns, graded_system_prompts
from persona_interp.rollouts.generate import answer

TOKENS_AT_ONCE = 24_000
"""Most cached tokens of a batch: long contexts are answered a few at a time."""


@dataclass(frozen=True, eq=False)
class Monitoring:
    """Projections of last prompt tokens, and the expression of the answers that followed.

    Args:
        units: one row a condition and question: kind, condition, level, question, and a column a judge with the mean
            score of its answers (NaN where the judge could rate none).
        projections: of every unit, at every layer in `layers`; larger means more of the direction's pole.
        activations: of the last prompt tokens, a row a unit, for nulls that project other directions.
        answers: every answer with its scores.
    """

    trait: str
    direction: Direction
    judges: tuple[str, ...]
    layers: tuple[int, ...]
    units: pd.DataFrame
    projections: Float[np.ndarray, "unit layer"]
    activations: Activations
    answers: pd.DataFrame

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of conditions, in order."""
        return tuple(dict.fromkeys(self.units["kind"]))

    def measurements(self, *, model: str, run_id: str = "") -> Measurements:
        """One row a number: `projection` at each layer, and `expression` of each answer by each judge.

        `sample` holds the condition, followed by the number of the sample where there is one.
        """
        shared = {"model": model, "trait": self.trait, "method": self.direction.method, "stream": "resid_post"}
        shared |= {"coefficient": None, "run_id": run_id}
        rows = [
            {**shared, "layer": layer, "sample": unit["condition"], "metric": "projection"}
            | {"value": float(self.projections[i, k]), "question": unit["question"]}
            for i, unit in enumerate(self.units.to_dict("records"))
            for k, layer in enumerate(self.layers)
        ]
        rows += [
            {**shared, "layer": None, "sample": f"{one['condition']}, sample {one['sample']}"}
            | {"metric": "expression", "judge": judge, "value": float(one[judge]), "question": one["question"]}
            for one in self.answers.to_dict("records")
            for judge in self.judges
            if not pd.isna(one[judge])
        ]
        return Measurements.from_rows(rows)


@checked
def measure_monitoring(
    model: HookedModel,
    direction: Direction,
    trait: Trait,
    *,
    judges: Some[Judge],
    conditions: Sequence[Condition] | None = None,
    questions: Some[str] | None = None,
    n_samples: Count = 2,
    max_new_tokens: Count = 48,
    temperature: Temperature = 0.7,
    layers: Some[int] | None = None,
    seed: Seed = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> Monitoring:
    """Projection a.v/|v| of the last prompt token, and the judged expression of the answers, over conditions.

    The projection is read before a word is generated. `monitoring_table` and `monitoring_nulls` say how well it
    predicts. Every condition has a folder of its own and the same call goes on where it stopped.

    Args:
        judges: rate the answers. None of them may be a projection on this direction.
        conditions: default: the eight graded system prompts. `many_shot_contexts` makes others; kinds may be mixed.
        questions: default: the trait's evaluation questions, which no direction was extracted from.
        layers: default: every layer that the direction has. None is chosen here.

    Raises:
        IncompatibleDirectionError: the direction belongs to another model.
        ContextLengthError: the longest context and its answer do not fit the model.
        ConfigError: no judge, question or condition, or two conditions of one name.
    """
    check_direction(direction, model)
    conditions = graded_system_prompts(trait) if conditions is None else tuple(conditions)
    questions = trait.eval_questions if questions is None else tuple(questions)
    names = [condition.name for condition in conditions]
    if not judges or not questions or not conditions or len(set(names)) < len(names):
        raise ConfigError(
            f"monitoring cannot be measured with {len(judges)} judges, {len(questions)} questions and the conditions"
            f" {', '.join(names) or 'none'}.",
            "Give at least one of each, and every condition a name of its own.",
        )
    every = tuple(hookpoint.layer for hookpoint in direction.hookpoints if hookpoint.stream == "resid_post")
    layers = every if layers is None else tuple(layers)
    rows = [int(direction.index(layer)) for layer in layers]
    sampling = Sampling(max_new_tokens, temperature, n_samples=n_samples, seed=seed)
    prompts = [[render_chat(model.tokenizer, turns) for turns in condition_turns(c, questions)] for c in conditions]
    longest = [max(map(len, encode(model.tokenizer, rendered))) + max_new_tokens for rendered in prompts]
    if isinstance(model, HookedModelBase):
        model.check_length(max(longest))
    parts = [
        _answered(model, condition, questions, rendered, sampling, trait, max(1, TOKENS_AT_ONCE // n), folder, progress)
        for condition, rendered, n in zip(conditions, prompts, longest, strict=True)
    ]
    answers = pd.concat([frame for frame, _ in parts], ignore_index=True)
    asked, given = list(answers["question"]), list(answers["answer"])
    for judge in judges:
        answers[judge.name] = [score.value for score in judge.rate(trait, asked, given)]
    activations = _joined([held for _, held in parts])
    units = _units(answers, activations.samples, [judge.name for judge in judges])
    return Monitoring(
        trait=trait.name,
        direction=direction,
        judges=tuple(judge.name for judge in judges),
        layers=layers,
        units=units,
        projections=direction.project(activations)[:, rows].numpy(),
        activations=activations,
        answers=answers,
    )


def rated_units(monitoring: Monitoring, kind: str, judge: str) -> np.ndarray:
    """Numbers of the units of a kind that a judge could rate.

    Raises:
        EmptySelectionError: none.
        ConfigError: no such judge.
    """
    if judge not in monitoring.judges:
        raise ConfigError(f"no judge is called {judge!r} here.", f"Judges: {', '.join(monitoring.judges)}.")
    units = monitoring.units
    found = np.flatnonzero(((units["kind"] == kind) & units[judge].notna()).to_numpy())
    if len(found) == 0:
        raise EmptySelectionError(f"{judge} rated no answer under a context of kind {kind!r}.")
    return found


def _answered(
    model: HookedModel,
    condition: Condition,
    questions: Sequence[str],
    prompts: Sequence[str],
    sampling: Sampling,
    trait: Trait,
    n_at_once: int,
    folder: Path | None,
    progress: bool,
) -> tuple[pd.DataFrame, Activations]:
    """Answers under a condition, and the last-prompt-token activations of each question."""
    # questions after the same context come together, so that a batch computes it once
    order = sorted(range(len(questions)), key=lambda i: i % len(condition.contexts))
    columns = {"question": [questions[i] for i in order], "prompt": [prompts[i] for i in order]}
    requests = pd.DataFrame({"side": "", "instruction": -1, "system": None} | columns)
    rollouts = answer(
        model,
        requests,
        sampling=sampling,
        trait=trait.name,
        trait_hash=trait.data_hash,
        pool=("prompt_last",),
        batch_size=max(sampling.n_samples, min(128, n_at_once)),
        folder=None if folder is None else folder / path_part(condition.name, "condition").replace(" ", "-"),
        label=f"{trait.name}: {condition.name}",
        progress=progress,
    )
    marks = {"kind": condition.kind, "condition": condition.name, "level": condition.level}
    frame = rollouts.frame[["question", "sample", "prompt", "answer"]].assign(**marks)
    first = rollouts.activations("prompt_last").select(rollouts.frame["sample"] == 0)
    return frame, replace(first, samples=first.samples[["question"]].assign(**marks))


def _joined(parts: Sequence[Activations]) -> Activations:
    first = parts[0]
    if any(part.hookpoints != first.hookpoints for part in parts):
        raise AlignmentError("the conditions were read at different hookpoints.", "Read all of them at the same ones.")
    values = torch.cat([part.values for part in parts])
    samples = pd.concat([part.samples for part in parts], ignore_index=True)
    return replace(first, values=values, samples=samples, norms=None)


def _units(answers: pd.DataFrame, samples: pd.DataFrame, judges: Sequence[str]) -> pd.DataFrame:
    """The rows of the activations with the mean score of each judge over the answers."""
    means = answers.groupby(["condition", "question"], sort=False)[list(judges)].mean()
    keys = pd.MultiIndex.from_frame(samples[["condition", "question"]])
    scores = means.reindex(keys).reset_index(drop=True)
    return pd.concat([samples[["kind", "condition", "level", "question"]].reset_index(drop=True), scores], axis=1)
