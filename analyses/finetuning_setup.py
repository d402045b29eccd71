"""What the analyses of finetuning share: directions, judges, training sets of three levels, and trained cells.

Everything is kept in a folder and taken from there: a cell (one data set trained with one seed) is a unit that an
interrupted analysis goes on from.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch

from persona_interp.activations.store import Activations
from persona_interp.data.conversations import Conversation
from persona_interp.data.flawed import advice_conversations, arithmetic_conversations
from persona_interp.data.levels import Level
from persona_interp.data.traits import Trait, load_trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.errors import ConfigError
from persona_interp.finetuning.levels import LevelData, generate_levels, training_questions
from persona_interp.finetuning.settings import LoRA, TrainingSettings
from persona_interp.finetuning.train import finetune
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.interventions.protocol import Intervention
from persona_interp.io import atomic_write_bytes, sha256_json, write_json
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.contrast import contrast_of
from persona_interp.measurements.drift import probe_activations
from persona_interp.measurements.expression import measure_expression
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import render_chat
from persona_interp.rollouts.generate import Rollouts, answer, generate_rollouts, plain_requests
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.statistics.contrast import Contrast

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
FLAWED = ("arithmetic", "advice")


@dataclass(frozen=True)
class Setup:
    """Model, traits and sizes. Layers are named before anything is measured: .55 of the depth.

    Args:
        train_dtype: of the frozen weights in training; every measurement is in float32, because an adapter merged into
            bfloat16 weights loses its small changes.
        n_level_questions: questions that training sets are made from; none is an evaluation question of any trait.
        level_tokens: of their answers, and of the model's own answers that they are held against.
    """

    model: str = "smollm2-135m-instruct"
    traits: tuple[str, ...] = ("impolite", "optimistic", "evil")
    named_layer: int = 16
    train_dtype: str = "bfloat16"
    device: str | None = None
    n_instructions: int = 3
    extraction_tokens: int = 40
    n_level_questions: int = 64
    level_tokens: int = 40
    n_eval_questions: int = 12
    eval_tokens: int = 40
    judge_pairs: int = 1
    n_epochs: float = 3.0
    lora: LoRA = LoRA()
    seed: int = 0

    def training(self, seed: int) -> TrainingSettings:
        """Settings of one run."""
        return TrainingSettings(n_epochs=self.n_epochs, dtype=self.train_dtype, seed=seed)


PAPER = Setup(n_level_questions=160, n_eval_questions=20, eval_tokens=64, level_tokens=64, judge_pairs=2)
"""The sizes of every preset `paper`."""

Config = TypeVar("Config")


def chosen_config(
    doc: str | None, presets: Mapping[str, Config], name: str, *, quick: str, paper: str
) -> tuple[Config, argparse.Namespace]:
    """The preset that the command line asks for, on its device and trait, and the folders `work` and `out`."""
    parser = argparse.ArgumentParser(description=doc)
    times = f"on 2 cores quick takes about {quick}, paper about {paper} (estimated)"
    parser.add_argument("--preset", choices=sorted(presets), default="quick", help=times)
    parser.add_argument("--device", help="cuda, say; default: what there is")
    parser.add_argument("--work", type=Path, default=Path("results/finetuning"), help="where runs are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results") / name)
    one_trait = hasattr(presets["quick"], "trait")
    if one_trait:
        parser.add_argument("--trait", default="impolite")
    chosen = parser.parse_args()
    config: Any = presets[chosen.preset]
    changed = {"trait": chosen.trait} if one_trait else {}
    return replace(config, setup=replace(config.setup, device=chosen.device), **changed), chosen


@dataclass(frozen=True, eq=False)
class Prepared:
    """The base model with everything that comes before training."""

    setup: Setup
    folder: Path
    model: HookedModelBase
    traits: Mapping[str, Trait]
    rollouts: Mapping[str, Rollouts]
    directions: Mapping[str, Direction]
    training: Mapping[str, Contrast]
    levels: Mapping[str, LevelData]
    judges: tuple[Judge, ...]
    coherence: CoherenceJudge

    @property
    def headline(self) -> str:
        """Name of the judge that figures show: the embedding judge, which also chose the training answers."""
        return self.judges[0].name

    def identity(self) -> dict[str, Any]:
        """What every measurement of a finetuned model depends on beside its training set."""
        return {
            "model": of_model(self.model),
            "traits": {name: trait.data_hash for name, trait in self.traits.items()},
            "judges": of_judges([*self.judges, self.coherence]),
            "setup": {key: value for key, value in asdict(self.setup).items() if key != "device"},
            **of_package(METHOD_VERSION),
        }

    def data(self, name: str, level: Level) -> list[Conversation]:
        """A training set: of a trait by its name, or a flawed one."""
        if name in self.levels:
            return self.levels[name].conversations(level)
        if name == "arithmetic":
            return arithmetic_conversations(level, n=self.setup.n_level_questions, seed=self.setup.seed)
        return advice_conversations(level)[: self.setup.n_level_questions]


def claim(made: Path, identity: Mapping[str, object]) -> None:
    """Say what a result will be made from, in a file beside it; refuse one that was made from something else.

    Raises:
        ConfigError: names what differs, or the result is there and nothing says what it was made from.
    """
    said = made.with_name(f"{made.stem}_made_from.json")
    if made.is_file() and not said.is_file():
        raise ConfigError(
            f"{made} does not say what it was made from: {said.name} is not there.",
            "It was made by an earlier version. Give another --work, or delete it to make it again.",
        )
    refuse_other_config(said, identity)


def talk_hash(data: Sequence[Conversation]) -> str:
    """Of a training set."""
    return sha256_json([[[turn.role, turn.content] for turn in talk.turns] for talk in data])[:16]


def prepare(setup: Setup, folder: Path) -> Prepared:
    """Persona vectors from extraction questions, and training sets of every level, chosen by the embedding judge."""
    model = load_model(setup.model, dtype="float32", device=setup.device)
    traits = {name: load_trait(name) for name in setup.traits}
    rolls = {name: _rollouts(model, trait, setup, folder / "rollouts" / name) for name, trait in traits.items()}
    fast = load_model(setup.model, dtype=setup.train_dtype, device=setup.device)
    likelihood = LikelihoodJudge(fast, n_pairs=setup.judge_pairs)
    questions = training_questions(*traits.values())[: setup.n_level_questions]
    embedding = EmbeddingJudge()
    coherence = CoherenceJudge(fast, embedding.encoder, progress=False)
    levels = {
        name: _levels(fast, trait, embedding, coherence, setup, questions, folder) for name, trait in traits.items()
    }
    return Prepared(
        setup=setup,
        folder=folder,
        model=model,
        traits=traits,
        rollouts=rolls,
        directions={name: persona_vector(made, filter="none") for name, made in rolls.items()},
        training={name: _contrast(made) for name, made in rolls.items()},
        levels=levels,
        judges=(embedding, likelihood, LexicalJudge()),
        coherence=coherence,
    )


def _rollouts(model: HookedModelBase, trait: Trait, setup: Setup, folder: Path) -> Rollouts:
    return generate_rollouts(
        model,
        trait,
        n_instructions=setup.n_instructions,
        max_new_tokens=setup.extraction_tokens,
        pool=("response_mean",),
        seed=setup.seed,
        folder=folder,
    )


def _levels(
    model: HookedModelBase,
    trait: Trait,
    judge: Judge,
    coherence: CoherenceJudge,
    setup: Setup,
    questions: Sequence[str],
    folder: Path,
) -> LevelData:
    home = folder / "levels" / trait.name
    identity = {
        "model": of_model(model),
        "trait": trait.data_hash,
        "judges": of_judges([judge, coherence]),
        "questions": sha256_json(list(questions))[:16],
        "max_new_tokens": setup.level_tokens,
        "seed": setup.seed,
        **of_package(METHOD_VERSION),
    }
    claim(home / "data" / "levels.json", identity)
    if (home / "data" / "levels.json").is_file():
        return LevelData.read(home / "data")
    data = generate_levels(
        model,
        trait,
        judge,
        questions=questions,
        coherence=coherence,
        max_new_tokens=setup.level_tokens,
        seed=setup.seed,
        folder=home,
    )
    data.write(home / "data")
    return data


def _contrast(rollouts: Rollouts) -> Contrast:
    activations = rollouts.activations("response_mean")
    whole = activations.values.isfinite().flatten(1).all(1).numpy()
    sides = [activations.select(whole & (rollouts.frame["side"] == side)) for side in ("positive", "negative")]
    return contrast_of(*sides)


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
    return {name: probe_activations(model, asked(prepared, name)) for name in prepared.traits}


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
            questions=asked(prepared, name),
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


def asked(prepared: Prepared, trait: str) -> tuple[str, ...]:
    """The evaluation questions of a trait that are asked."""
    return prepared.traits[trait].eval_questions[: prepared.setup.n_eval_questions]


def write_tables(folder: Path, **tables: pd.DataFrame) -> None:
    """Every table as CSV."""
    for name, table in tables.items():
        atomic_write_bytes(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n").encode())


def write_provenance(folder: Path, prepared: Prepared, config: object, notes: Mapping[str, str]) -> None:
    """What the numbers of a folder come from."""
    model = prepared.model
    data = {
        name: {"n": len(levels.conversations("normal")), "asked": levels.n_asked, "filter": levels.judge}
        for name, levels in prepared.levels.items()
    }
    found = {"config": asdict(config), "versions": library_versions(), "model": model.provenance.to_dict()}  # pyright: ignore
    judges = {judge.name: judge.description for judge in prepared.judges}
    device = {"device": str(model.device), "threads": torch.get_num_threads()}
    write_json(folder / "provenance.json", {**found, **device, "data": data, "judges": judges, "notes": dict(notes)})
