"""TransformerLens' legacy `HookedTransformer`, accepted as it is where its weights are unprocessed.

It has its own code for every architecture and its own cache, so passes are plain ones: no shared prefixes, and
generation runs the whole text again for every token. Load a TransformerBridge for speed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import HookedTransformer
from transformers import DynamicCache, GPT2Config

from persona_interp.errors import HookpointError, ModelError
from persona_interp.models.forward import Forward
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import fingerprint, library_versions
from persona_interp.models.protocol import Sampling
from persona_interp.models.recorder import Recorder, Segment, Tap
from persona_interp.models.row_edits import renumbered
from persona_interp.models.sampling import row_uniforms, sample_tokens
from persona_interp.models.templates import template_hash
from persona_interp.models.tokens import token_batch
from persona_interp.types import Hookpoint, KVPrefix, Provenance, TokenBatch


def cached_states(model: HookedTransformer, batch: TokenBatch) -> Float[Tensor, "state batch pos d_model"]:
    """The residual stream as the object's own cache has it: the embeddings, then the output of every block.

    Such an object is not made from a model of transformers, so its own cache is what reads are compared with.
    """
    batch, names = batch.to(next(model.parameters()).device), {f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"}
    names |= {f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)}
    with torch.inference_mode():
        cache = model.run_with_cache(batch.ids, attention_mask=batch.mask.long(), names_filter=names.__contains__)[1]
    inputs = [cache["resid_pre", layer] for layer in range(model.cfg.n_layers)]
    return torch.stack([state.cpu() for state in (*inputs, cache["resid_post", model.cfg.n_layers - 1])])


class HookedTransformerModel(HookedModelBase):
    """A `HookedTransformer` with unprocessed weights, with the same interface."""

    backend = "transformer_lens"

    def __init__(self, model: HookedTransformer) -> None:
        cfg = model.cfg
        refuse_processed(model)
        provenance = Provenance(
            model=str(cfg.model_name),
            weights=fingerprint(model),
            backend="transformer_lens (HookedTransformer)",
            dtype=str(cfg.dtype).removeprefix("torch."),
            n_layers=cfg.n_layers,
            d_model=cfg.d_model,
            method="model",
            method_version=1,
            chat_template=template_hash(model.tokenizer),  # pyright: ignore
            versions=library_versions(),
        )
        config = GPT2Config(n_layer=cfg.n_layers, n_embd=cfg.d_model, vocab_size=cfg.d_vocab, n_positions=cfg.n_ctx)
        super().__init__(
            name=str(cfg.model_name),
            config=config,
            tokenizer=model.tokenizer,  # pyright: ignore
            provenance=provenance,
            device=next(model.parameters()).device,
        )
        self.model = model.eval()
        self.supports_cache = False

    @property
    def module(self) -> nn.Module:
        """Nothing: it is no module of transformers.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            f"{self.name} is a HookedTransformer, whose heads and neurons are not reached.",
            "Load the model by its name: load_model(name) gives a bridge.",
        )

    @contextmanager
    def tapped(self, taps: Mapping[Hookpoint, Tap], *, stop_after: Hookpoint | None = None) -> Iterator[Forward]:
        """Forward passes of the model with taps on its hook points."""
        names = {hookpoint: f"blocks.{hookpoint.layer}.hook_{hookpoint.stream}" for hookpoint in taps}
        for hookpoint, name in names.items():
            if name not in self.model.hook_dict:
                raise HookpointError(f"cannot reach {hookpoint} of {self.name}: it has no hook {name}.")
        stop_layer = None if stop_after is None else stop_after.layer + 1

        def forward(
            ids: Tensor, mask: Tensor, position_ids: Tensor, cache: DynamicCache | None, last_logits: int
        ) -> Tensor | None:
            del position_ids, cache
            logits = self.model(ids, attention_mask=mask, stop_at_layer=stop_layer, return_type="logits")
            return None if stop_layer is not None else logits[:, -last_logits or None :]

        hooks = [(names[hookpoint], lambda value, hook, tap=tap: tap(value)) for hookpoint, tap in taps.items()]  # noqa: ARG005
        with self.model.hooks(fwd_hooks=hooks):  # pyright: ignore
            yield forward

    def open_cache(self, prefix: KVPrefix | None, n_rows: int) -> DynamicCache:  # noqa: ARG002
        """No cache: passes are plain ones.

        Raises:
            ModelError: virtual tokens were given.
        """
        raise ModelError(f"{self.name} is a HookedTransformer, which takes no key/value prefix.", "Use a bridge.")

    def decoded(
        self, batch: TokenBatch, recorder: Recorder, sampling: Sampling, prefix: KVPrefix | None
    ) -> tuple[list[list[int]], list[bool]]:
        """The whole text run again for every token, pooled in one pass at the end.

        Raises:
            ModelError: a key/value prefix or a watch was given.
        """
        if prefix is not None:
            self.open_cache(prefix, len(batch))  # refuses
        if recorder.watches:
            raise ModelError(
                f"{self.name} is a HookedTransformer, which cannot be watched while it generates.",
                "Load the model by its name: load_model(name) gives a bridge.",
            )
        given = [ids[mask].tolist() for ids, mask in zip(batch.ids.cpu(), batch.mask.cpu(), strict=True)]
        uniforms = row_uniforms(given, sampling)
        prompts = [ids for ids in given for _ in range(sampling.n_samples)]
        stops = {self.tokenizer.eos_token_id, *sampling.stop_ids}  # pyright: ignore
        tokens: list[list[int]] = [[] for _ in prompts]
        finished = [False] * len(prompts)
        for step in range(sampling.max_new_tokens):
            open_rows = [i for i, done in enumerate(finished) if not done]
            if not open_rows:
                break
            rows = token_batch([prompts[i] for i in open_rows], [tokens[i] for i in open_rows])
            owners = [i // sampling.n_samples for i in open_rows]
            logits = self.run(rows, edits=renumbered(recorder.edits, owners)).logits
            assert logits is not None
            chosen = sample_tokens(logits[:, -1].cpu(), uniforms[open_rows, step], sampling)
            for row, token in zip(open_rows, chosen.tolist(), strict=True):
                if token in stops:
                    finished[row] = True
                else:
                    tokens[row].append(token)
        if recorder.pool:
            whole = Segment.whole(token_batch(prompts, tokens).to(self.device))
            recorder.edits = renumbered(recorder.edits, [i // sampling.n_samples for i in range(len(prompts))])
            self.run_segments([whole], recorder, "none", None, recorder.deepest)
        return tokens, finished


def refuse_processed(model: HookedTransformer) -> None:
    """Refuse folded norms and centred weights.

    Raises:
        ModelError: the residual stream is in another basis than the model's own.
    """
    folded = str(model.cfg.normalization_type).endswith("Pre")
    embedding = model.W_E.detach().float()
    centred = bool(embedding.mean(-1).abs().max() < 1e-6 * embedding.std())
    if folded or centred:
        how = " and ".join(word for word, is_so in (("folded norms", folded), ("centred weights", centred)) if is_so)
        raise ModelError(
            f"{model.cfg.model_name} has {how}.",
            "Directions are kept in the model's own residual basis; those of a processed model do not carry over.",
            "Load it with HookedTransformer.from_pretrained_no_processing, or give load_model the model's name.",
        )
