"""What a run will do and about how long it takes here: tokens to write and to read, by a speed measured beforehand."""

from collections.abc import Sequence

from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.traits import Trait
from persona_interp.models.speed import Speed, measure_speed
from persona_interp.studies.persona.bench import Bench
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.plan import ANSWER_S, Step, announce, keep_speed, kept_speed

ROLLOUTS, VECTORS, CHOOSING = "rollouts and judging", "vectors and separation", "choosing a setting"
STEERING, RANDOM, TABLES = "steering and judging", "steering along random directions", "tables"
STAGES = (ROLLOUTS, VECTORS, CHOOSING, STEERING, RANDOM, TABLES)

_PROMPT, _PAIR = 50, 40
"""Tokens of a prompt with its system prompt, and of an answer of a pair or exemplar."""
_PASSES, _NEUTRAL = 10, 16 * 32
"""Passes that a layer's strengths take, both signs and three targets, over so many tokens of unsteered answers."""
_DRAWING_S, _NULLS_S = 15.0, 6.0
"""Seconds of what is no model: drawing and writing, and the nulls of a trait."""
SPEED = "speed.json"


def plan_of(config: RunConfig, traits: list[Trait], n_layers: int) -> list[Step]:
    """The steps of a run, in order."""
    layers, n_targets = len(config.steered_layers(n_layers)), len(config.coefficients or config.kl)
    both = 1 if config.coefficients else 2
    positive = sum(c > 0 for c in config.coefficients) or n_targets
    swept = 1 if config.sweep == "chosen" else layers
    rated = 2 * config.n_judge_pairs
    asked = config.n_questions * config.n_instructions, config.n_held_out_questions * config.n_held_out_instructions
    contrastive = 2 * sum(asked) * config.n_samples
    n_pairs = sum(2 * (len(hard_pairs(trait)) + len(trait.exemplars)) for trait in traits)
    selected = (layers * positive + (config.n_unsteered or 1)) * config.n_selection_questions
    steered = swept * n_targets * both * config.n_eval_samples
    evaluated = (steered + (config.n_unsteered or config.n_eval_samples)) * config.n_eval_questions
    gate = 4 * config.n_eval_questions
    drawn = (config.n_drawn() + 2) * (config.n_test_questions or config.n_eval_questions) if config.n_drawn() else 0
    strengths = 0 if config.coefficients else layers * _PASSES * _NEUTRAL
    n = len(traits)

    def read(answers: int, tokens: int, n_prompts: int) -> int:
        return answers * (tokens + _PROMPT // 4) * n_prompts

    short = config.eval_tokens
    return [
        Step(
            ROLLOUTS,
            n * contrastive,
            n * contrastive * config.max_new_tokens,
            n * read(contrastive, config.max_new_tokens, rated + 1) + read(n_pairs, _PAIR, rated),
            n * contrastive * ANSWER_S,
        ),
        Step(VECTORS, 0, 0, 0, n * _NULLS_S),
        Step(
            CHOOSING,
            n * selected,
            n * selected * short,
            n * (read(selected, short, rated + 1) + strengths),
            n * selected * ANSWER_S,
        ),
        Step(
            STEERING,
            n * evaluated,
            n * (evaluated + config.n_eval_questions) * short,
            n * read(evaluated + gate, short, rated + 1),
            n * (evaluated + gate) * ANSWER_S,
        ),
        Step(
            RANDOM,
            n * drawn,
            n * drawn * config.test_tokens,
            n * read(drawn, config.test_tokens, rated),
            n * drawn * ANSWER_S,
        ),
        Step(TABLES, 0, 0, 0, _DRAWING_S),
    ]


def run_speed(bench: Bench, steps: list[Step]) -> Speed:
    """The speed that the run began with, or that of the machine now."""
    return kept_speed(steps, lambda seconds: measure_speed(bench.model, seconds=seconds), bench.folder / SPEED)


def planned_seconds(bench: Bench, traits: list[Trait], speed: Speed, notes: Sequence[str] = ()) -> dict[str, float]:
    """Seconds that each stage is expected to take here; a plan of a minute or more is said on standard error.

    The speed is kept: a run that goes on takes the one that it began with.
    """
    steps = plan_of(bench.config, traits, bench.model.n_layers)
    keep_speed(bench.folder / SPEED, speed)
    title = f"{', '.join(bench.config.traits)} on {bench.model.name}, effort {bench.config.effort}"
    announce(title, steps, speed, counted="answers", notes=notes)
    return {step.what: step.seconds(speed) for step in steps}
