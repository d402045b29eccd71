"""What is asked of a chat model and what comes back, and the one hash that says two requests are the same."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from persona_interp.errors import ConfigError
from persona_interp.io import sha256_json

MAX_REASONING_TOKENS = 1_000_000
Alternatives = tuple[tuple[tuple[str, float], ...], ...]


@dataclass(frozen=True)
class ChatRequest:
    """One chat completion. Two equal requests are one: to sample twice, give two seeds.

    Args:
        messages: (role, content) in order.
        top_logprobs: ask for that many alternatives a token, at most 20.
        schema: JSON schema that the answer should fulfil. Servers keep to it, or to JSON, or to nothing: check the
            answer whatever it is.
        reasoning_tokens: for a model that reasons before it answers, on top of `max_tokens`. A reply that was cut off
            all the same is asked for once more with twice as many.
        reasoning_effort: passed on as it is; servers know "low", "medium" and "high", some "none" and "minimal".
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float = 0.0
    top_logprobs: int | None = None
    schema: Mapping[str, Any] | None = None
    seed: int | None = None
    reasoning_tokens: int = 0
    reasoning_effort: str | None = None

    def __post_init__(self) -> None:  # noqa: D105
        if not self.messages or self.max_tokens < 1:
            raise ConfigError(
                f"a request with {len(self.messages)} messages and max_tokens {self.max_tokens} asks for nothing.",
                "Give at least one message and one token.",
            )
        if not 0 <= self.reasoning_tokens <= MAX_REASONING_TOKENS:
            raise ConfigError(
                f"reasoning_tokens must be 0 to {MAX_REASONING_TOKENS:,}, got {reprlib.repr(self.reasoning_tokens)}.",
                "It is the number of tokens in which a model may reason before it answers.",
            )

    @property
    def limit(self) -> int:
        """Tokens that a reply may have, reasoning and answer together."""
        return self.max_tokens + self.reasoning_tokens

    def key(self, base_url: str, model: str) -> str:
        """SHA-256 of the server, the model and everything in the request."""
        content = {
            "base_url": base_url,
            "model": model,
            "messages": [list(message) for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": float(self.temperature),
            "top_logprobs": self.top_logprobs,
            "schema": None if self.schema is None else dict(self.schema),
            "seed": self.seed,
        }
        reasoning = {"reasoning_tokens": self.reasoning_tokens, "reasoning_effort": self.reasoning_effort}
        return sha256_json(content | {name: value for name, value in reasoning.items() if value})


@dataclass(frozen=True)
class ChatReply:
    """An answer whose form was checked. Its content is a stranger's text: data, never instructions.

    Args:
        alternatives: for each generated token, (text, log-probability in nats) of the likeliest alternatives; None
            where they were not asked for or the server gave none.
        prompt_tokens: as the server counts them; 0, like `completion_tokens`, where it does not say.
        cached: read from the cache, not asked now.
        reasoned: a reasoning block, or what a server gives in place of one, came before the text.
    """

    text: str
    alternatives: Alternatives | None
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    cached: bool
    reasoned: bool = False

    @property
    def cut_off(self) -> bool:
        """Whether it ended at its limit of tokens before its answer was whole."""
        return self.finish_reason == "length" and (not self.text.strip() or self.alternatives is None)


@dataclass(frozen=True)
class RequestFailure:
    """A request that got no usable answer: one line that says why, free of secrets.

    Args:
        cut_off: the model came to the limit of tokens before it answered.
    """

    reason: str
    cut_off: bool = False
