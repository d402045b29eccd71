"""What a text from a stranger must be before it becomes part of a trait: rules, each with the words for breaking it.

Every rule gives a list of problems, empty where there are none. A problem is told to the model that wrote the text.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

from persona_interp.data.trait_prompts import Field, Poles

Item = Mapping[str, str]
Check = Callable[[Item, Sequence[Item]], list[str]]

NEAR_DUPLICATE = 0.7
_LOOP, _LOOP_WORDS = 0.4, 12
_QUOTED = 60
_NEGATIONS = frozenset(
    {"not", "never", "no", "without", "avoid", "dont", "don't", "refuse", "stop", "nothing", "cannot"}
)
_EMPTY = frozenset(
    ("a an the of to in on at for and or is are was be do does did you your i my me it this that").split()  # noqa: SIM905
)
_OF_THE_REQUEST = frozenset({"json", "trait", "instruction", "instructions"})


def quote(text: object) -> str:
    """A short, printable quotation of anything."""
    shown = ascii(text) if isinstance(text, str) else ascii(str(text)[: 2 * _QUOTED])
    return shown if len(shown) <= _QUOTED else f"{shown[:_QUOTED]}..."


def tidy(text: str) -> str:
    """The text with every run of blanks as one space."""
    return " ".join(text.split())


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    kept = "".join(c if c.isalnum() or c == "'" else " " for c in unicodedata.normalize("NFKC", text).casefold())
    return [word.strip("'") for word in kept.split() if word.strip("'")]


def similarity(one: str, other: str) -> float:
    """Shared words over all words, 0..1, articles and pronouns aside where anything else is left."""
    sets = [set(words(text)) for text in (one, other)]
    a, b = [found - _EMPTY or found for found in sets]
    return len(a & b) / len(a | b) if a | b else 1.0


def text_problems(key: str, value: object, field: Field, shown: Sequence[str] = ()) -> list[str]:
    """Whether one value of a reply is a text of the length asked for that says something.

    Args:
        shown: texts of the request that the value could be copied from.
    """
    if not isinstance(value, str):
        return [f'"{key}" must be a text, got {quote(value)}.']
    if len(value) > 4 * field.high:
        return [f'"{key}" has {len(value)} characters; at most {field.high} are allowed.']
    strange = [c for c in value if c not in "\n\t" and unicodedata.category(c)[0] == "C"]
    if strange:
        return [f'"{key}" holds control characters ({ascii(strange[0])}).']
    text = tidy(value)
    if not field.low <= len(text) <= field.high:
        return [f'"{key}" has {len(text)} characters; {field.low} to {field.high} are allowed: {quote(text)}.']
    if "{" in text or "}" in text:
        return [f'"{key}" holds braces, which are not allowed: {quote(text)}.']
    found = words(text)
    if sum(c.isalpha() for c in text) < 0.5 * len(text):
        return [f'"{key}" is not made of words: {quote(text)}.']
    if len(found) >= _LOOP_WORDS and len(set(found)) < _LOOP * len(found):
        return [f'"{key}" repeats itself: {quote(text)}.']
    if set(found) & _OF_THE_REQUEST:
        return [f'"{key}" talks about the request instead of fulfilling it: {quote(text)}.']
    if max((similarity(text, one) for one in shown), default=0.0) >= NEAR_DUPLICATE:
        return [f'"{key}" repeats the request or its example: {quote(text)}.']
    return []


def poles_check(item: Item, _accepted: Sequence[Item]) -> list[str]:
    """Two adjectives that differ."""
    problems = [
        f"{quote(text)} is not an adjective of one to three words, letters and hyphens only."
        for text in item.values()
        if len(text.split()) > 3 or not all(c.isalpha() or c in " -" for c in text)
    ]
    if words(item["has_the_trait"]) == words(item["opposite"]):
        problems.append("Both adjectives are the same.")
    return problems


def instructions_check(item: Item, accepted: Sequence[Item]) -> list[str]:
    """Two instructions that ask for different things, unlike those accepted before."""
    if not contrasts(item["first"], item["second"]):
        return [f"The second instruction asks for nothing else than the first one: {quote(item['second'])}."]
    return [p for key in ("first", "second") for p in _new(item[key], (other[key] for other in accepted))]


def question_check(poles: Poles, taken: Sequence[str] = ()) -> Check:
    """One question that names neither pole, unlike those accepted before and those in `taken`."""

    def check(item: Item, accepted: Sequence[Item]) -> list[str]:
        text = item["question"]
        problems = _new(text, (*taken, *(other["question"] for other in accepted)))
        if not text.endswith("?"):
            problems.append(f"A question must end with a question mark: {quote(text)}.")
        named = [
            pole for pole in (poles.positive, poles.negative) if f" {pole.casefold()} " in f" {' '.join(words(text))} "
        ]
        if named:
            problems.append(f'A question must not mention "{named[0]}": {quote(text)}.')
        return problems

    return check


def rubric_check(item: Item, _accepted: Sequence[Item]) -> list[str]:
    """Three scores that are described differently."""
    scores = [item[key] for key in ("score_0", "score_50", "score_100")]
    return [p for i, text in enumerate(scores) for p in _new(text, scores[:i])]


def exemplar_check(poles: Poles, taken: Sequence[str]) -> Check:
    """A new question, and two answers to it that differ from each other and from the question."""
    of_question = question_check(poles, taken)

    def check(item: Item, accepted: Sequence[Item]) -> list[str]:
        first, second = item["first_answer"], item["second_answer"]
        problems = of_question(item, accepted)
        if similarity(first, second) >= NEAR_DUPLICATE or not contrasts(first, second):
            problems.append(f"Both answers say the same: {quote(second)}.")
        if max(similarity(item["question"], answer) for answer in (first, second)) >= NEAR_DUPLICATE:
            problems.append(f"An answer only repeats the question: {quote(item['question'])}.")
        return problems

    return check


def contrasts(one: str, other: str) -> bool:
    """Whether each text says something that the other does not, or one of them denies what the other says."""
    a, b = set(words(one)), set(words(other))
    denies = bool(a & _NEGATIONS) != bool(b & _NEGATIONS)
    return a != b and (denies or bool(a - b - _EMPTY) and bool(b - a - _EMPTY))


def _new(text: str, others: Iterable[str]) -> list[str]:
    near = next((other for other in others if similarity(text, other) >= NEAR_DUPLICATE), None)
    return [] if near is None else [f"{quote(text)} is nearly the same as {quote(near)}."]
