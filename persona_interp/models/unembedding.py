"""What every token's logit reads from the residual stream: the unembedding through the final norm."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from persona_interp.arguments import checked
from persona_interp.errors import ModelError
from persona_interp.models.blocks import find_blocks
from persona_interp.models.hooked import HookedModelBase

_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "final_norm", "norm_f")
_CLOSE = 0.02


@dataclass(frozen=True, eq=False)
class Unembedding:
    """Logits of a final residual x are rows . x / divisor(x), but for a bias and a soft cap, in float32 on the CPU.

    Args:
        weight: of the unembedding.
        gain: of the final norm.
        centred: whether that norm takes the mean off first (LayerNorm).
    """

    weight: Float[Tensor, "d_vocab d_model"]
    gain: Float[Tensor, " d_model"]
    centred: bool

    def mean_row(self, tokens: Int[Tensor, " token"]) -> Float[Tensor, " d_model"]:
        """What the mean logit of some tokens reads, before the norm's divisor."""
        row = self.weight[tokens].mean(0) * self.gain
        return row - row.mean() if self.centred else row


@checked
def unembedding_of(model: HookedModelBase) -> Unembedding:
    """The unembedding of a model, with the gain of its final norm.

    Raises:
        ModelError: the model has no plain unembedding, or no final norm that is an RMS norm or a LayerNorm.
    """
    module = model.module
    head = module.get_output_embeddings()  # pyright: ignore
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.is_meta:
        raise ModelError(
            f"the unembedding of {model.name} is a {type(head).__name__} without plain weights in memory.",
            "Load the model without quantisation.",
        )
    norm = _final_norm(module, model.name)
    gain, centred = _gain(norm, model)
    return Unembedding(weight.detach().float().cpu(), gain.cpu(), centred)


def _final_norm(module: nn.Module, name: str) -> nn.Module:
    """The norm beside the list of blocks."""
    path = find_blocks(module)[0].rpartition(".")[0]
    children = dict(module.get_submodule(path).named_children())
    if (found := next((norm for norm in _FINAL_NORMS if norm in children), None)) is None:
        raise ModelError(
            f"cannot find the final norm of {name}, a {type(module).__name__}.",
            f"Beside its blocks it has {', '.join(children)}; expected one of {', '.join(_FINAL_NORMS)}.",
        )
    inner = children[found]
    while isinstance(wrapped := inner._modules.get("_original_component"), nn.Module):
        inner = wrapped
    return inner


def _gain(norm: nn.Module, model: HookedModelBase) -> tuple[Float[Tensor, " d_model"], bool]:
    """The gain, and whether the mean is taken off; tried on a vector."""
    weight = next(norm.parameters())
    epsilon = float(getattr(norm, "variance_epsilon", getattr(norm, "eps", 0.0)))
    like = {"device": weight.device, "dtype": weight.dtype}
    with torch.inference_mode():
        zeros = norm(torch.zeros(1, 1, model.d_model, **like))[0, 0].float()
        flat = norm(torch.ones(1, 1, model.d_model, **like))[0, 0].float()
        centred = bool((flat - zeros).abs().max() < _CLOSE)
        gain = weight.float() if centred else (flat - zeros) * (1 + epsilon) ** 0.5
        probe = torch.linspace(-1, 2, model.d_model, **like)
        made = norm(probe[None, None])[0, 0].float()
        away = probe.float() - (probe.float().mean() if centred else 0.0)
        expected = away * (away.square().mean() + epsilon).rsqrt() * gain + zeros
    if not float((made - expected).norm()) <= _CLOSE * float(made.norm()):
        raise ModelError(
            f"the final norm of {model.name}, a {type(norm).__name__}, is neither an RMS norm nor a LayerNorm.",
            "What a logit reads from the residual stream is not known to be exact for it.",
        )
    return gain, centred
