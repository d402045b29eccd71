"""What the analyses of finetuning run: model, traits, sizes, and what the command line chooses of them."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from persona_interp.finetuning.settings import LoRA, TrainingSettings

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
