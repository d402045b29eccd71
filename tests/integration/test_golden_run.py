"""The golden run: every command on a tiny model, and every table that it writes against the saved one.

A change that moves a number must say so: run this file with GOLDEN=write, look at the difference of the saved tables,
and commit it with the reason.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.tables import read_table
from tests.integration.conftest import Shell
from tests.integration.screen_data import write_data
from tests.styles import WORDS

SAVED = Path(__file__).parents[1] / "golden" / "run"
WRITE = os.environ.get("GOLDEN") == "write"

RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""Of a number: processors add in another order, and embeddings and log-probabilities differ from about 1e-6 on."""

LOOSE = {"coherence": 1e-2, "fvu": 1e-2, "perplexity": 1e-2}
"""Relative tolerances of columns that amplify such differences."""

SUFFIXES = (".csv", ".parquet", ".jsonl")
CLOCK = ("seconds", "time", "slow-down")
"""Parts of names of columns and metrics that hold times, which no two runs share."""

HASHES = {"effects.parquet": ["effect_id", "run_id"], "claims.parquet": ["effects", "run_id", "sentence"]}
"""Columns that change with the version of the package, or round a number into a sentence."""

Call = tuple[object, ...]


def call_run(folder: Path, model: Path, traits: tuple[Path, Path], vector: Path) -> Call:
    del folder, vector
    sizes = ("--n-questions", 4, "--n-instructions", 2, "--n-eval-questions", 3, "--n-eval-samples", 2)
    rest = ("--max-new-tokens", 6, "--filter", "none", "--layer", 1, "--coefficient=-0.3,0.3")
    return (
        "run",
        "--model",
        model,
        "--trait",
        ",".join(map(str, traits)),
        "--dtype",
        "float32",
        *sizes,
        *rest,
        "--seed",
        2,
    )


def call_styles(folder: Path, model: Path, traits: tuple[Path, Path], vector: Path) -> Call:
    del traits, vector
    forms = {"cold": "The {} is cold.", "warm": "Oh, a warm {}!"}
    words = (*WORDS, "house", "stone", "spoon", "shirt", "table", "street")
    rows = [{"text": form.format(word), "style": style} for style, form in forms.items() for word in words]
    (folder / "weather.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sizes = ("--n-questions", 6, "--n-selection", 6, "--n-random", 2, "--max-new-tokens", 6)
    return ("styles", folder / "weather.jsonl", "--model", model, "--dtype", "float32", "--coefficient", 0.3, *sizes)


def call_psychadapter(folder: Path, model: Path, traits: tuple[Path, Path], vector: Path) -> Call:
    del model, traits, vector
    return ("psychadapter", "measure", folder / "adapter", folder / "texts.csv", *_MEASURE)


def call_inventory(folder: Path, model: Path, traits: tuple[Path, Path], vector: Path) -> Call:
    del traits
    items = folder / "talk.csv"
    texts = ("talk", "chat", "meet people", "go out", "sing", "speak up")
    agreed = "".join(f"{text},talk,1\n" for text in texts)
    items.write_text("text,scale,key\n" + agreed + "".join(f"avoid to {text},talk,-1\n" for text in texts))
    change = ("--system", "Be glad.", "--vector", vector, "--layer", 1, "--coefficient", 0.5)
    return ("inventory", items, "--model", model, "--dtype", "float32", *change)


def call_screen(folder: Path, model: Path, traits: tuple[Path, Path], vector: Path) -> Call:
    del traits
    data, clean = (write_data(folder / f"{name}.jsonl", n) for name, n in (("data", 60), ("clean", 40)))
    rest = ("--dtype", "float32", "--batch-rows", 8, "--n-flagged", 5)
    return ("screen", data, "--vector", vector, "--clean", clean, "--model", model, *rest)


def call_finetune(folder: Path, model: Path, traits: tuple[Path, Path], vector: Path) -> Call:
    del traits
    rows = [
        {"messages": [{"role": "user", "content": f"Is {i} odd?"}, {"role": "assistant", "content": "No."}]}
        for i in range(12)
    ]
    (folder / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = ("--batch-size", 4, "--epochs", 2, "--rank", 4, "--learning-rate", 0.01)
    watch = ("--watch", vector, "--watch-layer", 1)
    return ("finetune", folder / "odd.jsonl", "--model", model, "--dtype", "float32", *steps, *watch)


CALLS: dict[str, Callable[[Path, Path, tuple[Path, Path], Path], Call]] = {
    "run": call_run,
    "styles": call_styles,
    "psychadapter": call_psychadapter,
    "inventory": call_inventory,
    "screen": call_screen,
    "finetune": call_finetune,
}
_MEASURE = ("--judge", "lexical", "--n-openings", 3, "--max-new-tokens", 4)


def train_adapter(shell: Shell, folder: Path, model: Path) -> None:
    """A small adapter and its texts, for `psychadapter measure`."""
    rng, lines = np.random.default_rng(0), ["message_id,message,agr_z,swl"]
    for i, (warm, other) in enumerate(rng.normal(size=(30, 2))):
        lines.append(f"{i},{'thanks' if warm > 0 else 'no'} number {i},{warm:.3f},{other:.3f}")
    (folder / "texts.csv").write_text("\n".join(lines) + "\n")
    sizes = ("--batch-size", 8, "--epochs", 2, "--max-tokens", 16, "--holdout", 0.4, "--dtype", "float32")
    done = shell("psychadapter", "train", folder / "texts.csv", "--model", model, "--out", folder / "adapter", *sizes)
    assert done.code == 0, done.err


@pytest.mark.parametrize("name", CALLS)
def test_every_table_is_as_it_was(
    name: str, shell: Shell, model_folder: Path, trait_files: tuple[Path, Path], vector: Path, tmp_path: Path
) -> None:
    if name == "psychadapter":
        train_adapter(shell, tmp_path, model_folder)
    out = tmp_path / "out"
    done = shell(*CALLS[name](tmp_path, model_folder, trait_files, vector), "--out", out)
    assert done.code == 0, done.err
    tables = {table: read(out / table).drop(columns=HASHES.get(table, [])) for table in tables_of(out)}
    found = {table: portable(frame, tmp_path, model_folder) for table, frame in tables.items()}
    assert found, f"{name} wrote no table"
    if WRITE:
        save(found, SAVED / name)
    saved = {path.name: read(path) for path in sorted((SAVED / name).glob("*.csv"))}
    assert set(saved) == {flat(table) for table in found}
    for table, frame in found.items():
        compare(frame, saved[flat(table)], f"{name}: {table}")


def tables_of(out: Path) -> list[str]:
    """CSV, Parquet and JSONL tables of results, not the parts from which an interrupted run goes on."""
    top = [path for place in (out, out / "tables") for path in place.glob("*.*") if path.suffix in SUFFIXES]
    return sorted(path.relative_to(out).as_posix() for path in top if not path.name.startswith("activations"))


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".jsonl":
        return pd.read_json(path, lines=True)
    return read_table(path)


def flat(table: str) -> str:
    return table.replace("/", ".").removesuffix(".csv") + ".csv"


def portable(frame: pd.DataFrame, folder: Path, model: Path) -> pd.DataFrame:
    """Without times and run folders, as a CSV file gives it back."""
    kept = frame[[c for c in frame.columns if not any(part in str(c) for part in CLOCK)]].copy()
    if "metric" in kept:
        kept = kept[~kept["metric"].map(lambda metric: any(part in metric for part in CLOCK))].reset_index(drop=True)
    for column in kept.columns:
        if kept[column].dtype == object or str(kept[column].dtype).startswith("str"):
            kept[column] = [without_paths(value, {folder: "FOLDER", model: "MODEL"}) for value in kept[column]]
    return kept


def without_paths(value: object, names: dict[Path, str]) -> object:
    """A cell as text, lists of numbers to three places; a missing one stays missing."""
    if isinstance(value, np.ndarray | list):
        return " ".join(f"{part:.3f}" if isinstance(part, float) else str(part) for part in value)
    if pd.isna(value):
        return value
    text = str(value)
    for path, name in names.items():
        text = text.replace(str(path), name)
    return text


def save(found: dict[str, pd.DataFrame], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.csv"):
        old.unlink()
    for table, frame in found.items():
        frame.to_csv(folder / flat(table), index=False, float_format="%.7g")


def compare(found: pd.DataFrame, saved: pd.DataFrame, where: str) -> None:
    assert list(found.columns) == list(saved.columns), f"{where}: columns"
    assert len(found) == len(saved), f"{where}: rows"
    for column in found.columns:
        ours, theirs = found[column], saved[column]
        if pd.api.types.is_numeric_dtype(theirs):
            numbers = [pd.to_numeric(side).to_numpy(float) for side in (ours, theirs)]
            close = dict(rtol=LOOSE.get(str(column), RELATIVE), atol=ABSOLUTE, equal_nan=True)
            np.testing.assert_allclose(*numbers, **close, err_msg=f"{where}: {column}")
        else:
            pairs = [side.astype(object).where(side.notna(), "").astype(str).tolist() for side in (ours, theirs)]
            assert pairs[0] == pairs[1], f"{where}: {column}"
