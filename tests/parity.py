"""What transformers itself answers, to compare with: one prompt at a time, without padding, by its own `generate`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import takewhile
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM, GenerationConfig, PreTrainedConfig, PreTrainedModel

from persona_interp.models.generation_settings import GenerationSettings
from persona_interp.models.hooked import HookedModelBase
from tests.contract.tiny import BACKENDS, ENDS, Tiny, make_tokenizer, words

_FOLDER = TemporaryDirectory(prefix="tiny-models-")
PROMPTS = [words(9, 1), words(4, 2), words(6, 3), words(20, 4), words(4, 2)]


@cache
def tiny(architecture: str) -> Tiny:
    """A tiny model, made once."""
    return Tiny.make(architecture, Path(_FOLDER.name) / architecture)


@cache
def folder_of(name: str, config: type[PreTrainedConfig], **sizes: Any) -> Path:
    """The folder of a random model of another architecture, made once."""
    folder, before = Path(_FOLDER.name) / name, torch.get_rng_state()
    torch.manual_seed(1)
    made = config(**sizes)
    try:
        model = AutoModelForCausalLM.from_config(made)
    except ValueError:
        model = AutoModel.from_config(made)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    torch.set_rng_state(before)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@contextmanager
def under(tiny: Tiny, model: HookedModelBase, entries: Mapping[str, Any]) -> Iterator[None]:
    """The plain model and ours with these entries in their generation_config."""
    config, before = settings(entries), (tiny.plain.generation_config, model.generation_config)
    tiny.plain.generation_config = model.generation_config = config
    model.generation_settings = GenerationSettings.of(config)
    try:
        yield
    finally:
        tiny.plain.generation_config, model.generation_config = before
        model.generation_settings = GenerationSettings.of(model.generation_config)


def both(architecture: str) -> Iterator[tuple[Tiny, HookedModelBase]]:
    """A tiny model and what each backend makes of it."""
    for backend in BACKENDS:
        yield tiny(architecture), tiny(architecture).hooked(backend)


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
