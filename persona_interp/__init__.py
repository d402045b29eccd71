"""Track and steer personality shifts in language models: directions, interventions, judges, honest statistics."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persona_interp.activations.extract import extract_activations as extract_activations
    from persona_interp.activations.store import Activations as Activations
    from persona_interp.data.conversations import Conversation as Conversation
    from persona_interp.data.conversations import read_conversations as read_conversations
    from persona_interp.data.conversations import write_conversations as write_conversations
    from persona_interp.data.inventories import list_inventories as list_inventories
    from persona_interp.data.inventories import load_inventory as load_inventory
    from persona_interp.data.inventory_items import Inventory as Inventory
    from persona_interp.data.labelled import Labelled as Labelled
    from persona_interp.data.labelled import read_labelled as read_labelled
    from persona_interp.data.style_corpus import StyleCorpus as StyleCorpus
    from persona_interp.data.styles import factual_prompts as factual_prompts
    from persona_interp.data.styles import list_styles as list_styles
    from persona_interp.data.styles import load_styles as load_styles
    from persona_interp.data.styles import style_trait as style_trait
    from persona_interp.data.styles import subjective_prompts as subjective_prompts
    from persona_interp.data.trait_generation import generate_trait as generate_trait
    from persona_interp.data.trait_generation import generate_trait_file as generate_trait_file
    from persona_interp.data.trait_texts import TraitTexts as TraitTexts
    from persona_interp.data.trait_texts import read_trait_texts as read_trait_texts
    from persona_interp.data.trait_texts import read_vader_ratings as read_vader_ratings
    from persona_interp.data.traits import list_traits as list_traits
    from persona_interp.data.traits import load_trait as load_trait
    from persona_interp.directions.attribution import attribute_projection as attribute_projection
    from persona_interp.directions.attribution import attribute_projections as attribute_projections
    from persona_interp.directions.baselines import fit_direction as fit_direction
    from persona_interp.directions.direction import Direction as Direction
    from persona_interp.directions.direction import rebind_direction as rebind_direction
    from persona_interp.directions.formats import ModelShape as ModelShape
    from persona_interp.directions.formats import load_foreign as load_foreign
    from persona_interp.directions.formats import save_foreign as save_foreign
    from persona_interp.directions.formats.psychadapter import load_official as load_official
    from persona_interp.directions.outliers import find_outliers as find_outliers
    from persona_interp.directions.persona import mean_difference as mean_difference
    from persona_interp.directions.persona import persona_vector as persona_vector
    from persona_interp.directions.psychadapter import PsychAdapter as PsychAdapter
    from persona_interp.directions.psychadapter import rebind_psychadapter as rebind_psychadapter
    from persona_interp.directions.sae.check import check_dictionary as check_dictionary
    from persona_interp.directions.sae.contexts import top_contexts as top_contexts
    from persona_interp.directions.sae.corpus import conversation_texts as conversation_texts
    from persona_interp.directions.sae.corpus import corpus_texts as corpus_texts
    from persona_interp.directions.sae.corpus import rollout_texts as rollout_texts
    from persona_interp.directions.sae.decompose import decompose as decompose
    from persona_interp.directions.sae.decompose import decomposition_null as decomposition_null
    from persona_interp.directions.sae.decomposition import SAEDecomposition as SAEDecomposition
    from persona_interp.directions.sae.dictionary import Dictionary as Dictionary
    from persona_interp.directions.sae.latents import latent_direction as latent_direction
    from persona_interp.directions.sae.latents import latents_of_equal_density as latents_of_equal_density
    from persona_interp.directions.sae.latents import mean_latents as mean_latents
    from persona_interp.directions.sae.load import load_sae as load_sae
    from persona_interp.directions.sae.measure import measure_dictionary as measure_dictionary
    from persona_interp.directions.sae.settings import SAETraining as SAETraining
    from persona_interp.directions.sae.train import train_sae as train_sae
    from persona_interp.directions.style import extract_style_activations as extract_style_activations
    from persona_interp.directions.style import published_layers as published_layers
    from persona_interp.directions.style import style_vector as style_vector
    from persona_interp.directions.style import style_vectors as style_vectors
    from persona_interp.directions.style_generated import generate_style_rollouts as generate_style_rollouts
    from persona_interp.directions.style_generated import generated_style_vector as generated_style_vector
    from persona_interp.directions.style_training import StyleTraining as StyleTraining
    from persona_interp.directions.style_training import train_style_vectors as train_style_vectors
    from persona_interp.directions.writers import find_writers as find_writers
    from persona_interp.effects.files import load_claims as load_claims
    from persona_interp.effects.files import load_effects as load_effects
    from persona_interp.endpoint.client import ChatClient as ChatClient
    from persona_interp.endpoint.endpoint import Endpoint as Endpoint
    from persona_interp.endpoint.usage import Price as Price
    from persona_interp.errors import AlignmentError as AlignmentError
    from persona_interp.errors import ArtefactError as ArtefactError
    from persona_interp.errors import ConfigError as ConfigError
    from persona_interp.errors import ContextLengthError as ContextLengthError
    from persona_interp.errors import DataError as DataError
    from persona_interp.errors import EmptySelectionError as EmptySelectionError
    from persona_interp.errors import EndpointError as EndpointError
    from persona_interp.errors import HookpointError as HookpointError
    from persona_interp.errors import IncompatibleDirectionError as IncompatibleDirectionError
    from persona_interp.errors import MissingPackageError as MissingPackageError
    from persona_interp.errors import ModelError as ModelError
    from persona_interp.errors import PersonaInterpError as PersonaInterpError
    from persona_interp.errors import TrainingError as TrainingError
    from persona_interp.errors import TraitError as TraitError
    from persona_interp.finetuning.callback import DriftCallback as DriftCallback
    from persona_interp.finetuning.levels import generate_levels as generate_levels
    from persona_interp.finetuning.penalty import ProjectionPenalty as ProjectionPenalty
    from persona_interp.finetuning.prevention import concept_ablation as concept_ablation
    from persona_interp.finetuning.prevention import preventative_prompting as preventative_prompting
    from persona_interp.finetuning.prevention import preventative_steering as preventative_steering
    from persona_interp.finetuning.prevention import (
        preventative_steering_all_layers as preventative_steering_all_layers,
    )
    from persona_interp.finetuning.probe import DriftBound as DriftBound
    from persona_interp.finetuning.probe import ExpressionProbe as ExpressionProbe
    from persona_interp.finetuning.settings import LoRA as LoRA
    from persona_interp.finetuning.settings import TrainingSettings as TrainingSettings
    from persona_interp.finetuning.train import finetune as finetune
    from persona_interp.interventions.divergence import kl_divergence as kl_divergence
    from persona_interp.interventions.divergence import unsteered_answers as unsteered_answers
    from persona_interp.interventions.latents import SteerLatents as SteerLatents
    from persona_interp.interventions.patch import Patch as Patch
    from persona_interp.interventions.patch import response_residuals as response_residuals
    from persona_interp.interventions.prefix import TraitPrefix as TraitPrefix
    from persona_interp.interventions.protocol import Stack as Stack
    from persona_interp.interventions.residual import Ablate as Ablate
    from persona_interp.interventions.residual import Add as Add
    from persona_interp.interventions.residual import Cap as Cap
    from persona_interp.interventions.rows import AddEach as AddEach
    from persona_interp.interventions.strength import kl as kl
    from persona_interp.interventions.strength import strength_for_kl as strength_for_kl
    from persona_interp.interventions.text import generate_text as generate_text
    from persona_interp.interventions.units import AblateUnits as AblateUnits
    from persona_interp.interventions.units import ClampUnits as ClampUnits
    from persona_interp.interventions.units import ScaleUnits as ScaleUnits
    from persona_interp.interventions.units import Units as Units
    from persona_interp.interventions.units import unit_reference as unit_reference
    from persona_interp.interventions.units import units_of as units_of
    from persona_interp.judges.coherence import CoherenceJudge as CoherenceJudge
    from persona_interp.judges.embedding import EmbeddingJudge as EmbeddingJudge
    from persona_interp.judges.factual import FactualRuleJudge as FactualRuleJudge
    from persona_interp.judges.lexical import LexicalJudge as LexicalJudge
    from persona_interp.judges.lexical import LexicalSign as LexicalSign
    from persona_interp.judges.likelihood import LikelihoodJudge as LikelihoodJudge
    from persona_interp.judges.openai import OpenAIJudge as OpenAIJudge
    from persona_interp.judges.politeness import PolitenessJudge as PolitenessJudge
    from persona_interp.measurements.baselines import compare_separation as compare_separation
    from persona_interp.measurements.capability import measure_multiple_choice as measure_multiple_choice
    from persona_interp.measurements.capability import measure_perplexity as measure_perplexity
    from persona_interp.measurements.capability import measure_task_loss as measure_task_loss
    from persona_interp.measurements.expression import measure_expression as measure_expression
    from persona_interp.measurements.frame import Measurements as Measurements
    from persona_interp.measurements.projection_difference import projection_difference as projection_difference
    from persona_interp.measurements.sample_projections import project_samples as project_samples
    from persona_interp.measurements.separation import separation_profile as separation_profile
    from persona_interp.measurements.steering import measure_steering as measure_steering
    from persona_interp.measurements.steering import steering_table as steering_table
    from persona_interp.measurements.steering_null import answer_by_direction as answer_by_direction
    from persona_interp.measurements.steering_null import direction_effects as direction_effects
    from persona_interp.measurements.steering_null import direction_test as direction_test
    from persona_interp.measurements.steering_null import rate_by_direction as rate_by_direction
    from persona_interp.measurements.strengths import strength_table as strength_table
    from persona_interp.models.load import load_model as load_model
    from persona_interp.models.tokens import render_chat as render_chat
    from persona_interp.models.tokens import render_prompt as render_prompt
    from persona_interp.rollouts.contexts import graded_system_prompts as graded_system_prompts
    from persona_interp.rollouts.contexts import many_shot_contexts as many_shot_contexts
    from persona_interp.rollouts.generate import generate_rollouts as generate_rollouts
    from persona_interp.statistics.nulls import null_battery as null_battery
    from persona_interp.statistics.thresholds import calibrate_threshold as calibrate_threshold
    from persona_interp.studies.causal.config import CausalRun as CausalRun
    from persona_interp.studies.causal.run import causal_panel as causal_panel
    from persona_interp.studies.comparison.config import ComparisonRun as ComparisonRun
    from persona_interp.studies.comparison.run import compare_methods as compare_methods
    from persona_interp.studies.finetuning.drift import finetuning_shift as finetuning_shift
    from persona_interp.studies.finetuning.drift import probe_activations as probe_activations
    from persona_interp.studies.finetuning.prediction import compare_predictors as compare_predictors
    from persona_interp.studies.finetuning.prediction import predictor_table as predictor_table
    from persona_interp.studies.finetuning.prediction import shift_correlations as shift_correlations
    from persona_interp.studies.finetuning.prediction import shift_nulls as shift_nulls
    from persona_interp.studies.inventory.administer import administer as administer
    from persona_interp.studies.inventory.reliability import inventory_reliability as inventory_reliability
    from persona_interp.studies.inventory.scores import compare_inventories as compare_inventories
    from persona_interp.studies.inventory.scores import score_inventory as score_inventory
    from persona_interp.studies.inventory.types import inventory_type as inventory_type
    from persona_interp.studies.judge_validity.labelled_run import measure_judges as measure_judges
    from persona_interp.studies.monitoring.conditions import measure_monitoring as measure_monitoring
    from persona_interp.studies.monitoring.monitor import Monitor as Monitor
    from persona_interp.studies.monitoring.smoothing import Smoothing as Smoothing
    from persona_interp.studies.monitoring.tables import monitoring_nulls as monitoring_nulls
    from persona_interp.studies.monitoring.tables import monitoring_table as monitoring_table
    from persona_interp.studies.persona.raters.ratings import import_sheets as import_sheets
    from persona_interp.studies.persona.raters.sheet import export_sheet as export_sheet
    from persona_interp.studies.psychadapter.estimated_scores import generate_trait_texts as generate_trait_texts
    from persona_interp.studies.psychadapter.induced_cosines import induced_cosines as induced_cosines
    from persona_interp.studies.psychadapter.induced_direction import induced_direction as induced_direction
    from persona_interp.studies.psychadapter.induced_direction import induced_geometry as induced_geometry
    from persona_interp.studies.psychadapter.induced_direction import induced_shifts as induced_shifts
    from persona_interp.studies.psychadapter.nll import adapter_nll as adapter_nll
    from persona_interp.studies.psychadapter.run import AdapterMeasures as AdapterMeasures
    from persona_interp.studies.psychadapter.run import measure_psychadapter as measure_psychadapter
    from persona_interp.studies.psychadapter.settings import PsychAdapterSettings as PsychAdapterSettings
    from persona_interp.studies.psychadapter.train import train_psychadapter as train_psychadapter
    from persona_interp.studies.screening.detection import detection_table as detection_table
    from persona_interp.studies.screening.pair_run import screen_pairs as screen_pairs
    from persona_interp.studies.screening.run import screen as screen
    from persona_interp.studies.styles.arms import StyleSteering as StyleSteering
    from persona_interp.studies.styles.config import StyleRun as StyleRun
    from persona_interp.studies.styles.probe import style_probe as style_probe
    from persona_interp.studies.styles.run import run_styles as run_styles
    from persona_interp.studies.styles.steering import measure_styles as measure_styles
    from persona_interp.studies.styles.table import style_table as style_table
    from persona_interp.studies.substrates.config import SubstratesRun as SubstratesRun
    from persona_interp.studies.substrates.run import run_substrates as run_substrates
    from persona_interp.types import Hookpoint as Hookpoint
    from persona_interp.types import Turn as Turn
    from persona_interp.types import depth_of as depth_of
    from persona_interp.types import layer_at_depth as layer_at_depth
    from persona_interp.types import layers_at_depth as layers_at_depth

_HOMES = {
    "activations.extract": "extract_activations",
    "activations.store": "Activations",
    "data.conversations": "Conversation read_conversations write_conversations",
    "data.inventories": "list_inventories load_inventory",
    "data.inventory_items": "Inventory",
    "data.labelled": "Labelled read_labelled",
    "data.style_corpus": "StyleCorpus",
    "data.styles": "factual_prompts list_styles load_styles style_trait subjective_prompts",
    "data.trait_generation": "generate_trait generate_trait_file",
    "data.trait_texts": "TraitTexts read_trait_texts read_vader_ratings",
    "data.traits": "list_traits load_trait",
    "directions.attribution": "attribute_projection attribute_projections",
    "directions.baselines": "fit_direction",
    "directions.direction": "Direction rebind_direction",
    "directions.formats": "ModelShape load_foreign save_foreign",
    "directions.formats.psychadapter": "load_official",
    "directions.outliers": "find_outliers",
    "directions.persona": "mean_difference persona_vector",
    "directions.psychadapter": "PsychAdapter rebind_psychadapter",
    "directions.sae.check": "check_dictionary",
    "directions.sae.contexts": "top_contexts",
    "directions.sae.corpus": "conversation_texts corpus_texts rollout_texts",
    "directions.sae.decompose": "decompose decomposition_null",
    "directions.sae.decomposition": "SAEDecomposition",
    "directions.sae.dictionary": "Dictionary",
    "directions.sae.latents": "latent_direction latents_of_equal_density mean_latents",
    "directions.sae.load": "load_sae",
    "directions.sae.measure": "measure_dictionary",
    "directions.sae.settings": "SAETraining",
    "directions.sae.train": "train_sae",
    "directions.style": "extract_style_activations published_layers style_vector style_vectors",
    "directions.style_generated": "generate_style_rollouts generated_style_vector",
    "directions.style_training": "StyleTraining train_style_vectors",
    "directions.writers": "find_writers",
    "effects.files": "load_claims load_effects",
    "endpoint.client": "ChatClient",
    "endpoint.endpoint": "Endpoint",
    "endpoint.usage": "Price",
    "errors": (
        "AlignmentError ArtefactError ConfigError ContextLengthError DataError EmptySelectionError EndpointError"
        " HookpointError IncompatibleDirectionError MissingPackageError ModelError PersonaInterpError TrainingError"
        " TraitError"
    ),
    "finetuning.callback": "DriftCallback",
    "studies.comparison.config": "ComparisonRun",
    "studies.comparison.run": "compare_methods",
    "studies.psychadapter.estimated_scores": "generate_trait_texts",
    "finetuning.levels": "generate_levels",
    "finetuning.penalty": "ProjectionPenalty",
    "finetuning.prevention": (
        "concept_ablation preventative_prompting preventative_steering preventative_steering_all_layers"
    ),
    "finetuning.probe": "DriftBound ExpressionProbe",
    "studies.psychadapter.train": "train_psychadapter",
    "studies.psychadapter.settings": "PsychAdapterSettings",
    "finetuning.settings": "LoRA TrainingSettings",
    "finetuning.train": "finetune",
    "interventions.divergence": "kl_divergence unsteered_answers",
    "interventions.latents": "SteerLatents",
    "interventions.patch": "Patch response_residuals",
    "interventions.prefix": "TraitPrefix",
    "interventions.protocol": "Stack",
    "interventions.residual": "Ablate Add Cap",
    "interventions.rows": "AddEach",
    "interventions.strength": "kl strength_for_kl",
    "interventions.text": "generate_text",
    "interventions.units": "AblateUnits ClampUnits ScaleUnits Units unit_reference units_of",
    "judges.coherence": "CoherenceJudge",
    "judges.embedding": "EmbeddingJudge",
    "judges.factual": "FactualRuleJudge",
    "judges.lexical": "LexicalJudge LexicalSign",
    "judges.likelihood": "LikelihoodJudge",
    "judges.openai": "OpenAIJudge",
    "judges.politeness": "PolitenessJudge",
    "measurements.baselines": "compare_separation",
    "measurements.capability": "measure_multiple_choice measure_perplexity measure_task_loss",
    "studies.screening.detection": "detection_table",
    "studies.finetuning.drift": "finetuning_shift probe_activations",
    "measurements.expression": "measure_expression",
    "measurements.frame": "Measurements",
    "studies.psychadapter.induced_cosines": "induced_cosines",
    "studies.psychadapter.induced_direction": "induced_direction induced_geometry induced_shifts",
    "studies.inventory.administer": "administer",
    "studies.inventory.reliability": "inventory_reliability",
    "studies.inventory.scores": "compare_inventories score_inventory",
    "studies.inventory.types": "inventory_type",
    "studies.judge_validity.labelled_run": "measure_judges",
    "studies.persona.raters.ratings": "import_sheets",
    "studies.persona.raters.sheet": "export_sheet",
    "studies.monitoring.monitor": "Monitor",
    "studies.monitoring.conditions": "measure_monitoring",
    "studies.monitoring.tables": "monitoring_nulls monitoring_table",
    "statistics.nulls": "null_battery",
    "studies.finetuning.prediction": "compare_predictors predictor_table shift_correlations shift_nulls",
    "measurements.projection_difference": "projection_difference",
    "studies.psychadapter.nll": "adapter_nll",
    "studies.psychadapter.run": "AdapterMeasures measure_psychadapter",
    "measurements.sample_projections": "project_samples",
    "measurements.separation": "separation_profile",
    "studies.monitoring.smoothing": "Smoothing",
    "measurements.steering": "measure_steering steering_table",
    "measurements.strengths": "strength_table",
    "measurements.steering_null": "answer_by_direction direction_effects direction_test rate_by_direction",
    "studies.styles.arms": "StyleSteering",
    "studies.styles.probe": "style_probe",
    "studies.styles.run": "run_styles",
    "studies.styles.config": "StyleRun",
    "studies.styles.steering": "measure_styles",
    "studies.styles.table": "style_table",
    "studies.substrates.config": "SubstratesRun",
    "studies.substrates.run": "run_substrates",
    "statistics.thresholds": "calibrate_threshold",
    "models.load": "load_model",
    "models.tokens": "render_chat render_prompt",
    "rollouts.contexts": "graded_system_prompts many_shot_contexts",
    "rollouts.generate": "generate_rollouts",
    "studies.causal.config": "CausalRun",
    "studies.causal.run": "causal_panel",
    "studies.screening.pair_run": "screen_pairs",
    "studies.screening.run": "screen",
    "types": "Hookpoint Turn depth_of layer_at_depth layers_at_depth",
}
"""The public names of every module."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)  # pyright: ignore (the aliases above say the same to type checkers)


def __getattr__(name: str) -> object:
    """Public names, imported on first use so that `import persona_interp` stays fast, and the version."""
    if name == "__version__":
        return version("persona-interp")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'persona_interp' has no attribute {name!r}")
    return getattr(import_module(f"persona_interp.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    """The public names, though most are imported on first use."""
    return sorted({*globals(), *__all__, "__version__"})
