"""Track and steer personality shifts in language models: directions, interventions, judges, honest statistics."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persona_interp.activations.extract import extract_activations
    from persona_interp.activations.store import Activations
    from persona_interp.data.trait_generation import generate_trait, generate_trait_file
    from persona_interp.data.traits import list_traits, load_trait
    from persona_interp.directions.baselines import fit_direction
    from persona_interp.directions.direction import Direction, rebind_direction
    from persona_interp.directions.formats import ModelShape, load_foreign, save_foreign
    from persona_interp.directions.persona import mean_difference, persona_vector
    from persona_interp.endpoint.client import ChatClient
    from persona_interp.endpoint.endpoint import Endpoint
    from persona_interp.endpoint.usage import Price
    from persona_interp.interventions.protocol import Stack
    from persona_interp.interventions.residual import Ablate, Add, Cap
    from persona_interp.interventions.text import generate_text
    from persona_interp.judges.coherence import CoherenceJudge
    from persona_interp.judges.embedding import EmbeddingJudge
    from persona_interp.judges.factual import FactualRuleJudge
    from persona_interp.judges.lexical import LexicalJudge, LexicalSign
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.judges.openai import OpenAIJudge
    from persona_interp.measurements.baselines import compare_separation
    from persona_interp.measurements.frame import Measurements
    from persona_interp.measurements.monitor import Monitor
    from persona_interp.measurements.monitoring import measure_monitoring
    from persona_interp.measurements.monitoring_tables import monitoring_nulls, monitoring_table
    from persona_interp.measurements.nulls import null_battery
    from persona_interp.measurements.separation import separation_profile
    from persona_interp.measurements.smoothing import Smoothing
    from persona_interp.measurements.steering import measure_steering, steering_table
    from persona_interp.measurements.thresholds import calibrate_threshold
    from persona_interp.models.load import load_model
    from persona_interp.models.tokens import render_chat, render_prompt
    from persona_interp.rollouts.contexts import graded_system_prompts, many_shot_contexts
    from persona_interp.rollouts.generate import generate_rollouts
    from persona_interp.types import Hookpoint, Turn

_HOMES = {
    "activations.extract": ("extract_activations",),
    "activations.store": ("Activations",),
    "data.trait_generation": (
        "generate_trait",
        "generate_trait_file",
    ),
    "data.traits": (
        "list_traits",
        "load_trait",
    ),
    "directions.baselines": ("fit_direction",),
    "directions.direction": (
        "Direction",
        "rebind_direction",
    ),
    "directions.formats": (
        "ModelShape",
        "load_foreign",
        "save_foreign",
    ),
    "directions.persona": (
        "mean_difference",
        "persona_vector",
    ),
    "endpoint.client": ("ChatClient",),
    "endpoint.endpoint": ("Endpoint",),
    "endpoint.usage": ("Price",),
    "interventions.protocol": ("Stack",),
    "interventions.residual": (
        "Ablate",
        "Add",
        "Cap",
    ),
    "interventions.text": ("generate_text",),
    "judges.coherence": ("CoherenceJudge",),
    "judges.embedding": ("EmbeddingJudge",),
    "judges.factual": ("FactualRuleJudge",),
    "judges.lexical": ("LexicalJudge", "LexicalSign"),
    "judges.likelihood": ("LikelihoodJudge",),
    "judges.openai": ("OpenAIJudge",),
    "measurements.baselines": ("compare_separation",),
    "measurements.frame": ("Measurements",),
    "measurements.monitor": ("Monitor",),
    "measurements.monitoring": ("measure_monitoring",),
    "measurements.monitoring_tables": (
        "monitoring_nulls",
        "monitoring_table",
    ),
    "measurements.nulls": ("null_battery",),
    "measurements.separation": ("separation_profile",),
    "measurements.smoothing": ("Smoothing",),
    "measurements.steering": (
        "measure_steering",
        "steering_table",
    ),
    "measurements.thresholds": ("calibrate_threshold",),
    "models.load": ("load_model",),
    "models.tokens": (
        "render_chat",
        "render_prompt",
    ),
    "rollouts.contexts": (
        "graded_system_prompts",
        "many_shot_contexts",
    ),
    "rollouts.generate": ("generate_rollouts",),
    "types": ("Hookpoint", "Turn"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Ablate",
    "Activations",
    "Add",
    "Cap",
    "ChatClient",
    "CoherenceJudge",
    "Direction",
    "EmbeddingJudge",
    "Endpoint",
    "FactualRuleJudge",
    "Hookpoint",
    "LexicalJudge",
    "LexicalSign",
    "LikelihoodJudge",
    "Measurements",
    "ModelShape",
    "Monitor",
    "OpenAIJudge",
    "Price",
    "Smoothing",
    "Stack",
    "Turn",
    "calibrate_threshold",
    "compare_separation",
    "extract_activations",
    "fit_direction",
    "generate_rollouts",
    "generate_text",
    "generate_trait",
    "generate_trait_file",
    "graded_system_prompts",
    "list_traits",
    "load_foreign",
    "load_model",
    "load_trait",
    "many_shot_contexts",
    "mean_difference",
    "measure_monitoring",
    "measure_steering",
    "monitoring_nulls",
    "monitoring_table",
    "null_battery",
    "persona_vector",
    "rebind_direction",
    "render_chat",
    "render_prompt",
    "save_foreign",
    "separation_profile",
    "steering_table",
]


def __getattr__(name: str) -> object:
    """Public names, imported on first use so that `import persona_interp` stays fast."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'persona_interp' has no attribute {name!r}")
    return getattr(import_module(f"persona_interp.{_HOME_OF[name]}"), name)
