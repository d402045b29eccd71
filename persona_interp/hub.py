"""Whether the Hugging Face hub has a repository: asked once and briefly, before a library tries for a minute."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["model", "dataset"]
_WAIT_S = 4.0


@dataclass(frozen=True)
class HubAnswer:
    """What the hub says of a repository, or what its local cache has where the hub cannot be asked.

    Args:
        files: names of the repository's files; empty where it is not there.
        reached: whether the hub answered.
        problem: why it cannot be loaded, a clause; None where it can.
    """

    files: frozenset[str]
    reached: bool
    problem: str | None


def ask_hub(name: str, kind: Kind = "model", revision: str | None = None) -> HubAnswer:
    """The hub's answer, within four seconds; what is in the local cache stands in for it without network."""
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    found = _asked(name, kind, revision)
    files = frozenset(file.rfilename for file in getattr(found, "siblings", None) or ())
    problem = None
    if isinstance(found, HFValidationError):
        problem = "nothing on this machine has that path, and it is no name of the hub"
    elif isinstance(found, GatedRepoError):
        problem = "its terms have to be accepted on the hub first, by the owner of $HF_TOKEN"
    elif isinstance(found, RevisionNotFoundError):
        problem = f"the hub has no revision {revision!r} of it"
    elif isinstance(found, RepositoryNotFoundError):
        problem = f"the hub has no {kind} of that name, or it is private"
    elif isinstance(found, Exception):
        cached = _cached(name, kind, revision)
        problem = None if cached else f"it is not in the hub's cache here, and the hub cannot be reached: {_why(found)}"
        return HubAnswer(cached, False, problem)
    return HubAnswer(files, True, problem)


@contextmanager
def quiet_hub() -> Iterator[None]:
    """A context in which the hub's client does not tell of every request that it repeats."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _asked(name: str, kind: Kind, revision: str | None) -> Any:
    """What the hub knows of a repository, or the exception that came instead.

    In a thread of its own, because looking up the host's name has no limit of time.
    """
    from httpx2 import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    found: list[Any] = [TimeoutError(f"no answer within {_WAIT_S:.0f} s")]

    def ask() -> None:
        try:
            found[0] = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=_WAIT_S)
        except (HTTPError, HFValidationError, OSError) as error:
            found[0] = error

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_WAIT_S)
    return found[0]


def _cached(name: str, kind: Kind, revision: str | None) -> frozenset[str]:
    """Names of the files of a revision that the local cache has."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = [repo for repo in scan_cache_dir().repos if (repo.repo_id, repo.repo_type) == (name, kind)]
    except CacheNotFound:
        return frozenset()
    wanted = revision or "main"
    return frozenset(
        file.file_path.relative_to(found.snapshot_path).as_posix()
        for repo in repos
        for found in repo.revisions
        if wanted in found.refs or found.commit_hash.startswith(wanted)
        for file in found.files
    )


def _why(error: Exception) -> str:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return "HF_HUB_OFFLINE is set" if HF_HUB_OFFLINE else f"{type(error).__name__}: {error}"[:120]
