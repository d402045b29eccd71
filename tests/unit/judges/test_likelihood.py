from dataclasses import replace

import numpy as np
import pytest
import torch

from persona_interp.data.traits import Exemplar, Trait
from persona_interp.errors import ConfigError, TraitError
from persona_interp.judges import scoring
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.judges.scoring import mean_logprobs
from persona_interp.models.hooked import HookedModelBase
from tests.contract.tiny import Tiny
from tests.small import TRAIT

QUESTIONS = ["Why?", "Who?", "Why?", "Why?"]
ANSWERS = ["NO!", "It was me, so it was.", "hm", "NO!"]


def direct(small: Tiny, system: str | None, question: str, answer: str) -> float:
    """Mean log-probability of the answer's tokens, by the plain model and one row."""
    tokenizer = small.hooked("nnsight").tokenizer
    head = "" if system is None else f"{system}\n\n"
    prompt = tokenizer(f"{head}Question: {question}\nAnswer:", add_special_tokens=False)["input_ids"]
    response = tokenizer(answer, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = small.plain(torch.tensor([prompt + response])).logits[0]
    logprobs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    return float(logprobs[range(len(response)), response].mean())


@pytest.fixture(scope="module")
def judge(model: HookedModelBase) -> LikelihoodJudge:
    return LikelihoodJudge(model, n_pairs=1, progress=False)


@pytest.fixture(scope="module")
def seen(judge: LikelihoodJudge) -> Trait:
    """The trait with exemplar poles as this random model happens to see them."""
    e = TRAIT.exemplars
    ratios = judge.log_ratios(TRAIT, [x.question for x in e] * 2, [x.pos for x in e] + [x.neg for x in e])
    flip = ratios[: len(e)] < ratios[len(e) :]
    return replace(
        TRAIT,
        exemplars=tuple(Exemplar(x.question, x.neg, x.pos) if turned else x for x, turned in zip(e, flip, strict=True)),
    )


def test_mean_log_probabilities(small: Tiny, model: HookedModelBase, monkeypatch: pytest.MonkeyPatch):
    systems = [None, "Be loud.", "Be very quiet, please."]
    table = mean_logprobs(model, systems, QUESTIONS, ANSWERS, progress=False)
    expected = [[direct(small, s, q, a) for s in systems] for q, a in zip(QUESTIONS, ANSWERS, strict=True)]
    np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-4)
    assert (table < 0).all() and np.allclose(table[0], table[3])
    monkeypatch.setattr(scoring, "_LOGIT_BUDGET", 1)
    np.testing.assert_allclose(mean_logprobs(model, systems, QUESTIONS, ANSWERS, progress=False), table, atol=1e-5)


def test_log_ratio_of_one_pair(small: Tiny, judge: LikelihoodJudge):
    loud, quiet = "You are a loud assistant. Shout.", "You are a quiet assistant. Whisper."
    expected = [direct(small, loud, q, a) - direct(small, quiet, q, a) for q, a in zip(QUESTIONS, ANSWERS, strict=True)]
    np.testing.assert_allclose(judge.log_ratios(TRAIT, QUESTIONS, ANSWERS), expected, rtol=1e-3, atol=1e-4)


def test_several_pairs_are_averaged(model: HookedModelBase, judge: LikelihoodJudge):
    second = replace(TRAIT, instructions=TRAIT.instructions[1:])
    both = LikelihoodJudge(model, n_pairs=2, progress=False).log_ratios(TRAIT, QUESTIONS, ANSWERS)
    singles = [judge.log_ratios(trait, QUESTIONS, ANSWERS) for trait in (TRAIT, second)]
    np.testing.assert_allclose(both, np.mean(singles, axis=0), atol=1e-5)


def test_scores_are_calibrated_on_the_exemplars(judge: LikelihoodJudge, seen: Trait):
    questions = [x.question for x in seen.exemplars]
    positive = judge.rate(seen, questions, [x.pos for x in seen.exemplars])
    negative = judge.rate(seen, questions, [x.neg for x in seen.exemplars])
    calibration = judge.calibration(seen)
    assert calibration(float(np.mean([s.raw for s in positive]))) == pytest.approx(80, abs=1e-3)
    assert calibration(float(np.mean([s.raw for s in negative]))) == pytest.approx(20, abs=1e-3)
    assert all(s.value == pytest.approx(calibration(s.raw)) for s in (*positive, *negative))


def test_calibration_is_computed_once(judge: LikelihoodJudge, seen: Trait, monkeypatch: pytest.MonkeyPatch):
    calibration = judge.calibration(seen)
    monkeypatch.setattr(judge, "log_ratios", None)
    assert judge.calibration(seen) is calibration


def test_empty_answers_have_no_score(judge: LikelihoodJudge, seen: Trait):
    scores = judge.rate(seen, ["Why?", "Why?"], ["", "NO!"])
    assert np.isnan(scores[0].value) and np.isnan(scores[0].raw)
    assert 0 <= scores[1].value <= 100
    assert all(np.isnan(score.value) for score in judge.rate(seen, ["Why?"], [""]))
    assert judge.rate(seen, [], []) == []


def test_a_trait_it_does_not_see_is_refused(judge: LikelihoodJudge, seen: Trait):
    turned = replace(seen, exemplars=tuple(Exemplar(x.question, x.neg, x.pos) for x in seen.exemplars))
    with pytest.raises(TraitError, match=r"^cannot calibrate likelihood \(.*\) for loud: it rates positive exemplars"):
        judge.rate(turned, ["Why?"], ["NO!"])


def test_a_trait_without_contrastive_prompts_is_refused(judge: LikelihoodJudge):
    bare = replace(TRAIT, instructions=())
    with pytest.raises(TraitError, match="compares system prompts of both poles, and loud has none"):
        judge.rate(bare, ["Why?"], ["Because."])


def test_it_says_what_it_is(model: HookedModelBase, judge: LikelihoodJudge):
    assert isinstance(judge, Judge) and judge.name == f"likelihood ({model.name})"
    assert "unsteered" in judge.description and "(1 pairs)" in judge.description
    with pytest.raises(ConfigError, match=r"^n_pairs must be 1 to 1000000, got 0\."):
        LikelihoodJudge(model, n_pairs=0)
