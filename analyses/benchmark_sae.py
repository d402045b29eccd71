"""What a dictionary costs: minutes to train it, and generation with latents changed, against that with a plain Add.

The ways to generate take turns within a repeat, on the same prompts and for as many tokens; the ratio of a repeat is
taken before the median.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from persona_interp.data.traits import load_trait
from persona_interp.directions.sae.corpus import corpus_texts
from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.directions.sae.latents import latent_direction
from persona_interp.directions.sae.settings import SAETraining
from persona_interp.directions.sae.splice import reconstruction_edits
from persona_interp.directions.sae.train import train_sae
from persona_interp.interventions.latents import SteerLatents
from persona_interp.interventions.residual import Add
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import render_prompt, text_batch
from persona_interp.types import Edits, Hookpoint

ADD, ADDED, CLAMPED, ABLATED = "Add", "SteerLatents, add", "SteerLatents, clamp", "SteerLatents, ablate 32"
SPLICED = "all latents encoded and decoded"


@dataclass(frozen=True)
class SAEConfig:
    """What is timed."""

    model: str = "smollm2-135m-instruct"
    depth: float = 0.5
    n_latents: int = 2048
    n_tokens: int = 200_000
    n_prompts: int = 20
    new_tokens: int = 32
    repeats: int = 5


def sae_rows(config: SAEConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training: seconds and quality; generation: a row a repeat and way."""
    model = load_model(config.model)
    layer = round(config.depth * model.n_layers) - 1
    training = SAETraining(Hookpoint(layer), n_latents=config.n_latents, n_tokens=config.n_tokens)
    corpus = corpus_texts(model)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made = train_sae(model, corpus.texts, training, folder=Path(folder), held_out=corpus.held_out, progress=False)
        seconds = time.perf_counter() - start
        assert made.quality is not None, "training ends with it"
        trained = {
            "n_latents": config.n_latents,
            "n_tokens": config.n_tokens,
            "seconds, quality card included": seconds,
            "fvu": made.quality.fvu.estimate,
            "CE recovered": made.quality.ce_recovered.estimate,
            "L0": made.quality.l0,
        }
        return pd.DataFrame([trained]), generation_rows(model, made, config)


def generation_rows(model: HookedModelBase, dictionary: Dictionary, config: SAEConfig) -> pd.DataFrame:
    """Seconds of generating as many tokens by every way, in turn."""
    questions = load_trait("impolite").questions[: config.n_prompts]
    batch = text_batch(model.tokenizer, [render_prompt(model.tokenizer, question) for question in questions])
    latents = [int(k) for k in dictionary.quality.density.argsort(descending=True)[:32]] if dictionary.quality else [0]
    ways: Mapping[str, Edits] = {
        ADD: Add(latent_direction(dictionary, latents[0], model), dictionary.writes, 0.1).edits,
        ADDED: SteerLatents(dictionary, latents[:1], 0.1).edits,
        CLAMPED: SteerLatents(dictionary, latents[:1], 1.0, "clamp").edits,
        ABLATED: SteerLatents(dictionary, latents, how="ablate").edits,
        SPLICED: reconstruction_edits(dictionary, "reconstruct", "response"),
    }
    sampling = Sampling(config.new_tokens, temperature=0.0)
    rows = []
    for repeat in range(-1, config.repeats):
        for name in sorted(ways, reverse=repeat % 2 == 1):
            start = time.perf_counter()
            made = model.generate(batch, sampling=sampling, edits=ways[name])
            seconds = time.perf_counter() - start
            n_tokens = sum(len(ids) for ids in made.ids)
            if repeat >= 0:  # the first round makes caches
                rows.append({"repeat": repeat, "row": name, "seconds a token": seconds / n_tokens})
    return pd.DataFrame(rows)


def sae_generation_ratio(raw: pd.DataFrame) -> pd.DataFrame:
    """Median over repeats of the time of each way over that of a plain Add."""
    wide = raw.pivot(index="repeat", columns="row", values="seconds a token")
    rows = []
    for name in (ADDED, CLAMPED, ABLATED, SPLICED):
        ratios = (wide[name] / wide[ADD]).tolist()
        rows.append(
            {"row": f"{name} / {ADD}", "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        )
    return pd.DataFrame(rows)
