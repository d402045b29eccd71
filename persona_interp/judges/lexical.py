"""`LexicalJudge`: the valence of an answer's words by the VADER lexicon, for traits that have one by definition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from persona_interp.arguments import checked
from persona_interp.data.traits import Trait
from persona_interp.errors import ConfigError
from persona_interp.judges.protocol import Score, judged_parts


@checked
@dataclass(frozen=True)
class LexicalSign:
    """Whether more of a trait means kinder words (+1) or unkinder ones (-1), and why."""

    sign: Literal[1, -1]
    reason: str


LEXICAL_SIGNS: Mapping[str, LexicalSign] = MappingProxyType(
    {
        "optimistic": LexicalSign(1, "expects good outcomes, and names them"),
        "impolite": LexicalSign(-1, "insults and dismisses in place of thanks and praise"),
        "agreeableness": LexicalSign(1, "warm and appreciative words are its definition"),
        "low_agreeableness": LexicalSign(-1, "cold and critical words are its definition"),
        "neuroticism": LexicalSign(-1, "worry, fear and sadness are negative words"),
        "low_neuroticism": LexicalSign(1, "calm and contentment are positive words"),
    }
)
"""Traits whose definition fixes the sign of valence, and whose exemplars do not contradict it.

Left out: evil and sycophantic (malice is often spoken sweetly; on the exemplars of evil the sign is reversed), and
traits without a valence: apathetic, conscientiousness, extraversion, hallucinating, humorous, openness.
"""


class LexicalJudge:
    """50 + 50 * sign * compound, where compound (-1..1) is VADER's valence of the answer's words.

    Independent of every model and embedding, and not calibrated on exemplars: 50 is neutral words. It sees valence
    only, not whether the words answer the question, and takes irony at its word.

    Args:
        signs: traits it may rate; more can be declared, each with its reason.

    Source: Hutto and Gilbert 2014, VADER (the `vaderSentiment` package).
    """

    name = "lexical (VADER)"

    @checked
    def __init__(self, signs: Mapping[str, LexicalSign] = LEXICAL_SIGNS) -> None:
        self.signs = MappingProxyType(dict(signs))

    @property
    def description(self) -> str:
        """One sentence for reports."""
        traits = ", ".join(f"{'+' if rule.sign > 0 else '−'} for {name}" for name, rule in self.signs.items())
        return (
            "valence of the answer's words by the VADER lexicon, from 0 (against the trait) to 100, 50 being neutral;"
            f" rates only traits that have a valence by definition ({traits}); sees no meaning and no irony"
        )

    @checked
    def unable(self, trait: Trait) -> str | None:
        """Why it cannot judge a trait; None where it can."""
        return None if trait.name in self.signs else f"{trait.name} has no declared valence"

    @checked
    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        """One score an answer, `raw` being the compound; NaN for an empty answer.

        Raises:
            ConfigError: the trait has no declared sign.
        """
        answers = judged_parts(questions, answers)
        if self.unable(trait) is not None:
            raise ConfigError(
                f"the lexical judge has no signed reading of {trait.name}.",
                f"It rates {', '.join(self.signs)}: traits whose definition says whether words turn kinder or not.",
                "Use another judge, or declare a sign with its reason: LexicalJudge({name: LexicalSign(1, why)}).",
            )
        sign = self.signs[trait.name].sign
        return [_score(sign, answer) for answer in answers]


def _score(sign: int, answer: str) -> Score:
    if not answer.strip():
        return Score(float("nan"), float("nan"))
    compound = float(_analyzer().polarity_scores(answer)["compound"])
    return Score(50.0 + 50.0 * sign * compound, compound)


def word_valences(text: str) -> list[float]:
    """The valence of every word of a text that is in VADER's lexicon, -4 to 4."""
    lexicon = _analyzer().lexicon
    words = (word.strip(".,;:!?\"'()") for word in text.lower().split())
    return [float(lexicon[word]) for word in words if word in lexicon]


@cache
def _analyzer() -> Any:
    """VADER's lexicon, read once."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
