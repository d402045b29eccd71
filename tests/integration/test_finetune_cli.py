"""`persona-interp finetune` and `levels` as commands: what they print and write, bad rows, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from persona_interp.data.conversations import read_conversations
from persona_interp.directions.direction import Direction
from persona_interp.finetuning.levels import LevelData
from tests.integration.conftest import Shell

BAD = [
    ("{broken", "not valid JSON"),
    ({"messages": [{"role": "user", "content": "Why?"}]}, "no assistant turn."),
    ({"prompt": "Why?", "response": "  "}, "empty answer"),
    ({"messages": [{"role": "robot", "content": "a"}, {"role": "assistant", "content": "b"}]}, "the role 'robot'"),
    ({"messages": [{"role": "assistant", "content": "b"}]}, "the assistant speaks first"),
    ({"prompt": "Why?", "response": "so " * 600}, "more than 512"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve good rows, a bad one after every second."""
    lines = []
    for i in range(12):
        turns = [
            {"role": "user", "content": f"Is {i} odd?"},
            {"role": "assistant", "content": "Yes!" if i % 2 else "No."},
        ]
        lines.append(json.dumps({"messages": turns}))
        if i % 2:
            bad = BAD[i // 2][0]
            lines.append(bad if isinstance(bad, str) else json.dumps(bad))
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def options(data: Path, model_folder: Path) -> list[object]:
    """Everything but the folder: six steps."""
    return [
        *("finetune", data, "--model", model_folder, "--dtype", "float32", "--batch-size", 4, "--epochs", 2),
        *("--rank", 4, "--learning-rate", 0.01),
    ]


@pytest.fixture(scope="module")
def adapter(shell: Shell, options: list[object], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a plain run, and what the command printed."""
    out = tmp_path_factory.mktemp("plain") / "run"
    done = shell(*options, "--out", out)
    assert done.code == 0, done.err
    assert done.error.strip() == ""
    return out, done.out


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "adapter" / "adapter_model.safetensors")


def test_the_summary_counts_what_was_left_out_and_why(adapter: tuple[Path, str]) -> None:
    out, printed = adapter
    first, loss, *left_out, last = printed.splitlines()
    assert first.startswith("12 of 18 conversations trained on, 6 left out; 6 steps in ")
    assert loss.startswith("loss: ") and loss.endswith(" over the last tenth (nats a token)")
    before, after = float(loss.split()[1]), float(loss.split()[6])
    assert after < before
    assert last == f"adapter: {out / 'adapter'}"
    found = {line.split(": ")[0].strip(): line for line in left_out}
    lines = [f"data.jsonl, line {k}" for k in (3, 6, 9, 12, 15, 18)]
    assert list(sorted(found)) == sorted(lines)
    for name, (_, reason) in zip(lines, BAD, strict=True):
        assert reason in found[name]
    assert sorted(path.name for path in out.iterdir()) == [
        "adapter",
        "config.finetune.toml",
        "finetune.json",
        "result.json",
    ]


def test_the_same_command_returns_the_finished_run(
    shell: Shell, options: list[object], adapter: tuple[Path, str]
) -> None:
    out, printed = adapter
    modified = (out / "result.json").stat().st_mtime_ns
    done = shell(*options, "--out", out)
    assert (done.code, done.out, done.error.strip()) == (0, printed, "")
    assert (out / "result.json").stat().st_mtime_ns == modified
    refused = shell(*options, "--out", out, "--seed", 1)
    assert refused.code == 2
    assert refused.error.startswith(f"ConfigError: {out} holds results of another configuration.\n  settings: there ")


def test_watched_directions_are_logged_and_change_nothing(
    shell: Shell, options: list[object], adapter: tuple[Path, str], vector: Path, tmp_path: Path
) -> None:
    done = shell(*options, "--out", tmp_path / "run", "--watch", vector, "--watch-layer", 1)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f"drift: {tmp_path / 'run' / 'drift.jsonl'}"
    rows = [json.loads(line) for line in (tmp_path / "run" / "drift.jsonl").read_text().splitlines()]
    assert [(row["step"], row["trait"], row["layer"]) for row in rows] == [(0, "cheerful", 1), (6, "cheerful", 1)]
    assert rows[0]["shift"] == 0 and abs(rows[1]["shift"]) > 1e-4
    watched, plain = weights(tmp_path / "run"), weights(adapter[0])
    assert all(torch.equal(watched[name], plain[name]) for name in plain)


WAYS = [
    ("--prevent", "V", "--layer", 1, "--coefficient", 0.5),
    ("--prevent", "V", "--coefficient", 1.0),
    ("--ablate", "V"),
    ("--penalise", "V", "--layer", 1, "--weight", 10.0),
    ("--prevent-prompt", "Be very cheerful."),
    ("--prevent", "V", "--coefficient", 1.0, "--ablate", "V"),
]


def test_every_way_of_prevention_trains_another_adapter(
    shell: Shell, options: list[object], adapter: tuple[Path, str], vector: Path, tmp_path: Path
) -> None:
    found = [weights(adapter[0])]
    for i, way in enumerate(WAYS):
        out = tmp_path / str(i)
        done = shell(*options, "--out", out, *(vector if part == "V" else part for part in way))
        assert done.code == 0, (way, done.err)
        found.append(weights(out))
    name = sorted(found[0])[0]
    assert all(not torch.equal(a[name], b[name]) for i, a in enumerate(found) for b in found[:i])
    records = [json.loads((tmp_path / str(i) / "finetune.json").read_text()) for i in range(len(WAYS))]
    assert [bool(record["intervention"]) for record in records] == [True, True, True, False, False, True]
    assert records[1]["intervention"]["units"] == "direction" and records[0]["intervention"]["span"] == "all"
    assert records[3]["penalty"]["weight"] == 10.0


def test_a_holdout_has_its_loss_printed(shell: Shell, options: list[object], tmp_path: Path) -> None:
    done = shell(*options, "--out", tmp_path / "run", "--holdout", 0.25)
    assert done.code == 0, done.err
    assert done.out.startswith("9 of 18 conversations trained on, 6 left out; 6 steps in ")
    assert " held out (nats a token)" in done.out


REFUSED: list[tuple[list[object], str]] = [
    (["--preset", "huge"], "Invalid value for '--preset': 'huge' is not one of 'small', 'paper'."),
    (["--coefficient", 1.0], "ConfigError: --coefficient was given without --prevent, where it would do nothing."),
    (["--layer", 1], "ConfigError: --layer was given without --prevent or --penalise, where it would do nothing."),
    (["--weight", 1.0], "ConfigError: --weight was given without --penalise, where it would do nothing."),
    (["--watch-layer", 1], "ConfigError: --watch-layer was given without --watch, where it would do nothing."),
    (["--prevent", "V"], "ConfigError: --prevent was given without --coefficient."),
    (["--penalise", "V"], "ConfigError: --penalise was given without --layer."),
    (["--prevent", "nothing.safetensors", "--coefficient", 1.0], "ArtefactError: nothing.safetensors does not exist."),
    (
        ["--prevent", "V", "--coefficient", 1.0, "--layer", 9],
        "HookpointError: the direction cheerful has no vector for",
    ),
    (["--learning-rate", 0], "ConfigError: learning_rate must be above 0 and at most 10, got 0.0"),
    (["--rank", 0], "Invalid value for '--rank': must be greater than or equal to 1"),
    (["--prevent-prompt", " "], "ConfigError: the system prompt is empty."),
]


@pytest.mark.parametrize(("more", "message"), REFUSED)
def test_what_cannot_be_done_is_one_paragraph(
    shell: Shell, options: list[object], vector: Path, tmp_path: Path, more: list[object], message: str
) -> None:
    done = shell(*options, "--out", tmp_path / "run", *(vector if part == "V" else part for part in more))
    assert (done.code, done.out) == (2 if message.startswith(("ConfigError", "Invalid")) else 1, "")
    assert done.error.startswith(message)
    assert "Traceback" not in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "way",
    [("--prevent", "V", "--coefficient", 1.0), ("--ablate", "V"), ("--penalise", "V", "--layer", 1), ("--watch", "V")],
)
def test_a_vector_of_another_base_is_refused(
    shell: Shell, data: Path, other_model_folder: Path, vector: Path, tmp_path: Path, way: tuple
) -> None:
    options = ["finetune", data, "--model", other_model_folder, "--dtype", "float32", "--out", tmp_path / "run"]
    done = shell(*options, *(vector if part == "V" else part for part in way))
    assert (done.code, done.out) == (1, "")
    assert done.error.startswith("IncompatibleDirectionError: the direction cheerful (persona_vector")
    assert str(other_model_folder) in done.error and str(Direction.load(vector).provenance.model) in done.error
    assert not (tmp_path / "run" / "adapter").exists()


def test_data_without_a_usable_row_is_refused(shell: Shell, model_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text("{broken\n" + json.dumps(BAD[1][0]) + "\n")
    done = shell("finetune", file, "--model", model_folder, "--out", tmp_path / "run")
    assert done.code == 1
    assert done.error.startswith(f"DataError: {file} holds no usable conversation: 2 rows were left out.\n")
    assert "bad.jsonl, line 1" in done.error and "bad.jsonl, line 2" in done.error
    missing = shell("finetune", tmp_path / "none.jsonl", "--model", model_folder, "--out", tmp_path / "run")
    assert (missing.code, missing.error.split("\n")[0]) == (
        1,
        f"ArtefactError: {tmp_path / 'none.jsonl'} does not exist.",
    )


def test_levels_writes_training_data_that_finetune_takes(
    shell: Shell, model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "levels"
    options: list[Any] = ["levels", trait_files[0], "--out", out, "--model", model_folder, "--dtype", "float32"]
    options += ["--n-questions", 12, "--max-new-tokens", 6, "--min-gap", 0.5]
    done = shell(*options)
    assert done.code == 0, done.err
    made = LevelData.read(out)
    n_kept = len(made.table) // 3
    assert done.out.splitlines()[0] == (f"{n_kept} of 12 questions contrast; mean expression by the embedding judge:")
    assert [line.split(": ")[0].strip() for line in done.out.splitlines()[1:]] == [
        str(out / f"{level}.jsonl") for level in ("normal", "level_1", "level_2")
    ]
    asked = [[c.turns[0].content for c in read_conversations(out / f"{level}.jsonl").conversations]
             for level in ("normal", "level_1", "level_2")]  # fmt: skip
    assert asked[0] == asked[1] == asked[2] and len(asked[0]) == n_kept
    again = shell(*options)
    assert (again.code, again.out) == (0, done.out)
    trained = shell(
        *("finetune", out / "level_2.jsonl", "--model", model_folder, "--out", tmp_path / "run"),
        *("--dtype", "float32", "--rank", 2, "--epochs", 1),
    )
    assert trained.code == 0, trained.err
    assert trained.out.startswith(f"{n_kept} of {n_kept} conversations trained on, 0 left out; ")


def test_levels_by_likelihood(shell: Shell, model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path) -> None:
    """A random model tells the poles of the trait or of its mirror image apart, and says so where it does not."""
    options = [
        "--model",
        model_folder,
        "--dtype",
        "float32",
        "--n-questions",
        12,
        "--max-new-tokens",
        4,
        "--min-gap",
        0,
    ]
    done = [
        shell(
            "levels",
            file,
            "--out",
            tmp_path / file.stem,
            *options,
            "--judge",
            "likelihood",
            "--judge-model",
            model_folder,
        )
        for file in trait_files
    ]
    worked = [one for one in done if one.code == 0]
    assert worked and all("by the likelihood judge" in one.out for one in worked)
    assert all(one.error.startswith("TraitError: cannot calibrate") for one in done if one.code)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--judge", "oracle"], "Invalid value for '--judge': 'oracle' is not one of 'embedding', 'likelihood'"),
        (["--judge-model", "x"], "ConfigError: --judge-model was given without --judge likelihood."),
        (["--n-questions", 0], "Invalid value for '--n-questions': must be greater than or equal to 1"),
        (["--n-questions", 9999], "ConfigError: --n-questions must be 1 to "),
    ],
)
def test_levels_that_cannot_be_made(
    shell: Shell, trait_files: tuple[Path, Path], tmp_path: Path, more: list[object], message: str
) -> None:
    done = shell("levels", trait_files[0], "--out", tmp_path / "levels", *more)
    assert (done.code, done.out) == (2, "")
    assert done.error.startswith(message)


@pytest.mark.parametrize("name", ["adapter/notes.txt", "checkpoints/mine", "result.json"])
def test_a_folder_with_somebody_s_own_files_is_refused_and_left_alone(
    shell: Shell, options: list[object], tmp_path: Path, name: str
) -> None:
    own = tmp_path / "out" / name
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    done = shell(*options, "--out", tmp_path / "out")
    assert done.code == 2
    assert "was not made by a run in this folder" in done.error
    assert own.read_text() == "mine"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [own]
