"""Which styles have a valence by definition, so that a lexicon of valence may rate them."""

from collections.abc import Mapping
from types import MappingProxyType

from persona_interp.judges.lexical import LexicalSign

LEXICAL_STYLE_SIGNS: Mapping[str, LexicalSign] = MappingProxyType(
    {
        "positive": LexicalSign(1, "praise is its definition"),
        "negative": LexicalSign(-1, "complaint is its definition"),
        "joy": LexicalSign(1, "names what is good, and enjoys it"),
        "anger": LexicalSign(-1, "blames and insults"),
        "disgust": LexicalSign(-1, "names what repels"),
        "fear": LexicalSign(-1, "names danger and dread"),
        "sadness": LexicalSign(-1, "names loss and grief"),
    }
)
"""For `LexicalJudge(LEXICAL_STYLE_SIGNS)`; the keys are names of styles.

Left out: surprise, which may be of either valence, and ways of speaking (formal, casual, shakespeare, modern), which
have none.
"""
