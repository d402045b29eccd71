"""Tiny GGUF files of several architectures, with random values in every kind of block that is common."""

import string
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFWriter, TokenType, quantize
from gguf.constants import GGML_QUANT_SIZES

N_LAYERS, D_MODEL, D_FF, N_HEADS, N_KV, D_HEAD = 2, 256, 512, 4, 2, 64
N_EXPERTS, D_EXPERT, D_SHARED = 2, 1408, 5632
"""The widths are those that transformers takes for every file of this architecture, which does not read them."""
SPECIAL = ("<s>", "</s>", "<unk>")
ARCHITECTURES = ("llama", "qwen2", "gemma3")
_SCALES = {Kind.Q4_K: (0, 2), Kind.Q5_K: (0, 2), Kind.Q6_K: (208,), Kind.Q2_K: (80, 82), Kind.Q3_K: (108,)}
"""Bytes of a block at which a scale in float16 begins."""


def blocks(generator: np.random.Generator, shape: tuple[int, ...], kind: Kind) -> np.ndarray:
    """Random bytes of rows of blocks, their scales small numbers."""
    values, n_bytes = GGML_QUANT_SIZES[kind]
    data = generator.integers(0, 256, (*shape[:-1], shape[-1] // values, n_bytes), dtype=np.uint8)
    for start in _SCALES.get(kind, ()):
        scale = generator.uniform(0.001, 0.01, data.shape[:-1]).astype(np.float16)
        data[..., start : start + 2] = scale[..., None].view(np.uint8)
    return data.reshape(*shape[:-1], -1)


def write_gguf(path: Path, architecture: str, *, tied: bool = True, seed: int = 0, without: str = "") -> Path:
    """A random model of an architecture, its matrices in blocks of several kinds and its norms as numbers.

    Args:
        without: the name of a tensor that is left out.
    """
    generator = np.random.default_rng(seed)
    writer = GGUFWriter(path, architecture)
    _write_settings(writer, architecture)
    n_tokens = _write_tokens(writer, "llama" if architecture == "gemma3" else "gpt2")
    kinds = (Kind.Q8_0,) if "moe" in architecture else (Kind.Q4_K, Kind.Q6_K, Kind.Q8_0, Kind.Q4_1, Kind.F16)
    for i, (name, shape) in enumerate(_tensors(architecture, n_tokens, tied).items()):
        kind = kinds[i % len(kinds)]
        plain = generator.normal(0, 0.05, shape).astype(np.float32)
        if name == without:
            continue
        if len(shape) == 1:
            writer.add_tensor(name, 1 + plain)
        elif kind == Kind.F16:
            writer.add_tensor(name, plain.astype(np.float16))
        elif kind in _SCALES:
            writer.add_tensor(name, blocks(generator, shape, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, quantize(plain, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def split(path: Path, folder: Path, n: int) -> list[Path]:
    """A file in n parts: `part01.bin` and so on."""
    data, folder = path.read_bytes(), folder
    folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / f"part{i + 1:02d}.bin" for i in range(n)]
    borders = [len(data) * i // n for i in range(n + 1)]
    for part, start, end in zip(parts, borders, borders[1:], strict=False):
        part.write_bytes(data[start:end])
    return parts


def _write_settings(writer: GGUFWriter, architecture: str) -> None:
    writer.add_context_length(128)
    writer.add_embedding_length(D_MODEL)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(D_FF)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KV)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    if architecture == "gemma3":
        writer.add_key_length(D_HEAD)
        writer.add_value_length(D_HEAD)
        writer.add_sliding_window(64)
    if architecture == "qwen2moe":
        writer.add_expert_count(N_EXPERTS)
        writer.add_expert_used_count(1)


def _write_tokens(writer: GGUFWriter, kind: str) -> int:
    letters = [*string.ascii_letters, *string.digits, *string.punctuation]
    space = "Ġ" if kind == "gpt2" else "▁"
    tokens = [*SPECIAL, space, "Ċ", *letters, "th", "he", "in"]
    types = [TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(tokens) - 3)
    writer.add_tokenizer_model(kind)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if kind == "gpt2":
        writer.add_token_merges(["t h", "h e", "i n"])
    else:
        writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}")
    return len(tokens)


def _tensors(architecture: str, n_tokens: int, tied: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes, as transformers has them, of all tensors."""
    found: dict[str, Any] = {"token_embd.weight": (n_tokens, D_MODEL), "output_norm.weight": (D_MODEL,)}
    if not tied:
        found["output.weight"] = (n_tokens, D_MODEL)
    for i in range(N_LAYERS):
        layer: dict[str, tuple[int, ...]] = {
            "attn_norm.weight": (D_MODEL,),
            "ffn_norm.weight": (D_MODEL,),
            "attn_q.weight": (N_HEADS * D_HEAD, D_MODEL),
            "attn_k.weight": (N_KV * D_HEAD, D_MODEL),
            "attn_v.weight": (N_KV * D_HEAD, D_MODEL),
            "attn_output.weight": (D_MODEL, N_HEADS * D_HEAD),
        }
        if architecture.startswith("qwen2"):
            layer |= {f"attn_{part}.bias": layer[f"attn_{part}.weight"][:1] for part in "qkv"}
        if architecture == "gemma3":
            layer |= {"attn_q_norm.weight": (D_HEAD,), "attn_k_norm.weight": (D_HEAD,)}
            layer |= {"post_attention_norm.weight": (D_MODEL,), "post_ffw_norm.weight": (D_MODEL,)}
        if architecture == "qwen2moe":
            layer |= {"ffn_gate_inp.weight": (N_EXPERTS, D_MODEL), "ffn_gate_inp_shexp.weight": (D_MODEL,)}
            layer |= {f"ffn_{part}_exps.weight": (N_EXPERTS, D_EXPERT, D_MODEL) for part in ("gate", "up")}
            layer |= {f"ffn_{part}_shexp.weight": (D_SHARED, D_MODEL) for part in ("gate", "up")}
            layer |= {
                "ffn_down_exps.weight": (N_EXPERTS, D_MODEL, D_EXPERT),
                "ffn_down_shexp.weight": (D_MODEL, D_SHARED),
            }
        else:
            layer |= {"ffn_gate.weight": (D_FF, D_MODEL), "ffn_up.weight": (D_FF, D_MODEL)}
            layer |= {"ffn_down.weight": (D_MODEL, D_FF)}
        found |= {f"blk.{i}.{name}": shape for name, shape in layer.items()}
    return found
