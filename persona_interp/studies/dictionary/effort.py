"""How much work a dictionary is: three sizes, and what they will take."""

from types import MappingProxyType

from persona_interp.directions.sae.measure import MOST_LOSS_TOKENS, MOST_TOKENS
from persona_interp.directions.sae.settings import SAETraining
from persona_interp.models.protocol import HookedModel
from persona_interp.models.speed import matrix_speed
from persona_interp.studies.plan import Step
from persona_interp.studies.sizes import Efforts
from persona_interp.types import depth_of

EFFORTS: Efforts = MappingProxyType(
    {
        "quick": {"n_latents": 512, "k": 16, "n_tokens": 20_000},
        "standard": {"n_latents": 2048, "k": 32, "n_tokens": 200_000},
        "paper": {"n_latents": 131_072, "k": 64, "n_tokens": 100_000_000},
    }
)
"""Options of `persona-interp sae`. Width and k of `paper` are those of Chen et al. 2025, appendix M; the number of
tokens, which that gives no number for, is ours. It is for an accelerator and text of your own."""

_PRODUCTS = 14
"""Matrix products of a latent and a token in a step, forward and back, with the loss on dead latents."""
_LOSSES = 3
_FIGURES_S = 3.0


def dictionary_plan(model: HookedModel, training: SAETraining, held_out_tokens: int) -> list[Step]:
    """The steps of a training, in order; what is read ends at the layer of the dictionary."""
    share = depth_of(training.hookpoint.layer, model.n_layers)
    products = float(training.n_tokens) * training.n_latents * model.d_model * _PRODUCTS
    return [
        Step("activations, tokens", training.n_tokens, read=int(share * training.n_tokens)),
        Step("training, steps", training.n_steps, other_s=products / matrix_speed()),
        Step(
            "quality, tokens",
            measured := min(held_out_tokens, MOST_TOKENS),
            read=int(share * measured) + _LOSSES * min(measured, MOST_LOSS_TOKENS),
        ),
        Step("tables and figures", 0, other_s=_FIGURES_S),
    ]
