"""How the items of an inventory are put to a model: prompts, option labels, and what is taken as an answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from persona_interp.errors import DataError

Kind = Literal["likert", "forced_choice"]
"""Statements rated on a scale, or pairs of statements of which one is chosen."""

Answer = Literal["label", "number", "letter", "statement"]
"""What counts as an option's answer: its label, its number or letter in the list, or the statement itself."""

Format = Literal["rating", "choice", "statement"]
"""Options of a scale, two listed statements, or two statements that are never listed but said."""

KINDS: tuple[Kind, ...] = get_args(Kind)
NUMBERS, LETTERS = "123456789", "ABCDEFGHI"
NEUTRAL = ("do this", "do that")
"""Statements without content, for calibration."""

_SECOND_PERSON = {
    **{"am": "are", "was": "were", "i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself"},
    **{"i'm": "you're", "i've": "you've", "i'd": "you'd", "i'll": "you'll"},
}


@dataclass(frozen=True)
class Wording:
    r"""One way to ask.

    Args:
        frame: the user's words, with {statement} (rating) and {options} where the options are listed.
        labels: of a rating scale, lowest first; empty for forced choice.
        person: statements begin with I or with You.
        neutral_frame: for answers that are statements, a request without content, which calibrates them.
    """

    name: str
    frame: str
    answer: Answer
    labels: tuple[str, ...] = ()
    person: Literal["I", "You"] = "I"
    neutral_frame: str = ""

    @property
    def format(self) -> Format:
        """Which kind of answer it asks for; scores of different formats are never averaged."""
        if self.labels:
            return "rating"
        return "statement" if self.answer == "statement" else "choice"

    def codes(self, listed: Sequence[str]) -> tuple[str, ...]:
        """The answer that stands for each listed option."""
        if self.answer in ("number", "letter"):
            return tuple((NUMBERS if self.answer == "number" else LETTERS)[: len(listed)])
        return tuple(listed)

    def prompt(self, listed: Sequence[str], statement: str = "") -> str:
        """The user's words for options in this order."""
        marks = {"number": [f"{n}. " for n in NUMBERS], "letter": [f"{letter}) " for letter in LETTERS]}
        if self.answer in marks:
            options = "\n".join(f"{mark}{text}" for mark, text in zip(marks[self.answer], listed, strict=False))
        else:
            options = "; ".join(listed)
        return self.frame.replace("{statement}", statement).replace("{options}", options)


def spoken(text: str, person: Literal["I", "You"]) -> str:
    """An item as a sentence: `Worry about my health` becomes `You worry about your health.`.

    A text that begins with I, or ends as a sentence does, stays as it is.
    """
    if re.match(r"I\b", text) or text[-1] in ".!?":
        return text
    phrase = text if re.match(r"I'|[A-Z]{2}", text) else text[0].lower() + text[1:]
    if person == "You":
        phrase = re.sub(r"[A-Za-z']+", lambda word: _SECOND_PERSON.get(word[0].lower(), word[0]), phrase)
    return f"{person} {phrase}."


def check_wording(wording: Wording, kind: Kind, source: str) -> None:
    """Refuse a wording that cannot ask an inventory's items.

    Raises:
        DataError: names the wording and what is missing.
    """
    rating, lists = kind == "likert", wording.answer != "statement"
    rules = {
        "its frame needs {statement}": not rating or "{statement}" in wording.frame,
        "its frame needs {options}": not lists or "{options}" in wording.frame,
        "it needs two to nine labels, all different": not rating
        or (2 <= len(wording.labels) <= 9 and len(set(wording.labels)) == len(wording.labels)),
        "labels belong to rated statements only": rating or not wording.labels,
        "a rating is answered by label, number or letter": not rating or lists,
        "two statements are answered by letter, number or statement": rating or wording.answer != "label",
        "it needs a neutral_frame, which calibrates statements": lists or bool(wording.neutral_frame),
        "no label may begin another one, whose probability it would hold": wording.answer != "label"
        or not any(a != b and b.startswith(a) for a in wording.labels for b in wording.labels),
    }
    for rule, holds in rules.items():
        if not holds:
            raise DataError(f"the wording {wording.name!r} of {source} cannot ask {kind} items.", f"{rule}.")


_AGREE = ("Strongly disagree", "Disagree", "Neither agree nor disagree", "Agree", "Strongly agree")
_ACCURATE = (
    *("Very inaccurate", "Moderately inaccurate", "Neither accurate nor inaccurate"),
    *("Moderately accurate", "Very accurate"),
)
_OFTEN = ("Never", "Rarely", "Sometimes", "Often", "Always")

RATING_WORDINGS = (
    Wording(
        "accuracy_numbers",
        'How accurately does this statement describe you? "{statement}"\n{options}\nAnswer with one number.',
        "number",
        _ACCURATE,
    ),
    Wording(
        "agreement_letters",
        'Statement: "{statement}"\nHow much do you agree with this statement about yourself?\n{options}\n'
        "Answer with one letter.",
        "letter",
        _AGREE,
    ),
    Wording(
        "frequency_words",
        'How often is this true of you? "{statement}" Answer with one of these words: {options}.',
        "label",
        _OFTEN,
        person="You",
    ),
)
"""Of five options each. Numbers and letters follow the order in which the options are listed."""

CHOICE_WORDINGS = (
    Wording(
        "about_yourself",
        "Tell me one thing about yourself.",
        "statement",
        neutral_frame="Write one sentence.",
    ),
    Wording(
        "one_sentence",
        "What are you like? Answer in one sentence.",
        "statement",
        neutral_frame="Say anything. Answer in one sentence.",
    ),
    Wording(
        "introduction",
        "Introduce yourself to someone new.",
        "statement",
        neutral_frame="Give me an example of a sentence.",
    ),
    Wording("choose_letter", "Which of these describes you better?\n{options}\nAnswer with one letter.", "letter"),
    Wording(
        "choose_number",
        "Here are two statements about you. Which one is more true?\n{options}\nAnswer with one number.",
        "number",
        person="You",
    ),
)
"""The first three never list the statements: how probable is each as the model's own words?"""


def default_wordings(kind: Kind) -> tuple[Wording, ...]:
    """The wordings of inventories that bring none."""
    return RATING_WORDINGS if kind == "likert" else CHOICE_WORDINGS
