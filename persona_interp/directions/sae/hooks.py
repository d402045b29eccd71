"""Names of hooks, as TransformerLens and transformers have them, and the hookpoints that they stand for."""

import re

from persona_interp.errors import HookpointError
from persona_interp.types import Hookpoint, Stream

_STREAMS: dict[str, Stream] = {
    "hook_resid_pre": "resid_pre",
    "hook_in": "resid_pre",
    "hook_resid_post": "resid_post",
    "hook_out": "resid_post",
    "hook_attn_out": "attn_out",
    "attn.hook_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "mlp.hook_out": "mlp_out",
    "ln1_post.hook_out": "attn_out",
    "ln2_post.hook_out": "mlp_out",
    "attn.hook_z": "head_out",
    "attn.o.hook_in": "head_out",
    "hook_mlp_in": "mlp_in",
    "mlp.hook_in": "mlp_in",
    "ln2.hook_normalized": "mlp_in",
    "ln2.hook_out": "mlp_in",
    "mlp.hook_post": "mlp_act",
    "mlp.out.hook_in": "mlp_act",
}
"""What TransformerLens calls the streams of a block, old names and those of its bridge."""

_MODULES: dict[str, Stream] = {
    "": "resid_post",
    "output": "resid_post",
    "input": "resid_pre",
    "self_attn": "attn_out",
    "self_attn.output": "attn_out",
    "attn": "attn_out",
    "attn.output": "attn_out",
    "post_attention_layernorm.output": "attn_out",
    "mlp": "mlp_out",
    "mlp.output": "mlp_out",
    "post_feedforward_layernorm": "mlp_out",
    "post_feedforward_layernorm.output": "mlp_out",
    "mlp.input": "mlp_in",
    "pre_feedforward_layernorm": "mlp_in",
    "pre_feedforward_layernorm.output": "mlp_in",
    "self_attn.o_proj.input": "head_out",
    "mlp.down_proj.input": "mlp_act",
}
"""Modules of a block of transformers, of which SAELens reads the output where no side is named."""

_SAVED: dict[Stream, str] = {
    "resid_pre": "hook_resid_pre",
    "head_out": "attn.hook_z",
    "attn_out": "hook_attn_out",
    "mlp_in": "mlp.hook_in",
    "mlp_act": "mlp.hook_post",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}


def hookpoint_of(name: str) -> Hookpoint:
    """The hookpoint that a hook's name stands for, in the words of TransformerLens or of transformers.

    What the name of a module of transformers leaves open (whether a norm comes before or after it) is decided by
    reconstruction, in `check_dictionary`.

    Raises:
        HookpointError: the name stands for none of the streams that models have here.
    """
    if name == "hook_embed":
        return Hookpoint(0, "resid_pre")
    if found := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
        stream = _STREAMS.get(found[2])
    elif found := re.fullmatch(r"(?:[\w]+\.)*(?:layers|h|blocks|layer)\.(\d+)(?:\.(.+))?", name):
        stream = _MODULES.get(found[2] or "")
    else:
        stream = None
    if found is None or stream is None:
        raise HookpointError(
            f"the hook {name!r:.200} is none of the streams that can be read here.",
            f"Known are blocks.N.{{{', '.join(_STREAMS)}}}, and model.layers.N with nothing or one of its parts.",
        )
    return Hookpoint(int(found[1]), stream)


def hook_name_of(hookpoint: Hookpoint) -> str:
    """What TransformerLens calls a hookpoint: the name that is saved with a dictionary."""
    return f"blocks.{hookpoint.layer}.{_SAVED[hookpoint.stream]}"
