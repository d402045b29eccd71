"""The judges that can be tried by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from persona_interp.judges.protocol import Judge

Kind = Literal["embedding", "likelihood", "lexical", "politeness", "api"]
DEFAULT: tuple[str, ...] = ("embedding", "likelihood", "lexical", "politeness")
"""Those that need no server."""


def load_judges(kinds: Sequence[str], models: Sequence[str], *, backend: Any, dtype: str, cache: Path) -> list["Judge"]:
    """The judges of these kinds, a likelihood judge a model.

    Args:
        cache: folder that keeps the replies of an API judge.

    Raises:
        ConfigError: an API judge is asked for, and its model, key or address is not in the environment.
        ModelError: a model cannot be loaded.
    """
    from persona_interp.judges.embedding import EmbeddingJudge
    from persona_interp.judges.lexical import LexicalJudge
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.judges.politeness import PolitenessJudge
    from persona_interp.models.load import load_model

    made: list[Judge] = []
    for kind in kinds:
        if kind == "embedding":
            made.append(EmbeddingJudge())
        elif kind == "likelihood":
            made += [LikelihoodJudge(load_model(name, backend, dtype=dtype)) for name in models]
        elif kind == "lexical":
            made.append(LexicalJudge())
        elif kind == "politeness":
            made.append(PolitenessJudge())
        else:
            made.append(_api_judge(cache))
    return made


def _api_judge(cache: Path) -> "Judge":
    from persona_interp.endpoint.client import ChatClient
    from persona_interp.endpoint.endpoint import Endpoint
    from persona_interp.judges.openai import OpenAIJudge

    return OpenAIJudge(ChatClient(Endpoint.from_environment(), cache=cache / "api_cache.sqlite"))
