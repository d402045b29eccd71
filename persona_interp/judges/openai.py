"""`OpenAIJudge`: a chat model with an OpenAI-compatible API, asked for a rating by a rubric."""

import logging
import math
from collections import Counter
from collections.abc import Sequence

from persona_interp.arguments import checked
from persona_interp.data.traits import Trait
from persona_interp.endpoint.client import ChatClient
from persona_interp.endpoint.endpoint import Endpoint
from persona_interp.endpoint.requests import ChatReply, ChatRequest, RequestFailure
from persona_interp.errors import EndpointError
from persona_interp.judges.protocol import Score, check_pairs, score_rollouts
from persona_interp.judges.ratings import (
    FAILED,
    MIN_MASS,
    REFUSAL,
    Tokens,
    Way,
    number_tokens,
    read_rating,
    way_of_reading,
)
from persona_interp.judges.rubric import COHERENCE, PROBE, rating_messages
from persona_interp.rollouts.generate import Rollouts

logger = logging.getLogger(__name__)

MAX_TOKENS = 12
TOP_LOGPROBS = 20
_WAYS: dict[Way, str] = {
    "weighted": f"the mean over the probabilities of integers as the first token (together at least {MIN_MASS})",
    "digits": "the integer it wrote, because it writes numbers digit by digit",
    "no logprobs": "the integer it wrote, because the server gives no log-probabilities",
    "undecided": "the integer it wrote, because no reply showed whether its numbers are single tokens",
}


class OpenAIJudge:
    """Trait expression 0..100 by the trait's own rubric, and coherence by ours; larger is more.

    At temperature 0. Where the server gives log-probabilities and the model writes each number as one token, the score
    is the mean over its probabilities; where a vocabulary splits numbers into digits, the integer it wrote. Which of
    them was used is in `description`. The judged text is fenced and declared to be data. The scale is the model's
    own: it is not calibrated on exemplars.

    Args:
        client: an endpoint is asked through a client with its defaults and without a cache. Default: the endpoint of
            OPENAI_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY.
        ways: how ratings were read before, by this judge in an earlier process; `description` names them too.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), for the weighting and the mass rule. They send the
    rubric as the only message; the system message and the fence are ours.
    """

    @checked
    def __init__(self, client: ChatClient | Endpoint | None = None, *, ways: Sequence[str] = ()) -> None:
        endpoint = Endpoint.from_environment() if client is None else client
        self.client = endpoint if isinstance(endpoint, ChatClient) else ChatClient(endpoint)
        self.name = f"api ({self.client.endpoint.model})"
        self.refusals = 0
        self._tokens: Tokens | None = None
        self.ways: set[Way] = set(_WAYS) & set(ways)

    @property
    def description(self) -> str:
        """One sentence for reports: which model at which address, and how its ratings were read."""
        endpoint = self.client.endpoint
        ways = [text for way, text in _WAYS.items() if way in self.ways]
        read = f"the score is {'; for some answers '.join(ways)}" if ways else "no answer was rated yet"
        return f"{endpoint.model} at {endpoint.base_url}, asked to rate from 0 to 100 by the trait's rubric; {read}"

    @checked
    def score(self, rollouts: Rollouts, trait: Trait | None = None) -> Rollouts:
        """The rollouts with `expression`, this judge's score of every answer."""
        return score_rollouts(self, rollouts, trait)

    @checked
    def unable(self, trait: Trait) -> str | None:
        """Why it cannot judge a trait; None where it can."""
        return None if trait.eval_prompt.strip() else f"{trait.name} has no rubric (eval_prompt)"

    @checked
    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """One score an answer. NaN, with the reason in `note`, for an empty answer, a refusal and a failed request.

        Raises:
            EndpointError: no request can succeed, or none did.
        """
        return self._rate(trait.eval_prompt, questions, answers, label=f"{trait.name}: API judge")

    @checked
    def coherence(self, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """Coherence of each answer with its question and in itself, 0..100, truth and manners left aside.

        Raises:
            EndpointError: no request can succeed, or none did.
        """
        return self._rate(COHERENCE, questions, answers, label="coherence: API judge")

    def _rate(self, rubric: str, questions: Sequence[str], answers: Sequence[str], *, label: str) -> list[Score]:
        check_pairs(questions, answers)
        rows = [i for i, answer in enumerate(answers) if answer.strip()]
        scores = [Score(math.nan, math.nan, "empty answer")] * len(answers)
        if not rows:
            return scores
        probe = None if self._tokens else self.client.ask([_request((("user", PROBE),))], label=label)[0]
        requests = [_request(rating_messages(rubric, questions[i], answers[i])) for i in rows]
        outcomes = self.client.ask(requests, label=label)
        _report([outcome.reason for outcome in outcomes if isinstance(outcome, RequestFailure)], len(rows), self.name)
        tokens = self._learn([probe, *outcomes])
        for i, outcome in zip(rows, outcomes, strict=True):
            scores[i] = self._score(outcome, tokens)
        replied = [scores[i] for i, outcome in zip(rows, outcomes, strict=True) if isinstance(outcome, ChatReply)]
        _report_unread([score.note for score in replied if score.note not in ("", REFUSAL)], len(replied), self.name)
        return scores

    def _learn(self, outcomes: Sequence[ChatReply | RequestFailure | None]) -> Tokens:
        """How this model writes numbers: by the first reply that shows it, the probe's before all."""
        for outcome in outcomes:
            seen = number_tokens(outcome) if isinstance(outcome, ChatReply) else "unknown"
            if self._tokens is None and seen != "unknown":
                self._tokens = seen
        return self._tokens or "unknown"

    def _score(self, outcome: ChatReply | RequestFailure, tokens: Tokens) -> Score:
        if isinstance(outcome, RequestFailure):
            return Score(math.nan, math.nan, f"{FAILED}: {outcome.reason}")
        way = way_of_reading(outcome, tokens)
        score = read_rating(outcome, way)
        if score.note == REFUSAL:
            self.refusals += 1
        else:
            self.ways.add(way)
        return score


def _request(messages: tuple[tuple[str, str], ...]) -> ChatRequest:
    return ChatRequest(messages, max_tokens=MAX_TOKENS, top_logprobs=TOP_LOGPROBS)


def _report(failures: Sequence[str], n: int, name: str) -> None:
    """Log failed rows in one line.

    Raises:
        EndpointError: all of them failed.
    """
    if not failures:
        return
    reasons = "; ".join(f"{reason} ({count} times)" for reason, count in Counter(failures).most_common(3))
    if len(failures) == n:
        raise EndpointError(
            f"{name} rated none of {n} answers: {reasons}.",
            "Nothing was scored. Failures are not cached: run the same command again when the server answers.",
        )
    logger.warning("%s: %d of %d rows failed: %s", name, len(failures), n, reasons)


def _report_unread(notes: Sequence[str], n: int, name: str) -> None:
    """Log replies that were no ratings in one line: a model that reasons first, say, may never come to its number."""
    if notes:
        (note, count), *_ = Counter(notes).most_common(1)
        logger.warning("%s: %d of %d replies were no ratings: %s (%d times)", name, len(notes), n, note, count)
