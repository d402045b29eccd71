"""What a model's `generation_config` says of its answers: what is followed, what is not, and how it shapes logits."""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import (
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    GenerationConfig,
    InfNanRemoveLogitsProcessor,
    LogitsProcessor,
    LogitsProcessorList,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

from persona_interp.errors import ModelError
from persona_interp.models.protocol import Sampling
from persona_interp.types import TokenBatch

_NEUTRAL_AT_ONE = ("repetition_penalty", "encoder_repetition_penalty", "guidance_scale", "typical_p", "num_beams")
_NEUTRAL_AT_ONE += ("num_beam_groups",)
_DRAWN = ("do_sample", "temperature", "top_k", "top_p")
_IGNORED = (
    *("min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("num_beams", "num_beam_groups", "diversity_penalty", "penalty_alpha", "dola_layers", "constraints"),
    *("force_words_ids", "guidance_scale", "watermarking_config", "token_healing"),
    *("encoder_repetition_penalty", "encoder_no_repeat_ngram_size", "stop_strings", "max_time"),
)


@dataclass(frozen=True)
class _Row:
    """What a processor depends on: the lengths of a prompt and of its answer, and the tokens that end it."""

    n_prompt: int
    n_answer: int
    ends: list[int]
    device: str


# In the order in which transformers applies them.
_FOLLOWED: Mapping[str, Callable[[Any, _Row], LogitsProcessor]] = {
    "sequence_bias": lambda value, _: SequenceBiasLogitsProcessor(value),
    "repetition_penalty": lambda value, _: RepetitionPenaltyLogitsProcessor(float(value)),
    "no_repeat_ngram_size": lambda value, _: NoRepeatNGramLogitsProcessor(value),
    "bad_words_ids": lambda value, row: NoBadWordsLogitsProcessor(value, row.ends),
    "min_length": lambda value, row: MinLengthLogitsProcessor(value, row.ends, row.device),
    "min_new_tokens": lambda value, row: MinNewTokensLengthLogitsProcessor(row.n_prompt, value, row.ends, row.device),
    "forced_bos_token_id": lambda value, _: ForcedBOSTokenLogitsProcessor(value),
    "forced_eos_token_id": lambda value, row: ForcedEOSTokenLogitsProcessor(
        row.n_prompt + row.n_answer, value, row.device
    ),
    "remove_invalid_values": lambda _, __: InfNanRemoveLogitsProcessor(),
    "exponential_decay_length_penalty": lambda value, row: ExponentialDecayLengthPenalty(value, row.ends, row.n_prompt),
    "suppress_tokens": lambda value, row: SuppressTokensLogitsProcessor(value, row.device),
    "begin_suppress_tokens": lambda value, row: SuppressTokensAtBeginLogitsProcessor(value, row.n_prompt, row.device),
}
_TOKEN_IDS = ("forced_bos_token_id", "forced_eos_token_id")  # of which 0 and 1 are values like any other


@dataclass(frozen=True)
class GenerationSettings:
    """The entries of a `generation_config` that bear on answers, beside the tokens that end them.

    Args:
        followed: shape the logits of every token, as in transformers' `generate`.
        drawn: temperature and the like, of which `Sampling` decides.
        ignored: what transformers' `generate` would do and this package does not.
    """

    followed: Mapping[str, Any] = field(default_factory=dict)
    drawn: Mapping[str, Any] = field(default_factory=dict)
    ignored: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: GenerationConfig | None) -> "GenerationSettings":
        """The settings of a model; none where it has no generation_config."""
        if config is None:
            return cls()
        found = {name: _plain(value) for name, value in config.to_dict().items() if _says_something(name, value)}
        if "min_new_tokens" in found:
            found.pop("min_length", None)  # as in transformers
        return cls(*({name: found[name] for name in names if name in found} for names in (_FOLLOWED, _DRAWN, _IGNORED)))

    def details(self) -> dict[str, Any]:
        """What provenance says of them: nothing where nothing is followed or ignored."""
        parts = {"generation_config": self.followed, "generation_config_ignored": self.ignored}
        return {name: dict(entries) for name, entries in parts.items() if entries}

    def words(self, name: str) -> str | None:
        """What a user should know of these settings before answers are read; None where there are none."""
        told = {"follows": self.followed, "ignores": self.ignored, "leaves to Sampling": self.drawn}
        parts = [f"{verb} {_several(entries)}" for verb, entries in told.items() if entries]
        return f"of the generation_config of {name}, generation {'; '.join(parts)}." if parts else None


class Shaper:
    """Logits of answers in the making, as the settings want them.

    Rows are shaped in groups of one prompt length, without padding, so that each is what it is alone.

    Raises:
        ModelError: transformers refuses a setting, or the settings leave no token to go on with.
    """

    def __init__(
        self, followed: Mapping[str, Any], batch: TokenBatch, sampling: Sampling, ends: Sequence[int], name: str
    ) -> None:
        self._followed, self._name = followed if sampling.generation_config else {}, name
        if not self._followed:
            return
        n_rows, width = len(batch) * sampling.n_samples, batch.ids.shape[1]
        self._ids = torch.zeros(n_rows, width + sampling.max_new_tokens, dtype=torch.long, device=batch.ids.device)
        self._ids[:, :width] = batch.ids.repeat_interleave(sampling.n_samples, 0)
        self._padding = (~batch.mask).sum(-1).repeat_interleave(sampling.n_samples)
        self._length, self._processors = width, {}
        for padding in self._padding.unique().tolist():
            row = _Row(width - padding, sampling.max_new_tokens, list(ends), str(batch.ids.device))
            self._processors[padding] = self._built(row)

    def shape(
        self, logits: Float[Tensor, "active d_vocab"], rows: Int[Tensor, " active"]
    ) -> Float[Tensor, "active d_vocab"]:
        """Logits of the next token of these rows."""
        if not self._followed:
            return logits
        logits = logits.to(torch.float32, copy=True)
        ids, paddings = self._ids[rows].to(logits.device), self._padding[rows].to(logits.device)
        for padding in paddings.unique().tolist():
            group = (paddings == padding).nonzero()[:, 0]
            try:
                logits[group] = self._processors[padding](ids[group, padding : self._length], logits[group])  # pyright: ignore
            except (ValueError, TypeError, IndexError) as error:
                raise self._refused(self._followed, error) from error
        if bool(logits.amax(-1).isneginf().any()):
            raise ModelError(
                f"the generation_config of {self._name} leaves no token to go on with.",
                f"It says {_several(self._followed)}.",
                "Correct it, or sample with Sampling(generation_config=False).",
            )
        return logits

    def add(self, chosen: Int[Tensor, " active"], rows: Int[Tensor, " active"]) -> None:
        """The tokens with which these rows go on."""
        if self._followed:
            self._ids[rows, self._length] = chosen
            self._length += 1

    def _built(self, row: _Row) -> LogitsProcessorList:
        built = LogitsProcessorList()
        for option, value in self._followed.items():
            try:
                built.append(_FOLLOWED[option](value, row))
            except (ValueError, TypeError, IndexError, RuntimeError) as error:
                raise self._refused({option: value}, error) from error
        return built

    def _refused(self, entries: Mapping[str, Any], error: Exception) -> ModelError:
        return ModelError(
            f"the generation_config of {self._name} says {_several(entries)}, which transformers refuses.",
            str(error)[:300].replace("\n", " "),
            "Correct it, or sample with Sampling(generation_config=False).",
        )


def _says_something(name: str, value: Any) -> bool:
    """Whether an option changes answers by having this value."""
    if value is None or name in _TOKEN_IDS:
        return value is not None
    return bool(value) and not (name in _NEUTRAL_AT_ONE and value == 1)


def _plain(value: Any) -> Any:
    """A value as JSON has it: biases of sequences are pairs."""
    by_ids = isinstance(value, dict) and all(isinstance(key, tuple) for key in value)
    return [[list(ids), bias] for ids, bias in value.items()] if by_ids else value


def _several(entries: Mapping[str, Any]) -> str:
    return ", ".join(map(_shown, entries.items()))


def _shown(entry: tuple[str, Any]) -> str:
    return f"{entry[0]}={reprlib.repr(entry[1])}"
