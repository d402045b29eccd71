"""A dictionary from texts to its quality card, kept in one folder."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.arguments import checked
from persona_interp.directions.sae.corpus import Corpus
from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.directions.sae.settings import SAETraining
from persona_interp.directions.sae.train import train_sae
from persona_interp.identity import of_model, of_package
from persona_interp.io import sha256_json
from persona_interp.lock import alone_in
from persona_interp.models.protocol import HookedModel
from persona_interp.records import read_json
from persona_interp.studies.dictionary.effects import STUDY, quality_claims, quality_effects
from persona_interp.studies.dictionary.effort import dictionary_plan
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.plan import CHARACTERS, say_plan
from persona_interp.studies.sizes import Sizes, named_effort
from persona_interp.tables import Form, numbers, wholes

METHOD_VERSION = 1
DICTIONARY, CARD = "dictionary", "quality.json"
"""The folder of the trained dictionary, which SAELens reads too, and its quality card in it."""
DENSITIES = Form(
    "densities",
    (*wholes("latent"), *numbers("density", unit="share of held-out tokens"), *numbers("mean_active")),
)
"""How often each latent fires, and its mean where it does."""
LOSSES = Form("losses", (*wholes("tokens"), *numbers("fvu")))
"""Fraction of variance unexplained in the batches it was trained on, every tenth step."""


@checked
@alone_in("out")
def run_dictionary(
    model: HookedModel,
    corpus: Corpus,
    training: SAETraining,
    *,
    out: Path,
    data: Mapping[str, Any] | None = None,
    device: str | None = None,
    sizes: Sizes | None = None,
    progress: bool = True,
) -> Dictionary:
    """Train a dictionary and measure it; the same call goes on where it was stopped.

    Leaves the dictionary in OUT/dictionary (`load_sae`, `SAE.load_from_disk`) with its quality card, tables of
    densities and losses, effects and the claim that it is good.

    Args:
        data: what the texts are, for the card.
        sizes: by what name they are called, for the report.

    Raises:
        ConfigError: a folder of another model, other texts or settings.
        HookpointError: there is no such layer.
        TrainingError: the loss is not finite.
    """
    identity = {
        "model": of_model(model),
        "texts": sha256_json([corpus.texts, corpus.held_out])[:16],
        **asdict(training),
        **of_package(METHOD_VERSION),
    }
    home = RunFolder.claim(out, STUDY, identity, keeps=(f"{DICTIONARY}/config.json",))
    if progress:
        steps = dictionary_plan(model, training, sum(map(len, corpus.held_out)) // CHARACTERS)
        say_plan(f"dictionary of {model.name}{named_effort(sizes)}", steps, model, folder=out, study=STUDY)
    made = train_sae(
        model,
        corpus.texts,
        training,
        folder=out / DICTIONARY,
        held_out=corpus.held_out,
        data=data,
        device=device,
        progress=progress,
    )
    quality = made.quality
    assert quality is not None, "training ends with it"
    home.save(
        DENSITIES,
        pd.DataFrame(
            {
                "latent": range(made.n_latents),
                "density": quality.density.numpy(),
                "mean_active": quality.mean_active.numpy(),
            }
        ),
    )
    losses = read_json(out / DICTIONARY / "losses.json")
    tokens = [(k * losses["every"] + 1) * training.batch_tokens for k in range(len(losses["fvu"]))]
    tokens[-1] = training.n_steps * training.batch_tokens
    home.save(LOSSES, pd.DataFrame({"tokens": tokens, "fvu": losses["fvu"]}))
    effects = quality_effects(quality, training, model.n_layers)
    provenance = {
        "model": model.provenance.to_dict(),
        "training": asdict(training),
        "quality": quality.card(),
        **({} if sizes is None else {"size": sizes.record()}),
    }
    home.finish(model, provenance, effects, quality_claims(effects, model.name), seed=training.seed)
    return replace(made, id=out.name)
