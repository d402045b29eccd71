"""`ReplyCache`: replies in one SQLite file that several processes may share and a killed one leaves whole."""

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from persona_interp.endpoint.replies import MalformedReplyError, pack, unpack
from persona_interp.endpoint.requests import ChatReply
from persona_interp.errors import ArtefactError

APPLICATION_ID = 0x50494E54
_WAIT_S = 60.0
_ROWS = 500


class ReplyCache:
    """Replies under the hashes of their requests. Each one is committed before `put` returns.

    The file holds questions' hashes and the texts of answers, never a key.

    Raises:
        ArtefactError: the file is not such a cache, is damaged, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtefactError(f"could not make the folder {path.parent}: {error.strerror or error}.") from error
        with self._reported():
            connection = sqlite3.connect(path, timeout=_WAIT_S, check_same_thread=False, isolation_level=None)
            self.close = weakref.finalize(self, connection.close)
            self._connection = connection
            self._open()

    def get(self, keys: Sequence[str]) -> dict[str, ChatReply]:
        """The replies that are there."""
        distinct = list(dict.fromkeys(keys))
        rows: list[tuple[str, str | bytes]] = []
        with self._reported(), self._lock:
            for start in range(0, len(distinct), _ROWS):
                part = distinct[start : start + _ROWS]
                marks = ",".join("?" * len(part))
                rows += self._connection.execute(f"select key, reply from replies where key in ({marks})", part)
        try:
            return {key: unpack(packed if isinstance(packed, str) else "") for key, packed in rows}
        except MalformedReplyError as error:
            raise self._damaged(f"a row is not a reply ({error})") from error

    def put(self, key: str, reply: ChatReply) -> None:
        """Keep one reply, on disk when this returns."""
        with self._reported(), self._lock:
            self._connection.execute("insert or ignore into replies values (?, ?)", (key, pack(reply)))

    def _open(self) -> None:
        run = self._connection.execute
        self._use_wal()
        run("pragma synchronous = normal")
        run("begin immediate")
        try:
            (application,) = run("pragma application_id").fetchone()
            (tables,) = run("select count(*) from sqlite_master").fetchone()
            if application != APPLICATION_ID and (application or tables):
                raise ArtefactError(
                    f"{self.path} is a database of another program.", "Choose another file for the cache."
                )
            run(f"pragma application_id = {APPLICATION_ID}")
            run("create table if not exists replies (key text primary key, reply text not null) without rowid")
        except BaseException:
            run("rollback")
            raise
        run("commit")

    def _use_wal(self) -> None:
        """Write-ahead logging, which SQLite does not wait for when another process switches it on just now."""
        for _ in range(200):
            try:
                self._connection.execute("pragma journal_mode = wal")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                time.sleep(0.02)
        raise sqlite3.OperationalError("database is locked")

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise ArtefactError(
                f"could not read or write the cache {self.path}: {error}.",
                "Nothing that was in it is lost."
                f" {'Free space, or choose' if 'full' in str(error) else 'Choose'} another file, then run the same"
                " command again.",
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> ArtefactError:
        return ArtefactError(
            f"the cache {self.path} is damaged: {reason}.",
            "Delete it, with the -wal and -shm files beside it: its requests are asked again.",
        )
