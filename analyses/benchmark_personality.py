"""How long style vectors, an epoch of a PsychAdapter and an inventory take, and what virtual tokens cost in generation.

The generation rows take turns within a repeat, and the ratio of a repeat is taken before the median.
"""

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from benchmark_plain import seconds

from persona_interp.data.inventories import load_inventory
from persona_interp.data.style_corpus import StyleCorpus
from persona_interp.data.styles import list_styles, load_styles
from persona_interp.data.trait_texts import TraitTexts
from persona_interp.data.writing_prompts import text_openings
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.directions.style import extract_style_activations, style_vectors
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import Backend, load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import encode, text_batch
from persona_interp.studies.inventory.administer import administer
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.studies.psychadapter.train import train_psychadapter
from persona_interp.types import Generation

BACKENDS: tuple[Backend, ...] = ("transformer_lens", "nnsight")
STYLES, EPOCH, INVENTORY = "style vectors", "PsychAdapter epoch", "inventory"
WITH, WITHOUT = "with a prefix", "without"


@dataclass(frozen=True)
class PersonalityConfig:
    """What is timed."""

    model: str = "smollm2-135m-instruct"
    n_sentences: int = 1000
    n_texts: int = 1000
    n_tokens: int = 48
    inventory: str = "big_five_50"
    n_rows: int = 24
    new_tokens: int = 40
    repeats: int = 4


def personality_rows(config: PersonalityConfig) -> pd.DataFrame:
    """One row a thing timed: dtype or backend, how many, and seconds."""
    rows = []
    for backend in BACKENDS:
        model = load_model(config.model, backend)
        corpus = sentences(config.n_sentences)
        took = seconds(lambda: style_vectors(extract_style_activations(model, corpus)))  # noqa: B023
        n = sum(map(len, corpus.sentences.values()))
        rows.append({"row": STYLES, "of": backend, "n": n, "seconds": took})
        inventory = load_inventory(config.inventory)
        answers: list[Any] = []
        took = seconds(lambda: answers.append(administer(model, inventory)))  # noqa: B023
        n = len(answers[0].frame)
        rows.append({"row": f"{INVENTORY}: {config.inventory}, answers", "of": backend, "n": n, "seconds": took})
    tokenizer = load_model(config.model).tokenizer
    data = texts(tokenizer, config.n_texts, config.n_tokens)
    for dtype in ("float32", "bfloat16"):
        settings = PsychAdapterSettings(n_epochs=1, holdout=0.0, dtype=dtype)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            took = seconds(lambda: train_psychadapter(config.model, data, out=out, settings=settings))  # noqa: B023
        rows.append({"row": EPOCH, "of": dtype, "n": len(data), "seconds": took})
    return pd.DataFrame(rows)


def prefix_rows(config: PersonalityConfig) -> pd.DataFrame:
    """One row a repeat, backend and way of generating: seconds and tokens of all rows, each row with its own vector."""
    rows = []
    for backend in BACKENDS:
        model = load_model(config.model, backend)
        ways = _generations(model, config)
        for way in ways.values():
            way()
        for repeat in range(config.repeats):
            for name in (WITH, WITHOUT) if repeat % 2 else (WITHOUT, WITH):
                made: list[Generation] = []
                took = seconds(lambda: made.append(ways[name]()))  # noqa: B023
                tokens = sum(map(len, made[0].ids))
                rows.append({"repeat": repeat, "backend": backend, "row": name, "seconds": took, "tokens": tokens})
    return pd.DataFrame(rows)


def prefix_summary(raw: pd.DataFrame) -> pd.DataFrame:
    """Median over repeats of time a token with a prefix over that without, by backend."""
    rows = []
    for backend, group in raw.groupby("backend", sort=False):
        group = group.assign(each=group["seconds"] / group["tokens"])
        wide = group.pivot(index="repeat", columns="row", values="each")
        ratios = (wide[WITH] / wide[WITHOUT]).tolist()
        rows.append(
            {
                "backend": backend,
                "with over without": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
            }
        )
    return pd.DataFrame(rows)


def sentences(n: int) -> StyleCorpus:
    """`n` different sentences in two classes, those of all packaged corpora again and again with a number in front."""
    own = [text for name in list_styles() for texts in load_styles(name).sentences.values() for text in texts]
    different = list(dict.fromkeys(own))
    numbered = [f"{i // len(different)}: {different[i % len(different)]}" for i in range(n)]
    halves = {"first": tuple(numbered[: n // 2]), "second": tuple(numbered[n // 2 :])}
    return StyleCorpus("benchmark", halves, dict.fromkeys(halves, "a plain"), {}, "made for timing")


def texts(tokenizer: Any, n: int, n_tokens: int) -> TraitTexts:
    """`n` texts of about so many tokens with random scores on five traits."""
    rng = np.random.default_rng(0)
    words = " ".join(
        text for name in list_styles() for own in load_styles(name).sentences.values() for text in own
    ).split()
    made = []
    for _ in range(n):
        drawn = " ".join(rng.choice(words, 2 * n_tokens).tolist())
        made.append(tokenizer.decode(encode(tokenizer, [drawn])[0][: n_tokens - 1]))
    names = tuple("abcde")
    ids = tuple(map(str, range(n)))
    return TraitTexts(tuple(made), rng.standard_normal((n, 5)), names, "made for timing", True, ids=ids)


def _generations(model: HookedModelBase, config: PersonalityConfig) -> dict[str, Callable[[], Generation]]:
    torch.manual_seed(0)
    adapter = PsychAdapter(KVShape.of(model.config), tuple("abcde"), model.provenance).requires_grad_(False)
    for weight in adapter.parameters():
        weight.mul_(0.1)  # a start that leaves the model fluent
    openings = text_openings()
    prompts = [openings[i % len(openings)] for i in range(config.n_rows)]
    batch = text_batch(model.tokenizer, [f"{model.tokenizer.bos_token}{prompt}" for prompt in prompts])
    prefix = TraitPrefix(adapter, torch.randn(config.n_rows, 5)).prefix
    sampling = Sampling(config.new_tokens, 1.0)
    return {
        WITH: lambda: model.generate(batch, sampling=sampling, prefix=prefix),
        WITHOUT: lambda: model.generate(batch, sampling=sampling),
    }
