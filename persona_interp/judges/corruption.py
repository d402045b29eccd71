"""Answers made incoherent in three ways, to see whether a judge of coherence refuses them."""

from collections.abc import Sequence

from persona_interp.arguments import checked
from persona_interp.bounds import Seed
from persona_interp.statistics.streams import stream

LOOP_WORDS = 3


@checked
def corrupted(questions: Sequence[str], answers: Sequence[str], *, seed: Seed = 0) -> dict[str, list[str]]:
    """The answers three times over: words "shuffled", first words "looped" to the same length, and "off-topic".

    Off-topic answers are those to the next other question, whole and fluent. With one question there are none.
    """
    rng = stream(seed, "corrupted answers")
    found = {
        "shuffled": [" ".join(rng.permutation(answer.split())) for answer in answers],
        "looped": [_loop(answer.split()) for answer in answers],
    }
    distinct = list(dict.fromkeys(questions))
    if len(distinct) > 1:
        following = dict(zip(distinct, [*distinct[1:], distinct[0]], strict=True))
        to = {question: [a for q, a in zip(questions, answers, strict=True) if q == question] for question in distinct}
        counts = dict.fromkeys(distinct, 0)
        found["off-topic"] = []
        for question in questions:
            there = to[following[question]]
            found["off-topic"].append(there[counts[question] % len(there)])
            counts[question] += 1
    return found


def _loop(words: Sequence[str]) -> str:
    first = words[:LOOP_WORDS]
    return " ".join(first[i % len(first)] for i in range(len(words))) if first else ""
