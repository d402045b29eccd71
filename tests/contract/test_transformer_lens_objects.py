"""TransformerLens objects that the caller already has: taken as they are, or refused when their basis is another."""

import pytest
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM

from persona_interp.errors import ModelError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.hooked_transformer import HookedTransformerModel
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.types import POOLINGS, Edit, Hookpoint
from tests.contract.test_row_edits import PROMPTS, by_row, pushes
from tests.contract.tiny import (
    CONTEXT,
    D_HEAD,
    D_MODEL,
    D_VOCAB,
    N_HEADS,
    N_LAYERS,
    TOLERANCE,
    Tiny,
    all_hookpoints,
    make_tokenizer,
    prompt_batch,
    random_prefix,
    shifting,
    uneven_batch,
)

GREEDY = Sampling(max_new_tokens=5, temperature=0.0)


def hooked_transformer(normalization: str) -> HookedTransformer:
    config = HookedTransformerConfig(
        n_layers=N_LAYERS,
        d_model=D_MODEL,
        n_ctx=CONTEXT,
        d_head=D_HEAD,
        n_heads=N_HEADS,
        d_mlp=48,
        d_vocab=D_VOCAB,
        act_fn="gelu",
        normalization_type=normalization,
        positional_embedding_type="rotary" if normalization.startswith("RMS") else "standard",
        rotary_dim=D_HEAD if normalization.startswith("RMS") else None,
        model_name=f"tiny-{normalization}",
        init_weights=True,
        initializer_range=0.2,
        seed=0,
        device="cpu",
    )
    with pytest.warns(DeprecationWarning, match="HookedTransformer"):
        return HookedTransformer(config, tokenizer=make_tokenizer())


@pytest.fixture(scope="module", params=["LN", "RMS"])
def legacy(request: pytest.FixtureRequest) -> HookedModelBase:
    return load_model(hooked_transformer(request.param))


def test_a_hooked_transformer_reads_its_own_cache(legacy: HookedModelBase) -> None:
    batch, reads = uneven_batch(), all_hookpoints()
    made = legacy.run(batch, read=reads)
    assert made.logits is not None
    for row, mask in enumerate(batch.mask):
        logits, cache = legacy.model.run_with_cache(batch.ids[row][mask][None])  # pyright: ignore
        torch.testing.assert_close(made.logits[row, mask], logits[0].detach(), **TOLERANCE)
        for h in reads:
            own = cache[f"blocks.{h.layer}.hook_{h.stream}"][0].detach()
            torch.testing.assert_close(made.residuals[h][row, mask], own, **TOLERANCE)


def test_a_hooked_transformer_is_edited(legacy: HookedModelBase) -> None:
    batch, hookpoint = uneven_batch(), Hookpoint(1)
    edits = {hookpoint: (Edit(shifting(0), "response", last_prompt_token=False),)}
    before = legacy.run(batch, read=[hookpoint]).residuals[hookpoint]
    after = legacy.run(batch, read=[hookpoint], edits=edits, outputs="none").residuals[hookpoint]
    assert torch.equal((before != after).any(-1), batch.response)
    with_edit, without = legacy.run(batch, edits=edits).logits, legacy.run(batch).logits
    assert with_edit is not None and without is not None and not torch.equal(with_edit, without)


def test_a_hooked_transformer_generates_and_pools(legacy: HookedModelBase) -> None:
    reads = all_hookpoints(["resid_post"])
    made = legacy.generate(prompt_batch(), sampling=GREEDY, read=reads, pool=POOLINGS)
    batch = prompt_batch()
    for row, (ids, mask) in enumerate(zip(batch.ids, batch.mask, strict=True)):
        prompt = ids[mask].tolist()
        assert len(made.ids[row]) == 5 or made.finished[row]
        for n, token in enumerate(made.ids[row]):
            logits = legacy.run(token_batch([[*prompt, *made.ids[row][:n]]])).logits
            assert logits is not None and token == int(logits[0, -1].argmax())
        forced = legacy.run(token_batch([prompt], [made.ids[row]]), read=reads, pool=POOLINGS, outputs="none")
        assert made.norms is not None and forced.norms is not None
        torch.testing.assert_close(made.norms[row], forced.norms[0], equal_nan=True, **TOLERANCE)
        for pooling in POOLINGS:
            torch.testing.assert_close(
                made.pooled[pooling][row], forced.pooled[pooling][0], equal_nan=True, **TOLERANCE
            )
    assert legacy.generate(prompt_batch(), sampling=GREEDY).ids == made.ids


@pytest.mark.parametrize("n_samples", [1, 3])
def test_rows_of_a_hooked_transformer_keep_their_own_edit_when_others_have_ended(
    legacy: HookedModelBase, n_samples: int
) -> None:
    rows, vectors = [PROMPTS[k % 3] for k in range(6)], pushes(6)
    free = legacy.generate(token_batch(rows, pad_id=0), sampling=Sampling(8, 0.0), edits=by_row(vectors)).ids
    stop = free[0][2]  # which the first row says early, and others later or never
    sampling = Sampling(8, 0.0, n_samples=n_samples, stop_ids=(stop,))
    read = {"read": [Hookpoint(1)], "pool": POOLINGS}
    together = legacy.generate(token_batch(rows, pad_id=0), sampling=sampling, edits=by_row(vectors), **read)
    assert len({len(ids) for ids in together.ids}) > 1
    for k, prompt in enumerate(rows):
        alone = legacy.generate(
            token_batch([prompt], pad_id=0), sampling=sampling, edits=by_row(vectors[k : k + 1]), **read
        )
        own = slice(k * n_samples, (k + 1) * n_samples)
        assert together.ids[own] == alone.ids
        for name in POOLINGS:
            ours = together.pooled[name][own]  # NaN where a row ends at once
            torch.testing.assert_close(ours, alone.pooled[name], rtol=1e-4, atol=1e-4, equal_nan=True)


def test_a_hooked_transformer_keeps_no_hook_after_an_exception(legacy: HookedModelBase) -> None:
    def failing(residual: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        legacy.run(uneven_batch(), edits={Hookpoint(1): (Edit(failing),)})
    assert all(not point.fwd_hooks for point in legacy.model.hook_points())  # pyright: ignore


@pytest.mark.parametrize("how", ["run", "generate"])
def test_a_hooked_transformer_takes_no_prefix(legacy: HookedModelBase, llama: Tiny, how: str) -> None:
    prefix = random_prefix(llama, 3)
    with pytest.raises(ModelError, match="is a HookedTransformer, which takes no key/value prefix"):
        if how == "run":
            legacy.run(prompt_batch(), prefix=prefix)
        else:
            legacy.generate(prompt_batch(), sampling=GREEDY, prefix=prefix)


@pytest.mark.parametrize("normalization", ["LNPre", "RMSPre"])
def test_a_folded_hooked_transformer_is_refused(normalization: str) -> None:
    model = hooked_transformer(normalization)
    with pytest.raises(ModelError) as caught:
        load_model(model)
    assert str(caught.value) == (
        f"tiny-{normalization} has folded norms.\n"
        "  Directions are kept in the model's own residual basis; those of a processed model do not carry over.\n"
        "  Load it with HookedTransformer.from_pretrained_no_processing, or give load_model the model's name."
    )


def test_a_centred_hooked_transformer_is_refused() -> None:
    model = hooked_transformer("LN")
    with torch.no_grad():
        model.embed.W_E -= model.embed.W_E.mean(-1, keepdim=True)
    with pytest.raises(ModelError, match="^tiny-LN has centred weights"):
        load_model(model)


def make_bridge(tiny: Tiny) -> TransformerBridge:
    model = AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32)
    return TransformerBridge.boot_transformers(str(tiny.folder), hf_model=model, tokenizer=make_tokenizer())


def test_a_bridge_is_taken_as_it_is(llama: Tiny) -> None:
    adopted = load_model(make_bridge(llama))
    batch, hookpoint = uneven_batch(), Hookpoint(1)
    made = adopted.run(batch, read=[hookpoint])
    assert made.logits is not None
    torch.testing.assert_close(made.logits[batch.mask], llama.run(batch).logits[batch.mask], **TOLERANCE)
    own = llama.hooked("transformer_lens")
    assert adopted.generate(prompt_batch(), sampling=GREEDY).ids == own.generate(prompt_batch(), sampling=GREEDY).ids


def test_a_bridge_without_processing_is_taken(llama: Tiny) -> None:
    bridge = make_bridge(llama)
    bridge.enable_compatibility_mode(no_processing=True)
    batch, reads = uneven_batch(), all_hookpoints(["resid_post"])
    made, plain = load_model(bridge).run(batch, read=reads), llama.run(batch)
    for hookpoint in reads:
        torch.testing.assert_close(
            made.residuals[hookpoint][batch.mask], plain.streams[hookpoint][batch.mask], **TOLERANCE
        )


def test_a_processed_bridge_is_refused(llama: Tiny) -> None:
    bridge = make_bridge(llama)
    bridge.enable_compatibility_mode()
    with pytest.raises(ModelError) as caught:
        load_model(bridge)
    assert str(caught.value) == (
        f"{bridge.cfg.model_name} has processed weights (compatibility mode folded its norms or centred its weights).\n"
        "  Directions are kept in the model's own residual basis; those of a folded model do not carry over.\n"
        "  Boot the bridge again without enable_compatibility_mode(), or with no_processing=True."
    )


def test_an_object_needs_its_own_backend(llama: Tiny) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(make_bridge(llama), backend="nnsight")
    assert str(caught.value) == (
        "a TransformerBridge object cannot be used by the backend nnsight.\n  Give a name or a folder."
    )


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_a_hooked_transformer_whose_reads_are_wrong_is_refused(layer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given, tapped = hooked_transformer("LN"), HookedTransformerModel.tapped
    load_model(given)
    monkeypatch.setattr(
        HookedTransformerModel,
        "tapped",
        lambda self, taps, **options: tapped(
            self,
            {h: (lambda r, tap=tap, h=h: tap(3 * r + 1 if h == Hookpoint(layer) else r)) for h, tap in taps.items()},
            **options,
        ),
    )
    with pytest.raises(ModelError, match="differently from"):
        load_model(given)
