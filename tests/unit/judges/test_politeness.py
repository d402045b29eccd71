import re

import numpy as np
import pytest

from persona_interp.data.traits import load_trait
from persona_interp.errors import ConfigError
from persona_interp.judges.lexical import word_valences
from persona_interp.judges.politeness import MARKERS, NEGATIVE_WORDS, POSITIVE_WORDS, PolitenessJudge, politeness
from persona_interp.judges.protocol import Judge

IMPOLITE = load_trait("impolite")


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        ("gratitude", "It was, thank you."), ("deference", "Nice tables there."), ("greeting", "Hello there."),
        ("apology", "It broke, apologies."), ("please", "Wait there please."), ("please at the start", "Please wait."),
        ("by the way", "It is, by the way, red."), ("direct question", "Why is it red?"),
        ("direct start", "So it is red."), ("could or would you", "If could you wait."),
        ("can or will you", "If can you wait."), ("first person at the start", "I left."),
        ("first person plural", "Take us there."), ("first person", "There went my boat."),
        ("second person", "There goes your boat."), ("second person at the start", "Your boat left."),
        ("hedge", "It is perhaps red."), ("factuality", "It is in fact red."),
    ],
)  # fmt: skip
def test_every_marker_is_found_and_weighs_what_was_published(marker: str, text: str):
    found = {name for name, (_, pattern) in MARKERS.items() if _finds(pattern, text)}
    assert marker in found and len(found - {marker}) <= 2
    assert politeness(text) == pytest.approx(sum(MARKERS[name][0] for name in found) + _words(text))


def _finds(pattern: str, text: str) -> bool:
    return re.search(pattern, text.lower()) is not None


def _words(text: str) -> float:
    valences = word_valences(text)
    return POSITIVE_WORDS * any(v > 0 for v in valences) + NEGATIVE_WORDS * any(v < 0 for v in valences)


def test_words_have_their_valence_in_the_lexicon_whatever_stands_around_them():
    assert word_valences("Wonderful, AWFUL; table.")[0] > 2 and word_valences("(awful)")[0] < -1
    assert word_valences("table") == []


def test_impolite_answers_score_above_fifty_and_polite_ones_below():
    judge = PolitenessJudge()
    assert isinstance(judge, Judge)
    rude, plain, kind = (
        "You should know that, honestly.",
        "The train leaves at nine.",
        "Thank you, I would be glad to.",
    )
    values = [score.value for score in judge.rate(IMPOLITE, ["Why?"] * 4, [rude, plain, kind, " "])]
    assert values[0] > 50 == values[1] > values[2] and np.isnan(values[3])
    assert all(0 <= value <= 100 for value in values[:3])


def test_it_rates_nothing_but_impoliteness():
    judge = PolitenessJudge()
    assert judge.unable(IMPOLITE) is None and judge.unable(load_trait("evil")) == "evil is no matter of politeness"
    with pytest.raises(ConfigError, match="They rate impolite only"):
        judge.rate(load_trait("evil"), ["Why?"], ["So."])
