"""`persona-interp`: the command line, a file a family of commands. Heavy imports wait until a command needs them."""

import logging
import sys
from typing import NoReturn

import typer

from persona_interp.cli import (
    convert,
    finetune,
    inventory,
    levels,
    models,
    monitor,
    psychadapter,
    run,
    screen,
    serve,
    styles,
    traits,
    vectors,
)
from persona_interp.ending import ends_on_sigterm, told
from persona_interp.errors import PersonaInterpError
from persona_interp.studies.options import app

__all__ = [
    "app",
    "convert",
    "finetune",
    "inventory",
    "levels",
    "main",
    "models",
    "monitor",
    "psychadapter",
    "run",
    "screen",
    "serve",
    "styles",
    "traits",
    "vectors",
]

_INTERRUPTED = 130


def main() -> None:
    """Run a command; a caller's mistake is one paragraph on standard error, never a traceback."""
    with ends_on_sigterm():
        _main()


def _main() -> NoReturn:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "transformers", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("persona_interp").setLevel(logging.INFO)  # a conversion, say, which takes a while
    try:
        code = app(standalone_mode=False)  # typer turns Ctrl-C into 130 and returns it; commands return None
    except PersonaInterpError as error:
        _fail(f"{type(error).__name__}: {error}", 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _fail(f"{error.format_message()} (see --help)", 2)  # pyright: ignore
    if code == _INTERRUPTED:
        _fail("interrupted. What was finished is kept: run the same command again to go on.", code)
    raise SystemExit(code)


def _fail(text: str, code: int) -> NoReturn:
    if not told():
        typer.echo(text, err=True)
    raise SystemExit(code)
