"""From texts with trait vectors to steps of equal length, and the loss of a batch after its virtual tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_interp.data.trait_texts import TraitTexts
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.errors import ConfigError, DataError
from persona_interp.finetuning.samples import IGNORED
from persona_interp.finetuning.trainer import answer_loss
from persona_interp.models.cache import prefixed_cache
from persona_interp.models.tokens import encode
from persona_interp.statistics.streams import stream
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.types import KVPrefix

_STEPS_SORTED_TOGETHER = 16

Base = PreTrainedModel | PeftModel
"""The frozen model, possibly with a LoRA adapter that is trained beside the virtual tokens."""


@dataclass(frozen=True, eq=False)
class TraitSamples:
    """Token ids of texts with their trait vectors.

    Args:
        start: ids in front of every text, from the last of which its first token is predicted.
        ids: the text's own tokens with the end of text, which is missing where the text was cut.
        n_cut: texts that were longer.
        n_left_out: texts that are not here because they were longer.
    """

    start: tuple[int, ...]
    ids: tuple[tuple[int, ...], ...]
    z: Float[Tensor, "text trait"]
    n_cut: int = 0
    n_left_out: int = 0

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.ids)


def start_text(tokenizer: PreTrainedTokenizerBase, start: str | None) -> str:
    """What comes before every text.

    Raises:
        ConfigError: the tokenizer has neither a beginning nor an end of text, or the text given has no token.
    """
    text = start if start is not None else tokenizer.bos_token or tokenizer.eos_token
    if not text or not encode(tokenizer, [str(text)])[0]:
        raise ConfigError(
            "nothing comes before the texts, so their first token cannot be predicted.",
            'Name a text that has a token: PsychAdapterSettings(start="...").',
        )
    return str(text)


def trait_samples(
    tokenizer: PreTrainedTokenizerBase, data: TraitTexts, settings: PsychAdapterSettings, *, context: int
) -> TraitSamples:
    """Tokens of standardised texts; at most `max_tokens` are predicted of each, and the end of text is one of them.

    Raises:
        DataError: no text is left, or one has no token.
        ConfigError: the context has no room after the start.
    """
    start = tuple(encode(tokenizer, [start_text(tokenizer, settings.start)])[0])
    longest = min(settings.max_tokens, context - 1 - len(start))
    if longest < 2:
        raise ConfigError(f"a context of {context} tokens has no room for a text after {len(start)} others.")
    ids, chosen, n_long = [], [], 0
    for i, tokens in enumerate(encode(tokenizer, data.texts)):
        if not tokens:
            raise DataError(f"{data.source}, text {data.ids[i]}: it has no token.", "Leave it out.")
        whole = (*tokens, tokenizer.eos_token_id)
        n_long += len(whole) > longest
        if len(whole) > longest and settings.too_long == "leave_out":
            continue
        ids.append(whole[:longest])
        chosen.append(i)
    if not ids:
        raise DataError(
            f"all {len(data)} texts of {data.source} are longer than {longest} tokens.", "Raise max_tokens."
        )
    cuts = settings.too_long == "cut"
    z = torch.tensor(data.scores[chosen], dtype=torch.float32)
    return TraitSamples(start, tuple(ids), z, n_long if cuts else 0, 0 if cuts else n_long)


def epoch_steps(samples: TraitSamples, settings: PsychAdapterSettings, epoch: int) -> Iterator[list[list[int]]]:
    """The steps of an epoch, each a list of batches: every text once, neighbours in length together.

    The order depends on the seed and the epoch alone, so that an interrupted run finds its place again.
    """
    rng = stream(settings.seed, "epoch", epoch)
    order = rng.permutation(len(samples)).tolist()
    in_step = settings.batch_size * settings.accumulation
    steps: list[list[int]] = []
    for start in range(0, len(order), pool := in_step * _STEPS_SORTED_TOGETHER):
        by_length = sorted(order[start : start + pool], key=lambda i: len(samples.ids[i]))
        steps += [by_length[k : k + in_step] for k in range(0, len(by_length), in_step)]
    for k in rng.permutation(len(steps)).tolist():
        yield batches(steps[k], settings.batch_size)


def batches(rows: Sequence[int], size: int) -> list[list[int]]:
    """Rows in groups of at most `size`."""
    return [list(rows[k : k + size]) for k in range(0, len(rows), size)]


def n_predicted(samples: TraitSamples, rows: Sequence[int]) -> int:
    """Number of tokens that are predicted in these texts."""
    return sum(len(samples.ids[i]) for i in rows)


def text_loss(
    model: Base, adapter: PsychAdapter | None, samples: TraitSamples, rows: Sequence[int]
) -> Float[Tensor, ""]:
    """Summed cross-entropy (nats) of the tokens of some texts after the virtual tokens of their trait vectors.

    Padding is on the right and known by its place, not by its id: where padding and end of text are one token, the end
    is trained on all the same. Without an adapter it is the loss of the model alone, from the same start.
    """
    n_start = len(samples.start)
    width = n_start + max(len(samples.ids[i]) for i in rows)
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED)
    for k, i in enumerate(rows):
        end = n_start + len(samples.ids[i])
        ids[k, :end] = torch.tensor([*samples.start, *samples.ids[i]])
        mask[k, :end] = 1
        labels[k, n_start:end] = ids[k, n_start:end]
    device = model.device
    inputs: dict[str, Any] = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    if adapter is not None:
        made = adapter.prefix(samples.z[list(rows)])
        cast = KVPrefix(made.keys.to(device, model.dtype), made.values.to(device, model.dtype))
        inputs["past_key_values"] = prefixed_cache(model.config, cast, len(rows), grad=True)
        inputs["position_ids"] = torch.arange(1, width + 1, device=device).expand(len(rows), -1)
        inputs["attention_mask"] = torch.cat([mask.new_ones(len(rows), 1), mask], dim=1).to(device)
    total, _ = answer_loss(model, labels.to(device), inputs)
    return total


@torch.no_grad()
def mean_text_loss(model: Base, adapter: PsychAdapter | None, samples: TraitSamples, batch_size: int) -> float:
    """Nats a token over texts."""
    order = sorted(range(len(samples)), key=lambda i: len(samples.ids[i]))
    total = sum(float(text_loss(model, adapter, samples, rows)) for rows in batches(order, batch_size))
    return total / n_predicted(samples, order)
