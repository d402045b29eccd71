"""How much work a corpus of styles is: three sizes, and what they will take."""

from collections.abc import Sequence
from types import MappingProxyType

from persona_interp.data.styles import StyleCorpus
from persona_interp.studies.plan import ANSWER_S, CHARACTERS, Step
from persona_interp.studies.sizes import Efforts
from persona_interp.studies.styles.config import StyleRun

EFFORTS: Efforts = MappingProxyType(
    {
        "quick": {"n_sentences": 60, "n_questions": 6, "n_selection": 6, "n_random": 39, "max_new_tokens": 16},
        "standard": {"n_sentences": None, "n_questions": 20, "n_selection": 8, "n_random": 100, "max_new_tokens": 48},
        "paper": {"n_sentences": None, "n_questions": 50, "n_selection": 20, "n_random": 100, "max_new_tokens": 150},
    }
)
"""Options of `persona-interp styles`; the paper's are its 50 factual and 49 subjective prompts and its 150 tokens."""

_PROMPT, _DRAWING_S = 30, 8.0
_PROBE_S = 5e-7
"""Seconds of a probe, a sentence, a number of its residuals and a style."""


def style_plan(
    run: StyleRun, corpus: StyleCorpus, styles: Sequence[str], *, n_layers: int, d_model: int, likelihood: bool = False
) -> list[Step]:
    """The steps of a run, in order.

    Args:
        corpus: the sentences that are used.
        styles: that are steered.
        likelihood: whether the likelihood judge rates too.
    """
    texts = [text for of_style in corpus.sentences.values() for text in of_style]
    tokens, n_styles, steering = sum(map(len, texts)) // CHARACTERS, len(corpus.styles), run.steering
    evaluated = 2 * run.n_questions * steering.n_samples
    asked = evaluated + run.n_selection * steering.n_samples
    kinds = len(run.variants) + run.published_reading
    arms = 1 + len(styles) * (1 + kinds * len(steering.placements) * len(steering.coefficients))
    answers, drawn = arms * asked, steering.n_random * evaluated
    read = (answers + drawn) * steering.max_new_tokens * 2 * len(styles) if likelihood else 0
    steps = [
        Step("sentences", len(texts), 0, tokens),
        Step("probes", n_styles * (n_layers + 1), 0, 0, _PROBE_S * len(texts) * d_model * (n_layers + 1) * n_styles),
    ]
    if "generated" in run.variants:
        n = n_styles * run.n_generated
        steps.append(Step("answers in every style", n, n * 48))
    if "trained" in run.variants:
        n = n_styles * min(run.n_trained, max(map(len, corpus.sentences.values())))
        each = min(tokens // len(texts), 12)
        steps.append(Step("trained vectors, at most", n, trained=n * each * run.training.max_epochs))
    coherence = answers * (steering.max_new_tokens + _PROMPT // 2)
    rated_s = (answers + drawn) * ANSWER_S + len(styles) * len(texts) * ANSWER_S / 4
    return [
        *steps,
        Step("steered answers", answers, answers * steering.max_new_tokens),
        Step("answers along random directions", drawn, drawn * steering.max_new_tokens),
        Step("judging", answers + drawn, 0, coherence + read, rated_s),
        Step("tables and figures", 0, other_s=_DRAWING_S),
    ]
