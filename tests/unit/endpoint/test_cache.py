import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from persona_interp.endpoint.cache import ReplyCache
from persona_interp.endpoint.requests import ChatReply
from persona_interp.errors import ArtefactError

REPLY = ChatReply("85 \U0001f600 \n\0", ((("85", -0.25),),), 9, 1, "stop", cached=True)


def test_replies_outlive_the_cache(tmp_path: Path):
    cache = ReplyCache(tmp_path / "new" / "replies.sqlite")
    cache.put("a", REPLY)
    cache.put("a", ChatReply("other", None, 0, 0, "", cached=False))
    cache.close()
    again = ReplyCache(tmp_path / "new" / "replies.sqlite")
    assert again.get(["a", "b", "a"]) == {"a": REPLY}
    again.close()


def test_more_keys_than_a_statement_takes(tmp_path: Path):
    cache = ReplyCache(tmp_path / "c")
    for i in range(0, 1200, 7):
        cache.put(str(i), REPLY)
    assert set(cache.get([str(i) for i in range(1200)])) == {str(i) for i in range(0, 1200, 7)}
    cache.close()


def test_a_reply_is_on_disk_when_put_returns(tmp_path: Path):
    """Another connection sees it, and so does a copy of the files as a kill would leave them."""
    cache = ReplyCache(tmp_path / "c")
    cache.put("a", REPLY)
    copied = tmp_path / "copy"
    copied.mkdir()
    for file in tmp_path.glob("c*"):
        if file.is_file():
            (copied / file.name).write_bytes(file.read_bytes())
    left = ReplyCache(copied / "c")
    assert left.get(["a"]) == {"a": REPLY}
    left.close()
    cache.close()


def test_many_open_it_at_once(tmp_path: Path):
    failures: list[BaseException] = []

    def use(i: int) -> None:
        try:
            cache = ReplyCache(tmp_path / "c")
            for j in range(10):
                cache.put(f"{i} {j}", REPLY)
            cache.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    cache = ReplyCache(tmp_path / "c")
    assert len(cache.get([f"{i} {j}" for i in range(6) for j in range(10)])) == 60
    cache.close()


def test_a_file_that_is_no_database(tmp_path: Path):
    file = tmp_path / "c"
    file.write_bytes(b"not a database, but longer than the header of one is" * 40)
    with pytest.raises(ArtefactError) as caught:
        ReplyCache(file)
    assert str(caught.value) == (
        f"the cache {file} is damaged: file is not a database.\n"
        "  Delete it, with the -wal and -shm files beside it: its requests are asked again."
    )
    assert file.read_bytes().startswith(b"not a database")


def test_a_damaged_page(tmp_path: Path):
    file = tmp_path / "c"
    cache = ReplyCache(file)
    for i in range(200):
        cache.put(str(i), REPLY)
    cache.close()
    data = bytearray(file.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    file.write_bytes(data)
    again = ReplyCache(file)
    with pytest.raises(ArtefactError, match="is damaged"):
        again.get([str(i) for i in range(200)])
    again.close()


def test_a_row_that_is_no_reply(tmp_path: Path):
    cache = ReplyCache(tmp_path / "c")
    with closing(sqlite3.connect(tmp_path / "c")) as other:
        other.execute("insert into replies values ('a', '{}'), ('b', x'00ff')")
        other.commit()
    for key in "ab":
        with pytest.raises(ArtefactError, match=r"is damaged: a row is not a reply"):
            cache.get([key])
    cache.close()


def test_the_database_of_another_program(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "c")) as other:
        other.execute("create table mine (x)")
    with pytest.raises(ArtefactError) as caught:
        ReplyCache(tmp_path / "c")
    assert str(caught.value) == (
        f"{tmp_path / 'c'} is a database of another program.\n  Choose another file for the cache."
    )
    with closing(sqlite3.connect(tmp_path / "c")) as other:
        assert [name for (name,) in other.execute("select name from sqlite_master")] == ["mine"]


def test_a_place_where_nothing_can_be_written(tmp_path: Path):
    with pytest.raises(ArtefactError, match="could not read or write the cache"):
        ReplyCache(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="could not make the folder"):
        ReplyCache(tmp_path / "file" / "c")
