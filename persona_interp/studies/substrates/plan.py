"""What the substrates of a trait will take: answers to write, and answers to read again."""

from persona_interp.data.traits import Trait
from persona_interp.studies.plan import ANSWER_S, Step
from persona_interp.studies.substrates.config import SubstratesRun

_PROMPT, _PASSES, _PROBE_S, _NEUTRAL, _ARMS = 60, 5, 0.3, 9_000, 4


def substrates_plan(run: SubstratesRun, trait: Trait, *, latents: bool = False) -> list[Step]:
    """Rollouts, attribution, probes, ablations and capability; with a dictionary, latents steered."""
    n = 2 * run.n_questions * run.n_instructions
    ablated = sum(
        len(trait.eval_questions[: run.n_eval])
        * (2 + (run.n_random if k in (run.n_neurons, run.n_heads) else run.n_curve))
        for k in (*run.neurons, *run.heads)
    )
    arms = 1 + _ARMS * (len(run.neurons) + len(run.heads))
    steps = [
        Step("rollouts", n, n * run.max_new_tokens, n * _PROMPT),
        Step("attribution", n, 0, _PASSES * n * (_PROMPT + run.max_new_tokens)),
        Step("neuron probes", run.n_permutations, other_s=_PROBE_S * run.n_permutations),
        Step("ablated answers", ablated, ablated * run.max_new_tokens, ablated * _PROMPT, ablated * ANSWER_S),
    ]
    if run.capability:
        steps.append(Step("perplexity and accuracy", arms, 0, arms * _NEUTRAL))
    if latents:
        steered = len(trait.eval_questions[: run.n_eval]) * (2 + run.n_latents + run.n_random_latents)
        steps.append(
            Step("latents", steered, steered * run.max_new_tokens, steered * _PROMPT // 3, steered * ANSWER_S + 30)
        )
    return steps
