"""Track and steer personality shifts in language models: directions, interventions, judges, honest statistics."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persona_interp.activations.extract import extract_activations
    from persona_interp.activations.store import Activations
    from persona_interp.data.conversations import Conversation, read_conversations, write_conversations
    from persona_interp.data.inventories import list_inventories, load_inventory
    from persona_interp.data.inventory_items import Inventory
    from persona_interp.data.style_corpus import StyleCorpus
    from persona_interp.data.styles import factual_prompts, list_styles, load_styles, style_trait, subjective_prompts
    from persona_interp.data.trait_generation import generate_trait, generate_trait_file
    from persona_interp.data.trait_texts import TraitTexts, read_trait_texts, read_vader_ratings
    from persona_interp.data.traits import list_traits, load_trait
    from persona_interp.directions.baselines import fit_direction
    from persona_interp.directions.direction import Direction, rebind_direction
    from persona_interp.directions.formats import ModelShape, load_foreign, save_foreign
    from persona_interp.directions.formats.psychadapter import load_official
    from persona_interp.directions.persona import mean_difference, persona_vector
    from persona_interp.directions.psychadapter import PsychAdapter, rebind_psychadapter
    from persona_interp.directions.style import (
        extract_style_activations,
        layers_at_depth,
        published_layers,
        style_vector,
        style_vectors,
    )
    from persona_interp.directions.style_generated import generate_style_rollouts, generated_style_vector
    from persona_interp.directions.style_training import StyleTraining, train_style_vectors
    from persona_interp.endpoint.client import ChatClient
    from persona_interp.endpoint.endpoint import Endpoint
    from persona_interp.endpoint.usage import Price
    from persona_interp.finetuning.callback import DriftCallback
    from persona_interp.finetuning.estimated_scores import generate_trait_texts
    from persona_interp.finetuning.levels import generate_levels
    from persona_interp.finetuning.penalty import ProjectionPenalty
    from persona_interp.finetuning.prevention import (
        concept_ablation,
        preventative_prompting,
        preventative_steering,
        preventative_steering_all_layers,
    )
    from persona_interp.finetuning.probe import DriftBound, ExpressionProbe
    from persona_interp.finetuning.psychadapter import train_psychadapter
    from persona_interp.finetuning.psychadapter_settings import PsychAdapterSettings
    from persona_interp.finetuning.settings import LoRA, TrainingSettings
    from persona_interp.finetuning.train import finetune
    from persona_interp.interventions.prefix import TraitPrefix
    from persona_interp.interventions.protocol import Stack
    from persona_interp.interventions.residual import Ablate, Add, Cap
    from persona_interp.interventions.rows import AddEach
    from persona_interp.interventions.text import generate_text
    from persona_interp.judges.coherence import CoherenceJudge
    from persona_interp.judges.embedding import EmbeddingJudge
    from persona_interp.judges.factual import FactualRuleJudge
    from persona_interp.judges.lexical import LexicalJudge, LexicalSign
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.judges.openai import OpenAIJudge
    from persona_interp.measurements.baselines import compare_separation
    from persona_interp.measurements.capability import measure_multiple_choice, measure_perplexity, measure_task_loss
    from persona_interp.measurements.detection import detection_table
    from persona_interp.measurements.drift import finetuning_shift, probe_activations
    from persona_interp.measurements.expression import measure_expression
    from persona_interp.measurements.frame import Measurements
    from persona_interp.measurements.induced_cosines import induced_cosines
    from persona_interp.measurements.induced_direction import induced_direction, induced_geometry, induced_shifts
    from persona_interp.measurements.inventory import administer
    from persona_interp.measurements.inventory_reliability import inventory_reliability
    from persona_interp.measurements.inventory_scores import compare_inventories, score_inventory
    from persona_interp.measurements.inventory_types import inventory_type
    from persona_interp.measurements.monitor import Monitor
    from persona_interp.measurements.monitoring import measure_monitoring
    from persona_interp.measurements.monitoring_tables import monitoring_nulls, monitoring_table
    from persona_interp.measurements.prediction import predictor_table, shift_correlations, shift_nulls
    from persona_interp.measurements.projection_difference import projection_difference
    from persona_interp.measurements.psychadapter import adapter_nll
    from persona_interp.measurements.psychadapter_run import AdapterMeasures, measure_psychadapter
    from persona_interp.measurements.sample_projections import project_samples
    from persona_interp.measurements.separation import separation_profile
    from persona_interp.measurements.smoothing import Smoothing
    from persona_interp.measurements.steering import measure_steering, steering_table
    from persona_interp.measurements.steering_null import (
        answer_by_direction,
        direction_effects,
        direction_test,
        rate_by_direction,
    )
    from persona_interp.measurements.style_arms import StyleSteering
    from persona_interp.measurements.style_probe import style_probe
    from persona_interp.measurements.style_run import run_styles
    from persona_interp.measurements.style_setup import StyleRun
    from persona_interp.measurements.style_steering import measure_styles
    from persona_interp.measurements.style_table import style_table
    from persona_interp.models.load import load_model
    from persona_interp.models.tokens import render_chat, render_prompt
    from persona_interp.rollouts.contexts import graded_system_prompts, many_shot_contexts
    from persona_interp.rollouts.generate import generate_rollouts
    from persona_interp.screening.run import screen
    from persona_interp.statistics.nulls import null_battery
    from persona_interp.statistics.thresholds import calibrate_threshold
    from persona_interp.types import Hookpoint, Turn

_HOMES = {
    "activations.extract": ("extract_activations",),
    "activations.store": ("Activations",),
    "data.conversations": (
        "Conversation",
        "read_conversations",
        "write_conversations",
    ),
    "data.inventories": (
        "list_inventories",
        "load_inventory",
    ),
    "data.inventory_items": ("Inventory",),
    "data.style_corpus": ("StyleCorpus",),
    "data.styles": (
        "factual_prompts",
        "list_styles",
        "load_styles",
        "style_trait",
        "subjective_prompts",
    ),
    "data.trait_generation": (
        "generate_trait",
        "generate_trait_file",
    ),
    "data.trait_texts": (
        "TraitTexts",
        "read_trait_texts",
        "read_vader_ratings",
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
    "directions.formats.psychadapter": ("load_official",),
    "directions.persona": (
        "mean_difference",
        "persona_vector",
    ),
    "directions.psychadapter": (
        "PsychAdapter",
        "rebind_psychadapter",
    ),
    "directions.style": (
        "extract_style_activations",
        "layers_at_depth",
        "published_layers",
        "style_vector",
        "style_vectors",
    ),
    "directions.style_generated": (
        "generate_style_rollouts",
        "generated_style_vector",
    ),
    "directions.style_training": (
        "StyleTraining",
        "train_style_vectors",
    ),
    "endpoint.client": ("ChatClient",),
    "endpoint.endpoint": ("Endpoint",),
    "endpoint.usage": ("Price",),
    "finetuning.callback": ("DriftCallback",),
    "finetuning.estimated_scores": ("generate_trait_texts",),
    "finetuning.levels": ("generate_levels",),
    "finetuning.penalty": ("ProjectionPenalty",),
    "finetuning.prevention": (
        "concept_ablation",
        "preventative_prompting",
        "preventative_steering",
        "preventative_steering_all_layers",
    ),
    "finetuning.probe": (
        "DriftBound",
        "ExpressionProbe",
    ),
    "finetuning.psychadapter": ("train_psychadapter",),
    "finetuning.psychadapter_settings": ("PsychAdapterSettings",),
    "finetuning.settings": (
        "LoRA",
        "TrainingSettings",
    ),
    "finetuning.train": ("finetune",),
    "interventions.prefix": ("TraitPrefix",),
    "interventions.protocol": ("Stack",),
    "interventions.residual": (
        "Ablate",
        "Add",
        "Cap",
    ),
    "interventions.rows": ("AddEach",),
    "interventions.text": ("generate_text",),
    "judges.coherence": ("CoherenceJudge",),
    "judges.embedding": ("EmbeddingJudge",),
    "judges.factual": ("FactualRuleJudge",),
    "judges.lexical": (
        "LexicalJudge",
        "LexicalSign",
    ),
    "judges.likelihood": ("LikelihoodJudge",),
    "judges.openai": ("OpenAIJudge",),
    "measurements.baselines": ("compare_separation",),
    "measurements.capability": (
        "measure_multiple_choice",
        "measure_perplexity",
        "measure_task_loss",
    ),
    "measurements.detection": ("detection_table",),
    "measurements.drift": (
        "finetuning_shift",
        "probe_activations",
    ),
    "measurements.expression": ("measure_expression",),
    "measurements.frame": ("Measurements",),
    "measurements.induced_cosines": ("induced_cosines",),
    "measurements.induced_direction": (
        "induced_direction",
        "induced_geometry",
        "induced_shifts",
    ),
    "measurements.inventory": ("administer",),
    "measurements.inventory_reliability": ("inventory_reliability",),
    "measurements.inventory_scores": (
        "compare_inventories",
        "score_inventory",
    ),
    "measurements.inventory_types": ("inventory_type",),
    "measurements.monitor": ("Monitor",),
    "measurements.monitoring": ("measure_monitoring",),
    "measurements.monitoring_tables": (
        "monitoring_nulls",
        "monitoring_table",
    ),
    "statistics.nulls": ("null_battery",),
    "measurements.prediction": (
        "predictor_table",
        "shift_correlations",
        "shift_nulls",
    ),
    "measurements.projection_difference": ("projection_difference",),
    "measurements.psychadapter": ("adapter_nll",),
    "measurements.psychadapter_run": (
        "AdapterMeasures",
        "measure_psychadapter",
    ),
    "measurements.sample_projections": ("project_samples",),
    "measurements.separation": ("separation_profile",),
    "measurements.smoothing": ("Smoothing",),
    "measurements.steering": (
        "measure_steering",
        "steering_table",
    ),
    "measurements.steering_null": (
        "answer_by_direction",
        "direction_effects",
        "direction_test",
        "rate_by_direction",
    ),
    "measurements.style_arms": ("StyleSteering",),
    "measurements.style_probe": ("style_probe",),
    "measurements.style_run": ("run_styles",),
    "measurements.style_setup": ("StyleRun",),
    "measurements.style_steering": ("measure_styles",),
    "measurements.style_table": ("style_table",),
    "statistics.thresholds": ("calibrate_threshold",),
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
    "screening.run": ("screen",),
    "types": (
        "Hookpoint",
        "Turn",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Ablate",
    "Activations",
    "AdapterMeasures",
    "Add",
    "AddEach",
    "Cap",
    "ChatClient",
    "CoherenceJudge",
    "Conversation",
    "Direction",
    "DriftBound",
    "DriftCallback",
    "EmbeddingJudge",
    "Endpoint",
    "ExpressionProbe",
    "FactualRuleJudge",
    "Hookpoint",
    "Inventory",
    "LexicalJudge",
    "LexicalSign",
    "LikelihoodJudge",
    "LoRA",
    "Measurements",
    "ModelShape",
    "Monitor",
    "OpenAIJudge",
    "Price",
    "ProjectionPenalty",
    "PsychAdapter",
    "PsychAdapterSettings",
    "Smoothing",
    "Stack",
    "StyleCorpus",
    "StyleRun",
    "StyleSteering",
    "StyleTraining",
    "TrainingSettings",
    "TraitPrefix",
    "TraitTexts",
    "Turn",
    "adapter_nll",
    "administer",
    "answer_by_direction",
    "calibrate_threshold",
    "compare_inventories",
    "compare_separation",
    "concept_ablation",
    "detection_table",
    "direction_effects",
    "direction_test",
    "extract_activations",
    "extract_style_activations",
    "factual_prompts",
    "finetune",
    "finetuning_shift",
    "fit_direction",
    "generate_levels",
    "generate_rollouts",
    "generate_style_rollouts",
    "generate_text",
    "generate_trait",
    "generate_trait_file",
    "generate_trait_texts",
    "generated_style_vector",
    "graded_system_prompts",
    "induced_cosines",
    "induced_direction",
    "induced_geometry",
    "induced_shifts",
    "inventory_reliability",
    "inventory_type",
    "layers_at_depth",
    "list_inventories",
    "list_styles",
    "list_traits",
    "load_foreign",
    "load_inventory",
    "load_model",
    "load_official",
    "load_styles",
    "load_trait",
    "many_shot_contexts",
    "mean_difference",
    "measure_expression",
    "measure_monitoring",
    "measure_multiple_choice",
    "measure_perplexity",
    "measure_psychadapter",
    "measure_steering",
    "measure_styles",
    "measure_task_loss",
    "monitoring_nulls",
    "monitoring_table",
    "null_battery",
    "persona_vector",
    "predictor_table",
    "preventative_prompting",
    "preventative_steering",
    "preventative_steering_all_layers",
    "probe_activations",
    "project_samples",
    "projection_difference",
    "published_layers",
    "rate_by_direction",
    "read_conversations",
    "read_trait_texts",
    "read_vader_ratings",
    "rebind_direction",
    "rebind_psychadapter",
    "render_chat",
    "render_prompt",
    "run_styles",
    "save_foreign",
    "score_inventory",
    "screen",
    "separation_profile",
    "shift_correlations",
    "shift_nulls",
    "steering_table",
    "style_probe",
    "style_table",
    "style_trait",
    "style_vector",
    "style_vectors",
    "subjective_prompts",
    "train_psychadapter",
    "train_style_vectors",
    "write_conversations",
]


def __getattr__(name: str) -> object:
    """Public names, imported on first use so that `import persona_interp` stays fast."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'persona_interp' has no attribute {name!r}")
    return getattr(import_module(f"persona_interp.{_HOME_OF[name]}"), name)
