"""A cell, which is one data set trained with one seed, and what is read off any model."""

from pathlib import Path

import pandas as pd

from persona_interp.activations.store import Activations
from persona_interp.data.levels import Level
from persona_interp.finetuning.train import finetune
from persona_interp.interventions.protocol import Intervention
from persona_interp.measurements.expression import measure_expression
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import render_chat
from persona_interp.rollouts.generate import answer, plain_requests
from persona_interp.studies.finetuning.config import FLAWED
from persona_interp.studies.finetuning.drift import probe_activations
from persona_interp.studies.finetuning.prepared import Prepared


def train_cell(prepared: Prepared, name: str, level: Level, seed: int) -> HookedModelBase:
    """The model finetuned on one data set with one seed, trained or found done."""
    setup = prepared.setup
    done = finetune(
        setup.model,
        prepared.data(name, level),
        out=prepared.folder / "cells" / f"{name} {level} seed {seed}",
        lora=setup.lora,
        settings=setup.training(seed),
        device=setup.device,
    )
    return done.load(device=setup.device)


def probes(prepared: Prepared, model: HookedModelBase) -> dict[str, Activations]:
    """Last-prompt-token activations on the evaluation questions of every trait."""
    return {name: probe_activations(model, prepared.asked(name)) for name in prepared.traits}


def expression(
    prepared: Prepared, model: HookedModelBase, folder: Path, *, intervention: Intervention | None = None
) -> pd.DataFrame:
    """Every judge's score of the answers to evaluation questions of every trait."""
    setup = prepared.setup
    parts = [
        measure_expression(
            model,
            trait,
            prepared.judges,
            questions=prepared.asked(name),
            intervention=intervention,
            max_new_tokens=setup.eval_tokens,
            seed=setup.seed,
            folder=folder / name,
        )
        for name, trait in prepared.traits.items()
    ]
    return pd.concat(parts, ignore_index=True)


def own_answers(prepared: Prepared) -> dict[str, str]:
    """The base model's greedy answer to every prompt of every data set, by prompt as the model sees it."""
    tokenizer, setup = prepared.model.tokenizer, prepared.setup
    names = (*prepared.traits, *FLAWED)
    talks = [talk for name in names for talk in prepared.data(name, "normal")]
    prompts = sorted(dict.fromkeys(render_chat(tokenizer, talk.prompt) for talk in talks), key=lambda text: len(text))
    made = answer(
        prepared.model,
        plain_requests(prompts).assign(prompt=prompts),
        sampling=Sampling(setup.level_tokens, 0.0),
        folder=prepared.folder / "own_answers",
        label="own answers",
    )
    return dict(zip(made.frame["prompt"], made.frame["answer"], strict=True))
