"""What the layers of a model will take: answers to write, and answers to read again under edits."""

from persona_interp.models.protocol import HookedModel
from persona_interp.studies.causal.config import CausalRun
from persona_interp.studies.causal.panel import RANDOM, WHATS
from persona_interp.studies.plan import ANSWER_S, Step

_PROMPT, _NEUTRAL, _SEARCH, _SOLVES = 60, 16 * 25, 6, 3


def causal_plan(run: CausalRun, model: HookedModel) -> list[Step]:
    """Rollouts, coefficients, readings under edits, and answers to be judged."""
    layers = len(run.layers(model.n_layers))
    made = 2 * run.n_instructions * (run.n_questions + run.n_eval)
    scopes = 1 + run.cumulative
    solves = layers * (scopes * _SEARCH + run.n_random * _SOLVES)
    pairs = run.n_eval * run.n_instructions
    readings = layers * (scopes * len(WHATS) + run.n_random * len(RANDOM))
    judged = run.n_eval * 2 * (1 + layers)
    return [
        Step("rollouts", made, made * run.max_new_tokens, made * _PROMPT),
        Step("strengths", solves, 0, solves * _NEUTRAL),
        Step("answers read again", readings, 0, readings * pairs * 2 * run.max_new_tokens),
        Step("answers judged", judged, judged * run.max_new_tokens, judged * _PROMPT, judged * ANSWER_S),
    ]
