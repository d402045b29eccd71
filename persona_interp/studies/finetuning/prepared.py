"""What there is before training: directions, judges, and training sets of three levels, kept in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from persona_interp.data.conversations import Conversation
from persona_interp.data.flawed import advice_conversations, arithmetic_conversations
from persona_interp.data.levels import Level
from persona_interp.data.traits import Trait, load_trait, training_questions
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.finetuning.levels import LevelData, generate_levels
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.io import sha256_json
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.contrast import rollout_contrast
from persona_interp.measurements.judge_validity import known_validity
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.rollouts.generate import Rollouts, generate_rollouts
from persona_interp.statistics.contrast import Contrast
from persona_interp.studies.finetuning.config import Setup
from persona_interp.studies.finetuning.effects import STUDY
from persona_interp.studies.folder import RunFolder

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """The base model with everything that comes before training."""

    setup: Setup
    folder: Path
    model: HookedModelBase
    traits: Mapping[str, Trait]
    directions: Mapping[str, Direction]
    training: Mapping[str, Contrast]
    levels: Mapping[str, LevelData]
    judges: tuple[Judge, ...]
    coherence: CoherenceJudge

    def asked(self, trait: str) -> tuple[str, ...]:
        """The evaluation questions of a trait that are asked."""
        return self.traits[trait].eval_questions[: self.setup.n_eval_questions]

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

    def provenance(self, config: object, notes: Mapping[str, str]) -> dict[str, Any]:
        """What numbers come from.

        Args:
            config: the settings of what was measured, a dataclass.
        """
        data = {
            name: {"n": len(levels.conversations("normal")), "asked": levels.n_asked, "filter": levels.judge}
            for name, levels in self.levels.items()
        }
        return {
            "config": asdict(config),  # pyright: ignore
            "versions": library_versions(),
            "model": self.model.provenance.to_dict(),
            "device": str(self.model.device),
            "threads": torch.get_num_threads(),
            "data": data,
            "judges": {judge.name: judge.description for judge in self.judges},
            "judge_validity": known_validity(self.judges, list(self.traits.values()), self.folder),
            "notes": dict(notes),
        }

    def data(self, name: str, level: Level) -> list[Conversation]:
        """A training set: of a trait by its name, or a flawed one."""
        if name in self.levels:
            return self.levels[name].conversations(level)
        if name == "arithmetic":
            return arithmetic_conversations(level, n=self.setup.n_level_questions, seed=self.setup.seed)
        return advice_conversations(level)[: self.setup.n_level_questions]


def prepare(setup: Setup, folder: Path) -> Prepared:
    """Persona vectors from extraction questions, and training sets of every level, chosen by the embedding judge.

    Args:
        folder: where answers and training sets are kept; the same call takes them from there.

    Raises:
        ConfigError: it holds those of other traits, models, judges or settings.
    """
    model = load_model(setup.model, dtype="float32", device=setup.device)
    traits = {name: load_trait(name) for name in setup.traits}
    rolls = {name: contrastive(model, trait, setup, folder / "rollouts" / name) for name, trait in traits.items()}
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
        directions={name: persona_vector(made, filter="none") for name, made in rolls.items()},
        training={name: rollout_contrast(made) for name, made in rolls.items()},
        levels=levels,
        judges=(embedding, likelihood, LexicalJudge()),
        coherence=coherence,
    )


def contrastive(
    model: HookedModelBase, trait: Trait, setup: Setup, folder: Path, *, n_instructions: int | None = None
) -> Rollouts:
    """Answers with and without a trait, from extraction questions; `n_instructions` in place of the setup's."""
    return generate_rollouts(
        model,
        trait,
        n_instructions=setup.n_instructions if n_instructions is None else n_instructions,
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
    sizes: dict[str, Any] = {"max_new_tokens": setup.level_tokens, "seed": setup.seed}
    identity = {
        "model": of_model(model),
        "trait": trait.data_hash,
        "judges": of_judges([judge, coherence]),
        "questions": sha256_json(list(questions))[:16],
        **sizes,
        **of_package(METHOD_VERSION),
    }
    RunFolder.claim(home, STUDY, identity, keeps=("data/levels.json",))
    if (home / "data" / "levels.json").is_file():
        return LevelData.read(home / "data")
    data = generate_levels(model, trait, judge, questions=questions, coherence=coherence, folder=home, **sizes)
    data.write(home / "data")
    return data
