"""`ChatClient`: many chat completions in flight, retried, cached and counted."""

import logging
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx2
from openai import APIStatusError, OpenAI, OpenAIError

from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Positive
from persona_interp.endpoint.cache import ReplyCache
from persona_interp.endpoint.endpoint import Endpoint
from persona_interp.endpoint.failures import failure, kind_of, said
from persona_interp.endpoint.pool import in_threads
from persona_interp.endpoint.replies import MalformedReplyError, read_reply
from persona_interp.endpoint.requests import MAX_REASONING_TOKENS, ChatReply, ChatRequest, RequestFailure
from persona_interp.endpoint.transport import BoundedClient
from persona_interp.endpoint.usage import Counter, Price, Usage
from persona_interp.endpoint.wording import Wording
from persona_interp.progress import track

__all__ = ["ChatClient", "ChatReply", "ChatRequest", "Endpoint", "Price", "RequestFailure", "Usage"]

logger = logging.getLogger(__name__)

_CLOSE_S = 2.0


class ChatClient:
    """Asks one endpoint, with a limit of requests in flight that holds over all threads that use the client.

    429, 5xx, dropped connections and time-outs are retried with back-off, by `openai`, which keeps to Retry-After. A
    server that is silent is named after 5 seconds, and ends in an error where it does not answer the first request,
    asked twice, or later some 30 requests in a row.

    Args:
        timeout_s: for one reply as a whole.
        cache: an SQLite file for replies; processes may share it. Failures and replies that were cut off are not kept.
        price: for the running cost.

    Raises:
        ArtefactError: the cache file is damaged or of another program.
    """

    @checked
    def __init__(
        self,
        endpoint: Endpoint,
        *,
        in_flight: Count = 16,
        timeout_s: Positive = 60.0,
        max_retries: CountOrNone = 6,
        cache: Path | None = None,
        price: Price | None = None,
        progress: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self.in_flight = in_flight
        self.progress = progress
        self._slots = threading.BoundedSemaphore(in_flight)
        self._counter = Counter(price)
        self._cache = None if cache is None else ReplyCache(cache)
        self._wording = Wording()
        self._timeout_s = timeout_s
        http = BoundedClient(timeout_s, redact=endpoint.redact, patience=2 * in_flight + 2)
        self._openai = OpenAI(
            api_key=endpoint.api_key or "none",
            base_url=endpoint.base_url,
            max_retries=max_retries,
            timeout=httpx2.Timeout(timeout_s, connect=http.timeout.connect),
            http_client=http,
        )
        self._close = weakref.finalize(self, http.close)

    @property
    def usage(self) -> Usage:
        """Requests, tokens and cost so far."""
        return self._counter.usage()

    def close(self) -> None:
        """Close the connections and the cache; what is in flight has a moment to come in and be kept and counted."""
        deadline = time.monotonic() + _CLOSE_S
        held = [self._slots.acquire(timeout=max(0.0, deadline - time.monotonic())) for _ in range(self.in_flight)]
        self._close()
        if self._cache is not None:
            self._cache.close()
        for _ in range(sum(held)):
            self._slots.release()

    @checked
    def ask(self, requests: Sequence[ChatRequest], *, label: str = "requests") -> list[ChatReply | RequestFailure]:
        """One outcome a request, in their order. Equal requests are asked once.

        Raises:
            EndpointError: no request can succeed: no connection, no reply, a wrong key, an unknown model,
                no credit left.
            ArtefactError: the cache cannot be read or written.
        """
        keys = [request.key(self.endpoint.base_url, self.endpoint.model) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))
        outcomes: dict[str, ChatReply | RequestFailure] = {}
        if self._cache is not None:
            outcomes.update({key: reply for key, reply in self._cache.get(keys).items() if not reply.cut_off})
        for reply in outcomes.values():
            self._counter.add(reply)
        todo = [(key, request) for key, request in distinct.items() if key not in outcomes]
        answered = in_threads(self._answer, todo, threads=self.in_flight, idle=self._say_idle)
        for (key, _), outcome in track(answered, label, total=len(todo), show=self.progress):
            outcomes[key] = outcome
        return [outcomes[key] for key in keys]

    def _answer(self, item: tuple[str, ChatRequest]) -> ChatReply | RequestFailure:
        """One outcome, in the cache before it counts as done."""
        key, request = item
        with self._slots:
            outcome = self._exchange(request)
            if request.reasoning_tokens and outcome.cut_off:
                self._counter.add(outcome)
                room = min(2 * request.reasoning_tokens, MAX_REASONING_TOKENS)
                outcome = self._exchange(replace(request, reasoning_tokens=room))
            if self._cache is not None and isinstance(outcome, ChatReply) and not outcome.cut_off:
                self._cache.put(key, outcome)
            self._counter.add(outcome)
        return outcome

    def _exchange(self, request: ChatRequest) -> ChatReply | RequestFailure:
        """Ask in the wording that the server was found to accept; a plainer one is kept once it succeeds."""
        wording = self._wording
        while True:
            try:
                reply = self._send(request, wording)
            except APIStatusError as error:
                malformed = error.status_code in (400, 422)
                plainer = wording.plainer(request, said(error), malformed=malformed and not self._is_final(error))
                if plainer is None:
                    return self._failure(error)
                wording = plainer
            except OpenAIError as error:
                return self._failure(error)
            except MalformedReplyError as error:
                return RequestFailure(self.endpoint.redact(str(error)))
            except UnicodeEncodeError:
                return RequestFailure("the request holds characters that are not text")
            else:
                if wording != self._wording:
                    wording.report(self._wording, self.endpoint.model)
                    self._wording = wording
                return reply

    def _send(self, request: ChatRequest, wording: Wording) -> ChatReply:
        body = wording.body(request, self.endpoint.model)
        response = self._openai.post("/chat/completions", cast_to=httpx2.Response, body=body)
        reply = read_reply(response.content, max_tokens=request.limit, logprobs=request.top_logprobs is not None)
        return self._redacted(reply)

    def _redacted(self, reply: ChatReply) -> ChatReply:
        """The reply without the key, which escapes and the borders of tokens may have hidden."""
        text = self.endpoint.redact(reply.text)
        written = "".join(max(token, key=lambda pair: pair[1])[0] for token in reply.alternatives or () if token)
        spoken = text != reply.text or self.endpoint.redact(written) != written or "[key]" in text
        reason = self.endpoint.redact(reply.finish_reason)
        return replace(reply, text=text, finish_reason=reason, alternatives=None if spoken else reply.alternatives)

    def _failure(self, error: OpenAIError) -> RequestFailure:
        return failure(error, self.endpoint, good_key=self._has_answered())

    def _is_final(self, error: APIStatusError) -> bool:
        """Whether a refusal names its reason, so that another wording would not be taken either."""
        return kind_of(error.status_code, said(error), good_key=self._has_answered()) not in ("other", "model")

    def _has_answered(self) -> bool:
        usage = self.usage
        return usage.requests > usage.failed

    def _say_idle(self, waited_s: float) -> None:
        logger.warning(
            "%s at %s: no reply for %g s; a request waits up to %g s and is then sent again",
            *(self.endpoint.model, self.endpoint.base_url, waited_s, self._timeout_s),
        )
