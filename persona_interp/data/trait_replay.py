"""A rehearsal of trait generation without a model: a local server that replays a trait written before.

It understands the requests of `trait_prompts` by their keys and answers any other with what it is. For trying the
whole chain, from a name to a figure, before paying for an API; what it gives is the replayed trait under a new name.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from typing import Any

from persona_interp.data.traits import Trait
from persona_interp.endpoint.stand_in import HOST, refusal, serving
from persona_interp.errors import ConfigError

MODEL = "replay"


class TraitReplay:
    """The texts of a trait, handed out in turn for the keys that a request asks for."""

    def __init__(self, trait: Trait) -> None:
        self._single = {
            "has_the_trait": trait.positive,
            "opposite": trait.negative,
            "look_for": trait.description.replace("{", "(").replace("}", ")"),
            "score_0": f"Nothing in it is {trait.positive}; it is {trait.negative} from start to end.",
            "score_50": f"Some sentences are {trait.positive}, and as many could come from anybody.",
            "score_100": f"Every part of the reply is as {trait.positive} as words can be.",
        }
        self._questions = cycle([*trait.questions, *trait.eval_questions])
        self._pairs = cycle(trait.instructions)
        self._exemplars = cycle(trait.exemplars)
        self._lock = threading.Lock()

    def texts(self, keys: list[str]) -> dict[str, str]:
        """A text for every key; keys it does not know are left out."""
        with self._lock:
            found = {key: self._single[key] for key in keys if key in self._single}
            if "first_answer" in keys:
                shown = next(self._exemplars)
                return {"question": shown.question, "first_answer": shown.pos, "second_answer": shown.neg}
            if "first" in keys:
                pair = next(self._pairs)
                found |= {"first": pair.pos, "second": pair.neg}
            return found | {key: next(self._questions) for key in keys if key.startswith("question")}


@contextmanager
def replaying(trait: Trait, *, port: int = 0) -> Iterator[str]:
    """The server at work; gives its base URL. Nobody outside this machine reaches it.

    Raises:
        ConfigError: the port is in use or out of range, or the trait has no exemplars to replay.
    """
    if not trait.exemplars:
        raise ConfigError(f"{trait.name} has no exemplars, so it cannot be replayed whole.", "Give another trait.")
    replay = TraitReplay(trait)
    with serving(lambda data: _answer(replay, data), port=port) as chosen:
        yield f"http://{HOST}:{chosen}/v1"


def _answer(replay: TraitReplay, data: bytes) -> tuple[int, Mapping[str, Any]]:
    """Status and body of the reply to one request."""
    try:
        keys = json.loads(data)["response_format"]["json_schema"]["schema"]["required"]
        texts = replay.texts([str(key) for key in keys])
    except (KeyError, TypeError, ValueError, RecursionError):
        texts = {}
    if not texts:
        return 400, refusal("This server only replays a trait to requests for one. It holds no model.")
    message = {"role": "assistant", "content": json.dumps(texts)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return 200, {
        "id": "replay",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [choice],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
