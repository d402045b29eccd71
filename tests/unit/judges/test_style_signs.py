"""The declared valence of styles agrees with the sentences of the package."""

import numpy as np
import pytest

from persona_interp.data.styles import list_styles, load_styles, style_trait
from persona_interp.judges.lexical import LEXICAL_SIGNS, LexicalJudge
from persona_interp.studies.styles.signs import LEXICAL_STYLE_SIGNS


@pytest.mark.parametrize("corpus", ["sentiment", "emotion"])
def test_sentences_of_a_style_have_its_valence(corpus: str) -> None:
    judge, given = LexicalJudge(LEXICAL_STYLE_SIGNS), load_styles(corpus)
    for style in given.styles:
        trait = style_trait(given, style, questions=["Why?"])
        if judge.unable(trait) is not None:
            assert style == "surprise"
            continue
        own = given.sentences[style]
        others = [text for name in given.styles if name != style for text in given.sentences[name]]
        means = [
            np.mean([score.value for score in judge.rate(trait, [""] * len(texts), list(texts))])
            for texts in (own, others)
        ]
        assert means[0] > means[1], style


def test_every_sign_is_of_a_style_and_of_no_trait() -> None:
    styles = {style for corpus in list_styles() for style in load_styles(corpus).styles}
    assert set(LEXICAL_STYLE_SIGNS) <= styles and not set(LEXICAL_STYLE_SIGNS) & set(LEXICAL_SIGNS)
    assert all(sign.reason for sign in LEXICAL_STYLE_SIGNS.values())
