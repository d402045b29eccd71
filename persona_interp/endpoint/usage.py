"""Counts of requests, tokens and money."""

import threading
from dataclasses import dataclass

from persona_interp.arguments import checked
from persona_interp.bounds import Amount
from persona_interp.endpoint.requests import ChatReply, RequestFailure


@checked
@dataclass(frozen=True)
class Price:
    """What a million tokens cost, in any currency."""

    prompt: Amount
    completion: Amount


@dataclass(frozen=True)
class Usage:
    """What was asked so far.

    Args:
        requests: sent to the server, failed ones included; retries of the same request count once.
        cached: served from the cache instead.
        failed: of `requests`, those without a usable answer. The tokens they may have cost are not counted.
        uncounted: answers for which the server gave no token counts, so that tokens and cost are too low.
        cost: of the tokens; None without a price.
    """

    requests: int = 0
    cached: int = 0
    failed: int = 0
    uncounted: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def __add__(self, other: "Usage") -> "Usage":
        """Both together; the cost of both is known only where each is."""
        return Usage(
            requests=self.requests + other.requests,
            cached=self.cached + other.cached,
            failed=self.failed + other.failed,
            uncounted=self.uncounted + other.uncounted,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost=None if self.cost is None or other.cost is None else self.cost + other.cost,
        )


class Counter:
    """Adds up outcomes from many threads."""

    def __init__(self, price: Price | None = None) -> None:
        self._price = price
        self._lock = threading.Lock()
        self._requests = self._cached = self._failed = self._uncounted = self._prompt = self._completion = 0

    def add(self, outcome: ChatReply | RequestFailure) -> None:
        """Count one outcome."""
        with self._lock:
            if isinstance(outcome, RequestFailure):
                self._requests += 1
                self._failed += 1
            elif outcome.cached:
                self._cached += 1
            else:
                self._requests += 1
                self._uncounted += outcome.prompt_tokens == 0
                self._prompt += outcome.prompt_tokens
                self._completion += outcome.completion_tokens

    def usage(self) -> Usage:
        """The count so far."""
        with self._lock:
            price = self._price
            cost = None
            if price is not None:
                cost = (self._prompt * price.prompt + self._completion * price.completion) / 1e6
            return Usage(
                requests=self._requests,
                cached=self._cached,
                failed=self._failed,
                uncounted=self._uncounted,
                prompt_tokens=self._prompt,
                completion_tokens=self._completion,
                cost=cost,
            )
