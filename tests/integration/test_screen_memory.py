"""Memory of a screening, which does not grow with the samples."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.screen_data import write_data

PEAK = """
import resource, sys
from pathlib import Path
from persona_interp.directions.direction import Direction
from persona_interp.models.load import load_model
from persona_interp.studies.screening.run import screen

model, vector, data, out = sys.argv[1:]
loaded = load_model(model)
screen(loaded, data, [Direction.load(vector)], out=Path(out), batch_rows=256, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(n: int, vector: Path, model_folder: Path, environment: dict[str, str], folder: Path) -> int:
    """Peak resident memory in MiB of a process that screens n samples."""
    data = write_data(folder / f"{n}.jsonl", n, answer=2)
    arguments = [str(part) for part in (model_folder, vector, data, folder / f"out_{n}")]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    assert len(list((folder / f"out_{n}").glob("samples/*.parquet"))) == -(-n // 256)
    return int(done.stdout)


@pytest.mark.parametrize("n", [pytest.param(n, marks=pytest.mark.slow) for n in (10_000, 100_000)])
def test_memory_does_not_grow_with_the_samples(
    n: int, vector: Path, model_folder: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    few, many = (peak(size, vector, model_folder, environment, tmp_path) for size in (1_000, n))
    assert many - few < 40  # of about 580 MiB; the numbers of a sample take some 50 bytes a direction
