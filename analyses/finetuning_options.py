"""What the command lines of the analyses of finetuned models share."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pandas import DataFrame

from persona_interp.studies.finetuning.config import Setup

PAPER = Setup(n_level_questions=160, n_eval_questions=20, eval_tokens=64, level_tokens=64, judge_pairs=2)
"""The sizes of every preset `paper`."""

Config = TypeVar("Config")


def chosen_config(
    doc: str | None, presets: Mapping[str, Config], name: str, *, quick: str, paper: str
) -> tuple[Config, Path, Path]:
    """The preset that the command line asks for, on its device and trait, and the folders of work and of results."""
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
    config = replace(config, setup=replace(config.setup, device=chosen.device), **changed)
    return config, chosen.work / chosen.preset, chosen.out


def print_claims(claims: DataFrame) -> None:
    """What was found, a line a claim."""
    for verdict, sentence in zip(claims["verdict"], claims["sentence"], strict=True):
        print(f"{verdict}: {sentence}")  # noqa: T201
