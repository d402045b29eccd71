"""Opinions come in opposed pairs, and a file that has another form is refused."""

import json
from pathlib import Path

import pytest

from persona_interp.data.opinions import load_opinions
from persona_interp.errors import DataError


def test_forty_topics_have_two_opinions_in_two_wordings() -> None:
    topics = load_opinions()
    assert len(topics) == 40
    for topic in topics:
        wordings = [text for opinion in topic.opinions for text in (opinion.said, opinion.again)]
        assert len(set(wordings)) == 4
        assert all(2 < len(wording.split()) < 12 for wording in wordings)


@pytest.mark.parametrize("given", [[], {"topics": []}, {"topics": [{"name": "a", "opinions": []}]}, {"topics": [1]}])
def test_another_form_is_refused(given: object, tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text(json.dumps(given))
    with pytest.raises(DataError, match="opinions"):
        load_opinions(tmp_path / "o.json")
