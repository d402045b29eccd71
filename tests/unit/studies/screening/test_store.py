"""The folder of a screening: what it refuses, what it goes on with, and that a shard is whole or absent."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from persona_interp.directions.direction import Direction
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.io import read_json
from persona_interp.lock import locked
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.screening.batch import Screener
from persona_interp.studies.screening.config import ScreenConfig
from persona_interp.studies.screening.store import Shards, claim_folder

HASH = "ab" * 32


@pytest.fixture
def screener(model: HookedModelBase, directions: tuple[Direction, ...]) -> Screener:
    return Screener.make(model, directions, ScreenConfig((1,)))


def opened(folder: Path, screener: Screener, source_hash: str = HASH) -> Shards:
    return Shards(claim_folder(folder, screener, source_hash=source_hash).path)


def begun(folder: Path, screener: Screener) -> None:
    opened(folder, screener).write(0, pa.table({"row": [0]}))


def test_the_identity_is_what_the_numbers_depend_on(tmp_path: Path, screener: Screener) -> None:
    opened(tmp_path / "out", screener)
    identity = read_json(tmp_path / "out" / "identity_screening.json")
    assert identity["data set (SHA-256)"] == HASH
    assert identity["weights"] == screener.model.provenance.weights
    assert [vector[0] for vector in identity["vectors"]] == ["loud", "evil"]
    assert screener.model.name not in str(identity)


def test_the_same_screening_goes_on_behind_its_last_whole_shard(tmp_path: Path, screener: Screener) -> None:
    shards = opened(tmp_path, screener)
    assert shards.first_missing() == 0
    for number in (0, 1, 3):
        shards.write(number, pa.table({"row": [number]}))
    (tmp_path / "samples" / ".part-000002.parquet.4194999-x.persona-interp.tmp").write_bytes(b"half")  # no such process
    with locked(tmp_path):
        again = opened(tmp_path, screener)
    assert again.first_missing() == 2
    assert again.has(3) and not again.has(2)
    assert again.read(["row"])["row"].to_pylist() == [0, 1, 3]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": (2,)}, r"layers: there \[1\], now \[2\]"),
        ({"batch_rows": 8}, "batch_rows: there 64, now 8"),
        ({"delta": "none"}, "delta: there 'prompt', now 'none'"),
        ({"delta": "generate"}, "max_new_tokens: there None, now 64"),
    ],
)
def test_another_configuration_is_refused(tmp_path: Path, screener: Screener, changes: dict, words: str) -> None:
    begun(tmp_path, screener)
    other = replace(screener, config=replace(screener.config, **changes))
    with pytest.raises(ConfigError, match=rf"holds results of another configuration(.|\n)*{words}"):
        opened(tmp_path, other)


def test_other_vectors_are_refused(tmp_path: Path, screener: Screener) -> None:
    begun(tmp_path, screener)
    nudged = replace(screener.directions[0], vectors=screener.directions[0].vectors + 1e-6)
    with pytest.raises(ConfigError, match="vectors: there"):
        opened(tmp_path, replace(screener, directions=(nudged, screener.directions[1])))


def test_an_altered_data_set_is_refused(tmp_path: Path, screener: Screener) -> None:
    begun(tmp_path, screener)
    with pytest.raises(ConfigError, match=r"data set \(SHA-256\): there 'abab.*now 'cdcd"):
        opened(tmp_path, screener, "cd" * 32)


def test_a_folder_without_shards_binds_nobody(tmp_path: Path, screener: Screener) -> None:
    opened(tmp_path, screener)
    assert opened(tmp_path, screener, "cd" * 32).first_missing() == 0


def test_options_that_no_number_depends_on_may_change(tmp_path: Path, screener: Screener) -> None:
    begun(tmp_path, screener)
    before = read_json(tmp_path / "identity_screening.json")
    again = opened(tmp_path, replace(screener, config=replace(screener.config, max_new_tokens=7)))
    assert again.has(0) and read_json(tmp_path / "identity_screening.json") == before


def test_shards_that_nothing_says_the_origin_of_are_refused(tmp_path: Path, screener: Screener) -> None:
    Shards(tmp_path).write(0, pa.table({"row": [0]}))
    with pytest.raises(ConfigError, match=r"holds samples/part-000000.parquet, but no identity_screening\.json"):
        opened(tmp_path, screener)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    with pytest.raises(ArtefactError, match="holds no shard"):
        shards.read()
    shards.write(0, pa.table({"row": [0]}))
    shards.path(0).write_bytes(shards.path(0).read_bytes()[:-20])
    with pytest.raises(ArtefactError, match=r"part-000000\.parquet is not a whole shard(.|\n)*Delete it"):
        shards.read()
