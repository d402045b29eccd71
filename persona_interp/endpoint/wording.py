"""How a request is worded for a server: OpenAI-compatible ones differ in what they accept, and say so."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from persona_interp.endpoint.requests import ChatRequest

logger = logging.getLogger(__name__)

_AT_MOST = re.compile(
    r"(?:at most|less than or equal to|<=|≤|max(?:imum)?(?: allowed)?(?: value)?(?: of| is|:| =)?|between 0 and|up to"
    r"|(?:no|not) (?:more|greater|larger|higher) than|(?:cannot|must not|can't) exceed|in \[[01], ?)\s*(\d{1,2})\b"
)
_UNSUITED = re.compile(
    r"not (?:be )?(?:supported?|allowed|permitted|available|enabled|accepted)|(?:un|in)(?:supported|valid)"
    r"|unrecogni[sz]ed|unknown|unexpected|do(?:es)? not (?:support|accept|allow)|doesn't|disabled|only"
    r"|extra (?:inputs|fields)"
)


@dataclass(frozen=True)
class Wording:
    """The fields that a server was found to accept.

    Args:
        schema: how structured output is asked for; "none" leaves it to the prompt.
        length: the name of the limit of tokens; models that reason first take the longer one.
        logprobs: whether log-probabilities are asked for.
        temperature: whether a temperature is sent.
        top_logprobs: the most alternatives a token that may be asked for.
        effort: whether an effort of reasoning is sent.
    """

    schema: Literal["json_schema", "json_object", "none"] = "json_schema"
    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    logprobs: bool = True
    temperature: bool = True
    top_logprobs: int = 20
    effort: bool = True

    def body(self, request: ChatRequest, model: str) -> dict[str, Any]:
        """The JSON body of a request."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": role, "content": content} for role, content in request.messages],
            self.length: request.limit,
        }
        if self.temperature:
            body["temperature"] = request.temperature
        if request.seed is not None:
            body["seed"] = request.seed
        if request.top_logprobs is not None and self.logprobs:
            body |= {"logprobs": True, "top_logprobs": min(request.top_logprobs, self.top_logprobs)}
        if request.reasoning_effort is not None and self.effort:
            body["reasoning_effort"] = request.reasoning_effort
        if request.schema is not None and self.schema == "json_schema":
            form = {"name": "answer", "strict": True, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif request.schema is not None and self.schema == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def plainer(self, request: ChatRequest, complaint: str, *, malformed: bool = True) -> "Wording | None":
        """The next wording to try after a server refused this one; None where no part can be left out any more.

        Args:
            complaint: what the server said.
            malformed: it said so of the form of the request (HTTP 400 or 422), and may mean a part it does not name.
        """
        return next(self._plainer(request, complaint.lower(), malformed), None)

    def _plainer(self, request: ChatRequest, complaint: str, malformed: bool) -> Iterator["Wording"]:
        if self.length == "max_tokens" and re.search("max_completion_tokens|'max_tokens'", complaint):
            yield replace(self, length="max_completion_tokens")
        if self.logprobs and request.top_logprobs is not None and re.search("log_?prob", complaint):
            most = next((int(number) for number in _AT_MOST.findall(complaint)), 0)
            if 0 < most < min(request.top_logprobs, self.top_logprobs):
                yield replace(self, top_logprobs=most)
            yield replace(self, logprobs=False)
        unsuited = malformed and _UNSUITED.search(complaint) is not None
        if self.temperature and unsuited and "temperature" in complaint:
            yield replace(self, temperature=False)
        if self.effort and request.reasoning_effort is not None and unsuited and "reasoning" in complaint:
            yield replace(self, effort=False)
        if malformed and request.schema is not None and self.schema == "json_schema":
            yield replace(self, schema="json_object")
        if malformed and request.schema is not None and self.schema == "json_object":
            yield replace(self, schema="none")

    def report(self, before: "Wording", model: str) -> None:
        """Log what this wording leaves out that the one before it had."""
        names = [field.name for field in fields(self)]
        changed = [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) != getattr(before, name)]
        if changed:
            logger.warning("%s refuses part of the request; from now on it is asked with %s", model, ", ".join(changed))
