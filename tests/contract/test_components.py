"""Heads and neurons: read and edited as every stream, and mapped exactly to what attention and MLP add."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from persona_interp.errors import ConfigError, HookpointError, ModelError
from persona_interp.models.components import UNIT_STREAMS, UnitKind, check_places, n_units, output_map
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.types import Edit, Hookpoint, Stream
from tests.contract.tiny import (
    ARCHITECTURES,
    BACKENDS,
    D_HEAD,
    EXPERTS,
    INNER,
    MORE,
    N_HEADS,
    TOLERANCE,
    Tiny,
    all_hookpoints,
    prompt_batch,
    uneven_batch,
)

DENSE = tuple(name for name in ARCHITECTURES + MORE if name not in EXPERTS)
ADDED: dict[UnitKind, Stream] = {"head": "attn_out", "neuron": "mlp_out"}


def raised(units: Tensor, mask: Tensor) -> Tensor:
    """One more in every other number at the masked positions, which a norm behind it does not undo."""
    return units + mask[..., None] * (torch.arange(units.shape[-1]) % 2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", DENSE)
def test_units_are_read_and_mapped_exactly(architecture: str, backend: str, make_tiny: Callable[[str], Tiny]) -> None:
    tiny = make_tiny(architecture)
    model, batch = tiny.hooked(backend), uneven_batch()
    plain = tiny.run(batch).streams
    reads = all_hookpoints([*INNER, "attn_out", "mlp_out"])
    found = model.run(batch, read=reads).residuals
    for hookpoint in all_hookpoints(INNER):
        torch.testing.assert_close(found[hookpoint][batch.mask], plain[hookpoint][batch.mask], **TOLERANCE)
    for kind, added in ADDED.items():
        units = found[Hookpoint(1, UNIT_STREAMS[kind])]
        expected = found[Hookpoint(1, added)]
        written = output_map(model, 1, kind)
        made = units @ written.weight + (0 if written.bias is None else written.bias)
        scale = written.scale(units)
        if scale is not None and written.gain is not None:
            made = made * scale[..., None] * written.gain
        assert units.shape[-1] == n_units(model, 1, kind) * (D_HEAD if kind == "head" else 1)
        torch.testing.assert_close(made[batch.mask], expected[batch.mask], **TOLERANCE)


@pytest.mark.parametrize("stream", INNER)
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "olmo2", "gpt_neox"])
def test_units_are_edited_as_the_plain_ones(
    architecture: str, stream: Stream, make_tiny: Callable[[str], Tiny]
) -> None:
    tiny, batch = make_tiny(architecture), uneven_batch()
    edits = {h: (Edit(raised, "response"),) for h in all_hookpoints([stream])}
    plain = tiny.run(batch, edits=edits).logits[batch.mask]
    assert (plain - tiny.run(batch).logits[batch.mask]).abs().max() > 0.01
    for backend in BACKENDS:
        logits = tiny.hooked(backend).run(batch, edits=edits).logits
        assert logits is not None
        torch.testing.assert_close(logits[batch.mask], plain, **TOLERANCE)


@pytest.mark.parametrize("kind", list(ADDED))
def test_units_are_edited_while_answers_are_generated(llama_model: HookedModelBase, kind: UnitKind) -> None:
    """Without any head or neuron, attention and MLP add nothing: so does an edit of what they add."""

    def nothing(values: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask[..., None], torch.zeros_like(values), values)

    sampling = Sampling(max_new_tokens=6, temperature=0.0)
    answers = [
        llama_model.generate(
            prompt_batch(), sampling=sampling, edits={h: (Edit(nothing),) for h in all_hookpoints([stream])}
        ).ids
        for stream in (UNIT_STREAMS[kind], ADDED[kind])
    ]
    assert answers[0] == answers[1] != llama_model.generate(prompt_batch(), sampling=sampling).ids


@pytest.mark.parametrize("architecture", EXPERTS)
def test_experts_are_refused(architecture: str, make_tiny: Callable[[str], Tiny]) -> None:
    for backend in BACKENDS:
        model = make_tiny(architecture).hooked(backend)
        with pytest.raises(HookpointError, match="has no one set of neurons: use attn_out or mlp_out"):
            model.run(uneven_batch(), read=[Hookpoint(1, "mlp_act")])
        assert n_units(model, 1, "head") == N_HEADS


def test_units_that_do_not_exist_are_refused(llama_model: HookedModelBase) -> None:
    check_places(llama_model, "neuron", [(0, 47), (2, 0)])
    with pytest.raises(ConfigError, match="neuron 48 does not exist: layer 2 of .* has neurons 0 to 47"):
        check_places(llama_model, "neuron", [(0, 47), (2, 48)])
    with pytest.raises(ConfigError, match="head -1 does not exist: .* has heads 0 to 3"):
        check_places(llama_model, "head", [(0, -1)])
    with pytest.raises(HookpointError, match="Layers run 0..2"):
        check_places(llama_model, "head", [(3, 0)])


def test_streams_of_other_widths_are_not_pooled_together(llama_model: HookedModelBase) -> None:
    with pytest.raises(HookpointError, match="cannot pool .* at layer 0, which is .* wide, with a stream that is"):
        llama_model.run(
            uneven_batch(), read=[Hookpoint(0), Hookpoint(0, "mlp_act")], pool=("response_mean",), outputs="none"
        )


def test_a_norm_that_is_no_rms_norm_is_refused(llama: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(llama.folder, "nnsight", device="cpu")
    norm = torch.nn.LayerNorm(model.d_model, bias=True)
    torch.nn.init.normal_(norm.bias)
    monkeypatch.setattr("persona_interp.models.components.norm_after", lambda *_: norm)
    with pytest.raises(ModelError, match="is a LayerNorm, which is no RMS norm"):
        output_map(model, 1, "neuron")
