"""Reading a rating from 0 to 100: the mean over the judge's probabilities, or the number it wrote."""

import math
import re
from typing import Literal

from persona_interp.endpoint.requests import ChatReply
from persona_interp.judges.protocol import Score

Tokens = Literal["whole", "digits", "unknown"]
Way = Literal["weighted", "digits", "no logprobs", "reasoned", "undecided"]
MIN_MASS = 0.25
REFUSAL = "refusal"
FAILED = "request failed"
"""How the note of an answer begins for which the server gave no reply: the only ones worth asking again."""

CUT_OFF = "cut off"
"""How the note of an answer begins whose reply ended at its limit of tokens."""

_INTEGER = re.compile(r"0|[1-9][0-9]?|100")
_REPLY = re.compile(r"(?:(?:score|rating)\s*[:=]?\s*)?([0-9]{1,3})(?:\s*/\s*100)?\s*\.?", re.IGNORECASE)
_REFUSAL = re.compile(r"\W*refusal\b", re.IGNORECASE)


def way_of_reading(reply: ChatReply, tokens: Tokens) -> Way:
    """How the rating of a reply is to be read.

    Only where each number is one token is the first token's distribution one over ratings.

    Args:
        tokens: how the model writes numbers.
    """
    first = _first_token(reply)
    if first is None:
        return "reasoned" if reply.reasoned else "no logprobs"
    if tokens == "unknown":
        return "undecided"
    return "digits" if tokens == "digits" or _goes_on(reply.text, first) else "weighted"


def read_rating(reply: ChatReply, way: Way) -> Score:
    """The rating of a reply; NaN with a note for a refusal and for anything that is not clearly a rating."""
    if _REFUSAL.match(reply.text):
        return _none(REFUSAL)
    first = _first_token(reply)
    if way == "weighted" and first is not None:
        return weighted_rating(first)
    return parse_rating(reply.text, cut=reply.finish_reason == "length")


def weighted_rating(alternatives: tuple[tuple[str, float], ...]) -> Score:
    """Mean rating, sum p(i) i / sum p(i) over the integers 0..100 among a token's (text, log-probability).

    NaN where the integers hold less than 0.25 of the probability: the model was about to write something else.
    """
    rated = [(int(text.strip()), math.exp(value)) for text, value in alternatives if _INTEGER.fullmatch(text.strip())]
    mass = math.fsum(probability for _, probability in rated)
    if not mass <= 1.01:
        return _none(f"the probabilities add up to {mass:.2f}")
    if not mass >= MIN_MASS:
        return _none(f"integers hold {mass:.2f} of the probability, less than {MIN_MASS}")
    mean = math.fsum(number * probability for number, probability in rated) / mass
    mean = min(100.0, max(0.0, mean))
    return Score(mean, mean)


def parse_rating(text: str, *, cut: bool = False) -> Score:
    """The integer 0..100 that a reply consists of, as in "85", "85.", "85/100", "Score: 85"; NaN for all else.

    Args:
        cut: the reply ended at its limit of tokens, so that a number at its end may lack digits.
    """
    if not text.strip():
        return _none(f"{CUT_OFF} before the answer began" if cut else "an empty reply")
    shown = repr(text[:40])
    match = _REPLY.fullmatch(text.strip())
    if match is None:
        return _none(f"not a number from 0 to 100: {shown}")
    number = int(match.group(1))
    if number > 100:
        return _none(f"not a number from 0 to 100: {shown}")
    if cut and text[-1].isdigit():
        return _none(f"{CUT_OFF}: {shown}")
    return Score(float(number), float(number))


def number_tokens(reply: ChatReply) -> Tokens:
    """How the model that wrote a reply writes numbers, where the reply shows it.

    A vocabulary of single digits has no alternative of two digits anywhere, whatever number is written.
    """
    if reply.alternatives is None:
        return "unknown"
    if any(_digits(text) > 1 for token in reply.alternatives for text, _ in token):
        return "whole"
    return "digits" if re.search("[0-9]{2}", reply.text) else "unknown"


def _first_token(reply: ChatReply) -> tuple[tuple[str, float], ...] | None:
    """The alternatives of the first token that is more than white space."""
    for token in reply.alternatives or ():
        if token and max(token, key=lambda alternative: alternative[1])[0].strip():
            return token
    return None


def _goes_on(text: str, first: tuple[tuple[str, float], ...]) -> bool:
    """Whether the reply's first number continues after its first token."""
    written = re.match("[0-9]+", text.strip())
    token = max(first, key=lambda alternative: alternative[1])[0].strip()
    return written is not None and len(token) < written.end() and written.group().startswith(token)


def _digits(text: str) -> int:
    stripped = text.strip()
    return len(stripped) if re.fullmatch("[0-9]+", stripped) else 0


def _none(note: str) -> Score:
    return Score(math.nan, math.nan, note)
