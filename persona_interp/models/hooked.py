"""`run` and `generate`, written once above the one thing a backend does: a forward pass with taps."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache, GenerationConfig, PreTrainedConfig, PreTrainedTokenizerBase

from persona_interp.arguments import checked
from persona_interp.errors import ContextLengthError, HookpointError, ModelError
from persona_interp.models.cache import (
    check_window,
    has_kv_cache,
    is_shared,
    n_virtual,
    new_cache,
    prefixed_cache,
    refuse_unsupported,
    shares_prefixes,
)
from persona_interp.models.decoding import decode
from persona_interp.models.forward import Forward, forward_segment, prefix_mask, response_logits, response_logprobs
from persona_interp.models.generation_settings import GenerationSettings
from persona_interp.models.kept_prompts import KeptPrompts
from persona_interp.models.parity import PARTS, check_parts
from persona_interp.models.prefix_tree import plan_pass
from persona_interp.models.protocol import Outputs, Sampling
from persona_interp.models.reasoning import ReasoningRows, opened_by
from persona_interp.models.recorder import Recorder, Segment, Tap, Watch
from persona_interp.reasoning import Reasoning
from persona_interp.types import (
    NO_EDITS,
    Edits,
    ForwardPass,
    Generation,
    Hookpoint,
    KVPrefix,
    Pooling,
    Provenance,
    TokenBatch,
)

logger = logging.getLogger(__name__)


class HookedModelBase(ABC):
    """A causal language model of transformers, run by a backend.

    A backend implements `tapped`. Everything else - masks, caches, shared prefixes, sampling, pooling - is here
    and in the modules beside it, the same for all backends.
    """

    backend: str

    @checked
    def __init__(
        self,
        *,
        name: str,
        config: PreTrainedConfig,
        tokenizer: PreTrainedTokenizerBase,
        provenance: Provenance,
        device: torch.device,
        generation_config: GenerationConfig | None = None,
    ) -> None:
        refuse_unsupported(config, name)
        text_config = config.get_text_config(decoder=True)
        self.name = name
        self.config = config
        self.generation_config = generation_config
        self.generation_settings = GenerationSettings.of(generation_config)
        self.tokenizer = tokenizer
        details = {**provenance.details, **self.generation_settings.details()}
        self.provenance = replace(provenance, details=details)
        self.device = device
        self.n_layers: int = text_config.num_hidden_layers
        self.d_model: int = text_config.hidden_size
        self.d_vocab: int = text_config.vocab_size
        self.max_positions: int = getattr(text_config, "max_position_embeddings", None) or 2**31
        self.supports_cache = True
        self._watches: list[Watch] = []
        self._added_up: set[int] = set()
        if (words := self.generation_settings.words(name)) is not None:
            logger.log(logging.WARNING if self.generation_settings.ignored else logging.INFO, words)

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """The module of transformers that runs, with what a backend put into it."""

    @abstractmethod
    def tapped(
        self, taps: Mapping[Hookpoint, Tap], *, stop_after: Hookpoint | None = None
    ) -> AbstractContextManager[Forward]:
        """A context in which every forward pass calls the taps; on leaving it nothing stays hooked.

        `stop_after` ends each pass after that hookpoint.
        """

    @checked
    def run(
        self,
        batch: TokenBatch,
        *,
        read: Sequence[Hookpoint] = (),
        pool: Sequence[Pooling] = (),
        outputs: Outputs = "logits",
        edits: Edits = NO_EDITS,
        prefix: KVPrefix | None = None,
        grad: bool = False,
        watch: Watch | None = None,
        kept: KeptPrompts | None = None,
    ) -> ForwardPass:
        """One pass over a batch (see `HookedModel.run`)."""
        self.check_hookpoints((*read, *edits))
        watches = self._started(watch)
        length = n_virtual(prefix) + batch.ids.shape[1]
        self.check_length(length)
        check_window(self.name, self.config, batch, prefix, length)
        batch = batch.to(self.device)
        recorder = Recorder(read, pool, edits, watches)
        whole = outputs == "logits" or (read and not pool) or grad
        whole = whole or not recorder.row_spans <= {"response", "last"}  # rows that share a prompt would differ in it
        whole = whole or not is_shared(prefix) or not self.supports_cache
        splits = not whole and shares_prefixes(self.config, length)
        predicts = outputs in ("response_logits", "token_logprobs")
        keeps = kept is not None and predicts and splits and prefix is None and recorder.leaves_prompts
        if kept is not None:
            kept.claim(self, batch)
        predict_only = predicts and not recorder.read and not recorder.watches
        segments = plan_pass(batch, predict_only=predict_only, apart=keeps) if splits else [Segment.whole(batch)]
        stop = recorder.deepest if outputs == "none" else None
        with torch.set_grad_enabled(grad), torch.inference_mode(not grad):
            logits = self.run_segments(segments, recorder, outputs, prefix, stop, kept if keeps else None)
            assert logits is not None or outputs == "none", "a pass that predicts runs to its end"
            predicted = {"response_logits": response_logits, "token_logprobs": response_logprobs}.get(outputs)
            at_responses = None if predicted is None or logits is None else predicted(logits, batch, segments[-1])
        return ForwardPass(
            logits=logits if outputs == "logits" else None,
            response_logits=at_responses if outputs == "response_logits" else None,
            token_logprobs=at_responses if outputs == "token_logprobs" else None,
            residuals=recorder.residuals,
            pooled=recorder.pooled(),
            norms=recorder.norms(),
        )

    @checked
    def generate(
        self,
        batch: TokenBatch,
        *,
        sampling: Sampling,
        read: Sequence[Hookpoint] = (),
        pool: Sequence[Pooling] = (),
        edits: Edits = NO_EDITS,
        prefix: KVPrefix | None = None,
        watch: Watch | None = None,
        reasoning: Reasoning = "skip",
    ) -> Generation:
        """Sampled continuations of prompts (see `HookedModel.generate`)."""
        self.check_hookpoints((*read, *edits))
        watches = self._started(watch)
        length = n_virtual(prefix) + batch.ids.shape[1] + sampling.max_new_tokens
        self.check_length(length)
        check_window(self.name, self.config, batch, prefix, length)
        rows = None
        if reasoning == "skip" and "response_mean" in pool:
            prompts = [ids[mask].tolist() for ids, mask in zip(batch.ids.cpu(), batch.mask.cpu(), strict=True)]
            opened = opened_by(self.tokenizer, prompts)
            rows = ReasoningRows(self.tokenizer, [begun for begun in opened for _ in range(sampling.n_samples)])
        recorder = Recorder(read if pool else (), pool, edits, watches, rows)
        with torch.inference_mode():
            ids, finished = self.decoded(batch.to(self.device), recorder, sampling, prefix)
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return Generation(ids=ids, texts=texts, finished=finished, pooled=recorder.pooled(), norms=recorder.norms())

    @checked
    def decoded(
        self, batch: TokenBatch, recorder: Recorder, sampling: Sampling, prefix: KVPrefix | None
    ) -> tuple[list[list[int]], list[bool]]:
        """Token ids of every sample and whether it ended by itself; what `generate` does after its checks."""
        return decode(self, batch, recorder, sampling, prefix)

    @checked
    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """A context in which every call of `run` and `generate` is watched."""
        self.check_hookpoints(watch.hookpoints)
        self._watches.append(watch)
        try:
            yield
        finally:
            self._watches.remove(watch)

    @checked
    def check_hookpoints(self, hookpoints: Sequence[Hookpoint]) -> None:
        """Refuse layers this model does not have.

        Also what a block's attention or MLP adds, where it is not what the block goes on with.

        Raises:
            HookpointError: a layer is outside 0..n_layers-1, or attn_out or mlp_out is not what is added.
        """
        for hookpoint in hookpoints:
            layer = hookpoint.layer
            if 0 <= layer < self.n_layers:
                self._check_parts(hookpoint)
                continue
            hint = f'hidden_states[{layer}] is the output of layer {layer - 1}: Hookpoint({layer - 1}, "resid_post").'
            raise HookpointError(
                f"cannot reach {hookpoint} of {self.name} ({self.backend}).",
                f"Layers run 0..{self.n_layers - 1}.",
                *([hint] if layer == self.n_layers else []),
            )

    def _check_parts(self, hookpoint: Hookpoint) -> None:
        if hookpoint.stream not in PARTS or hookpoint.layer in self._added_up:
            return
        self._added_up.add(hookpoint.layer)  # the check itself reads these streams, and nobody watches it
        watches, self._watches = self._watches, []
        try:
            check_parts(self, hookpoint)
        except Exception:
            self._added_up.remove(hookpoint.layer)
            raise
        finally:
            self._watches = watches

    @checked
    def check_length(self, length: int) -> None:
        """Refuse sequences that the model was not made for.

        Raises:
            ContextLengthError: prompt, response and prefix together exceed the context.
        """
        if length > self.max_positions:
            raise ContextLengthError(
                f"a sequence of {length} tokens does not fit {self.name}.",
                f"Its context holds {self.max_positions} tokens, prompt and response together.",
                "Shorten the prompt or lower max_new_tokens; nothing was truncated.",
            )

    @checked
    def open_cache(self, prefix: KVPrefix | None, n_rows: int) -> DynamicCache:
        """An empty cache, or one whose `n_rows` rows start with virtual tokens (in the model's dtype).

        Raises:
            ModelError: virtual tokens for a model with layers that cache something else.
        """
        if prefix is None:
            return new_cache(self.config)
        if not has_kv_cache(self.config):
            raise ModelError(
                f"{self.name} ({self.config.model_type}) takes no key/value prefix.",
                "Not every layer of it caches keys and values.",
            )
        dtype = getattr(torch, self.provenance.dtype)
        virtual = KVPrefix(prefix.keys.to(self.device, dtype), prefix.values.to(self.device, dtype))
        return prefixed_cache(self.config, virtual, n_rows, grad=torch.is_grad_enabled())

    def _started(self, watch: Watch | None) -> list[Watch]:
        """The watches of a call that begins."""
        watches = [*self._watches, *([] if watch is None else [watch])]
        for each in watches:
            self.check_hookpoints(each.hookpoints)
            each.start()
        return watches

    @checked
    def run_segments(
        self,
        segments: list[Segment],
        recorder: Recorder,
        outputs: Outputs,
        prefix: KVPrefix | None,
        stop: Hookpoint | None,
        kept: KeptPrompts | None = None,
    ) -> Float[Tensor, "batch kept d_vocab"] | None:
        """One pass over segments, each on top of those before it; logits of the last, None where it stopped early.

        Args:
            kept: what an earlier pass kept of all segments but the last, or where to keep it.
        """
        if outputs == "none" and stop is None:
            return None
        n_rows, logits = len(segments[0].ids), None
        past = prefix_mask(prefix, n_rows, self.device)
        cache = self.open_cache(prefix, n_rows) if len(segments) > 1 or prefix is not None else None
        begun = None if kept is None else kept.begun()
        if begun is not None:
            (cache, past), segments = begun, segments[-1:]
        with self.tapped(recorder.taps(), stop_after=stop) as forward:
            for depth, segment in enumerate(segments):
                final = depth == len(segments) - 1
                predicts = final and outputs in ("response_logits", "token_logprobs")
                n_logits = int(segment.response.sum(-1).max()) + 1 if predicts else 1
                n_logits = 0 if outputs == "logits" else n_logits
                if final and kept is not None and begun is None and cache is not None:
                    kept.hold(cache, past)
                logits, past = forward_segment(forward, segment, recorder, cache, past, n_logits)
        return logits
