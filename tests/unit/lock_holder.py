"""Another process that has a folder locked."""

import os
import subprocess
import sys
from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from persona_interp.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    job = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert job.stdout is not None and job.stdout.readline() == "held\n"
    return job
