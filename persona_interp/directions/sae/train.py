"""`train_sae`: a dictionary on a model's own activations, with SAELens' trainer."""

import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.directions.sae.buffer import ShuffledActivations
from persona_interp.directions.sae.checkpoint import (
    delete_checkpoints,
    last_checkpoint,
    position_of,
    restore,
    save_checkpoint,
)
from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.directions.sae.hooks import hook_name_of
from persona_interp.directions.sae.load import OWN, load_sae
from persona_interp.directions.sae.measure import measure_dictionary
from persona_interp.directions.sae.quality import QUALITY_FILE
from persona_interp.directions.sae.settings import SAETraining, training_sae
from persona_interp.directions.sae.tokens import CONTEXT, massive_limit
from persona_interp.errors import ConfigError, TrainingError
from persona_interp.files import atomic_write_bytes, read_bytes
from persona_interp.io import manifest_path, sha256_json, write_json
from persona_interp.lock import alone_in
from persona_interp.models.identity import key_of, library_versions
from persona_interp.models.protocol import HookedModel
from persona_interp.progress import track
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.statistics.streams import stream

METHOD_VERSION = 1
HELD_OUT = 0.1
"""Share of texts that the quality is measured on, where none are given for it."""
_LOG_EVERY = 10


@checked
@alone_in("folder")
def train_sae(
    model: HookedModel,
    texts: Some[str],
    settings: SAETraining,
    *,
    folder: Path,
    held_out: Sequence[str] | None = None,
    data: Mapping[str, Any] | None = None,
    device: str | None = None,
    progress: bool = True,
) -> Dictionary:
    """A dictionary trained on token-level activations of texts, and its quality on texts it was not trained on.

    Activations stream through a shuffled buffer, so memory does not grow with the number of texts; texts are passed
    over again until `n_tokens` are reached. They are scaled to norm sqrt(d) on average, by a factor that is folded into
    the weights at the end, and the decoder's bias begins at their mean. Position 0, massive positions and beginnings
    that neighbouring texts share are left out. The folder then holds what `SAE.load_from_disk` of SAELens reads, and
    `load_sae`, with the quality card. The same call goes on where an interrupted one stopped, to the same numbers.

    Args:
        texts: as the model sees them (`rollout_texts`, `corpus_texts`, or any).
        held_out: what quality is measured on; default: a tenth of the texts, which is then not trained on.
        data: what to keep of where the texts come from.
        device: of the training; default: the model's.

    Raises:
        ConfigError: fewer than two texts, or a folder of another configuration.
        HookpointError: the model does not have that layer.
        TrainingError: the loss is not finite.

    Source: Bussmann, Leask and Nanda 2024, BatchTopK (arXiv 2412.06410); Gao et al. 2024 (arXiv 2406.04093) for TopK
    and its loss on dead latents; Rajamanoharan et al. 2024 for gated (arXiv 2404.16014) and JumpReLU (2407.14435).
    """
    trained_on, measured_on = _parts(texts, held_out, settings.seed)
    config = {
        "settings": asdict(settings),
        "model": key_of(model.provenance),
        "texts": sha256_json(trained_on)[:16],
        "held_out": sha256_json(measured_on)[:16],
        "method_version": METHOD_VERSION,
        "package": library_versions()["persona-interp"],
    }
    refuse_other_config(folder / "config.json", config)
    about = {
        **(data or {}),
        "n_texts": len(trained_on),
        "n_held_out": len(measured_on),
        "texts": config["texts"],
        "held_out": config["held_out"],
    }
    if not manifest_path(folder / QUALITY_FILE).is_file():
        if not (folder / "cfg.json").is_file():
            _train(model, trained_on, settings, folder, about, device or str(model.device), progress)
        made = load_sae(folder, device=device or str(model.device))
        own = made.metadata[OWN]
        said = {**about, "epochs": own["epochs"], "n_tokens_trained": own["n_tokens"]}
        quality = measure_dictionary(model, made, measured_on, data=said, progress=progress)
        quality.save(folder / QUALITY_FILE)
        delete_checkpoints(folder)
    return load_sae(folder, device=device or str(model.device))


def _parts(texts: Sequence[str], held_out: Sequence[str] | None, seed: int) -> tuple[list[str], list[str]]:
    """Texts to train on and to measure on, each once, none on both sides."""
    distinct = list(dict.fromkeys(texts))
    if held_out is None:
        order = stream(seed, "held out").permutation(len(distinct))
        n = max(2, round(HELD_OUT * len(distinct)))
        chosen = set(order[:n].tolist())
        measured = [text for k, text in enumerate(distinct) if k in chosen]
    else:
        measured = list(dict.fromkeys(held_out))
    known = set(measured)
    trained = [text for text in distinct if text not in known]
    if not trained or len(measured) < 2:
        raise ConfigError(
            f"training needs texts, and two others to measure on, got {len(trained)} and {len(measured)}.",
            "Give more texts.",
        )
    return trained, measured


def _train(
    model: HookedModel,
    texts: Sequence[str],
    settings: SAETraining,
    folder: Path,
    about: Mapping[str, Any],
    device: str,
    progress: bool,
) -> None:
    from sae_lens import SAETrainer
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.sae import SAEMetadata

    own = {"hookpoint": [settings.hookpoint.layer, settings.hookpoint.stream], "weights": model.provenance.weights}
    metadata = SAEMetadata(
        model_name=model.name,
        hook_name=hook_name_of(settings.hookpoint),
        context_size=CONTEXT,
        prepend_bos=True,
        **{OWN: own},
    )
    kept = last_checkpoint(folder)
    limit = massive_limit(model, texts, settings.hookpoint) if kept is None else float(kept[1]["limit"])
    batches = ShuffledActivations(
        model,
        texts,
        settings.hookpoint,
        limit=limit,
        buffer_tokens=settings.buffer_tokens,
        batch_tokens=settings.batch_tokens,
        seed=settings.seed,
        device=device,
        position=None if kept is None else position_of(kept[1]),
        held=None if kept is None else kept[0]["held"],
    )
    first = batches.first() if kept is None else batches.held
    sae = training_sae(settings, first.shape[1], device, metadata)
    warm, decay = (int(share * settings.n_steps) for share in (settings.warm_up, settings.decay))
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            total_training_samples=settings.n_steps * settings.batch_tokens,
            train_batch_size_samples=settings.batch_tokens,
            lr=settings.learning_rate,
            lr_end=settings.learning_rate,
            lr_warm_up_steps=warm if warm > 1 else 0,
            lr_decay_steps=decay,
            device=device,
            dead_feature_window=max(1, int(settings.dead_after // settings.batch_tokens)),
            feature_sampling_window=settings.n_steps + 1,
        ),
        sae=sae,
        data_provider=batches,
    )
    losses: list[float] = []
    if kept is None:
        factor = first.shape[1] ** 0.5 / float(first.norm(dim=-1).mean())
        trainer.activation_scaler.scaling_factor = factor
        with torch.no_grad():
            sae.b_dec.copy_(first.mean(0) * factor)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # schedules are wound forward without a step of the optimiser
            restore(trainer, *kept)
        losses = list(kept[1]["losses"])
    every = max(1, settings.checkpoint_tokens // settings.batch_tokens)
    steps = range(trainer.n_training_steps, settings.n_steps)
    for step in track(steps, f"train {settings.architecture}", total=len(steps), show=progress):
        made = trainer.step(next(batches))
        trainer.n_training_steps = step + 1
        if step % _LOG_EVERY == 0 or step + 1 == settings.n_steps:
            variance = (made.sae_in - made.sae_in.mean(0)).square().sum(-1).mean()
            losses.append(float(made.losses["mse_loss"].detach() / variance))
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    f"the loss of step {step} is {losses[-1]:g}.",
                    "Lower the learning rate, or look at the activations.",
                )
        if (step + 1) % every == 0 and step + 1 < settings.n_steps:
            save_checkpoint(folder, trainer, batches, losses, limit=limit)
    scaler = trainer.activation_scaler
    if settings.architecture == "batchtopk":
        sae.topk_threshold.fill_(batch_threshold(sae, batches.first() * scaler.scaling_factor, settings.k))
    sae.fold_activation_norm_scaling_factor(scaler.scaling_factor)
    scaler.scaling_factor = None
    trainer.set_final_sae_metadata()
    passes = batches.position.epoch + batches.position.text / len(texts)
    sae.cfg.metadata[OWN] = {
        **own,
        "norm_limit": limit,
        "epochs": passes,
        "n_tokens": trainer.n_training_samples,
        "settings": {**asdict(settings), "hookpoint": None},
        "data": dict(about),
    }
    write_json(folder / "losses.json", {"every": _LOG_EVERY, "fvu": losses})
    _save(sae, folder)


@torch.no_grad()
def batch_threshold(sae: Any, scaled: Float[Tensor, "token d_in"], k: int) -> float:
    """The value that k latents a token exceed in the mean: what stands for BatchTopK once there are no batches.

    SAELens follows it with a moving average that begins at zero, which a short training leaves too low.
    """
    found = [sae.encode_with_hidden_pre(part)[1].relu() for part in scaled.split(1024)]
    largest = torch.cat([part.flatten().topk(min(part.numel(), 2 * k * len(part))).values for part in found])
    return float(largest.topk(min(len(largest), k * len(scaled))).values[-1])


def _save(sae: Any, folder: Path) -> None:
    """Weights, then configuration, each whole or not at all, as `SAE.load_from_disk` reads them."""
    with tempfile.TemporaryDirectory() as temporary:
        for path in sae.save_inference_model(temporary):
            atomic_write_bytes(folder / Path(path).name, read_bytes(Path(path)))
