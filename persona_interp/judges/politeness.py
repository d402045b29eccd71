"""`PolitenessJudge`: published markers of politeness, counted by rule; no model and no embedding."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from persona_interp.arguments import checked
from persona_interp.data.traits import Trait
from persona_interp.errors import ConfigError
from persona_interp.judges.lexical import word_valences
from persona_interp.judges.protocol import Score, judged_parts

_HEDGES = (
    "almost|apparently|appear|appears|approximately|assume|believe|could|doubt|estimate|feel|frequently|"
    "generally|guess|indicate|likely|may|maybe|might|mostly|often|perhaps|possible|possibly|presumably|"
    "probably|quite|rather|relatively|roughly|seem|seems|should|sometimes|somewhat|suggest|suppose|suspect|"
    "tend|think|typically|uncertain|usually|would"
)
_START = r"(?:^|[.!?]\s+)"

MARKERS: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        "gratitude": (0.87, r"\b(?:thanks?|thank you|thankful|grateful|i(?: really)? appreciate)\b"),
        "deference": (0.78, rf"{_START}(?:great|good|nice|excellent|interesting|awesome|wonderful)\b"),
        "greeting": (0.43, r"^(?:hi|hello|hey|good (?:morning|day|afternoon|evening))\b"),
        "apology": (0.36, r"\b(?:sorry|oops|excuse me|forgive me|apologi[sz]e|apologies|pardon)\b"),
        "please": (0.49, r"(?<![.!?]\s)(?<!^)\bplease\b"),
        "please at the start": (-0.30, rf"{_START}please\b"),
        "by the way": (0.63, r"\bby the way\b"),
        "direct question": (-0.27, rf"{_START}(?:what|why|who|how)\b[^.!]*\?"),
        "direct start": (-0.43, rf"{_START}(?:so|then|and|but|or)\b"),
        "could or would you": (0.47, r"\b(?:could|would) you\b"),
        "can or will you": (0.09, r"\b(?:can|will) you\b"),
        "first person at the start": (0.12, rf"{_START}i\b"),
        "first person plural": (0.08, r"\b(?:we|our|us|ourselves)\b"),
        "first person": (0.08, r"(?<![.!?]\s)(?<!^)\b(?:i|my|mine|myself)\b"),
        "second person": (0.05, r"(?<![.!?]\s)(?<!^)\b(?:you|your|yours|yourself)\b"),
        "second person at the start": (-0.30, rf"{_START}(?:you|your|yours|yourself)\b"),
        "hedge": (0.14, rf"\b(?:{_HEDGES})\b"),
        "factuality": (-0.38, r"\b(?:in fact|really|actually|honestly|surely|the (?:truth|fact|point) is)\b"),
    }
)
"""A marker's mean politeness among requests that have it, in standard deviations, and how it is found here."""

POSITIVE_WORDS, NEGATIVE_WORDS = 0.12, -0.13
"""The same of a text with positive, and with negative words, which are those of the VADER lexicon here."""

_SIGNS = {"impolite": -1}


class PolitenessJudge:
    """50 - 50 s / (1 + |s|) for impoliteness, where s adds up the politeness of the markers that an answer has.

    Independent of every model, embedding and exemplar; 50 is an answer without a marker. The weights are of requests in
    English between editors and programmers, not of answers, and a marker counts once however often it comes.

    Source: Danescu-Niculescu-Mizil et al. 2013, A Computational Approach to Politeness with Application to Social
    Factors (ACL), table 3. Their parsed strategies are found by patterns of words here.
    """

    name = "politeness markers"

    @property
    def description(self) -> str:
        """One sentence for reports."""
        return (
            f"{len(MARKERS) + 2} published markers of politeness, found by rule and weighted as among requests"
            " (Danescu-Niculescu-Mizil et al. 2013), 50 being an answer without any; rates impoliteness alone, and sees"
            " no meaning and no irony"
        )

    @checked
    def unable(self, trait: Trait) -> str | None:
        """Why it cannot judge a trait; None where it can."""
        return None if trait.name in _SIGNS else f"{trait.name} is no matter of politeness"

    @checked
    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """One score an answer, `raw` being impoliteness, -s; NaN for an empty answer.

        Raises:
            ConfigError: the trait is not impoliteness.
        """
        answers = judged_parts(questions, answers)
        if (why := self.unable(trait)) is not None:
            raise ConfigError(f"the politeness markers cannot rate this: {why}.", "They rate impolite only.")
        return [_score(answer) for answer in answers]


def politeness(text: str) -> float:
    """The sum of the politeness of the markers that a text has, in standard deviations of requests."""
    lowered = " ".join(text.lower().replace("’", "'").split())
    total = sum(weight for weight, pattern in MARKERS.values() if re.search(pattern, lowered))
    valences = word_valences(lowered)
    return total + POSITIVE_WORDS * any(v > 0 for v in valences) + NEGATIVE_WORDS * any(v < 0 for v in valences)


def _score(answer: str) -> Score:
    if not answer.strip():
        return Score(float("nan"), float("nan"))
    raw = -politeness(answer)
    return Score(50.0 + 50.0 * raw / (1.0 + abs(raw)), raw)
