"""Reading what a server sent: every field is checked, nothing is guessed."""

import json
from typing import Any

from persona_interp.endpoint.requests import Alternatives, ChatReply
from persona_interp.reasoning import split_reasoning

MAX_TOKEN_LENGTH = 256
NEVER = -9999.0
_SHOWN = 200


class MalformedReplyError(Exception):
    """A reply that is not a chat completion; the text says in which way."""


def read_reply(body: bytes, *, max_tokens: int, logprobs: bool) -> ChatReply:
    """The first choice of a chat completion.

    Raises:
        MalformedReplyError: not JSON, a part is missing or of another type, or the text is longer than `max_tokens`
            tokens can be.
    """
    data = _object(_mended(_parse(body)), "the reply")
    if not data.get("choices") and data.get("error"):
        raise MalformedReplyError(f"the server says: {_complaint(data['error'])}")
    choice = _list(data.get("choices"), "choices")
    if not choice:
        raise MalformedReplyError("the reply has no choices")
    first = _object(choice[0], "the choice")
    reason = first.get("finish_reason")
    message = _object(first.get("message"), "the message")
    written = _text(message, reason)
    if len(written) > MAX_TOKEN_LENGTH * max_tokens:
        raise MalformedReplyError(f"got {len(written):,} characters where at most {max_tokens:,} tokens were asked for")
    split = split_reasoning(written)
    reasoned = split.reasoned or _reasoning(message)
    prompt_tokens, completion_tokens = _counts(data.get("usage"))
    return ChatReply(
        text=split.answer,
        alternatives=_alternatives(first.get("logprobs"), split.answer if reasoned else None) if logprobs else None,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        finish_reason=reason[:40] if isinstance(reason, str) else "",
        cached=False,
        reasoned=reasoned,
    )


def pack(reply: ChatReply) -> str:
    """A reply as JSON, for the cache."""
    return json.dumps(
        {
            "text": reply.text,
            "alternatives": reply.alternatives,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "finish_reason": reply.finish_reason,
            **({"reasoned": True} if reply.reasoned else {}),
        }
    )


def unpack(packed: str) -> ChatReply:
    """A reply from the cache.

    Raises:
        MalformedReplyError: it is not what `pack` writes.
    """
    data = _object(_parse(packed.encode("utf-8", "replace")), "the row")
    tokens = data.get("alternatives")
    text, reason = data.get("text"), data.get("finish_reason")
    if not isinstance(text, str) or not isinstance(reason, str):
        raise MalformedReplyError("the row has no text")
    alternatives = None
    if tokens is not None:
        alternatives = tuple(tuple(_pair(pair) for pair in _list(token, "a token")) for token in _list(tokens, "it"))
    prompt_tokens, completion_tokens = _counts(data)
    reasoned = data.get("reasoned") is True
    return ChatReply(text, alternatives, prompt_tokens, completion_tokens, reason, cached=True, reasoned=reasoned)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError("the reply is not JSON") from error


def _mended(data: Any) -> Any:
    """The same with each half of a character, as of an emoji that a limit cut, replaced by the sign for one."""
    written = json.dumps(data, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        return json.loads(written.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    return data


def _complaint(error: Any) -> str:
    """What a server says of an error that it sent as if all were well, on one line."""
    told = error.get("message", error) if isinstance(error, dict) else error
    text = told if isinstance(told, str) else json.dumps(told)
    return "".join(c if c.isprintable() else " " for c in text[:_SHOWN])


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedReplyError(f"{what} is {_kind(value)}, not an object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedReplyError(f"{what} is {_kind(value)}, not a list")
    return value


def _text(message: dict[str, Any], reason: Any) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "".join(map(_part, content))
    if content is None and isinstance(message.get("refusal"), str):
        raise MalformedReplyError("the model declined to answer")
    if content is None and (reason == "length" or _reasoning(message)):
        return ""
    suffix = f" (finish_reason {reason})" if reason in ("stop", "length", "content_filter", "tool_calls") else ""
    raise MalformedReplyError(f"the content is {_kind(content)}, not a text{suffix}")


def _part(part: dict[str, Any]) -> str:
    """The text of a part of a content in parts; nothing of a part that holds reasoning."""
    text = part.get("text") if part.get("type") in ("text", "output_text") else ""
    return text if isinstance(text, str) else ""


def _reasoning(message: dict[str, Any]) -> bool:
    """Whether a server gives the reasoning apart from the answer."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    apart = any(isinstance(part, dict) and part.get("type") in ("thinking", "reasoning") for part in parts)
    return apart or any(message.get(name) for name in ("reasoning_content", "reasoning", "reasoning_details"))


def _counts(usage: Any) -> tuple[int, int]:
    """Tokens of prompt and answer; 0 and 0 where the server does not tell."""
    if usage is None or usage == {}:
        return 0, 0
    data = _object(usage, "usage")
    return _count(data.get("prompt_tokens")), _count(data.get("completion_tokens"))


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise MalformedReplyError("usage holds no token counts")
    return value


def _alternatives(logprobs: Any, answer: str | None) -> Alternatives | None:
    """The alternatives of every token; of a reply that reasoned those of its answer, None where they are not found."""
    content = None if logprobs is None else _object(logprobs, "logprobs").get("content")
    if content is None or content == []:
        return None
    entries = [_object(entry, "a token") for entry in _list(content, "the list of log-probabilities")]
    if answer is not None:
        entries = _ending(entries, answer.strip())
    tokens = []
    for token in entries:
        listed = _list(token.get("top_logprobs") or [token], "a token's alternatives")
        named = [_object(alternative, "an alternative") for alternative in listed]
        tokens.append(tuple(_pair([alternative.get("token"), alternative.get("logprob")]) for alternative in named))
    return tuple(tokens) or None


def _ending(entries: list[dict[str, Any]], answer: str) -> list[dict[str, Any]]:
    """The last tokens, which together are the answer; none where no number of them is."""
    text = ""
    for i in range(len(entries) - 1, -1, -1):
        text = f"{entries[i].get('token')}{text}"
        if len(text.strip()) >= len(answer):
            return entries[i:] if answer and text.strip() == answer else []
    return []


def _pair(pair: Any) -> tuple[str, float]:
    """A token with its log-probability; minus infinity is -9999."""
    text, value = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
    if not isinstance(text, str) or not isinstance(value, int | float) or isinstance(value, bool):
        raise MalformedReplyError("an alternative is not a token with its log-probability")
    if not value <= 1e-3:
        raise MalformedReplyError("a log-probability is above 0 or not a number")
    return text, float(min(0.0, max(NEVER, value)))


def _kind(value: Any) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"
