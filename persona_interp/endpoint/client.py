"""`ChatClient`: many chat completions in flight, retried, cached and counted."""

import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

import httpx2
from openai import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    OpenAI,
    OpenAIError,
    UnprocessableEntityError,
)

from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Positive
from persona_interp.endpoint.cache import ReplyCache
from persona_interp.endpoint.endpoint import Endpoint
from persona_interp.endpoint.pool import in_threads
from persona_interp.endpoint.replies import MalformedReplyError, read_reply
from persona_interp.endpoint.requests import ChatReply, ChatRequest, RequestFailure
from persona_interp.endpoint.transport import NO_CONNECTION, BoundedClient, OversizedReplyError, UnreachableError
from persona_interp.endpoint.usage import Counter, Price, Usage
from persona_interp.endpoint.wording import Wording
from persona_interp.errors import EndpointError
from persona_interp.progress import track

__all__ = ["ChatClient", "ChatReply", "ChatRequest", "Endpoint", "Price", "RequestFailure", "Usage"]

_CLOSE_S = 2.0
_RESUME = "What was answered is in the cache, if there is one: the same command goes on from there."


class ChatClient:
    """Asks one endpoint, with a limit of requests in flight that holds over all threads that use the client.

    429, 5xx, dropped connections and time-outs are retried with back-off, by `openai`, which keeps to Retry-After.

    Args:
        timeout_s: for one reply as a whole.
        cache: an SQLite file for replies; processes may share it. Failures are not kept.
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
        http = BoundedClient(timeout_s)
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
            EndpointError: no request can succeed: no connection, a wrong key, an unknown model, no credit left.
            ArtefactError: the cache cannot be read or written.
        """
        keys = [request.key(self.endpoint.base_url, self.endpoint.model) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))
        outcomes: dict[str, ChatReply | RequestFailure] = {}
        if self._cache is not None:
            outcomes.update(self._cache.get(keys))
        for reply in outcomes.values():
            self._counter.add(reply)
        todo = [(key, request) for key, request in distinct.items() if key not in outcomes]
        answered = in_threads(self._answer, todo, threads=self.in_flight)
        for (key, _), outcome in track(answered, label, total=len(todo), show=self.progress):
            outcomes[key] = outcome
        return [outcomes[key] for key in keys]

    def _answer(self, item: tuple[str, ChatRequest]) -> ChatReply | RequestFailure:
        """One outcome, in the cache before it counts as done."""
        key, request = item
        with self._slots:
            outcome = self._exchange(request)
            if self._cache is not None and isinstance(outcome, ChatReply):
                self._cache.put(key, outcome)
            self._counter.add(outcome)
        return outcome

    def _exchange(self, request: ChatRequest) -> ChatReply | RequestFailure:
        """Ask in the wording that the server was found to accept; a plainer one is kept once it succeeds."""
        wording = self._wording
        while True:
            try:
                reply = self._send(request, wording)
            except (BadRequestError, UnprocessableEntityError) as error:
                plainer = wording.plainer(request, str(error))
                if plainer is None:
                    return self._failure(error)
                wording = plainer
            except OpenAIError as error:
                return self._failure(error)
            except MalformedReplyError as error:
                return RequestFailure(str(error))
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
        return read_reply(response.content, max_tokens=request.max_tokens, logprobs=request.top_logprobs is not None)

    def _failure(self, error: OpenAIError) -> RequestFailure:
        """The failure of one row; an error where every row would fail in the same way."""
        if isinstance(error, UnreachableError) or isinstance(error.__cause__, NO_CONNECTION):
            reason = str(error) if isinstance(error, UnreachableError) else type(error.__cause__).__name__
            raise EndpointError(
                f"cannot reach {self.endpoint.base_url} ({reason}).",
                "Check the address (base_url, or OPENAI_BASE_URL) and that the server runs.",
                _RESUME,
            ) from None
        if isinstance(error, APITimeoutError):
            return RequestFailure("no reply in time")
        if isinstance(error, APIConnectionError):
            return RequestFailure(f"the connection broke ({type(error.__cause__).__name__})")
        if isinstance(error, OversizedReplyError):
            return RequestFailure(f"the reply is too large: {error}")
        if isinstance(error, APIStatusError):
            return self._refused(error)
        return RequestFailure(type(error).__name__)

    def _refused(self, error: APIStatusError) -> RequestFailure:
        where, model, status = self.endpoint.base_url, self.endpoint.model, error.status_code
        usage = self.usage
        answered = usage.requests > usage.failed  # so the key is good, and a 403 is about this request's content
        if status == 401 or (status == 403 and not answered):
            raise EndpointError(
                f"{where} refuses the key (HTTP {status}).",
                "Check api_key, or OPENAI_API_KEY, and that the key may use this model.",
                _RESUME,
            ) from None
        if status == 404:
            raise EndpointError(
                f"{where} knows no model {model!r}, or is no such server (HTTP 404).",
                "Check model and base_url (OPENAI_MODEL, OPENAI_BASE_URL); the address usually ends in /v1.",
                _RESUME,
            ) from None
        if error.code == "insufficient_quota":
            raise EndpointError(
                f"{where} has no credit left for this key (HTTP {status}).", "Add credit.", _RESUME
            ) from None
        told = error.body.get("message") if isinstance(error.body, dict) else None
        said = self.endpoint.redact(told if isinstance(told, str) else error.message)
        return RequestFailure(f"HTTP {status}: {''.join(c if c.isprintable() else ' ' for c in said)[:200]}")
