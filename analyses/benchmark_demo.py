"""How long the demo takes, in seconds and as matrix products: what this machine would multiply in that time.

Seconds of two machines do not compare; the operations of matrix products that each could do in them nearly do.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from persona_interp.models.speed import matrix_speed


@dataclass(frozen=True)
class DemoConfig:
    """What `make demo` runs, from an empty folder; the model is converted already."""

    model: str = "smollm2-135m-instruct"
    trait: str = "impolite"
    effort: str = "quick"
    repeats: int = 1


def demo_rows(config: DemoConfig) -> pd.DataFrame:
    """A row a repeat: seconds, matrix speeds before and after it, teraoperations, peak memory, and what was planned."""
    return pd.DataFrame([_run(config) for _ in range(config.repeats)])


def _run(config: DemoConfig) -> dict[str, float]:
    speeds = {str(dtype).removeprefix("torch."): matrix_speed(dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        options = ("--model", config.model, "--trait", config.trait, "--effort", config.effort, "--out", str(out))
        start = time.monotonic()
        quiet = os.environ | {"PERSONA_INTERP_QUIET": "1"}
        subprocess.run([sys.executable, "-m", "persona_interp", "run", *options], check=True, env=quiet)
        seconds = time.monotonic() - start
        planned = json.loads((out / "provenance_persona.json").read_text(encoding="utf-8"))["planned_s"]
    after = matrix_speed()
    return {
        "seconds": seconds,
        "planned seconds": sum(planned.values()),
        **{f"GFLOP/s in matrix products, {name}": speed / 1e9 for name, speed in speeds.items()},
        "GFLOP/s in matrix products, float32, afterwards": after / 1e9,
        "TFLOP of float32 matrix products in that time": seconds * (speeds["float32"] + after) / 2 / 1e12,
        "peak memory, MB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
