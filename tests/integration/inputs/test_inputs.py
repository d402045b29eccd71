"""Every line of the table of inputs: the right value or one clear paragraph, and never a traceback."""

import importlib
import re
from pathlib import Path

import pytest

from persona_interp.errors import PersonaInterpError
from tests.integration.conftest import Shell
from tests.integration.inputs.row import LONGEST, Call, Command, Given, Row

PARTS = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in ("__init__", "row", "test_inputs"))


def rows(kind: type) -> list:
    found: list[tuple[str, Row]] = [
        (part, row) for part in PARTS for row in importlib.import_module(f"tests.integration.inputs.{part}").ROWS
    ]
    names = [f"{part}: {row.name}" for part, row in found]
    assert len(set(names)) == len(names), "two rows have one name"
    return [pytest.param(row, id=f"{part}: {row.name}") for part, row in found if isinstance(row, kind)]


@pytest.fixture
def given(tmp_path: Path, model_folder: Path, trait_files: tuple[Path, Path], vector: Path) -> Given:
    return Given(tmp_path, model_folder, trait_files, vector)


@pytest.mark.parametrize("row", rows(Call))
def test_call(row: Call, given: Given) -> None:
    if row.says is not None:
        with pytest.raises(PersonaInterpError, match=row.says) as caught:
            row.call(given)
        assert len(str(caught.value)) < LONGEST
        str(caught.value).encode()
        return
    value = row.call(given)
    assert row.gives(value) if callable(row.gives) else value == row.gives, value


@pytest.mark.parametrize("row", rows(Command))
def test_command(row: Command, given: Given, shell: Shell) -> None:
    if row.make is not None:
        row.make(given)
    places = {
        **{"tmp": given.tmp, "model": given.model, "vector": given.vector},
        **{"trait": given.traits[0], "mirrored": given.traits[1]},
    }
    done = shell(*(part.format(**places) for part in row.argv))
    assert "Traceback" not in done.err
    assert done.code == row.code, done.err
    text = done.out if row.code == 0 else done.error
    assert re.search(row.says, text), text
    if row.code:
        assert done.out == ""
        assert len(text) < LONGEST
