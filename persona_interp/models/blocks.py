"""Where the streams of a block are in a model of transformers."""

from dataclasses import dataclass
from inspect import signature

from torch import nn

from persona_interp.errors import HookpointError, ModelError
from persona_interp.types import Hookpoint, Stream

_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
_MLP = ("mlp", "feed_forward", "block_sparse_moe")
_ATTENTION_OUTPUTS = ("o_proj", "c_proj", "out_proj", "dense", "wo")
_MLP_OUTPUTS = ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "fc_out", "w2", "wo")
NO_UNITS = "A mixture of experts has no one set of neurons: use attn_out or mlp_out, what the whole part adds."
_NORMS_AFTER = (
    ("post_attention_layernorm", "post_feedforward_layernorm"),
    ("post_self_attn_layernorm", "post_mlp_layernorm"),
)


@dataclass(frozen=True)
class Site:
    """A module, by its path in the model, and whether its input or its output is meant."""

    path: str
    is_input: bool = False


def find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The list of decoder blocks and its path: of the lists with one module a layer, the one with most weights.

    Raises:
        ModelError: no such list exists.
    """
    n_layers = model.config.get_text_config(decoder=True).num_hidden_layers  # pyright: ignore
    lists = [
        (sum(p.numel() for p in module.parameters()), path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_layers
    ]
    if not lists:
        raise ModelError(
            f"cannot find the {n_layers} decoder blocks of {type(model).__name__}.",
            "Expected one torch ModuleList with that many modules.",
        )
    _, path, module = max(lists, key=lambda found: found[0])
    return path, module


def find_site(model: nn.Module, hookpoint: Hookpoint, name: str) -> Site:
    """The module whose input or output is a stream.

    attn_out and mlp_out are what is added to the residual stream, so it is after the norms that Gemma and OLMo-2 put
    there.

    Raises:
        HookpointError: this architecture keeps the stream where this function does not know it.
    """
    path, blocks = find_blocks(model)
    block, root = blocks[hookpoint.layer], f"{path}.{hookpoint.layer}"
    if hookpoint.stream in ("resid_pre", "resid_post"):
        return Site(root, is_input=hookpoint.stream == "resid_pre")
    children = dict(block.named_children())
    if hookpoint.stream in ("head_out", "mlp_in", "mlp_act"):
        return Site(f"{root}.{inner_path(block, hookpoint, name)}", is_input=True)
    for norms in _NORMS_AFTER:
        if all(norm in children for norm in norms):
            return Site(f"{root}.{norms[hookpoint.stream == 'mlp_out']}")
    scaled = getattr(block, "residual_multiplier", 1.0) != 1.0
    for child in _ATTENTION if hookpoint.stream == "attn_out" else _MLP:
        if child in children and not scaled and "residual" not in signature(children[child].forward).parameters:
            return Site(f"{root}.{child}")
    raise HookpointError(
        f"cannot reach {hookpoint} of {name} (nnsight).",
        f"Of the parts of a {type(block).__name__} ({', '.join(children)}), none gives just what is added.",
        "Use resid_pre or resid_post, which every block has.",
    )


def norm_after(block: nn.Module, stream: Stream) -> nn.Module | None:
    """The norm that a block puts behind its attention (`attn_out`) or its MLP (`mlp_out`), if it has one."""
    children = dict(block.named_children())
    for norms in _NORMS_AFTER:
        if all(norm in children for norm in norms):
            return children[norms[stream == "mlp_out"]]
    return None


def inner_path(block: nn.Module, hookpoint: Hookpoint, name: str) -> str:
    """Path in a block of the module whose input is the heads' outputs, the MLP's input or its activations.

    Raises:
        HookpointError: this architecture keeps it elsewhere, or has experts.
    """
    children = dict(block.named_children())
    heads = hookpoint.stream == "head_out"
    part = next((child for child in (_ATTENTION if heads else _MLP) if child in children), None)
    if part is not None and hookpoint.stream == "mlp_in":
        return part
    inner = {} if part is None else dict(_unwrapped(children[part]).named_children())
    for projection in _ATTENTION_OUTPUTS if heads else _MLP_OUTPUTS:
        if projection in inner and not any("expert" in child for child in inner):
            return f"{part}.{projection}"
    raise HookpointError(
        f"cannot reach {hookpoint} of {name}.",
        f"The {'attention' if heads else 'MLP'} of a {type(block).__name__} has {', '.join(inner) or 'no parts'}, none"
        " of which is known to be its one output projection.",
        NO_UNITS,
    )


def _unwrapped(module: nn.Module) -> nn.Module:
    inner = module._modules.get("_original_component")
    return module if inner is None else inner
