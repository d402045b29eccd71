"""Asking a chat model for the parts of a trait until they fulfil the rules, and no more than is missing."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from persona_interp.data.trait_checks import Check, Item, quote, text_problems, tidy
from persona_interp.data.trait_prompts import ADJECTIVES, PROMPT_VERSION, Field, Part, Poles, messages, schema
from persona_interp.endpoint.client import ChatClient
from persona_interp.endpoint.requests import ChatReply, ChatRequest, RequestFailure
from persona_interp.errors import TraitError

logger = logging.getLogger(__name__)

TEMPERATURE = 0.7
_MAX_REPLY = 100_000
_MAX_STARTS = 20
_MAX_LISTED = 6
_MAX_SHOWN = 4
_MAX_GROWTH = 8


@dataclass(frozen=True)
class GeneratedBy:
    """How a trait was made; the same again for the same replies.

    Args:
        host: of the server, without path or key.
        repairs: for each part, the rounds of requests after the first one.
    """

    model: str
    host: str
    prompt_version: int
    seed: int
    temperature: float
    requests: int
    repairs: dict[str, int]
    prompt_tokens: int
    completion_tokens: int


@dataclass(eq=False)
class _Progress:
    """Where the work on one part stands.

    Args:
        problems: of the last round, for the model; `failures` of requests, which are not the model's to mend.
        turn: requests so far, `rounds` of them, the last `in_vain` of which brought nothing.
        growth: of the limit of tokens, after replies that it cut off.
    """

    accepted: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    turn: int = 0
    rounds: int = 0
    in_vain: int = 0
    growth: int = 1


class TraitWriter:
    """Asks for the parts of one trait, one part after the other, and counts what that took."""

    def __init__(self, client: ChatClient, poles: Poles, *, max_repairs: int, seed: int) -> None:
        self.poles = poles
        self._client, self._max_repairs, self._seed = client, max_repairs, seed
        self._repairs: dict[str, int] = {}
        self._requests = self._prompt_tokens = self._completion_tokens = 0

    def write(self, part: Part, check: Check) -> list[Item]:
        """As many usable items as the part wants.

        Raises:
            TraitError: more rounds of requests in a row brought nothing than there may be repairs.
        """
        state = _Progress()
        while len(state.accepted) < part.wanted:
            if state.in_vain > self._max_repairs:
                raise self._exhausted(part, state)
            if state.rounds:
                logger.info("%s: %d of %d usable, asking again", part.name, len(state.accepted), part.wanted)
            self._round(part, check, state)
        self._repairs[part.name] = state.rounds - 1
        return state.accepted

    def made(self) -> GeneratedBy:
        """What has been asked for so far."""
        endpoint = self._client.endpoint
        return GeneratedBy(
            model=endpoint.model,
            host=urlsplit(endpoint.base_url).netloc.rpartition("@")[2],
            prompt_version=PROMPT_VERSION,
            seed=self._seed,
            temperature=TEMPERATURE,
            requests=self._requests,
            repairs=dict(self._repairs),
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
        )

    def _round(self, part: Part, check: Check, state: _Progress) -> None:
        """Ask for what is missing, in batches, and keep what is usable."""
        before, missing = len(state.accepted), part.wanted - len(state.accepted)
        counts = [min(part.per_request, missing - start) for start in range(0, missing, part.per_request)]
        replies = self._client.ask([self._request(part, n, i, state) for i, n in enumerate(counts)], label=part.name)
        state.turn, state.rounds = state.turn + len(counts), state.rounds + 1
        problems: list[str] = []
        state.failures = [reply.reason for reply in replies if isinstance(reply, RequestFailure)]
        for count, reply in zip(counts, replies, strict=True):
            if isinstance(reply, ChatReply):
                self._prompt_tokens += reply.prompt_tokens
                self._completion_tokens += reply.completion_tokens
                if reply.finish_reason == "length":
                    state.growth = min(2 * state.growth, _MAX_GROWTH)
                for item in read_items(part, self.poles, count, reply.text, problems):
                    broken = check(item, state.accepted)
                    problems += broken
                    state.accepted += [] if broken else [item]
        self._requests += len(counts)
        state.problems = list(dict.fromkeys(problems))[:_MAX_LISTED]
        state.in_vain = state.in_vain + 1 if len(state.accepted) == before else 0

    def _request(self, part: Part, count: int, index: int, state: _Progress) -> ChatRequest:
        have = [text for item in state.accepted for text in list(item.values())[:1]]
        turn = state.turn + index
        return ChatRequest(
            messages(part, self.poles, count=count, turn=turn, have=have, wrong=state.problems),
            max_tokens=part.max_tokens * state.growth,
            temperature=TEMPERATURE,
            schema=schema(part, count),
            seed=self._seed + turn,
        )

    def _exhausted(self, part: Part, state: _Progress) -> TraitError:
        endpoint = self._client.endpoint
        reasons = [*(f"the request failed: {quote(reason)}" for reason in state.failures), *state.problems]
        return TraitError(
            f"{endpoint.model} at {endpoint.base_url} did not write the trait {self.poles.name}: of its {part.name},"
            f" {len(state.accepted)} of {part.wanted} were usable, and the last {state.in_vain} requests for the rest"
            " brought none.",
            *(f"Wrong at last: {reason}" for reason in reasons[:_MAX_SHOWN]),
            "No trait was written. Take a larger model, another seed, or a clearer description; or write the file by"
            " hand: `persona-interp traits show impolite` shows its form.",
        )


def read_items(part: Part, poles: Poles, count: int, text: str, problems: list[str]) -> list[Item]:
    """The items of a reply whose texts are each in order; what is wrong with the others is added to `problems`."""
    data = outermost_object(text)
    if data is None:
        problems.append(f"The reply was no whole JSON object: {quote(tidy(text[: _MAX_STARTS * 10]))}.")
        return []
    items = []
    for index in range(count):
        keys = part.keys(index, count)
        broken = [f'"{key}" is missing.' for key in keys if key not in data] or [
            problem
            for key, wanted in keys.items()
            for problem in text_problems(key, data[key], wanted, _shown(part, poles, wanted))
        ]
        problems += broken
        if not broken:
            items.append({wanted.key: tidy(data[key]) for key, wanted in keys.items()})
    return items


def _shown(part: Part, poles: Poles, wanted: Field) -> list[str]:
    """What a request shows in the place of a text; one adjective may well be that of the example."""
    if part is ADJECTIVES:
        return []
    return [poles.fill(wanted.meaning), poles.description, *(item[wanted.key] for item in part.example)]


def outermost_object(text: str) -> dict[str, Any] | None:
    """The first whole JSON object in a text, whatever prose or fence is around it; None where there is none."""
    if len(text) > _MAX_REPLY:
        return None
    decoder, start = json.JSONDecoder(), text.find("{")
    for _ in range(_MAX_STARTS):
        if start < 0:
            return None
        try:
            data, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return data if isinstance(data, dict) else None
    return None
