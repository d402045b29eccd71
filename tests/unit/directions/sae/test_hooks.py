"""Names of hooks and the hookpoints that they stand for."""

import pytest

from persona_interp.directions.sae.hooks import hook_name_of, hookpoint_of
from persona_interp.errors import HookpointError
from persona_interp.types import ALL_STREAMS, Hookpoint


@pytest.mark.parametrize(
    ("name", "layer", "stream"),
    [
        ("blocks.5.hook_resid_post", 5, "resid_post"),
        ("blocks.5.hook_resid_pre", 5, "resid_pre"),
        ("blocks.12.hook_mlp_out", 12, "mlp_out"),
        ("blocks.12.hook_attn_out", 12, "attn_out"),
        ("blocks.3.attn.hook_z", 3, "head_out"),
        ("blocks.3.ln2.hook_normalized", 3, "mlp_in"),
        ("blocks.3.hook_mlp_in", 3, "mlp_in"),
        ("blocks.3.mlp.hook_post", 3, "mlp_act"),
        ("model.layers.7", 7, "resid_post"),
        ("model.layers.7.output", 7, "resid_post"),
        ("model.language_model.layers.30", 30, "resid_post"),
        ("transformer.h.2.mlp", 2, "mlp_out"),
        ("model.layers.7.post_feedforward_layernorm.output", 7, "mlp_out"),
        ("model.layers.7.pre_feedforward_layernorm.output", 7, "mlp_in"),
        ("model.layers.7.self_attn.o_proj.input", 7, "head_out"),
        ("hook_embed", 0, "resid_pre"),
    ],
)
def test_names_of_both_libraries_stand_for_hookpoints(name: str, layer: int, stream: str) -> None:
    assert hookpoint_of(name) == Hookpoint(layer, stream)  # pyright: ignore


@pytest.mark.parametrize("stream", ALL_STREAMS)
def test_what_is_saved_is_read_again(stream: str) -> None:
    hookpoint = Hookpoint(4, stream)  # pyright: ignore
    assert hookpoint_of(hook_name_of(hookpoint)) == hookpoint


@pytest.mark.parametrize("name", ["blocks.5.hook_resid_mid", "lm_head", "None", "blocks.x.hook_resid_post"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(HookpointError, match="is none of the streams that can be read here"):
        hookpoint_of(name)
