"""Answers, reads and refusals of many architectures and settings, each as transformers itself has it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig

from persona_interp import generate_text, load_model
from persona_interp.activations.extract import extract_activations
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.models.generation_settings import GenerationSettings
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.types import Hookpoint, KVPrefix, Stream
from tests.contract.tiny import BACKENDS, CONTEXT, D_MODEL, D_VOCAB, HYBRIDS, MORE, N_LAYERS, PAD, words
from tests.integration.inputs.row import Call, Command, Given, Row
from tests.parity import PROMPTS, alone, both, folder_of, settings, tiny, under, with_settings

WINDOWED = ("mistral", "gemma3_short_window", "qwen2_short_window", "gpt_oss")
SMALL: dict[str, Any] = {
    "vocab_size": D_VOCAB,
    "hidden_size": D_MODEL,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": PAD,
    "eos_token_id": 1,
}
NAMES = ("vocab_size", "num_hidden_layers", "pad_token_id", "eos_token_id", "hidden_size")


def sizes(*without: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in SMALL.items() if name not in without} | more


STATE_SPACE = {name: SMALL[name] for name in NAMES}
STATES = {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1}
OLD = {"vocab_size": D_VOCAB, "n_positions": CONTEXT, "n_embd": D_MODEL, "n_layer": N_LAYERS, "n_head": 4}
OTHERS: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "mamba": (transformers.MambaConfig, STATE_SPACE | {"state_size": 8}),
    "mamba2": (
        transformers.Mamba2Config,
        STATE_SPACE | STATES,
    ),
    "rwkv": (transformers.RwkvConfig, STATE_SPACE | {"context_length": CONTEXT}),
    "recurrent_gemma": (
        transformers.RecurrentGemmaConfig,
        sizes(lru_width=D_MODEL, attention_window_size=8, num_key_value_heads=2),
    ),
    "bert": (transformers.BertConfig, sizes()),
    "t5": (
        transformers.T5Config,
        {"vocab_size": D_VOCAB, "d_model": D_MODEL, "num_layers": 3, "num_heads": 4, "d_ff": 48, "d_kv": 8},
    ),
    "openai-gpt": (transformers.OpenAIGPTConfig, OLD),
    "ctrl": (transformers.CTRLConfig, OLD | {"dff": 48, "eos_token_id": 1, "pad_token_id": PAD}),
    "bloom": (
        transformers.BloomConfig,
        {"vocab_size": D_VOCAB, "hidden_size": D_MODEL, "n_layer": N_LAYERS, "n_head": 4, "eos_token_id": 1},
    ),
    "granite": (transformers.GraniteConfig, sizes(residual_multiplier=0.5)),
    "llama4": (
        transformers.Llama4TextConfig,
        sizes(head_dim=8, num_local_experts=2, intermediate_size_mlp=48, num_key_value_heads=2),
    ),
    "lfm2": (transformers.Lfm2Config, sizes(layer_types=["conv", "full_attention", "conv"], num_key_value_heads=2)),
}


def loaded(name: str, backend: str = "nnsight") -> Any:
    kind, options = OTHERS[name]
    return load_model(folder_of_other(name), backend, device="cpu") if kind else options  # pyright: ignore


def folder_of_other(name: str) -> Any:
    kind, options = OTHERS[name]
    return folder_of(name, kind, **{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})


def answers(architecture: str, n: int, _: Given) -> bool:
    """Whether both backends answer a batch, and each prompt alone, as transformers does."""
    expected = alone(tiny(architecture).plain, PROMPTS, n)
    sampling = Sampling(n, 0.0)
    for _tiny, model in both(architecture):
        together = model.generate(token_batch(PROMPTS, pad_id=PAD), sampling=sampling).ids
        single = model.generate(token_batch(PROMPTS[:1], pad_id=PAD), sampling=sampling).ids
        if together != expected or single != expected[:1]:
            return False
    return True


def scores(architecture: str, _: Given) -> bool:
    """Whether answers behind shared beginnings longer than a window have transformers' log-probabilities."""
    prompts = [words(15, 10) + words(3, k) for k in (1, 2, 2)]
    replies = [words(4 + k, 30 + k) for k in range(3)]
    for made, model in both(architecture):
        found = model.run(token_batch(prompts, replies, pad_id=PAD), outputs="token_logprobs").token_logprobs
        for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
            assert found is not None
            logits = made.plain(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
            expected = logits.log_softmax(-1)[range(len(reply)), reply]
            if not torch.allclose(found[row, -len(reply) :], expected, atol=1e-4):
                return False
    return True


def follows(entries: dict[str, Any], _: Given) -> bool:
    """Whether both backends answer under these settings as transformers does, and not as without them."""
    for made, model in both("qwen2"):
        batch = token_batch(PROMPTS, pad_id=PAD)
        free = model.generate(batch, sampling=Sampling(16, 0.0)).ids
        with under(made, model, entries):
            ours, expected = model.generate(batch, sampling=Sampling(16, 0.0)).ids, alone(made.plain, PROMPTS, 16)
            if ours != expected or ours == free:
                return False
    return True


def refuses(entries: dict[str, Any], _: Given) -> Any:
    model = tiny("qwen2").hooked("nnsight")
    with under(tiny("qwen2"), model, entries):
        return model.generate(token_batch(PROMPTS, pad_id=PAD), sampling=Sampling(16, 0.0))


def ignored(entries: dict[str, Any], _: Given) -> Any:
    return dict(GenerationSettings.of(settings(entries)).ignored)


def whole_penalty(_: Given) -> bool:
    """A penalty that JSON has as a whole number, which transformers refuses, is that of the same fraction."""
    model, found = tiny("qwen2").hooked("nnsight"), []
    for penalty in (2, 2.0):
        with under(tiny("qwen2"), model, {"repetition_penalty": penalty}):
            found.append(model.generate(token_batch(PROMPTS, pad_id=PAD), sampling=Sampling(16, 0.0)).ids)
    return found[0] == found[1]


def text_of_settings(given: Given) -> bool:
    folder = with_settings(tiny("qwen2").folder, given.tmp / "m", {"suppress_tokens": list(range(4, D_VOCAB, 2))})
    model = load_model(folder, "nnsight", device="cpu")
    followed = generate_text(model, ["Why?"], max_new_tokens=8)
    free = generate_text(model, ["Why?"], max_new_tokens=8, generation_config=False)
    return followed != free and free == generate_text(tiny("qwen2").hooked("nnsight"), ["Why?"], max_new_tokens=8)


def stream_of(name: str, stream: Any, backend: str, _: Given) -> Any:
    layer = 1 if name in HYBRIDS or name == "lfm2" else 0
    model = tiny(name).hooked(backend) if name in HYBRIDS else loaded(name, backend)
    return model.run(token_batch([words(5, 1)]), read=[Hookpoint(layer, stream)]).residuals


def adds_up(name: str, backend: str, _: Given) -> bool:
    model = tiny(name).hooked(backend) if name in (*MORE, *HYBRIDS) else loaded(name, backend)
    streams: tuple[Stream, ...] = ("resid_pre", "attn_out", "mlp_out", "resid_post")
    found = model.run(token_batch([words(5, 1)]), read=[Hookpoint(1, stream) for stream in streams]).residuals
    before, attention, mlp, after = (found[Hookpoint(1, stream)] for stream in streams)
    return torch.allclose(before + attention + mlp, after, atol=1e-5)


def prefix_of(name: str, _: Given) -> Any:
    prefix = KVPrefix(*torch.zeros(2, N_LAYERS, 1, 2, 1, 8))
    return tiny(name).hooked("nnsight").run(token_batch([words(5, 1)]), prefix=prefix)


def trait_token(n: int, _: Given) -> Any:
    model = tiny("llama").hooked("nnsight")
    adapter = PsychAdapter(KVShape.of(model.config), ("openness",), model.provenance)
    prefix = TraitPrefix(adapter, {"openness": 1.0}).prefix
    return model.run(token_batch([words(n, 1)]), prefix=prefix, outputs="none", read=[Hookpoint(0)]).residuals.keys()


def attention(implementation: str, backend: str, _: Given) -> bool:
    """Whether an attention implementation gives the answers and residuals of the other."""
    from persona_interp.models.identity import describe
    from persona_interp.models.nnsight import NNsightModel
    from persona_interp.models.transformer_lens import TransformerLensModel

    folder, reference = tiny("mistral").folder, tiny("mistral")
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation=implementation).eval()
    tokenizer = reference.hooked("nnsight").tokenizer
    about = {"name": "m", "provenance": describe(plain, tokenizer, "m", backend)}
    make = TransformerLensModel.wrap if backend == "transformer_lens" else NNsightModel
    model = make(plain, tokenizer, **about)  # pyright: ignore
    assert model.config._attn_implementation == implementation
    batch, last = token_batch(PROMPTS, pad_id=PAD), Hookpoint(N_LAYERS - 1)
    ours, theirs = (m.run(batch, read=[last]).residuals[last] for m in (model, reference.hooked(backend)))
    same = torch.allclose(ours[batch.mask], theirs[batch.mask], atol=1e-4)
    return same and model.generate(batch, sampling=Sampling(16, 0.0)).ids == alone(reference.plain, PROMPTS, 16)


def long_run(n: int, _: Given) -> Any:
    return tiny("llama").hooked("transformer_lens").run(token_batch([words(n, 1)])).logits.shape[1]  # pyright: ignore


def long_answer(prompt: int, answer: int, _: Given) -> Any:
    sampling = Sampling(answer, 0.0)
    return len(tiny("gpt2").hooked("nnsight").generate(token_batch([words(prompt, 1)]), sampling=sampling).ids)


def long_text(_: Given) -> Any:
    return generate_text(tiny("llama").hooked("nnsight"), ["x" * (CONTEXT - 8)], max_new_tokens=9)


def long_extraction(_: Given) -> Any:
    return extract_activations(tiny("llama").hooked("nnsight"), ["x" * CONTEXT], ["yes"], pooling="response_mean")


def ends(entries: Any, _: Given) -> bool:
    """Whether answers end at these tokens, in every row, and keep none of them."""
    for made, model in both("qwen3"):
        with under(made, model, {"eos_token_id": entries}):
            found = model.generate(token_batch(PROMPTS, pad_id=PAD), sampling=Sampling(30, 0.0))
            if found.ids != alone(made.plain, PROMPTS, 30) or not any(found.finished):
                return False
    return True


def shown(folder: Callable[[], Any]) -> Callable[[Given], None]:
    def copy(given: Given) -> None:
        (given.tmp / "other").symlink_to(folder())

    return copy


EVEN = list(range(4, D_VOCAB, 2))
FOLLOWED: dict[str, dict[str, Any]] = {
    "a repetition penalty": {"repetition_penalty": 1.3},
    "a repetition reward": {"repetition_penalty": 0.6},
    "no token twice": {"no_repeat_ngram_size": 1},
    "no pair twice": {"no_repeat_ngram_size": 2, "sequence_bias": [[[44], 7.0]]},
    "suppressed tokens": {"suppress_tokens": EVEN},
    "tokens suppressed at the beginning": {"begin_suppress_tokens": EVEN},
    "bad words": {"bad_words_ids": [[i] for i in EVEN]},
    "a least number of new tokens": {"min_new_tokens": 10, "eos_token_id": list(range(1, 90))},
    "a least length": {"min_length": 14, "eos_token_id": list(range(1, 90))},
    "a forced end": {"forced_eos_token_id": 1, "min_new_tokens": 16},
    "a forced beginning": {"forced_bos_token_id": 9, "suppress_tokens": EVEN},
    "a bias of a token": {"sequence_bias": [[[44], 6.0]]},
    "a bias of a pair": {"sequence_bias": [[[44], 4.0], [[44, 45], 9.0]]},
    "a growing wish to end": {"exponential_decay_length_penalty": (1, 2.5)},
    "settings of Qwen2.5 with a stronger penalty": {"repetition_penalty": 1.4, "temperature": 0.7, "do_sample": True},
    "several settings": {"repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "min_new_tokens": 4},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a penalty of zero and less": ({"repetition_penalty": -0.5}, r"says repetition_penalty=-0\.5, which transformers"),
    "half an n-gram": ({"no_repeat_ngram_size": 1.5}, r"no_repeat_ngram_size=1\.5, which transformers refuses"),
    "bad words that are no lists": ({"bad_words_ids": [7]}, r"bad_words_ids=\[7\], which transformers refuses"),
    "a bias outside the vocabulary": ({"sequence_bias": [[[999], 1.0]]}, r"sequence_bias=\[\[\[999\], 1\.0\]\], which"),
    "every token suppressed": (
        {"suppress_tokens": list(range(D_VOCAB))},
        "leaves no token to go on with",
    ),
}
IGNORED: dict[str, dict[str, Any]] = {
    "beams": {"num_beams": 4},
    "guidance": {"guidance_scale": 1.5},
    "a contrastive search": {"penalty_alpha": 0.6},
    "texts that end": {"stop_strings": ["END"]},
    "a least probability": {"min_p": 0.1},
    "a penalty of the prompt": {"encoder_repetition_penalty": 1.2},
}

ROWS: tuple[Row, ...] = (
    *(Call(f"answers of {a}", partial(answers, a, 10), True) for a in (*MORE, *HYBRIDS, "gpt2")),
    *(Call(f"answers far beyond the window of {a}", partial(answers, a, 30), True) for a in WINDOWED),
    *(Call(f"scores behind shared beginnings of {a}", partial(scores, a), True) for a in (*WINDOWED, "qwen3_next")),
    *(Call(f"{name} is followed", partial(follows, entries), True) for name, entries in FOLLOWED.items()),
    *(Call(name, partial(refuses, entries), says=says) for name, (entries, says) in REFUSED.items()),
    *(Call(f"{name} is not followed and named", partial(ignored, e), e) for name, e in IGNORED.items()),
    Call("neutral settings are nothing", partial(ignored, {"num_beams": 1, "guidance_scale": 1.0, "min_p": 0.0}), {}),
    Call("a whole number as penalty", whole_penalty, True),
    Call("generate_text with settings and without", text_of_settings, True),
    Call("an end of text more", partial(ends, [1, 3, *range(40, 50)]), True),
    Call("many ends of text", partial(ends, [1, 3, *range(20, 90)]), True),
    *(
        Call(f"{how} attention in {backend}", partial(attention, how, backend), True)
        for how in ("eager", "sdpa")
        for backend in BACKENDS
    ),
    Call("a text that just fits", partial(long_run, CONTEXT), CONTEXT),
    Call("a text longer than the context", partial(long_run, CONTEXT + 1), says="a sequence of 65 tokens does not fit"),
    Call("an answer that just fits", partial(long_answer, CONTEXT - 8, 8), 1),
    Call("an answer beyond the context", partial(long_answer, CONTEXT - 8, 9), says="65 tokens .*\n.*holds 64 tokens"),
    Call("a text to continue beyond the context", long_text, says="nothing was truncated"),
    Call("an extraction beyond the context", long_extraction, says=r"tokens does not fit .*llama\.\n"),
    Call("a trait token that just fits", partial(trait_token, CONTEXT - 1), {Hookpoint(0): 0}.keys()),
    Call("a trait token too many", partial(trait_token, CONTEXT), says="a sequence of 65 tokens does not fit"),
    *(
        Call(f"a state-space model, {name}", lambda _, n=name: loaded(n), says=f"is a state-space model \\({name}\\)")
        for name in ("mamba", "mamba2")
    ),
    Call(
        "a model without attention and states of its own",
        lambda _: loaded("rwkv"),
        says="differently from transformers",
    ),
    Call("a hybrid that sees padding", lambda _: loaded("recurrent_gemma"), says="computes a padded row differently"),
    Call("an encoder", lambda _: loaded("bert", "transformer_lens"), says="see padding, or tokens after them"),
    Call("an encoder and decoder", lambda _: loaded("t5"), says="cannot load .*t5.*AutoModelForCausalLM"),
    Call("blocks that give lists", lambda _: loaded("openai-gpt"), says="OpenAIGPTLMHeadModel give no residual stream"),
    Call("unknown to TransformerLens", lambda _: loaded("ctrl", "transformer_lens"), says='wrap .*\n.*="nnsight"'),
    Call("known to nnsight alone", lambda _: loaded("ctrl").n_layers, N_LAYERS),
    *(
        Call(f"parts of {name} in {backend} add up", partial(adds_up, name, backend), True)
        for name, backend in (("olmo2", "nnsight"), ("gpt_neox", "nnsight"), ("bloom", "transformer_lens"))
    ),
    *(
        Call(f"{stream} of {name} in {backend}", partial(stream_of, name, stream, backend), says=says)
        for name, stream, backend, says in (
            ("bloom", "attn_out", "nnsight", "none gives just what is added"),
            ("granite", "mlp_out", "nnsight", "none gives just what is added"),
            ("granite", "attn_out", "transformer_lens", "The bridge has no single hook"),
            ("llama4", "mlp_out", "nnsight", "got \\(4, 32\\)"),
            ("falcon_h1", "attn_out", "nnsight", "do not add up to what the block adds"),
        )
    ),
    *(
        Call(f"virtual tokens in {name}", partial(prefix_of, name), says="takes no key/value prefix")
        for name in HYBRIDS
    ),
    Command(
        "rollouts of a state-space model",
        ("extract", "{trait}", "--out", "{tmp}/o", "--model", "{tmp}/other", "--n-questions", "1"),
        1,
        "is a state-space model",
        make=shown(partial(folder_of_other, "mamba")),
    ),
    Command(
        "rollouts of an encoder",
        ("extract", "{trait}", "--out", "{tmp}/o", "--model", "{tmp}/other", "--n-questions", "1"),
        1,
        "tokens after them",
        make=shown(partial(folder_of_other, "bert")),
    ),
)
