"""What a comparison of families will take: linear in families and in targets."""

from collections.abc import Sequence

from persona_interp.data.traits import Trait
from persona_interp.interventions.divergence import ANSWER_TOKENS
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.plan import ANSWER_S, Step

_PROMPT, _FAMILIES, _NEUTRAL, _PASSES, _TEXT, _FITS_S, _TEXTS = 60, 9, 16, 4, 35, 25.0, 90


def comparison_plan(run: ComparisonRun, traits: Sequence[Trait]) -> list[Step]:
    """Answers, directions, strengths, steered answers, their ratings and capability, of all traits."""
    k = len(traits)
    n = 2 * k * run.n_instructions * (run.n_questions * run.n_samples + run.n_held_out)
    steps = [
        Step("contrastive answers", n, n * run.max_new_tokens, n * _PROMPT),
        Step("directions and axes", _FAMILIES * k, 0, k * (_TEXTS * _TEXT + n * _PROMPT), _FITS_S * k),
    ]
    if not run.strength:
        return steps
    arms = k * (_FAMILIES + run.n_random) * len(run.targets)
    asked = (arms + 3 * k) * run.n_eval
    reading = run.n_texts * 100 + (60 * 4 * 15 if run.n_items is None else run.n_items * 4 * 15)
    return [
        *steps,
        Step("strengths", arms, 0, arms * _PASSES * _NEUTRAL * ANSWER_TOKENS),
        Step("steered answers", asked, asked * run.max_new_tokens, asked * _PROMPT),
        Step("ratings", asked, 0, asked * 5 * (run.max_new_tokens + _PROMPT // 4), asked * ANSWER_S),
        Step("perplexity and accuracy", arms, 0, arms * reading),
        Step("off-target traits", 11 * k, 0, k * 11 * 2 * run.n_pairs * _TEXT),
    ]
