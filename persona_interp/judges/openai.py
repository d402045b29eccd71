"""`OpenAIJudge`: a chat model with an OpenAI-compatible API, asked for a rating by a rubric."""

import logging
import math
from collections import Counter
from collections.abc import Sequence

from persona_interp.arguments import checked
from persona_interp.bounds import CountOrNone
from persona_interp.data.traits import Trait
from persona_interp.endpoint.client import ChatClient
from persona_interp.endpoint.endpoint import Endpoint
from persona_interp.endpoint.requests import ChatReply, ChatRequest, RequestFailure
from persona_interp.errors import EndpointError
from persona_interp.judges.protocol import Score, judged_parts, score_rollouts
from persona_interp.judges.ratings import (
    CUT_OFF,
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
from persona_interp.reasoning import ONLY_REASONING
from persona_interp.rollouts.generate import Rollouts

logger = logging.getLogger(__name__)

MAX_TOKENS = 12
TOP_LOGPROBS = 20
_WAYS: dict[Way, str] = {
    "weighted": f"the mean over the probabilities of integers as the first token (together at least {MIN_MASS})",
    "digits": "the integer it wrote, because it writes numbers digit by digit",
    "no logprobs": "the integer it wrote, because the server gives no log-probabilities",
    "reasoned": "the integer it wrote after its reasoning",
    "undecided": "the integer it wrote, because no reply showed whether its numbers are single tokens",
}

_GIVE_ROOM = (
    "It writes more than a number first, as a model that reasons does: give it room, OpenAIJudge(...,"
    " reasoning_tokens=1024), or switch its reasoning off (reasoning_effort, or an option of the server)."
)
_NO_RATING = "It was asked for one whole number from 0 to 100. Use a model that keeps to that, or another rubric."


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
        reasoning_tokens: room for a model that reasons before it rates, on top of the 12 tokens of a rating; 512 to
            4096 are usual, and are paid for. Twice as many where a reply was cut off. The reasoning is not read.
        reasoning_effort: passed on to the server: "low", "medium", "high", or what else it knows.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), for the weighting and the mass rule. They send the
    rubric as the only message; the system message and the fence are ours.
    """

    @checked
    def __init__(
        self,
        client: ChatClient | Endpoint | None = None,
        *,
        ways: Sequence[str] = (),
        reasoning_tokens: CountOrNone = 0,
        reasoning_effort: str | None = None,
    ) -> None:
        endpoint = Endpoint.from_environment() if client is None else client
        self.client = endpoint if isinstance(endpoint, ChatClient) else ChatClient(endpoint)
        self.name = f"api ({self.client.endpoint.model})"
        self.refusals = 0
        self.reasoning_tokens, self.reasoning_effort = reasoning_tokens, reasoning_effort
        self._request((("user", PROBE),))  # refuses what cannot be asked for
        self._rated = 0
        self._tokens: Tokens | None = None
        self.ways: set[Way] = set(_WAYS) & set(ways)

    @property
    def description(self) -> str:
        """One sentence for reports: which model at which address, and how its ratings were read."""
        endpoint = self.client.endpoint
        ways = [text for way, text in _WAYS.items() if way in self.ways]
        read = f"the score is {'; for some answers '.join(ways)}" if ways else "no answer was rated yet"
        room = f", with up to {self.reasoning_tokens} tokens of reasoning" if self.reasoning_tokens else ""
        room += f", with reasoning effort {self.reasoning_effort}" if self.reasoning_effort else ""
        rubric = "asked to rate from 0 to 100 by the trait's rubric"
        return f"{endpoint.model} at {endpoint.base_url}, {rubric}{room}; {read}"

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
            EndpointError: no request can succeed, none did, or no reply of this judge so far was a rating.
        """
        return self._rate(trait.eval_prompt, questions, answers, label=f"{trait.name}: API judge")

    @checked
    def coherence(self, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """Coherence of each answer with its question and in itself, 0..100, truth and manners left aside.

        Raises:
            EndpointError: no request can succeed, none did, or no reply of this judge so far was a rating.
        """
        return self._rate(COHERENCE, questions, answers, label="coherence: API judge")

    def _rate(self, rubric: str, questions: Sequence[str], answers: Sequence[str], *, label: str) -> list[Score]:
        parts = judged_parts(questions, answers)
        rows = [i for i, part in enumerate(parts) if part.strip()]
        scores = [Score(math.nan, math.nan, ONLY_REASONING if answer.strip() else "empty answer") for answer in answers]
        if not rows:
            return scores
        probe = None if self._tokens else self.client.ask([self._request((("user", PROBE),))], label=label)[0]
        if probe is not None and not self.reasoning_tokens and _reasons_first(probe):
            raise EndpointError(f"{self.name} cannot rate: asked for a number, it was cut off.", _GIVE_ROOM)
        requests = [self._request(rating_messages(rubric, questions[i], parts[i])) for i in rows]
        outcomes = self.client.ask(requests, label=label)
        _report([outcome.reason for outcome in outcomes if isinstance(outcome, RequestFailure)], len(rows), self.name)
        tokens = self._learn([probe, *outcomes])
        for i, outcome in zip(rows, outcomes, strict=True):
            scores[i] = self._score(outcome, tokens)
        replied = [scores[i] for i, outcome in zip(rows, outcomes, strict=True) if isinstance(outcome, ChatReply)]
        self._rated += sum(score.note in ("", REFUSAL) for score in replied)
        _report_unread([s.note for s in replied if s.note not in ("", REFUSAL)], len(replied), self.name, self._rated)
        return scores

    def _request(self, messages: tuple[tuple[str, str], ...]) -> ChatRequest:
        return ChatRequest(
            messages,
            max_tokens=MAX_TOKENS,
            top_logprobs=TOP_LOGPROBS,
            reasoning_tokens=self.reasoning_tokens,
            reasoning_effort=self.reasoning_effort,
        )

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


def _reasons_first(probe: ChatReply | RequestFailure) -> bool:
    """Whether a reply to the probe came to its limit before the number."""
    return probe.cut_off and not (isinstance(probe, ChatReply) and probe.text.strip())


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


def _report_unread(notes: Sequence[str], n: int, name: str, rated: int) -> None:
    """Log replies that were no ratings in one line.

    Raises:
        EndpointError: all of them are, and so were all replies before.
    """
    if not notes:
        return
    said = "; ".join(f"{note} ({count} times)" for note, count in Counter(notes).most_common(3))
    if not rated:
        remedy = _GIVE_ROOM if any(note.startswith(CUT_OFF) for note in notes) else _NO_RATING
        raise EndpointError(f"{name} rated none of {n} answers: {said}.", remedy)
    logger.warning("%s: %d of %d replies were no ratings: %s", name, len(notes), n, said)
