import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from persona_interp.errors import AlignmentError, ArtefactError, ConfigError, EmptySelectionError
from persona_interp.io import manifest_path, sha256_file, write_json
from persona_interp.measurements.frame import COLUMNS, Measurements
from persona_interp.tables import write_table


def row(**changes: Any) -> dict[str, Any]:
    plain = {
        "model": "tiny", "trait": "evil", "method": "persona", "layer": 3, "stream": "resid_post",
        "coefficient": 0.5, "sample": "0", "metric": "expression", "value": 41.5, "run_id": "a", "question": "q0",
    }  # fmt: skip
    return {**plain, **changes}


@pytest.fixture
def measurements() -> Measurements:
    return Measurements.from_rows(
        [row(), row(layer=None, coefficient=None, value=2), row(trait="impolite", metric="coherence", value=-1e300)]
    )


def test_columns_and_dtypes_are_fixed(measurements: Measurements):
    assert tuple(measurements.frame.columns) == COLUMNS
    assert str(measurements.frame["layer"].dtype) == "Int64"
    assert measurements.frame["coefficient"].dtype == measurements.frame["value"].dtype == np.float64
    assert measurements.frame["layer"].isna().tolist() == [False, True, False]
    assert measurements.frame["coefficient"].isna().tolist() == [False, True, False]
    assert len(measurements) == 3


def test_columns_in_another_order_and_numpy_numbers_are_taken():
    swapped = dict(reversed(row(layer=np.int64(3), value=np.float32(0.5), coefficient=np.nan).items()))
    frame = Measurements.from_rows([swapped]).frame
    assert tuple(frame.columns) == COLUMNS
    assert frame.loc[0, "value"] == 0.5


def test_the_frame_given_is_not_shared():
    given_frame = pd.DataFrame([row()])
    measurements = Measurements(given_frame)
    given_frame.loc[0, "value"] = 0.0
    assert measurements.frame.loc[0, "value"] == 41.5


def test_missing_and_unknown_columns_are_named():
    wrong = row(score=1.0)
    del wrong["question"]
    with pytest.raises(AlignmentError, match="row 1 has missing question; unknown score"):
        Measurements.from_rows([row(), wrong])
    with pytest.raises(AlignmentError, match="the frame has missing trait"):
        Measurements(pd.DataFrame([row()]).drop(columns="trait"))
    with pytest.raises(AlignmentError, match="the frame has repeated value"):
        Measurements(pd.concat([pd.DataFrame([row()]), pd.DataFrame({"value": [1.0]})], axis=1))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), "41.5", None, True, pd.NA, [1.0]])
def test_values_that_are_no_finite_number_are_refused(value: Any):
    with pytest.raises(AlignmentError, match=r"column 'value' .* in row 1 \(1 such of 2\)[\s\S]*leave failed rows out"):
        Measurements.from_rows([row(), row(value=value)])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("layer", 1.5), ("layer", -1), ("layer", "3"), ("layer", float("inf")), ("layer", True),
        ("coefficient", float("inf")), ("coefficient", "1"), ("coefficient", False),
        ("trait", None), ("sample", 3), ("question", float("nan")), ("run_id", None),
    ],
)  # fmt: skip
def test_cells_of_the_wrong_kind_are_refused(column: str, value: Any):
    with pytest.raises(AlignmentError, match=f"column '{column}'"):
        Measurements.from_rows([row(**{column: value})])


def test_select_keeps_the_rows_that_match_everything(measurements: Measurements):
    assert measurements.select(trait="evil").frame["value"].tolist() == [41.5, 2.0]
    assert measurements.select(trait="evil", layer=3, coefficient=0.5).frame["value"].tolist() == [41.5]
    assert measurements.select(metric="coherence", method="persona").frame["trait"].tolist() == ["impolite"]
    assert_frame_equal(measurements.select().frame, measurements.frame)


def test_a_selection_of_nothing_says_what_is_there(measurements: Measurements):
    with pytest.raises(EmptySelectionError) as error:
        measurements.select(trait="kind", layer=9)
    assert str(error.value) == (
        "no measurement has trait='kind', layer=9 (of 3 rows).\n"
        "  trait: evil, impolite.\n  layer: 3.\n  Each may be there without the others: look at .frame."
    )


def test_concat_keeps_order_and_missing_layers(measurements: Measurements):
    only_missing = Measurements.from_rows([row(layer=None, coefficient=None, value=7.0)])
    both = Measurements.concat([only_missing, measurements])
    assert both.frame["value"].tolist() == [7.0, 41.5, 2.0, -1e300]
    assert both.frame.index.tolist() == [0, 1, 2, 3]
    assert str(both.frame["layer"].dtype) == "Int64"
    assert len(Measurements.concat([])) == 0


def test_save_and_load(tmp_path: Path, measurements: Measurements):
    path = tmp_path / "new" / "steering.parquet"
    measurements.save(path, {"seed": 4, "sha256": "not this"})
    assert_frame_equal(Measurements.load(path).frame, measurements.frame)
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest == {
        "kind": "measurements", "manifest_version": 2, "n_rows": 3, "seed": 4, "sha256": sha256_file(path),
    }  # fmt: skip
    assert sorted(p.name for p in path.parent.iterdir()) == ["steering.json", "steering.parquet"]


def test_no_rows_are_saved_and_loaded(tmp_path: Path):
    Measurements.from_rows([]).save(tmp_path / "a.parquet", {})
    assert_frame_equal(Measurements.load(tmp_path / "a.parquet").frame, Measurements.from_rows([]).frame)


def test_an_altered_file_is_refused(tmp_path: Path, measurements: Measurements):
    path = tmp_path / "a.parquet"
    measurements.save(path, {})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ArtefactError, match="does not match its manifest"):
        Measurements.load(path)


def test_missing_and_foreign_files_are_refused(tmp_path: Path, measurements: Measurements):
    path = tmp_path / "a.parquet"
    with pytest.raises(ArtefactError, match="does not exist"):
        Measurements.load(path)
    with pytest.raises(ConfigError, match="must end in .parquet"):
        measurements.save(tmp_path / "a.json", {})
    measurements.save(path, {})
    manifest = path.with_suffix(".json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "kind": "direction"}))
    with pytest.raises(ArtefactError, match="describes 'direction'"):
        Measurements.load(path)
    manifest.unlink()
    with pytest.raises(ArtefactError, match="a.json does not exist"):
        Measurements.load(path)


@pytest.mark.parametrize("foreign", ["text", "other columns"])
def test_a_manifest_that_vouches_for_another_kind_of_file_is_not_believed(tmp_path: Path, foreign: str):
    path = tmp_path / "a.parquet"
    if foreign == "text":
        path.write_bytes(b"hello")
    else:
        pd.DataFrame({"value": [1.0]}).to_parquet(path)
    path.with_suffix(".json").write_text(json.dumps({"kind": "measurements", "sha256": sha256_file(path)}))
    with pytest.raises(ArtefactError, match=r"a.parquet (does not hold measurements|is not a whole Parquet file)"):
        Measurements.load(path)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.builds(
            row, trait=texts, question=texts, value=finite,
            layer=st.none() | st.integers(0, 200), coefficient=st.none() | finite,
        ),
        max_size=6,
    )
)  # fmt: skip
def test_whatever_is_valid_survives_a_round_trip(tmp_path: Path, rows: list[dict]):
    before = Measurements.from_rows(rows)
    before.save(tmp_path / "a.parquet", {})
    after = Measurements.load(tmp_path / "a.parquet")
    assert_frame_equal(after.frame, before.frame, check_exact=True)
    assert after.frame["value"].tolist() == [row["value"] for row in rows]


def test_columns_that_may_be_left_out_are_empty():
    frame = Measurements.from_rows([row(), row(judge="j", layers="1+2", prompts="facts")]).frame
    assert frame[["judge", "layers", "prompts"]].to_numpy().tolist() == [["", "", ""], ["j", "1+2", "facts"]]
    whole = Measurements(pd.DataFrame([row()])).frame
    assert whole[["judge", "layers", "prompts"]].to_numpy().tolist() == [["", "", ""]]


def test_the_judge_of_an_earlier_version_stood_behind_the_metric(tmp_path: Path):
    path = tmp_path / "old.parquet"
    frame = pd.DataFrame([row(metric="expression: a: b"), row(metric="coherence")])
    write_table(path, frame)
    write_json(manifest_path(path), {"kind": "measurements", "manifest_version": 1, "sha256": sha256_file(path)})
    again = Measurements.load(path).frame
    assert again[["metric", "judge"]].to_numpy().tolist() == [["expression", "a: b"], ["coherence", ""]]
