"""How a request is worded for a server: OpenAI-compatible ones differ in what they accept."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from persona_interp.endpoint.requests import ChatRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wording:
    """The fields that a server was found to accept.

    Args:
        schema: how structured output is asked for; "none" leaves it to the prompt.
        length: the name of the limit of tokens; models that reason first take the longer one.
        logprobs: whether log-probabilities are asked for.
        temperature: whether a temperature is sent.
    """

    schema: Literal["json_schema", "json_object", "none"] = "json_schema"
    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    logprobs: bool = True
    temperature: bool = True

    def body(self, request: ChatRequest, model: str) -> dict[str, Any]:
        """The JSON body of a request."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": role, "content": content} for role, content in request.messages],
            self.length: request.max_tokens,
        }
        if self.temperature:
            body["temperature"] = request.temperature
        if request.seed is not None:
            body["seed"] = request.seed
        if request.top_logprobs is not None and self.logprobs:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        if request.schema is not None and self.schema == "json_schema":
            form = {"name": "answer", "strict": True, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif request.schema is not None and self.schema == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def plainer(self, request: ChatRequest, complaint: str) -> "Wording | None":
        """The next wording to try after a server refused this one; None where no part can be left out any more."""
        return next(self._plainer(request, complaint.lower()), None)

    def _plainer(self, request: ChatRequest, complaint: str) -> Iterator["Wording"]:
        if self.length == "max_tokens" and "max_completion_tokens" in complaint:
            yield replace(self, length="max_completion_tokens")
        if self.logprobs and request.top_logprobs is not None and "logprob" in complaint:
            yield replace(self, logprobs=False)
        if self.temperature and "temperature" in complaint:
            yield replace(self, temperature=False)
        if request.schema is not None and self.schema == "json_schema":
            yield replace(self, schema="json_object")
        if request.schema is not None and self.schema == "json_object":
            yield replace(self, schema="none")

    def report(self, before: "Wording", model: str) -> None:
        """Log what this wording leaves out that the one before it had."""
        changed = [
            f"{name}={getattr(self, name)}"
            for name in ("schema", "length", "logprobs", "temperature")
            if getattr(self, name) != getattr(before, name)
        ]
        if changed:
            logger.warning("%s refuses part of the request; from now on it is asked with %s", model, ", ".join(changed))
