"""What transformers itself answers, to compare with: one prompt at a time, without padding, by its own `generate`."""

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from shutil import copytree
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from tests.contract.tiny import ENDS


def alone(plain: PreTrainedModel, prompts: Sequence[Sequence[int]], n: int, **options: Any) -> list[list[int]]:
    """Greedy ids of each prompt before its first end, under the plain model's own generation_config."""
    answers = []
    for prompt in prompts:
        ids = torch.tensor([list(prompt)])
        made = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, do_sample=False, **options)  # pyright: ignore
        answers.append(made[0, ids.shape[1] :].tolist())
    assert plain.generation_config is not None
    ends = ENDS | set(plain.generation_config.eos_token_id or ())  # pyright: ignore
    return [list(takewhile(lambda token: token not in ends, ids)) for ids in answers]


def settings(entries: Mapping[str, Any]) -> GenerationConfig:
    """A generation_config with these entries beside the ends of the tiny models."""
    return GenerationConfig(**{"eos_token_id": sorted(ENDS), "pad_token_id": 0, **entries})


def with_settings(folder: Path, to: Path, entries: Mapping[str, Any]) -> Path:
    """A copy of a model whose generation_config.json has these entries too."""
    copytree(folder, to)
    path = to / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(entries)))
    return to
