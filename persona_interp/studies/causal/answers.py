"""Answers written with the direction added and with it ablated, at every layer, for the judges to rate."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.record import intervention_record
from persona_interp.interventions.residual import Ablate, Add
from persona_interp.io import sha256_json
from persona_interp.judges.protocol import Judge
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.progress import track
from persona_interp.rollouts.generate import answer, plain_requests
from persona_interp.studies.causal.config import CausalRun
from persona_interp.types import NO_EDITS


def judged_answers(
    model: HookedModel,
    trait: Trait,
    judges: Sequence[Judge],
    direction: Direction,
    coefficients: Mapping[int, float],
    run: CausalRun,
    *,
    folder: Path,
    progress: bool,
) -> pd.DataFrame:
    """Greedy answers to evaluation questions: what, layer (-1: nothing done), question, and a column a judge.

    What is "steered", without a system prompt, or "ablated", under the trait's first positive one.
    """
    questions = trait.eval_questions[: run.n_eval]
    plain = plain_requests(questions)
    prompted = plain.assign(system=trait.system_prompts("positive")[0])
    done: list[tuple[str, int, pd.DataFrame, Intervention | None]] = [
        ("steered", -1, plain, None),
        ("ablated", -1, prompted, None),
    ]
    for layer, coefficient in coefficients.items():
        done += [
            ("steered", layer, plain, Add(direction, layer, coefficient)),
            ("ablated", layer, prompted, Ablate(direction, layer)),
        ]
    tables = []
    for what, layer, requests, intervention in track(done, f"{trait.name}: answers", total=len(done), show=progress):
        made = answer(
            model,
            requests,
            sampling=Sampling(run.max_new_tokens, temperature=0.0),
            trait=trait.name,
            trait_hash=trait.data_hash,
            edits=NO_EDITS if intervention is None else intervention.edits,
            edits_hash=None if intervention is None else sha256_json(intervention_record(intervention))[:16],
            folder=folder / f"{what}-{layer}",
            progress=False,
        ).frame
        tables.append(made[["question", "answer"]].assign(what=what, layer=layer))
    table = pd.concat(tables, ignore_index=True)
    asked, answers = list(table["question"]), list(table["answer"])
    for judge in judges:
        table[judge.name] = [score.value for score in judge.rate(trait, asked, answers)]
    return table
