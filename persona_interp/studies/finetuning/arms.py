"""The arms of prevention: every method at every strength, as arguments of `finetune` or of the measurement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from persona_interp.arguments import checked
from persona_interp.bounds import Count
from persona_interp.data.conversations import Conversation
from persona_interp.directions.direction import Direction, rebind_direction
from persona_interp.finetuning.penalty import ProjectionPenalty
from persona_interp.finetuning.prevention import (
    concept_ablation,
    preventative_prompting,
    preventative_steering,
    preventative_steering_all_layers,
)
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.residual import Add, Cap
from persona_interp.models.hooked import HookedModelBase
from persona_interp.rollouts.contexts import graded_system_prompts
from persona_interp.studies.finetuning.arm_effects import ABLATION, ALL_LAYERS, BASE, CAP, PLAIN, PROMPTING
from persona_interp.studies.finetuning.config import Setup
from persona_interp.studies.finetuning.prepared import Prepared

STRENGTHS = ("steering", "multi_layer", "prompts", "ablation_layers", "penalties", "correcting", "caps")
"""Settings that say which arms there are; what an arm gives does not depend on the others."""


@checked
@dataclass(frozen=True)
class PreventionConfig:
    """The task, the methods and their strengths.

    Args:
        holdout: every so many-th sample is held out of training, for the loss on the task.
        steering: coefficients of preventative steering at the named layer, in residual norms.
        multi_layer: multiples of the raw increments at all layers.
        penalties: weights of the projection penalty at the named layer.
        correcting: coefficients of steering afterwards, against the trait.
        caps: percentiles of the base model's token projections on its plain training answers, which are upper caps of
            the finetuned model's.
        every_choice: every so many-th four-option question is asked; they are sorted by subject.
    """

    setup: Setup = Setup()
    trait: str = "impolite"
    holdout: int = 5
    steering: tuple[float, ...] = (0.1, 0.3)
    multi_layer: tuple[float, ...] = (1.0,)
    prompts: tuple[int, ...] = (5, 7)
    ablation_layers: tuple[str, ...] = ("one", "all")
    penalties: tuple[float, ...] = (1000.0,)
    correcting: tuple[float, ...] = (0.1, 0.3)
    caps: tuple[float, ...] = (50.0,)
    every_choice: Count = 3
    n_texts: Count = 12


@dataclass(frozen=True, eq=False)
class Arm:
    """A method at one strength: how it trains (None: not at all) and what is on at inference."""

    method: str
    strength: float
    conversations: Callable[[Sequence[Conversation]], Sequence[Conversation]] | None = None
    during: Intervention | None = None
    penalty: ProjectionPenalty | None = None
    afterwards: Callable[[HookedModelBase], Intervention] | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.method} {self.strength:g}"


def arms(config: PreventionConfig, prepared: Prepared, cap_at: Mapping[float, float]) -> list[Arm]:
    """Base, plain finetuning, and every method at every strength.

    Args:
        cap_at: the largest projection that each percentile of `config.caps` allows, in residual units.
    """
    direction, layer = prepared.directions[config.trait], config.setup.named_layer
    prompts = graded_system_prompts(prepared.traits[config.trait])
    found = [Arm(BASE, 0.0), Arm(PLAIN, 0.0, conversations=list)]
    found += [
        Arm("preventative steering", c, list, during=preventative_steering(direction, layer, c))
        for c in config.steering
    ]
    found += [
        Arm(ALL_LAYERS, c, list, during=preventative_steering_all_layers(direction, c)) for c in config.multi_layer
    ]
    for k in config.prompts:
        text = prompts[k].contexts[0][0].content
        found.append(Arm(PROMPTING, float(k), lambda data, text=text: preventative_prompting(data, text)))
    for k, where in enumerate(config.ablation_layers, start=1):
        layers = None if where == "all" else [layer]
        found.append(Arm(ABLATION, float(k), list, during=concept_ablation(direction, layers)))
    found += [
        Arm("projection penalty", w, list, penalty=ProjectionPenalty(direction, layer, w)) for w in config.penalties
    ]
    found += [Arm("steering afterwards", c, list, afterwards=_steered(direction, layer, c)) for c in config.correcting]
    return found + [Arm(CAP, q, list, afterwards=_capped(direction, layer, bound)) for q, bound in cap_at.items()]


def _steered(direction: Direction, layer: int, coefficient: float) -> Callable[[HookedModelBase], Intervention]:
    return lambda model: Add(rebind_direction(direction, model), layer, -coefficient, span="all")


def _capped(direction: Direction, layer: int, upper: float) -> Callable[[HookedModelBase], Intervention]:
    return lambda model: Cap(rebind_direction(direction, model), layer, upper=upper, span="all")
