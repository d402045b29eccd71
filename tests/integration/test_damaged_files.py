"""Every command goes on from the files in its folder: a damaged one is named in one paragraph, or made again."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from persona_interp.io import sha256_bytes
from tests.integration.conftest import Done, Shell
from tests.integration.test_golden_run import CALLS, Call, compare, portable, read, tables_of, train_adapter

COMMANDS = (*CALLS, "psychadapter train", "levels")
N_KINDS = 2
"""Kinds of damage that each file gets where not all are tried."""

DRAWN = {".html", ".md", ".pdf", ".png", ".svg", ".jsonl"}
"""Endings of files that no command reads again, but for the drift log and the training sets."""
QUICK = ("screen", "finetune")
"""The commands whose files are damaged by default; those of the others are slow to call again."""
MOST = {"run": 2, "styles": 3, "psychadapter": 3, "inventory": 2, "levels": 2, "psychadapter train": 4}
"""Files of a command whose calls take seconds that are damaged, chosen by a hash; the slow test damages all."""
UNREAD = ("psychadapter_texts.csv", "drift.jsonl")
"""What a finished run need not read again: tables were made from it, or it is a log."""
WRITTEN_AGAIN = ("tables/", "summary.", "provenance.", "measurements.", "vectors/")
"""Beginnings of the results that `run` writes anew in every call; only the slow test damages these."""


def retyped(value: Any) -> Any:
    """Every value of an object as one of another type."""
    return {key: [] if not isinstance(part, list) else "text" for key, part in value.items()} if value else value


def first_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


Damage = Callable[[bytes], bytes]
ANY: dict[str, Damage] = {
    "truncated": first_half,
    "empty": lambda _: b"",
    "junk": lambda _: bytes(range(1, 256)) * 3,
}
JSON: dict[str, Damage] = {
    **ANY,
    "not utf-8": lambda data: data[:1] + b'"\xff\xfe": 1,' + data[1:],
    "list": lambda _: b"[1, 2]\n",
    "number": lambda _: b"3\n",
    "null": lambda _: b"null\n",
    "empty object": lambda _: b"{}\n",
    "deep": lambda _: b"[" * 100_000 + b"]" * 100_000,
    "many digits": lambda _: b"1" * 10_000,
    "other types": lambda data: json.dumps(retyped(json.loads(data))).encode(),
}


@dataclass(frozen=True)
class Finished:
    """A finished run of a command, and how it is called for another folder."""

    command: str
    out: Path
    call: Call
    inputs: tuple[Path, Path]

    def files(self) -> list[str]:
        """Kept files, one of each shape: parts, traits, styles and layers of the same kind count once."""
        shapes: dict[str, str] = {}
        for path in sorted(self.out.rglob("*")):
            name = path.relative_to(self.out).as_posix()
            if path.is_file() and (path.suffix not in DRAWN or name.startswith("drift")) and path.name[0] != ".":
                shape = re.sub(r"\d+", "0", re.sub(r"cheerful|gloomy|cold|warm|agr_z|swl", "name", name))
                shapes.setdefault(shape.replace("+0.0", "0.0").replace("-0.0", "0.0"), name)
        return list(shapes.values())

    def damaged(self, folder: Path, name: str, damage: Damage | None) -> Path:
        """A copy of the folder in which one file is damaged, or deleted."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.out, folder)
        file = folder / name
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage(file.read_bytes()))
        return file

    def fault(self, shell: Shell, folder: Path, name: str, kind: str) -> str:
        """What is wrong with how the command takes a damaged file; nothing where it is as it should be."""
        kinds = JSON if name.endswith(".json") else ANY
        file = self.damaged(folder, name, None if kind == "deleted" else kinds[kind])
        done = shell(*self.call, "--out", folder)
        said = self._unclear(done, folder, file) if done.code else self._changed(folder, file)
        return said and f"{self.command}, {name} {kind}: {said}"

    def _unclear(self, done: Done, folder: Path, file: Path) -> str:
        lines = done.error.rstrip("\n").split("\n")
        starts = [i for i, line in enumerate(lines) if re.match(r"[A-Z]\w+Error: ", line)]
        if done.code not in (1, 2) or "Traceback" in done.err or len(starts) != 1:
            return f"exit code {done.code}, {done.err[-1500:]}"
        paragraph = lines[starts[0] :]
        places = [file.with_suffix(""), *(place for place in file.parents if place.is_relative_to(folder))]
        named = any(re.search(re.escape(str(place)) + r"(?![\w/])", "\n".join(paragraph)) for place in places)
        advice = re.search(r"[Dd]elete|[Rr]estore|again|another", "\n".join(paragraph[1:]))
        one = all(line.startswith("  ") for line in paragraph[1:])
        return "" if named and one and advice else f"unclear: {paragraph}"

    def _changed(self, folder: Path, file: Path) -> str:
        """How results differ from those of the finished run; a file that nothing reads may stay as it is."""
        for table in tables_of(self.out):
            if file == folder / table and table in UNREAD:
                continue
            try:
                if (folder / table).read_bytes() != (self.out / table).read_bytes():
                    found, saved = (
                        portable(read(place / table), place, self.inputs[1]) for place in (folder, self.out)
                    )
                    compare(found, saved, table)
            except Exception as error:
                return f"exit code 0, but {table} differs: {str(error)[:300]}"
        return ""


@pytest.fixture(scope="module")
def finished(
    shell: Shell,
    model_folder: Path,
    trait_files: tuple[Path, Path],
    vector: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Finished]]:
    """A finished run of a command, made once."""
    made: dict[str, Finished] = {}

    def make(command: str) -> Finished:
        if command not in made:
            folder = tmp_path_factory.mktemp(command.replace(" ", "_"))
            made[command] = _finished(command, folder, shell, model_folder, trait_files, vector)
        return made[command]

    yield make


def _finished(
    command: str, folder: Path, shell: Shell, model: Path, traits: tuple[Path, Path], vector: Path
) -> Finished:
    out, inputs = folder / "out", (folder, model)
    if command.startswith("psychadapter"):
        train_adapter(shell, folder, model)
    if command == "psychadapter train":
        sizes = ("--batch-size", 8, "--epochs", 2, "--max-tokens", 16, "--holdout", 0.4, "--dtype", "float32")
        call: Call = ("psychadapter", "train", folder / "texts.csv", "--model", model, *sizes)
        return Finished(command, folder / "adapter", call, inputs)
    if command == "levels":
        sizes = ("--n-questions", 12, "--max-new-tokens", 6, "--min-gap", 0.5)
        call = ("levels", traits[0], "--model", model, "--dtype", "float32", *sizes)
    else:
        call = CALLS[command](folder, model, traits[:1] if command == "run" else traits, vector)  # pyright: ignore
    done = shell(*call, "--out", out)
    assert done.code == 0, done.err
    return Finished(command, out, call, inputs)


def kinds_of(name: str) -> list[str]:
    return [*(JSON if name.endswith(".json") else ANY), "deleted"]


def chosen(name: str) -> list[str]:
    """Two kinds of damage, by a hash of the file's name."""
    kinds, start = kinds_of(name), int(sha256_bytes(name.encode())[:8], 16)
    return [kinds[(start + 3 * i) % len(kinds)] for i in range(N_KINDS)]


@pytest.mark.parametrize("command", [pytest.param(c, marks=[pytest.mark.slow] * (c not in QUICK)) for c in COMMANDS])
def test_a_damaged_file_is_named_or_made_again(
    command: str, finished: Callable[[str], Finished], shell: Shell, tmp_path: Path
) -> None:
    run = finished(command)
    files = [name for name in run.files() if command != "run" or not name.startswith(WRITTEN_AGAIN)]
    files = sorted(files, key=lambda name: sha256_bytes(name.encode()))[: MOST.get(command, 99)]
    faults = [run.fault(shell, tmp_path / "out", name, kind) for name in files for kind in chosen(name)]
    assert files and not any(faults), "\n".join(filter(None, faults))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_damage_to_every_file_is_named_or_made_again(
    command: str, finished: Callable[[str], Finished], shell: Shell, tmp_path: Path
) -> None:
    run = finished(command)
    faults = [
        run.fault(shell, tmp_path / "out", name, kind) for name in run.files() for kind in dict.fromkeys(kinds_of(name))
    ]
    assert not any(faults), "\n".join(filter(None, faults))
