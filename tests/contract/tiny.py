"""Tiny random models of many architectures, saved as folders, and what the plain transformers model says of them."""

import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    FalconH1Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    JambaConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    Qwen3NextConfig,
)

from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.tokens import token_batch
from persona_interp.types import (
    ALL_STREAMS,
    STREAMS,
    Edit,
    EditFunction,
    Edits,
    Hookpoint,
    KVPrefix,
    Stream,
    TokenBatch,
)

N_LAYERS, D_MODEL, D_VOCAB, N_HEADS, D_HEAD, CONTEXT = 3, 32, 200, 4, 8, 64
PAD, EOS, _UNKNOWN, END_OF_TURN, FIRST_WORD = 0, 1, 2, 3, 4
ENDS = {EOS, END_OF_TURN}
BACKENDS = ("transformer_lens", "nnsight")
ARCHITECTURES = ("llama", "gemma3_short_window", "gemma3", "qwen2", "gpt2")
MORE = ("qwen3", "mistral", "phi3", "olmo2", "gpt_neox", "mixtral", "qwen3_moe", "gpt_oss", "qwen2_short_window")
HYBRIDS = ("jamba", "falcon_h1", "qwen3_next")
WINDOW = 6
SHORT_WINDOWS = ("gemma3_short_window", "qwen2_short_window", "mistral", "gpt_oss")
EXPERTS = ("mixtral", "qwen3_moe", "gpt_oss")
INNER: tuple[Stream, ...] = ("head_out", "mlp_in", "mlp_act")
FOUR_KV_HEADS = ("gpt2", "gpt_neox")
TOLERANCE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}

_COMMON = {
    "vocab_size": D_VOCAB,
    "hidden_size": D_MODEL,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
}


def make_config(architecture: str) -> PreTrainedConfig:
    """The configuration of a tiny model."""
    common: dict[str, Any] = _COMMON
    plain_heads = {name: value for name, value in common.items() if name != "num_key_value_heads"}
    experts: dict[str, Any] = {"num_experts_per_tok": 2, "head_dim": D_HEAD}
    mixed = [f"{kind}_attention" for kind in ("sliding", "full", "sliding")]
    makers: dict[str, Callable[[], PreTrainedConfig]] = {
        "llama": lambda: LlamaConfig(**common),
        "qwen2": lambda: Qwen2Config(**common),
        "gpt2": _gpt2,
        "gemma3": lambda: Gemma3TextConfig(**common, head_dim=D_HEAD, sliding_window=CONTEXT, layer_types=mixed),
        "gemma3_short_window": lambda: Gemma3TextConfig(
            **common, head_dim=D_HEAD, sliding_window=WINDOW, layer_types=mixed
        ),
        "qwen2_short_window": lambda: Qwen2Config(
            **common, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
        ),
        "qwen3": lambda: Qwen3Config(**common, head_dim=D_HEAD),
        "mistral": lambda: MistralConfig(**common, head_dim=D_HEAD, sliding_window=WINDOW),
        "phi3": lambda: Phi3Config(**common),
        "olmo2": lambda: Olmo2Config(**common),
        "gpt_neox": lambda: GPTNeoXConfig(**plain_heads),
        "mixtral": lambda: MixtralConfig(**common, **experts, num_local_experts=4),
        "qwen3_moe": lambda: Qwen3MoeConfig(**common, **experts, num_experts=4, moe_intermediate_size=24),
        "gpt_oss": lambda: GptOssConfig(
            **common, **experts, num_local_experts=4, sliding_window=WINDOW, layer_types=mixed
        ),
        "jamba": lambda: JambaConfig(
            **common,
            num_experts=2,
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            mamba_d_state=8,
            use_mamba_kernels=False,
        ),
        "falcon_h1": lambda: FalconH1Config(
            **common, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=D_HEAD, mamba_d_state=8
        ),
        "qwen3_next": lambda: Qwen3NextConfig(
            **common,
            **experts,
            num_experts=4,
            moe_intermediate_size=24,
            shared_expert_intermediate_size=24,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=D_HEAD,
            linear_value_head_dim=D_HEAD,
            layer_types=["linear_attention", "full_attention", "linear_attention"],
        ),
    }
    return makers[architecture]()


def _gpt2() -> PreTrainedConfig:
    kept = ("vocab_size", "initializer_range", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")
    sizes = {"n_embd": D_MODEL, "n_layer": N_LAYERS, "n_head": N_HEADS, "n_positions": CONTEXT}
    return GPT2Config(**sizes, **{name: _COMMON[name] for name in kept})


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE over ASCII: special tokens, characters (Ġ is a space, Ċ a line break), pairs of letters."""
    characters = [chr(i) for i in range(33, 127)] + ["Ġ", "Ċ"]
    pairs = [(a, b) for a in "aeioust" for b in string.ascii_lowercase][: D_VOCAB - END_OF_TURN - len(characters)]
    tokens = ["<pad>", "<eos>", "<unk>", *characters, *(a + b for a, b in pairs)]
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate(tokens)}, pairs, unk_token="<unk>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)  # pyright: ignore
    tokenizer.decoder = ByteLevelDecoder()  # pyright: ignore
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<unk>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def save_tiny(architecture: str, folder: Path) -> None:
    """A random model and its tokenizer in a folder; its head likes end-of-text enough to sample it now and then."""
    before = torch.get_rng_state()
    torch.manual_seed((ARCHITECTURES + MORE + HYBRIDS).index(architecture))
    with torch.no_grad():
        model = AutoModelForCausalLM.from_config(make_config(architecture))
        for weight in model.parameters():
            if weight.dim() == 1:  # norms and biases: away from the values they start with
                weight.add_(0.1 * torch.randn_like(weight))
        head = model.get_output_embeddings()
        head.weight[EOS] *= 2.5
        head.weight[END_OF_TURN] *= 1.5
    model.generation_config.eos_token_id = sorted(ENDS)  # as chat models have it, and only there
    torch.set_rng_state(before)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


@dataclass(eq=False)
class Tiny:
    """One architecture: the folder, the plain model, and each backend's model, loaded when first asked for."""

    architecture: str
    folder: Path
    plain: PreTrainedModel
    _hooked: dict[str, HookedModelBase] = field(default_factory=dict)

    @classmethod
    def make(cls, architecture: str, folder: Path) -> "Tiny":
        save_tiny(architecture, folder)
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
        return cls(architecture, folder, plain)

    def hooked(self, backend: str) -> HookedModelBase:
        if backend not in self._hooked:
            self._hooked[backend] = load_model(self.folder, backend, device="cpu")  # pyright: ignore
        return self._hooked[backend]

    @property
    def blocks(self) -> nn.ModuleList:
        for path in ("transformer.h", "gpt_neox.layers", "model.layers"):
            if hasattr(self.plain, path.partition(".")[0]):
                return self.plain.get_submodule(path)  # pyright: ignore
        raise AssertionError("the blocks of this architecture are elsewhere")

    @property
    def n_kv_heads(self) -> int:
        return N_HEADS if self.architecture in FOUR_KV_HEADS else 2

    @property
    def has_experts(self) -> bool:
        """Whether its MLPs are mixtures of experts."""
        return self.architecture in EXPERTS

    @property
    def short_window(self) -> bool:
        """Whether texts are longer than a window of it, which then counts padding behind virtual tokens."""
        return self.architecture in SHORT_WINDOWS

    def site(self, hookpoint: Hookpoint) -> nn.Module:
        """The plain module whose input (resid_pre) or output a stream is."""
        block: Any = self.blocks[hookpoint.layer]
        if hookpoint.stream in ("resid_pre", "resid_post"):
            return block
        after = hookpoint.stream == "attn_out"
        if self.architecture.startswith("gemma3") or self.architecture == "olmo2":
            return block.post_attention_layernorm if after else block.post_feedforward_layernorm
        return block.get_submodule(self._attention if after else "mlp")

    @property
    def _attention(self) -> str:
        return {"gpt2": "attn", "gpt_neox": "attention"}.get(self.architecture, "self_attn")

    def inner_site(self, hookpoint: Hookpoint) -> nn.Module:
        """The plain module whose input is the heads' outputs, the MLP's input or its neurons' activations."""
        block: Any = self.blocks[hookpoint.layer]
        if hookpoint.stream == "mlp_in":
            return block.mlp
        heads = {"gpt2": "c_proj", "gpt_neox": "dense"}.get(self.architecture, "o_proj")
        neurons = {"gpt2": "c_proj", "gpt_neox": "dense_4h_to_h"}.get(self.architecture, "down_proj")
        path = f"{self._attention}.{heads}" if hookpoint.stream == "head_out" else f"mlp.{neurons}"
        return block.get_submodule(path)

    def run(
        self,
        batch: TokenBatch,
        *,
        edits: Edits | None = None,
        prefix: KVPrefix | None = None,
        grad: bool = False,
    ) -> "Plain":
        """The plain model's logits, hidden states and streams, hooks applying the edits."""
        mask, cache = batch.mask.long(), None
        if prefix is not None:
            cache = DynamicCache(config=self.plain.config)
            for layer in range(N_LAYERS):
                cache.update(prefix.keys[layer], prefix.values[layer], layer)
            mask = torch.cat([torch.ones(len(batch), prefix.keys.shape[3], dtype=torch.long), mask], dim=1)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -batch.ids.shape[1] :]
        streams: dict[Hookpoint, Tensor] = {}
        with ExitStack() as stack, torch.set_grad_enabled(grad):
            for hookpoint in all_hookpoints(ALL_STREAMS):
                if hookpoint.stream in INNER and self.has_experts and hookpoint.stream != "head_out":
                    continue
                module = self.inner_site(hookpoint) if hookpoint.stream in INNER else self.site(hookpoint)
                handle = _watch(module, hookpoint, batch, (edits or {}).get(hookpoint, ()), streams)
                stack.callback(handle.remove)
            made = self.plain(
                input_ids=batch.ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
                output_hidden_states=True,
            )
        return Plain(made.logits, made.hidden_states, streams)


@dataclass(frozen=True, eq=False)
class Plain:
    """What the plain model computed."""

    logits: Tensor
    hidden_states: tuple[Tensor, ...]
    streams: Mapping[Hookpoint, Tensor]


def _watch(
    module: nn.Module, hookpoint: Hookpoint, batch: TokenBatch, edits: Sequence[Edit], streams: dict[Hookpoint, Tensor]
):
    def change(value: Tensor) -> Tensor:
        for edit in edits:
            value = edit.function(value, batch.span(edit.span, last_prompt_token=edit.last_prompt_token))  # pyright: ignore[reportCallIssue]
        streams[hookpoint] = value
        return value

    def before(module: nn.Module, args: tuple, kwargs: dict):  # noqa: ARG001
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    def after(module: nn.Module, args: tuple, output):  # noqa: ARG001
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    if hookpoint.stream in ("resid_pre", *INNER):
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


def all_hookpoints(streams: Sequence[Stream] = STREAMS) -> list[Hookpoint]:
    """Every hookpoint, in the order of the forward pass."""
    return [Hookpoint(layer, stream) for layer in range(N_LAYERS) for stream in streams]


def words(n: int, seed: int) -> list[int]:
    """Random token ids without special ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(FIRST_WORD, D_VOCAB, (n,), generator=generator).tolist()


def uneven_batch() -> TokenBatch:
    """Three rows of different prompt and response lengths, the longest longer than the short window."""
    prompts = [words(9, 1), words(4, 2), words(6, 3)]
    return token_batch(prompts, [words(4, 4), words(5, 5), words(2, 6)], pad_id=PAD)


def behind_prefix(tiny: Tiny) -> TokenBatch:
    """`uneven_batch`, or rows of one length where a window is shorter than they are."""
    if not tiny.short_window:
        return uneven_batch()
    return token_batch([words(9, 1), words(8, 2), words(11, 3)], [words(4, 4), words(5, 5), words(2, 6)], pad_id=PAD)


def prompts_behind_prefix(tiny: Tiny) -> TokenBatch:
    """`prompt_batch`, or prompts of one length where a window is shorter than they are."""
    return token_batch([words(8, k) for k in (1, 2, 3)], pad_id=PAD) if tiny.short_window else prompt_batch()


def prompt_batch() -> TokenBatch:
    """Three prompts of different length."""
    return token_batch([words(9, 1), words(4, 2), words(6, 3)], pad_id=PAD)


def shifting(seed: int, scale: float = 0.5) -> EditFunction:
    """Adds a fixed random vector at the masked positions."""
    vector = scale * torch.randn(D_MODEL, generator=torch.Generator().manual_seed(seed))

    def shift(residual: Tensor, mask: Tensor) -> Tensor:
        return residual + mask[..., None] * vector

    return shift


def random_prefix(tiny: Tiny, n_rows: int, *, n_virtual: int = 1, seed: int = 0) -> KVPrefix:
    """Random virtual tokens, other ones in every row."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, N_LAYERS, n_rows, tiny.n_kv_heads, n_virtual, D_HEAD)
    keys, values = torch.randn(shape, generator=generator)
    return KVPrefix(keys, values)


def inner_module(model: HookedModelBase) -> nn.Module:
    """The transformers module inside a backend's model."""
    return model.bridge.original_model if model.backend == "transformer_lens" else model._module  # pyright: ignore
