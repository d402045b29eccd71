"""Style vectors by training: one vector a sentence that makes the frozen model emit it, then averaged by style."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Count, LearningRate, Limit, Seed, Size, Some
from persona_interp.data.styles import StyleCorpus
from persona_interp.directions.direction import Direction
from persona_interp.directions.emission import emission_vectors, start_token
from persona_interp.directions.style import Weighting, style_samples, style_vector
from persona_interp.errors import EmptySelectionError
from persona_interp.io import load_tensors, manifest_path, save_tensors
from persona_interp.lock import alone_in
from persona_interp.models.identity import key_of, library_versions
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode
from persona_interp.progress import track
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.types import Hookpoint, Provenance

METHOD = "style_vector_trained"
METHOD_VERSION = 1
KIND = "sentence vectors"


@checked
@dataclass(frozen=True)
class StyleTraining:
    """The paper's settings, and how many sentences are trained at once.

    Args:
        max_loss: a vector counts where its last loss, summed over the tokens of its sentence (nats), is below this.
        max_characters: longer sentences are left out, as the paper does to save time; None keeps all.
        batch_size: sentences trained together; each has its own vector and its own optimiser state.
    """

    learning_rate: LearningRate = 0.01
    max_epochs: Count = 400
    max_loss: Limit = 5.0
    max_characters: Count | None = 50
    batch_size: Size = 32
    seed: Seed = 0


@dataclass(frozen=True, eq=False)
class TrainedStyleVectors:
    """One vector a sentence and layer, and how far its training got.

    Args:
        sentences: style, text, pair, n_tokens, loss (nats, summed over tokens), epochs, matched, kept.
        left_out: how many sentences of each style were too long.
        norms: mean residual norm of the sentence's tokens without the vector.
    """

    values: Float[Tensor, "sentence layer d_model"]
    hookpoints: tuple[Hookpoint, ...]
    sentences: pd.DataFrame
    left_out: Mapping[str, int]
    norms: Float[Tensor, "sentence layer"]
    provenance: Provenance

    def counts(self) -> pd.DataFrame:
        """One row a style: n trained, n_kept, n_matched, n_too_long, mean_loss, mean_epochs."""
        rows = [
            {
                "style": style,
                "n": len(group),
                "n_kept": int(group["kept"].sum()),
                "n_matched": int(group["matched"].sum()),
                "n_too_long": self.left_out.get(str(style), 0),
                "mean_loss": float(group["loss"].mean()),
                "mean_epochs": float(group["epochs"].mean()),
            }
            for style, group in self.sentences.groupby("style", sort=False)
        ]
        return pd.DataFrame(rows)

    def direction(
        self, style: str, *, against: Sequence[str] | None = None, weighting: Weighting = "sentences"
    ) -> Direction:
        """Mean of the kept vectors of a style minus the mean of those of the others; points toward the style.

        Added where it was trained: at the output of its blocks, all of them together.

        Raises:
            EmptySelectionError: no vector of a style was kept.
        """
        kept = self.sentences["kept"].to_numpy(bool)
        lost = set(self.sentences["style"]) - set(self.sentences["style"][kept])
        if lost:
            best = self.sentences.loc[self.sentences["style"].isin(list(lost)), "loss"].min()
            raise EmptySelectionError(
                f"no trained vector of {', '.join(sorted(lost))} was kept: the lowest loss is {best:.2f} nats.",
                "Train longer, use shorter sentences, or raise max_loss and say so.",
            )
        held = Activations(
            self.values, self.hookpoints, "response_mean", self.sentences, self.provenance, self.norms
        ).select(kept)
        made = style_vector(held, style, against=against, weighting=weighting, method=METHOD)
        return replace(made, provenance=replace(made.provenance, pooling=None))


@checked
@alone_in("folder")
def train_style_vectors(
    model: HookedModel,
    corpus: StyleCorpus,
    *,
    layers: Some[int],
    settings: StyleTraining | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> TrainedStyleVectors:
    """One vector a sentence at each of some layers, trained together so that the frozen model emits the sentence.

    The model sees its beginning-of-text token alone, and the vectors are added at every position. Adam lowers the
    summed cross-entropy of the sentence's tokens until greedy decoding gives the sentence, or for `max_epochs`; what is
    kept is below `max_loss`. The sentence's own tokens are fed, where the paper's code feeds the model's choices: the
    gradients differ on the way, the stopping rule does not, since there the two are the same tokens.

    Args:
        layers: 0-based blocks at whose output the vectors are added; the paper's are `published_layers`.
        folder: where finished batches are kept; the same call goes on where an interrupted one stopped.

    Raises:
        HookpointError: there is no such layer.
        EmptySelectionError: every sentence of a style is too long.
        ConfigError: the folder holds vectors of another configuration.

    Source: Konen et al. 2024, Style Vectors (arXiv 2402.01618), section 3, and their published code.
    """
    settings = settings or StyleTraining()
    hookpoints = tuple(Hookpoint(layer) for layer in dict.fromkeys(layers))
    samples, left_out = _short_enough(style_samples(corpus), settings)
    tokens = encode(model.tokenizer, list(samples["text"]))
    order = np.argsort([len(ids) for ids in tokens], kind="stable")
    chunks = [order[i : i + settings.batch_size].tolist() for i in range(0, len(order), settings.batch_size)]
    if folder is not None:
        made_by = {"method_version": METHOD_VERSION, "package": library_versions()["persona-interp"]}
        refuse_other_config(folder / "config.json", _config(model, corpus, hookpoints, settings) | made_by)
    found: dict[int, dict[str, Any]] = {}
    values = torch.empty(len(samples), len(hookpoints), model.d_model)
    norms = torch.empty(len(samples), len(hookpoints))
    for k, rows in enumerate(track(chunks, f"{corpus.name}: train vectors", total=len(chunks), show=progress)):
        part = None if folder is None else folder / f"part-{k:05d}.safetensors"
        made = _part(model, [tokens[i] for i in rows], rows, hookpoints, settings, part)
        values[rows], norms[rows] = made.values, made.norms
        found |= dict(zip(rows, made.outcomes, strict=True))
    outcomes = pd.DataFrame([found[i] for i in range(len(samples))], columns=["loss", "epochs", "matched"])
    sentences = samples.join(outcomes)
    sentences = sentences.assign(n_tokens=[len(ids) for ids in tokens], kept=sentences["loss"] < settings.max_loss)
    details = _config(model, corpus, hookpoints, settings)
    provenance = model.provenance.derive("train_style_vectors", METHOD_VERSION, pooling=None, **details)
    made = TrainedStyleVectors(values, hookpoints, sentences, left_out, norms, replace(provenance, seed=settings.seed))
    counts = made.counts().to_dict("records")
    return replace(made, provenance=replace(made.provenance, details={**made.provenance.details, "counts": counts}))


@dataclass(frozen=True, eq=False)
class _Part:
    values: Float[Tensor, "sentence layer d_model"]
    norms: Float[Tensor, "sentence layer"]
    outcomes: list[dict[str, Any]]


def _part(
    model: HookedModel,
    tokens: Sequence[Sequence[int]],
    rows: Sequence[int],
    hookpoints: tuple[Hookpoint, ...],
    settings: StyleTraining,
    path: Path | None,
) -> _Part:
    """A batch from its file, or trained and kept."""
    if path is not None and manifest_path(path).is_file():
        tensors, manifest = load_tensors(path, kind=KIND, keys={"outcomes": list})
        return _Part(tensors["values"], tensors["norms"], manifest["outcomes"])
    made = emission_vectors(
        model,
        tokens,
        hookpoints,
        learning_rate=settings.learning_rate,
        max_epochs=settings.max_epochs,
        seeds=[[settings.seed, row] for row in rows],
    )
    outcomes = [
        {"loss": loss, "epochs": epochs, "matched": matched}
        for loss, epochs, matched in zip(made.losses, made.epochs, made.matched, strict=True)
    ]
    if path is not None:
        tensors = {"values": made.vectors, "norms": made.norms}
        save_tensors(path, tensors, kind=KIND, manifest={"outcomes": outcomes})
    return _Part(made.vectors, made.norms, outcomes)


def _short_enough(samples: pd.DataFrame, settings: StyleTraining) -> tuple[pd.DataFrame, dict[str, int]]:
    limit = settings.max_characters
    short = samples["text"].str.len() < (np.inf if limit is None else limit)
    left_out = {str(style): int((~group).sum()) for style, group in short.groupby(samples["style"], sort=False)}
    empty = set(samples["style"]) - set(samples["style"][short])
    if empty:
        raise EmptySelectionError(
            f"every sentence of {', '.join(sorted(empty))} has {limit} characters or more.",
            "Raise max_characters, or give shorter sentences.",
        )
    return samples[short].reset_index(drop=True), left_out


def _config(
    model: HookedModel, corpus: StyleCorpus, hookpoints: Sequence[Hookpoint], settings: StyleTraining
) -> dict[str, Any]:
    """What the vectors depend on."""
    return {
        "corpus": corpus.name,
        "data_hash": corpus.data_hash,
        "model": key_of(model.provenance),
        "start_token": start_token(model.tokenizer),
        "layers": [h.layer for h in hookpoints],
        **asdict(settings),
    }
