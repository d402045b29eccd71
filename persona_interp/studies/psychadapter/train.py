"""`train_psychadapter`: virtual key/value tokens learnt from texts with trait scores, the base model frozen."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_interp.arguments import checked
from persona_interp.data.trait_texts import Standard, TraitTexts, check_varied
from persona_interp.directions.psychadapter import METHOD_VERSION, KVShape, PsychAdapter
from persona_interp.finetuning.adapter import add_adapter, keep_adapter
from persona_interp.finetuning.run_folder import RunFolder
from persona_interp.finetuning.settings import LoRA
from persona_interp.interventions.record import record
from persona_interp.lock import alone_in
from persona_interp.models.file_hashes import hash_of_files, model_files
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import describe, loaded_fingerprint
from persona_interp.models.in_memory import name_to_train
from persona_interp.models.plain import load_plain
from persona_interp.models.sources import local_files_hash
from persona_interp.models.speed import measure_training_speed
from persona_interp.progress import is_quiet
from persona_interp.studies.plan import announce, kept_speed
from persona_interp.studies.psychadapter.plan import training_plan
from persona_interp.studies.psychadapter.samples import Base, TraitSamples, mean_text_loss, start_text, trait_samples
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.studies.psychadapter.steps import precision, train_steps
from persona_interp.studies.psychadapter.training_run import LORA, ParameterCount, TrainedPsychAdapter, finish, finished
from persona_interp.types import Provenance


@dataclass(frozen=True)
class _Job:
    """What is trained how, and where it is kept."""

    out: Path
    base: str
    settings: PsychAdapterSettings
    lora: LoRA | None


@dataclass(frozen=True, eq=False)
class _Texts:
    """What is trained on and what is held out, as tokens, and the standard that made z of scores."""

    train: TraitSamples
    held_out: TraitSamples | None
    standard: Standard
    data: TraitTexts


@checked
@alone_in("out")
def train_psychadapter(
    model: str | Path | HookedModelBase,
    data: TraitTexts,
    *,
    out: Path,
    settings: PsychAdapterSettings = PsychAdapterSettings(),  # noqa: B008 (frozen)
    lora: LoRA | None = None,
    device: str | None = None,
    progress: bool = True,
) -> TrainedPsychAdapter:
    """An adapter that minimises -log p(text | z) a token, z the standardised scores, kept in the folder `out`.

    Every text is predicted from the start (beginning of text) on, its first token and its end included, after one
    virtual token a layer. Only the adapter is trained; with `lora`, as the published code has it, the base gets a
    low-rank adapter trained beside it, saved in `out`/adapter. A base without one stays in evaluation mode. The same
    call goes on where an interrupted one stopped, and returns at once where it is done.

    Args:
        model: a name or folder; of a hooked model its name, of which a fresh copy is used.
        data: scores as given (standardised here, by the texts trained on) or standardised already.

    Raises:
        DataError: fewer than two texts, a constant score, or a text without a token.
        ConfigError: `out` holds another run, or nothing comes before the texts.
        ModelError: the model has no key/value cache.
        TrainingError: the loss is not finite; the last good checkpoint is kept.

    Source: Vu et al. 2026, PsychAdapter (npj Artificial Intelligence 2:7), and its published code.
    """
    name = name_to_train(model)
    check_varied(data, data.source)
    folder = RunFolder.claim(Path(out), name, _plan(name, data, settings, lora))
    done = finished(folder.path, name)
    if done is not None:
        return done
    started = time.time()
    plain, tokenizer = load_plain(name, dtype=settings.dtype, device=device)
    KVShape.of(plain.config)  # refuses
    texts = _texts(data, tokenizer, settings, plain)
    weights = ""  # of the pair with its LoRA they are known at the end
    if lora is None:
        files = model_files(plain)
        weights = loaded_fingerprint(plain, files, hash_of_files(files), started)
    base = describe(plain, tokenizer, name, weights=weights)
    folder.begin()
    _run(_Job(folder.path, name, settings, lora), plain, tokenizer, texts, base, progress)
    done = finished(folder.path, name)
    assert done is not None, "a run that ends is finished"
    return done


def _run(
    job: _Job,
    plain: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: _Texts,
    base: Provenance,
    progress: bool,
) -> None:
    started, settings = time.monotonic(), job.settings
    n_base = sum(weight.numel() for weight in plain.parameters())
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        adapter = PsychAdapter(KVShape.of(plain.config), texts.standard.traits, base, standard=texts.standard)
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.mul_(settings.init_scale)
    adapter.to(plain.device)
    if progress and not is_quiet():
        lengths, held = ([len(ids) for ids in some.ids] if some else [] for some in (texts.train, texts.held_out))
        steps = training_plan(settings, lengths, held)
        speed = kept_speed(steps, lambda seconds: measure_training_speed(plain, seconds=seconds))
        announce(f"an adapter of {', '.join(texts.standard.traits)} on {job.base}", steps, speed)
    base_loss = _held_out_loss(plain, None, texts, settings)
    start_loss = _held_out_loss(plain, adapter, texts, settings)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        trained = plain if job.lora is None else add_adapter(plain, job.lora)
    losses = train_steps(job.out / "checkpoints", trained, adapter, texts.train, settings, progress)
    trained.eval()
    n_lora = sum(weight.numel() for weight in trained.parameters() if weight.requires_grad)
    found: dict[str, Any] = {
        "n_texts": len(texts.train),
        "n_steps": len(losses),
        "holdout_loss": _held_out_loss(trained, adapter, texts, settings),
        "base_loss": base_loss,
        "start_loss": start_loss,
        "parameters": asdict(ParameterCount(adapter.n_parameters, n_lora, n_base)),
    }
    cut = {"n_cut": texts.train.n_cut, "n_left_out": texts.train.n_left_out}
    result = {**found, **cut, "seconds": time.monotonic() - started, "dtype": settings.dtype}
    if isinstance(trained, PeftModel):
        keep_adapter(trained, job.out)
        merged = trained.merge_and_unload()  # pyright: ignore
        adapter.provenance = describe(merged, tokenizer, f"{job.base} + {job.out / LORA}")
    adapter.provenance = adapter.provenance.derive(
        "psychadapter",
        METHOD_VERSION,
        pooling=None,
        start=start_text(tokenizer, settings.start),
        data=texts.data.data_hash,
        source=texts.data.source,
        estimated=texts.data.estimated,
        settings=record(settings),
        lora=record(job.lora),
        **found,
    )
    finish(job.out, adapter, losses, result)
    shutil.rmtree(job.out / "checkpoints", ignore_errors=True)


def _held_out_loss(
    model: Base, adapter: PsychAdapter | None, texts: _Texts, settings: PsychAdapterSettings
) -> float | None:
    if texts.held_out is None:
        return None
    with precision(model):
        return mean_text_loss(model, adapter, texts.held_out, settings.batch_size)


def _texts(
    data: TraitTexts, tokenizer: PreTrainedTokenizerBase, settings: PsychAdapterSettings, plain: PreTrainedModel
) -> _Texts:
    """Texts to train on and held-out ones, standardised by the former unless they already are."""
    train, held = data, None
    if settings.holdout > 0:
        train, held = data.split(held_out=settings.holdout, seed=settings.seed)
    check_varied(train, data.source)
    train = train.standardised()
    assert train.standard is not None, "standardised texts say by what"
    context = getattr(plain.config.get_text_config(decoder=True), "max_position_embeddings", None) or 2**31
    tokens = partial(trait_samples, tokenizer, settings=settings, context=context)
    return _Texts(
        tokens(train), None if held is None else tokens(held.standardised(train.standard)), train.standard, data
    )


def _plan(name: str, data: TraitTexts, settings: PsychAdapterSettings, lora: LoRA | None) -> Mapping[str, Any]:
    """Everything that decides what the run gives, as JSON."""
    return {
        "base": name,
        "base_files": local_files_hash(name),
        "data": {
            "n": len(data),
            "traits": list(data.traits),
            "sha256": data.data_hash,
            "standard": record(data.standard),
        },
        "psychadapter": record(settings),
        "lora": record(lora),
        "method_version": METHOD_VERSION,
    }
