"""What is asked of a chat model and what comes back, and the one hash that says two requests are the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from persona_interp.errors import ConfigError
from persona_interp.io import sha256_json

Alternatives = tuple[tuple[tuple[str, float], ...], ...]


@dataclass(frozen=True)
class ChatRequest:
    """One chat completion. Two equal requests are one: to sample twice, give two seeds.

    Args:
        messages: (role, content) in order.
        top_logprobs: ask for that many alternatives a token, at most 20.
        schema: JSON schema that the answer should fulfil. Servers keep to it, or to JSON, or to nothing: check the
            answer whatever it is.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float = 0.0
    top_logprobs: int | None = None
    schema: Mapping[str, Any] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:  # noqa: D105
        if not self.messages or self.max_tokens < 1:
            raise ConfigError(
                f"a request with {len(self.messages)} messages and max_tokens {self.max_tokens} asks for nothing.",
                "Give at least one message and one token.",
            )

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
        return sha256_json(content)


@dataclass(frozen=True)
class ChatReply:
    """An answer whose form was checked. Its content is a stranger's text: data, never instructions.

    Args:
        alternatives: for each generated token, (text, log-probability in nats) of the likeliest alternatives; None
            where they were not asked for or the server gave none.
        prompt_tokens: as the server counts them; 0, like `completion_tokens`, where it does not say.
        cached: read from the cache, not asked now.
    """

    text: str
    alternatives: Alternatives | None
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    cached: bool


@dataclass(frozen=True)
class RequestFailure:
    """A request that got no usable answer: one line that says why, free of secrets."""

    reason: str
