"""Track and steer personality shifts in language models: directions, interventions, judges, honest statistics."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persona_interp.activations.extract import extract_activations
    from persona_interp.activations.store import Activations
    from persona_interp.data.traits import list_traits, load_trait
    from persona_interp.directions.direction import Direction, rebind_direction
    from persona_interp.directions.persona import mean_difference, persona_vector
    from persona_interp.interventions.protocol import Stack
    from persona_interp.interventions.residual import Ablate, Add, Cap
    from persona_interp.interventions.text import generate_text
    from persona_interp.judges.coherence import CoherenceJudge
    from persona_interp.judges.embedding import EmbeddingJudge
    from persona_interp.judges.factual import FactualRuleJudge
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.measurements.frame import Measurements
    from persona_interp.measurements.separation import separation_profile
    from persona_interp.measurements.steering import measure_steering, steering_table
    from persona_interp.models.load import load_model
    from persona_interp.models.tokens import render_prompt
    from persona_interp.rollouts.generate import generate_rollouts
    from persona_interp.types import Hookpoint

_HOMES = {
    "activations.extract": ("extract_activations",),
    "activations.store": ("Activations",),
    "data.traits": ("list_traits", "load_trait"),
    "directions.direction": ("Direction", "rebind_direction"),
    "directions.persona": ("mean_difference", "persona_vector"),
    "interventions.protocol": ("Stack",),
    "interventions.residual": ("Ablate", "Add", "Cap"),
    "interventions.text": ("generate_text",),
    "judges.coherence": ("CoherenceJudge",),
    "judges.embedding": ("EmbeddingJudge",),
    "judges.factual": ("FactualRuleJudge",),
    "judges.likelihood": ("LikelihoodJudge",),
    "measurements.frame": ("Measurements",),
    "measurements.separation": ("separation_profile",),
    "measurements.steering": ("measure_steering", "steering_table"),
    "models.load": ("load_model",),
    "models.tokens": ("render_prompt",),
    "rollouts.generate": ("generate_rollouts",),
    "types": ("Hookpoint",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Ablate",
    "Activations",
    "Add",
    "Cap",
    "CoherenceJudge",
    "Direction",
    "EmbeddingJudge",
    "FactualRuleJudge",
    "Hookpoint",
    "LikelihoodJudge",
    "Measurements",
    "Stack",
    "extract_activations",
    "generate_rollouts",
    "generate_text",
    "list_traits",
    "load_model",
    "load_trait",
    "mean_difference",
    "measure_steering",
    "persona_vector",
    "rebind_direction",
    "render_prompt",
    "separation_profile",
    "steering_table",
]


def __getattr__(name: str) -> object:
    """Public names, imported on first use so that `import persona_interp` stays fast."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'persona_interp' has no attribute {name!r}")
    return getattr(import_module(f"persona_interp.{_HOME_OF[name]}"), name)
