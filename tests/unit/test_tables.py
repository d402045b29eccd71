"""Tables on disk: what is written comes back, what is damaged or in another form is named."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame

from persona_interp.errors import AlignmentError, ArtefactError, ConfigError
from persona_interp.tables import (
    Column,
    Form,
    kept_table,
    numbers,
    read_table,
    table_bytes,
    texts,
    truths,
    wholes,
    write_table,
)

ROLE = Column("role", "text", allowed=("treatment", "null"))
FORM = Form("toy", (*texts("trait"), *wholes("layer"), *numbers("value", unit="points"), *truths("chosen"), ROLE))
ROWS = DataFrame(
    {
        "trait": ["NA", "a,b", None],
        "layer": [3, None, 0],
        "value": [0.1 + 0.2, float("nan"), float("inf")],
        "chosen": [True, None, False],
        "role": ["treatment", "null", "null"],
    }
)

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
finite = st.floats(allow_nan=False) | st.none()


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_what_is_written_comes_back(name: str, tmp_path: Path) -> None:
    write_table(tmp_path / name, ROWS, FORM)
    again = read_table(tmp_path / name, FORM)
    pd.testing.assert_frame_equal(again, FORM.checked(ROWS))
    assert again["trait"].tolist()[:2] == ["NA", "a,b"]
    assert again["trait"].isna().tolist() == [False, False, True]
    assert again["value"][0] == 0.1 + 0.2
    assert again.dtypes.astype(str).tolist() == ["str", "Int64", "float64", "boolean", "str"]
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@given(st.lists(st.tuples(cells, finite, st.integers(-(2**53), 2**53) | st.none(), st.booleans()), max_size=6))
def test_any_text_and_number_comes_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, rows: list[tuple[str, float | None, int | None, bool]]
) -> None:
    form = Form("any", (*texts("a", filled=True), *numbers("b"), *wholes("c"), *truths("d")))
    frame = DataFrame(rows, columns=form.names)
    path = tmp_path_factory.mktemp("any") / f"table{suffix}"
    write_table(path, frame, form)
    again = read_table(path, form)
    assert again["a"].tolist() == [row[0] for row in rows]
    assert [None if np.isnan(b) else b for b in again["b"]] == [row[1] for row in rows]
    assert [None if pd.isna(c) else c for c in again["c"]] == [row[2] for row in rows]
    assert again["d"].tolist() == [row[3] for row in rows]


def test_without_a_form_only_an_empty_cell_is_missing(tmp_path: Path) -> None:
    frame = DataFrame({"trait": ["NA", "null", "nan", None], "value": [1.5, 0.1, np.nan, 2.0], "n": [1, 2, 3, 4]})
    write_table(tmp_path / "t.csv", frame)
    again = read_table(tmp_path / "t.csv")
    assert again["trait"].tolist()[:3] == ["NA", "null", "nan"]
    assert again["trait"].isna().tolist() == [False, False, False, True]
    assert again["value"].tolist()[:2] == [1.5, 0.1]
    assert again["n"].dtype == "int64"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer": ["1.5", "2", "3"]}, "column layer must hold a whole number, got '1.5' in row 0"),
        ({"value": ["x", "1", "y"]}, "column value must hold a number, got 'x' in row 0 (2 such of 3)"),
        ({"chosen": ["yes", "True", "0"]}, "column chosen must hold True or False, got 'yes' in row 0"),
        ({"role": ["null", "other", "null"]}, "column role must hold one of treatment, null, got 'other' in row 1"),
        ({"more": ["1", "2", "3"]}, "column more is not known"),
    ],
)
def test_another_form_is_refused_or_listed(change: dict[str, list[str]], said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, ROWS.assign(**change))
    with pytest.raises(ArtefactError) as raised:
        read_table(path, FORM)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert "Delete it and run the same command again" in str(raised.value)
    frame, problems = read_table(path, FORM, strict=False)
    assert problems == [said]
    assert len(frame) == 3
    assert frame.columns.tolist() == FORM.names


def test_columns_that_are_missing_or_there_twice_are_named(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ROWS[["trait", "value"]])
    with pytest.raises(ArtefactError, match="column layer is missing") as raised:
        read_table(tmp_path / "t.csv", FORM)
    assert "column role is missing" in str(raised.value)
    frame, problems = FORM.typed(pd.concat([ROWS, ROWS[["trait"]]], axis=1))
    assert problems == ["column trait is there twice"]
    assert frame.columns.tolist() == FORM.names


def test_optional_columns_may_be_left_out_and_others_stand_in_an_open_form() -> None:
    form = Form("open", (*texts("a"), *numbers("b", optional=True)), open=True)
    frame = form.checked(DataFrame({"more": [1], "a": ["x"]}))
    assert frame.columns.tolist() == ["a", "more"]


def test_a_frame_in_another_form_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(AlignmentError, match=r"the table toy cannot be made: column role must hold one of"):
        write_table(tmp_path / "t.csv", ROWS.assign(role="other"), FORM)
    filled = Form("filled", (Column("n", "whole", filled=True),))
    with pytest.raises(AlignmentError, match=r"column n has no value in row 1 \(1 such of 2\)"):
        filled.checked(DataFrame({"n": [1, None]}))
    with pytest.raises(ConfigError, match=r"ends in '.txt'"):
        write_table(tmp_path / "t.txt", ROWS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00junk", b"PAR1" + b"\0" * 40, b'a,b\n"1,2\n', b"[" * 100_000])
def test_a_damaged_file_is_one_paragraph(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtefactError) as raised:
        read_table(tmp_path / name, FORM)
    assert str(tmp_path / name) in str(raised.value)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_a_truncated_parquet_file_is_refused(cut: float, tmp_path: Path) -> None:
    data = table_bytes(ROWS, ".parquet")
    (tmp_path / "t.parquet").write_bytes(data[: int(cut * len(data))])
    with pytest.raises(ArtefactError, match="not a whole Parquet file"):
        read_table(tmp_path / "t.parquet")


def test_a_kept_table_is_made_once(tmp_path: Path) -> None:
    calls = []

    def make() -> DataFrame:
        calls.append(1)
        return ROWS

    first, second = (kept_table(tmp_path / "t.csv", make, FORM) for _ in range(2))
    assert calls == [1]
    pd.testing.assert_frame_equal(first, second)


def test_digits_are_those_asked_for() -> None:
    assert table_bytes(DataFrame({"a": [1 / 3]}), ".csv", digits=3) == b"a\n0.333\n"


FORMULAS = [
    *("=1+1", "+cmd|' /C calc'!A0", "-abc", "@SUM(A1)", "\t=1", "'=1", "''@x", "'-5", "-", "- a list"),
    *("-5", "+1.5e3", "'quoted'", "a=b", "5-3", "", "\u2212x"),
]


@pytest.mark.parametrize("form", [None, Form("t", texts("text", filled=True))])
def test_no_text_of_a_csv_is_a_formula_and_each_is_read_back(form: Form | None, tmp_path: Path) -> None:
    frame = DataFrame({"text": FORMULAS})
    write_table(tmp_path / "t.csv", frame, form)
    with (tmp_path / "t.csv").open(newline="") as handle:
        cells = [row[0] for row in csv.reader(handle)][1:]
    assert cells[:4] == ["'=1+1", "'+cmd|' /C calc'!A0", "'-abc", "'@SUM(A1)"] and cells[10:] == FORMULAS[10:]
    assert [cell for cell in cells if cell[:1] in tuple("=+-@\t")] == ["-5", "+1.5e3"]
    back = read_table(tmp_path / "t.csv", form)["text"].tolist()
    assert ["" if cell != cell else cell for cell in back] == FORMULAS
    write_table(tmp_path / "t.parquet", frame, form)
    assert pd.read_parquet(tmp_path / "t.parquet")["text"].tolist() == FORMULAS
    write_table(tmp_path / "n.csv", DataFrame({"-x": [-1.5, 2.0], "y": [-1, 2]}))
    assert (tmp_path / "n.csv").read_text() == "'-x,y\n-1.5,-1\n2.0,2\n"
    assert read_table(tmp_path / "n.csv").columns.tolist() == ["-x", "y"]
