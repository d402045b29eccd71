"""Opinions on everyday matters in minimal pairs, each in two wordings: no fact decides any of them."""

from dataclasses import dataclass
from pathlib import Path

from persona_interp.errors import DataError
from persona_interp.io import read_json

_FILE = Path(__file__).with_name("opinions.json")


@dataclass(frozen=True)
class Opinion:
    """A clause that a speaker may hold, and the same said in other words."""

    said: str
    again: str


@dataclass(frozen=True)
class Topic:
    """Two opinions that exclude each other."""

    name: str
    opinions: tuple[Opinion, Opinion]


def load_opinions(path: Path | None = None) -> tuple[Topic, ...]:
    """Topics with two opposed opinions each; by default the 40 that were written for this project.

    Raises:
        ArtefactError: the file is missing or not JSON.
        DataError: it has another form, or two topics of one name.
    """
    path = _FILE if path is None else path
    given = read_json(path)
    try:
        topics = tuple(
            Topic(str(one["name"]), tuple(Opinion(str(o["said"]), str(o["again"])) for o in one["opinions"]))  # pyright: ignore
            for one in given["topics"]
        )
        complete = all(
            len(topic.opinions) == 2 and all(o.said.strip() and o.again.strip() for o in topic.opinions)
            for topic in topics
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as opinions: {error}.", "Expected topics with two opinions.") from error
    if not topics or not complete or len({topic.name for topic in topics}) < len(topics):
        raise DataError(
            f"{path} must have topics of different names with two opinions each, said in two ways.",
            'Expected {"topics": [{"name": ..., "opinions": [{"said": ..., "again": ...}, ...]}]}.',
        )
    return topics
