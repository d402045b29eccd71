"""Memory of a stream, in a process of its own: checked annotations would cost more than the reading."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from persona_interp.data.conversations import question_and_answer, write_conversations

PEAK = """
import json, sys, tracemalloc
from persona_interp.data.conversations import stream_conversations

peaks = []
for path in sys.argv[1:]:
    tracemalloc.start()
    n = sum(1 for _ in stream_conversations(path))
    peaks.append((n, tracemalloc.get_traced_memory()[1]))
    tracemalloc.stop()
print(json.dumps(peaks))
"""


@pytest.mark.slow
def test_fifty_times_the_rows_take_no_more_memory(tmp_path: Path) -> None:
    one = tmp_path / "one.jsonl"
    write_conversations(one, (question_and_answer(f"Question {k}?", "An answer. " * 10) for k in range(1_000)))
    fifty = tmp_path / "fifty.jsonl"
    fifty.write_bytes(one.read_bytes() * 50)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(one), str(fifty)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (n_one, peak_one), (n_fifty, peak_fifty) = json.loads(done.stdout)
    assert (n_one, n_fifty) == (1_000, 50_000)
    assert peak_fifty - peak_one < 2 * 2**20 < fifty.stat().st_size
