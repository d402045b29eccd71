"""What the main job is asked to do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from persona_interp.arguments import checked
from persona_interp.bounds import Amount, Coefficient, Count, CountOrNone, Positive, Seed, SomeTuple, Temperature
from persona_interp.data.traits import Trait, load_trait
from persona_interp.directions.persona import Filter
from persona_interp.errors import ConfigError
from persona_interp.interventions.strength import KLTargets
from persona_interp.judges.protocol import require_exemplars
from persona_interp.measurements.steering_null import draws_for
from persona_interp.rollouts.generate import contrastive_requests
from persona_interp.statistics.levels import N_DRAWS
from persona_interp.types import layers_at_depth

TARGETS = (0.1, 0.2, 0.4)
"""Nats a token; beyond, small models no longer write sentences."""

_DEPTHS = (0.3, 0.5, 0.7)


@checked
@dataclass(frozen=True)
class RunConfig:
    """Every setting of a run; a folder belongs to one of them.

    Args:
        effort: name of the sizes, for the report, which says what a quick run leaves out; it sets nothing by itself.
        n_questions: extraction questions a trait; `n_held_out_questions` evaluation questions for the separation test.
        layers: 0-based blocks to steer at; empty: those whose outputs lie nearest to depths 0.3, 0.5 and 0.7.
        kl: strengths by what they do: at each layer the coefficients that reach these mean KL divergences from the
            unsteered model, in nats, each on both sides of 0 (`strength_for_kl`). The test against random directions is
            then at the coefficient of the middle target, the same for all: equal norms, not equal KL.
        coefficients: in place of kl: strengths in units of the mean residual norm of the layer.
        n_selection_questions: extraction questions on which the layer and coefficient are chosen, so that the
            evaluation questions never choose.
        n_random: random directions of equal norm that the vector's effect is ranked among; None: 100, or as many as one
            true effect among the claims needs (`draws_for`); 0: no test, and fewer than 19 have no p.
        test_coefficient: strength of that test, at the middle of the steered layers, named before any answer is seen;
            None: that of the middle of `kl`, or the largest of `coefficients`.
        test_tokens: length of its answers; `n_test_questions` evaluation questions that it asks, None: all of them.
        n_unsteered: unsteered answers a question, with which those of every strength are compared, and which say what
            is coherent; None: as many as at a strength.
        sweep: whether every steered layer is evaluated at every strength, or the chosen layer alone.
        judge_models: models of the likelihood judges, of which the first filters; empty: the unsteered model itself,
            said so in the report (to have it beside others, name it).
        api_judge: name of a model at an OpenAI-compatible endpoint; empty: no such judge. Address and key come
            from the environment (OPENAI_BASE_URL, OPENAI_API_KEY), so that no folder holds them.
        api_price: US dollars per million prompt tokens and per million completion tokens of the API judge, for the cost
            in provenance_persona.json; None: tokens are counted and no cost is told.
        reasoning_tokens: tokens that the API judge may reason with before it rates; `reasoning_effort` is passed to it.
        template_options: values for variables of the model's chat template, such as {"enable_thinking": False}.
        lexical: rate by word lists too: traits that have a valence by the VADER lexicon, impoliteness by its markers.
        extra_judges_on: steered answers that the API judge and every likelihood judge but the first rate: those at the
            chosen setting and the unsteered ones, or all.
        n_judge_pairs: prompt pairs that each likelihood judge averages over.
    """

    model: str
    traits: SomeTuple[str]
    backend: Literal["transformer_lens", "nnsight"] = "transformer_lens"
    dtype: str = "auto"
    effort: Literal["quick", "standard", "paper"] = "standard"
    n_questions: Count = 20
    n_instructions: Count = 5
    n_samples: Count = 1
    n_held_out_questions: Count = 20
    n_held_out_instructions: Count = 5
    max_new_tokens: Count = 40
    temperature: Temperature = 1.0
    filter: Filter = "paired"
    layers: tuple[int, ...] = ()
    kl: SomeTuple[Positive] = TARGETS
    coefficients: tuple[Coefficient, ...] = ()
    n_selection_questions: int = 10
    n_eval_questions: Count = 20
    n_eval_samples: Count = 2
    n_unsteered: Count | None = None
    sweep: Literal["all", "chosen"] = "all"
    eval_tokens: Count = 32
    eval_temperature: Temperature = 0.7
    n_random: CountOrNone | None = None
    test_coefficient: Positive | None = None
    test_tokens: Count = 16
    n_test_questions: Count | None = None
    judge_models: tuple[str, ...] = ()
    api_judge: str = ""
    api_price: tuple[Amount, Amount] | None = None
    reasoning_tokens: CountOrNone = 0
    reasoning_effort: str = ""
    template_options: Mapping[str, Any] = field(default_factory=dict)
    lexical: bool = True
    extra_judges_on: Literal["chosen", "all"] = "chosen"
    n_judge_pairs: Count = 1
    n_null: Count = N_DRAWS
    n_resamples: Count = 2000
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Refuse settings with which the job could only fail later.

        Raises:
            ConfigError: says which.
        """
        rules = {
            "traits must not name a trait twice": len(set(self.traits)) == len(self.traits),
            "judge_models must not name a model twice": len(set(self.judge_models)) == len(self.judge_models),
            "reasoning_tokens and reasoning_effort are of an api_judge, and none is named": bool(self.api_judge)
            or not (self.reasoning_tokens or self.reasoning_effort),
            "api_price is the price of an api_judge, and none is named": self.api_price is None or bool(self.api_judge),
            "coefficients must hold a positive number": not self.coefficients or any(c > 0 for c in self.coefficients),
            "n_selection_questions must be at least 3, for a reference of coherence": self.n_selection_questions >= 3,
            "n_eval_questions times n_eval_samples must be at least 3, for a reference of coherence": (
                self.n_eval_questions * self.n_eval_samples >= 3
            ),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError("cannot run with this configuration.", f"{rule}.")
        self.kl_targets()  # refuses

    def load_traits(self) -> list[Trait]:
        """The traits, all of them before any work begins.

        Raises:
            ConfigError: a trait has fewer questions or instructions than the job asks for.
            TraitError: a trait is unknown, or has too few exemplars for the judges.
        """
        traits = [load_trait(name) for name in self.traits]
        names = [trait.name for trait in traits]
        if twice := [name for name in names if names.count(name) > 1]:
            files = ", ".join(given for given, name in zip(self.traits, names, strict=True) if name == twice[0])
            raise ConfigError(
                f"two traits are called {twice[0]}: {files}.", "Results are kept by name: give one of them another."
            )
        for trait in traits:
            contrastive_requests(trait, n_questions=self.n_questions, n_instructions=self.n_instructions)
            held_out = {"n_questions": self.n_held_out_questions, "n_instructions": self.n_held_out_instructions}
            contrastive_requests(trait, **held_out, questions="eval")
            require_exemplars(trait, "the main job", at_least=3)
        return traits

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready dictionary."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @checked
    def steered_layers(self, n_layers: Count) -> tuple[int, ...]:
        """The layers to steer at."""
        if self.layers:
            return self.layers
        return layers_at_depth(_DEPTHS, n_layers)

    def kl_targets(self) -> KLTargets:
        """The targets of `kl` on both sides, in order of their coefficients.

        Raises:
            ConfigError: two are less than a quarter apart.
        """
        sizes = sorted(self.kl)
        return KLTargets((*(-size for size in reversed(sizes)), *sizes))

    @checked
    def test_layer(self, n_layers: Count) -> int:
        """The layer of the test against random directions, which no answer chose: the middle of the steered ones."""
        layers = self.steered_layers(n_layers)
        return layers[len(layers) // 2]

    def n_drawn(self) -> int:
        """How many random directions the test draws."""
        return draws_for(len(self.traits)) if self.n_random is None else self.n_random
