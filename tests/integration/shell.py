"""Run as a script: command lines of `persona-interp` one after another, each as a JSON line, answered by a JSON line.

One process for many commands, because importing torch takes longer than the commands. Nothing is checked or patched
here that a user's own process would not have.
"""

import json
import os
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from persona_interp.cli import main


def run(arguments: list[str]) -> dict[str, object]:
    """What a command wrote and its exit code, as the shell would see them."""
    sys.argv = ["persona-interp", *arguments]
    out, err, code = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else int(done.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 1
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def serve() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        answers.write(json.dumps(run(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
