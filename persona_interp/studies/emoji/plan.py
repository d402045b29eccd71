"""What the study of emoji will take: tokens to write, to read and to train on."""

from persona_interp.studies.emoji.ablation import N_NEUTRAL, draws_of
from persona_interp.studies.emoji.config import EmojiRun
from persona_interp.studies.plan import Step

_PROMPT, _CONTEXT, _NEUTRAL, _SPOTS, _ENDS = 30, 60, 95, 0.5, 2
"""Tokens of a prompt, of a spot with its prompt and of a neutral passage; spots and sentence ends a question."""
_ARM_S, _FIGURES_S = 8.0, 10.0
"""Seconds of loading an adapter, and of tables and figures."""


def emoji_plan(run: EmojiRun, *, n_layers: int) -> list[Step]:
    """The steps of a run, in order."""
    n_arms, sides = 2 * len(run.traits) * run.n_repeats, 1 + (run.control == "low")
    asked = run.n_repeats * (sides * len(run.traits) + (run.control == "plain"))
    answers = run.n_questions * run.n_samples
    trained = round(n_arms * run.n_train * run.n_epochs)
    lens = run.n_questions * (run.max_new_tokens + _PROMPT + _ENDS * n_layers)
    sets = 1 + len(run.top) + sum(draws_of(run.n_random, k) for k in range(len(run.top)))
    spots = round(run.n_questions * _SPOTS)
    chosen = run.n_selection * run.n_samples
    return [
        Step("answers to train on", asked * run.n_train, asked * run.n_train * run.training_tokens),
        Step("samples trained on", trained, trained=trained * (run.training_tokens + _PROMPT), other_s=n_arms * _ARM_S),
        Step("held-out answers", 2 * (n_arms + 1) * answers, 2 * (n_arms + 1) * answers * run.max_new_tokens),
        Step(
            "mass of emoji, and logit lens",
            (n_arms + 1) * run.n_questions,
            0,
            (n_arms + 1) * (2 * run.n_questions * (_PROMPT + run.max_new_tokens) + lens),
        ),
        Step("answers to find writers in", chosen, chosen * run.max_new_tokens),
        Step("neurons ablated", sets, 0, sets * (spots * _CONTEXT + N_NEUTRAL * _NEUTRAL)),
        Step("answers under ablation", 2 * answers, 2 * answers * run.max_new_tokens),
        Step("tables and figures", 0, other_s=_FIGURES_S),
    ]
