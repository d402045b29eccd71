"""`persona-interp`: the command line. Commands of a study are in its folder, the others here, a file a family.

A command that makes something to read returns its folder; the report is written here, since it shows all studies.
Heavy imports wait until a command needs them.
"""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import NoReturn, ParamSpec

import typer

from persona_interp.cli import convert, levels, models, serve, traits, vectors
from persona_interp.ending import ends_on_sigterm, kept, told
from persona_interp.errors import PersonaInterpError
from persona_interp.studies.finetuning.command import finetune
from persona_interp.studies.inventory.command import inventory
from persona_interp.studies.monitoring.command import monitor
from persona_interp.studies.options import alone_in_out
from persona_interp.studies.persona.command import run
from persona_interp.studies.psychadapter import command as psychadapter
from persona_interp.studies.screening.command import screen
from persona_interp.studies.styles.command import styles

P = ParamSpec("P")

_INTERRUPTED = 130


def reported(command: Callable[P, Path | None]) -> Callable[P, None]:
    """The command, and the report of the folder that it returns, all of it alone in that folder."""

    @wraps(command)
    def reporting(*arguments: P.args, **options: P.kwargs) -> None:
        from persona_interp.report import write_report

        folder = command(*arguments, **options)
        if folder is not None:
            typer.echo(f"report: {write_report(folder)}")

    return alone_in_out(reporting)


app = typer.Typer(
    help="Extract, steer with and measure persona directions of language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
adapters = typer.Typer(no_args_is_help=True, help="Virtual key/value tokens that are affine in trait scores.")
for part in (psychadapter.train, psychadapter.generate, reported(psychadapter.measure)):
    adapters.command()(part)
for command in (convert.convert, finetune, reported(inventory), levels.levels, models.models, monitor):
    app.command()(command)
app.add_typer(adapters, name="psychadapter")
for command in (reported(run), reported(screen), serve.serve, reported(styles)):
    app.command()(command)
app.add_typer(traits.traits_app, name="traits")
for command in (vectors.extract, vectors.steer, vectors.project):
    app.command()(command)


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
        _fail(f"interrupted.{kept()}", code)
    raise SystemExit(code)


def _fail(text: str, code: int) -> NoReturn:
    if not told():
        typer.echo(text, err=True)
    raise SystemExit(code)
