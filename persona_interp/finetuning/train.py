"""`finetune`: a LoRA run with the loss on answers, optionally under an intervention or a projection penalty."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback

from persona_interp.arguments import checked
from persona_interp.data.conversations import Conversation, ConversationSet, conversations_hash, read_conversations
from persona_interp.directions.direction import check_same_model
from persona_interp.errors import ConfigError, TrainingError
from persona_interp.finetuning.adapter import add_adapter, has_finite_adapter
from persona_interp.finetuning.holdout import mean_loss, split_holdout
from persona_interp.finetuning.penalty import PenaltyState, ProjectionPenalty
from persona_interp.finetuning.run_folder import Finetuned, RunFolder
from persona_interp.finetuning.samples import Collator, Samples, encode_samples
from persona_interp.finetuning.settings import LoRA, TrainingSettings
from persona_interp.finetuning.trainer import AnswerTrainer, Bar, NotFiniteError, training_arguments
from persona_interp.interventions.protocol import Intervention, Stack
from persona_interp.interventions.record import intervention_record, record
from persona_interp.lock import alone_in
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import describe
from persona_interp.models.in_memory import name_to_train
from persona_interp.models.plain import load_plain
from persona_interp.models.sources import local_files_hash
from persona_interp.models.training import TrainingHooks, check_layers
from persona_interp.types import NO_EDITS

METHOD_VERSION = 1


@dataclass(frozen=True, eq=False)
class _Job:
    """What is trained how, and where it is kept."""

    folder: RunFolder
    lora: LoRA
    settings: TrainingSettings
    intervention: Intervention | None
    penalty: ProjectionPenalty | None
    callbacks: Sequence[TrainerCallback]
    progress: bool


@checked
@alone_in("out")
def finetune(
    model: str | Path | HookedModelBase,
    dataset: str | Path | ConversationSet | Sequence[Conversation],
    *,
    out: Path,
    lora: LoRA = LoRA(),  # noqa: B008 (frozen)
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    intervention: Intervention | None = None,
    penalty: ProjectionPenalty | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    device: str | None = None,
    progress: bool = True,
) -> Finetuned:
    """A low-rank adapter trained on the answers of conversations, kept in the folder `out`.

    With an `intervention` its edits are part of every training pass and absent afterwards: adding a persona vector is
    preventative steering, ablating one is CAFT. With a `penalty`, moving the projection costs. The same call goes on
    where an interrupted one stopped, and returns at once where it is done.

    Args:
        model: a name or folder; of a hooked model its name, of which a fresh copy is trained.
        dataset: a file, folder or data set of the hub that `read_conversations` reads, or what was read from one.
            Unusable rows are left out and counted.

    Raises:
        DataError: no sample is left to train on.
        ConfigError: `out` holds another run, the model has none of the adapter's modules, or the intervention brings
            virtual tokens.
        HookpointError: an edit or a penalty is at a layer that the model does not have.
        IncompatibleDirectionError: a direction belongs to another base model.
        TrainingError: the loss is not finite; the last good checkpoint is kept.

    Source: Chen et al. 2025 (arXiv 2507.21509), sections 5 and 6; Casademunt et al. 2025 (CAFT).
    """
    if intervention is not None and intervention.prefix is not None:
        raise ConfigError("virtual tokens cannot be trained under.", "Give an intervention of edits: Add, Ablate, Cap.")
    if penalty is not None and settings.gradient_checkpointing:
        raise ConfigError("a projection penalty cannot be computed under gradient checkpointing.", "Turn one off.")
    name = name_to_train(model)
    given = _given(dataset)
    plan = _plan(name, given.conversations, lora, settings, intervention, penalty)
    job = _Job(RunFolder.claim(Path(out), name, plan), lora, settings, intervention, penalty, callbacks, progress)
    finished = job.folder.finished()
    if finished is not None:
        return finished
    plain, tokenizer = load_plain(name, dtype=settings.dtype, device=device)
    _check_fit(job, plain, tokenizer)
    _run(job, plain, tokenizer, given)
    finished = job.folder.finished()
    assert finished is not None, "a run that ends is finished"
    return finished


def _given(dataset: str | Path | ConversationSet | Sequence[Conversation]) -> ConversationSet:
    if isinstance(dataset, ConversationSet):
        return dataset
    return read_conversations(dataset) if isinstance(dataset, str | Path) else ConversationSet(tuple(dataset))


def _run(job: _Job, plain: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, given: ConversationSet) -> None:
    context = getattr(plain.config.get_text_config(decoder=True), "max_position_embeddings", None)
    longest = min(job.settings.max_tokens, context or job.settings.max_tokens)
    samples = encode_samples(tokenizer, given.conversations, max_tokens=longest)
    train, held_out = split_holdout(samples, job.settings.holdout, seed=job.settings.seed)
    collator = Collator.of(tokenizer)
    torch.manual_seed(job.settings.seed)
    peft = add_adapter(plain, job.lora, gradient_checkpointing=job.settings.gradient_checkpointing)
    job.folder.begin()
    started = time.monotonic()
    trainer = _train(job, peft, train, collator, tokenizer)
    state = trainer.state
    unusable = (*given.unusable, *samples.unusable)
    result = {
        "n_samples": len(train),
        "n_steps": state.global_step,
        "stopped": state.global_step < state.max_steps,
        "holdout_loss": None if held_out is None else mean_loss(peft, held_out, collator, job.settings.batch_size),
        "seconds": time.monotonic() - started,
        "losses": [row for row in state.log_history if "loss" in row],
        "unusable": [asdict(row) for row in unusable],
    }
    job.folder.finish(peft, result)


def _train(
    job: _Job, peft: PeftModel, train: Samples, collator: Collator, tokenizer: PreTrainedTokenizerBase
) -> AnswerTrainer:
    edits = NO_EDITS if job.intervention is None else job.intervention.edits
    penalty = None if job.penalty is None else PenaltyState(job.penalty)
    hooks = TrainingHooks(peft, edits, () if job.penalty is None else job.penalty.hookpoints())
    trainer = AnswerTrainer(
        model=peft,
        args=training_arguments(job.settings, job.folder.checkpoints, on_cpu=peft.device.type == "cpu"),
        data_collator=collator,
        train_dataset=train,
        processing_class=tokenizer,
        callbacks=list(job.callbacks),
    ).hook(hooks, penalty)
    trainer.remove_callback(PrinterCallback)
    bar = Bar(f"finetune {job.folder.path.name}", show=job.progress)
    trainer.add_callback(bar)
    resume = job.folder.last_checkpoint()
    try:
        with hooks.attached():
            trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
        if not has_finite_adapter(peft):
            raise NotFiniteError(f"the adapter is not finite after step {trainer.state.global_step}.")
    except NotFiniteError as error:
        kept = job.folder.last_checkpoint()
        raise TrainingError(
            f"{error} Training of {job.folder.path} stopped.",
            "No checkpoint had been written yet." if kept is None else f"The last good checkpoint is kept: {kept}.",
            "Lower the learning rate, the weight of the penalty or the coefficient, or look at the data.",
        ) from error
    finally:
        bar.close()
    return trainer


def _check_fit(job: _Job, plain: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    edits = NO_EDITS if job.intervention is None else job.intervention.edits
    reads = () if job.penalty is None else job.penalty.hookpoints()
    check_layers(plain, (*edits, *reads))
    directions = [*_directions(job.intervention), *([] if job.penalty is None else [job.penalty.direction])]
    if directions:
        provenance = describe(plain, tokenizer, job.folder.base)
        for direction in directions:
            check_same_model(direction, provenance)


def _directions(intervention: Intervention | None) -> list[Any]:
    if isinstance(intervention, Stack):
        return [direction for part in intervention.interventions for direction in _directions(part)]
    return [intervention.direction] if hasattr(intervention, "direction") else []  # pyright: ignore


def _plan(
    name: str,
    conversations: Sequence[Conversation],
    lora: LoRA,
    settings: TrainingSettings,
    intervention: Intervention | None,
    penalty: ProjectionPenalty | None,
) -> dict[str, Any]:
    """Everything that decides what the run gives, as JSON."""
    return {
        "base": name,
        "base_files": local_files_hash(name),
        "data": {"n": len(conversations), "sha256": conversations_hash(conversations)},
        "lora": record(lora),
        "settings": record(settings),
        "intervention": intervention_record(intervention),
        "penalty": record(penalty),
        "method_version": METHOD_VERSION,
    }
