"""What a refusal of a server means, by what the server says; its status counts where it says nothing."""

import re
from typing import Literal

from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

from persona_interp.endpoint.endpoint import Endpoint
from persona_interp.endpoint.requests import RequestFailure
from persona_interp.endpoint.transport import NO_CONNECTION, OversizedReplyError, SilentError, UnreachableError
from persona_interp.errors import EndpointError

Kind = Literal["key", "access", "model", "credit", "rate", "length", "filter", "limit", "other"]

RESUME = "What was answered is in the cache, if there is one: the same command goes on from there."
_SHOWN = 200

_SAYS: tuple[tuple[Kind, str], ...] = (
    ("credit", r"insufficient_quota|insufficient[ _](?:quota|credit|balance|funds)|exceeded your current quota"
               r"|billing|payment required|out of credit|credit balance|no credit|add credit|spending limit"),
    ("length", r"context_length_exceeded|maximum context length|context (?:window|length|size)|prompt is too long"
               r"|too many (?:input )?tokens|exceeds? the (?:available )?context|input is too long"),
    ("filter", r"content_filter|content_policy|content management policy|content policy|safety system|moderation"
               r"|\bflagged\b|usage polic"),
    ("limit", r"max_tokens or model output limit was reached"),
    ("rate", r"rate[ _-]?limit|too many requests|requests per (?:minute|day)|tokens per (?:minute|day)"),
    ("key", r"(?:invalid|incorrect|wrong|missing|expired|revoked|bad|no) (?:x-)?(?:api[ _-]?key|auth|token|credential)"
            r"|api[ _-]?key (?:not valid|is (?:invalid|missing|required|expired)|not found|expired)|invalid_api_key"
            r"|unauthori[sz]ed|authentication|not authenticated|invalid bearer"),
    ("access", r"(?:no|not have|without|lacks?) (?:access|permission)|not (?:allowed|authori[sz]ed|permitted) to"
               r"|permission[ _]denied|country, region"),
    ("model", r"model_not_found|(?:no such|unknown|invalid|unsupported) model|model\b.{0,120}?(?:does not exist"
              r"|not found|doesn't exist|not exist)|not a valid model"),
)  # fmt: skip
_BY_STATUS: dict[int, Kind] = {401: "key", 402: "credit", 403: "key", 404: "model", 413: "length", 429: "rate"}
_ENDS: dict[Kind, tuple[str, str]] = {
    "key": ("{where} refuses the key", "Check api_key, or OPENAI_API_KEY, and that the key may use this model."),
    "access": ("{where} does not let this key use {model!r}", "Use another model (OPENAI_MODEL) or another key."),
    "model": (
        "{where} knows no model {model!r}, or is no such server",
        "Check model and base_url (OPENAI_MODEL, OPENAI_BASE_URL); the address usually ends in /v1.",
    ),
    "credit": ("{where} has no credit left for this key", "Add credit."),
}
_ROW: dict[Kind, str] = {
    "length": "too long for the model's context: ",
    "filter": "the server's content filter refused it: ",
    "limit": "cut off before the answer: ",
    "rate": "rate limit: ",
}


def kind_of(status: int, said: str, *, good_key: bool = False) -> Kind:
    """What a refusal is about.

    Args:
        said: the message, the code and the parameter that the server names.
        good_key: the key was accepted before, so that a status alone does not speak against it.
    """
    text = said.lower()
    kind: Kind | None = next((kind for kind, pattern in _SAYS if re.search(pattern, text)), None)
    if status >= 500:  # the server's own trouble, whatever words it finds for it
        return "other" if kind not in _ROW or kind == "rate" else kind
    if status == 401 or kind is None:
        kind = _BY_STATUS.get(status, "other")
    return "other" if good_key and status not in (401, 404) and kind in ("key", "access", "model") else kind


def failure(error: OpenAIError, endpoint: Endpoint, *, good_key: bool) -> RequestFailure:
    """The failure of one row.

    Raises:
        EndpointError: every row would fail in the same way.
    """
    if isinstance(error, SilentError):
        raise EndpointError(
            f"{endpoint.base_url} does not answer: {error}.",
            "It may be loading the model, be overloaded or be no such server. Try it by hand, or give more time"
            " (timeout_s).",
            RESUME,
        ) from None
    if isinstance(error, UnreachableError) or isinstance(error.__cause__, NO_CONNECTION):
        reason = str(error) if isinstance(error, UnreachableError) else type(error.__cause__).__name__
        raise EndpointError(
            f"cannot reach {endpoint.base_url} ({reason}).",
            "Check the address (base_url, or OPENAI_BASE_URL) and that the server runs.",
            RESUME,
        ) from None
    if isinstance(error, APITimeoutError):
        return RequestFailure("no reply in time")
    if isinstance(error, APIConnectionError):
        return RequestFailure(f"the connection broke ({type(error.__cause__).__name__})")
    if isinstance(error, OversizedReplyError):
        return RequestFailure(f"the reply is too large: {error}")
    if isinstance(error, APIStatusError):
        return _refused(error, endpoint, good_key)
    return RequestFailure(type(error).__name__)


def said(error: APIStatusError) -> str:
    """All that a server says of a refusal: its message, the code and the parameter."""
    return " ".join(str(part) for part in (_message(error), error.code, error.type, error.param) if part)


def _refused(error: APIStatusError, endpoint: Endpoint, good_key: bool) -> RequestFailure:
    status = error.status_code
    kind = kind_of(status, said(error), good_key=good_key)
    shown = endpoint.redact(_message(error))
    shown = "".join(c if c.isprintable() else " " for c in shown)[:_SHOWN]
    if kind in _ENDS:
        what, remedy = _ENDS[kind]
        what = what.format(where=endpoint.base_url, model=endpoint.model)
        told = [f"It says: {shown}"] if shown.strip() else []
        raise EndpointError(f"{what} (HTTP {status}).", remedy, *told, RESUME) from None
    after = error.response.headers.get("Retry-After", "")[:40] if kind == "rate" else ""
    wait = f" (it asks to wait {after} s)" if re.fullmatch(r"\d+(?:\.\d+)?", after) else ""
    return RequestFailure(f"HTTP {status}: {_ROW.get(kind, '')}{shown}{wait}", cut_off=kind == "limit")


def _message(error: APIStatusError) -> str:
    told = error.body.get("message") if isinstance(error.body, dict) else None
    return told if isinstance(told, str) else error.message
