"""`persona-interp`: the command line. Commands of a study are in its folder, the others here, a file a family.

A command returns what it made (`Outcome`); it is said here, and the report is written here, since it shows all studies.
Heavy imports wait until a command needs them.
"""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from io import TextIOWrapper
from typing import Annotated, NoReturn, ParamSpec

import typer

from persona_interp.cli import convert, figures, grammar, judge, levels, models, serve, traits, vectors
from persona_interp.ending import ends_on_sigterm, kept, told
from persona_interp.errors import ConfigError, PersonaInterpError
from persona_interp.studies.causal.command import causal
from persona_interp.studies.comparison.command import compare_methods
from persona_interp.studies.dictionary.command import sae
from persona_interp.studies.emoji.command import emoji
from persona_interp.studies.finetuning.command import finetune
from persona_interp.studies.inventory.command import inventory
from persona_interp.studies.monitoring.command import monitor
from persona_interp.studies.options import Outcome, alone_in_out
from persona_interp.studies.persona.command import run
from persona_interp.studies.psychadapter import command as psychadapter
from persona_interp.studies.repetition.command import repetition
from persona_interp.studies.screening.command import screen
from persona_interp.studies.styles.command import styles
from persona_interp.studies.substrates.command import substrates

P = ParamSpec("P")

DEBUG = "PERSONA_INTERP_DEBUG"
_INTERRUPTED = 130
_SHOWN = 300


def reported(command: Callable[P, Outcome | None]) -> Callable[P, Outcome | None]:
    """The command, and the report of the folder that it wrote to, all of it alone in its `out`."""
    return alone_in_out(with_report(command))


def with_report(command: Callable[P, Outcome | None]) -> Callable[P, Outcome | None]:
    """The command, and the report of the folder that it wrote to."""

    @wraps(command)
    def reporting(*arguments: P.args, **options: P.kwargs) -> Outcome | None:
        from persona_interp.effects.files import saved_claims
        from persona_interp.lock import locked
        from persona_interp.report import write_report

        made = command(*arguments, **options)
        if made is None or made.out is None:
            return made
        with locked(made.out):
            page = write_report(made.out)
        claims = saved_claims(made.out)
        found = {"out": made.out, "report": page, "claims": [] if claims is None else claims.to_dict("records")}
        data = {**dict(made.data), **found}
        return replace(made, shown=(*made.shown, f"report: {page}"), data=data)

    return reporting


def _version(asked: bool) -> bool:
    if asked:
        from persona_interp import __version__

        typer.echo(f"persona-interp {__version__}")
        raise typer.Exit
    return asked


app = typer.Typer(
    help="Extract, steer with and measure persona directions of language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def persona_interp(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and stop.")
    ] = False,
) -> None:
    """Extract, steer with and measure persona directions of language models."""
    del version


adapters = typer.Typer(no_args_is_help=True, help="Virtual key/value tokens that are affine in trait scores.")
for part in (psychadapter.train, psychadapter.generate, reported(psychadapter.measure)):
    adapters.command(context_settings=grammar.spellings(""))(grammar.command(part))
for command in (convert.convert, reported(emoji), finetune, reported(inventory), with_report(judge.judge)):
    app.command(context_settings=grammar.spellings(command.__name__))(grammar.command(command))
for command in (levels.levels, monitor):
    app.command(context_settings=grammar.spellings(command.__name__))(grammar.command(command))
app.add_typer(adapters, name="psychadapter")
for command in (
    *(reported(run), reported(sae), reported(screen), serve.serve, reported(styles)),
    reported(compare_methods),
    reported(substrates),
    reported(causal),
    reported(repetition),
):
    app.command(context_settings=grammar.spellings(command.__name__))(grammar.command(command))
carried = typer.Typer(invoke_without_command=True, result_callback=models.list_all)
carried.callback()(models.models)
carried.command()(grammar.command(models.get))
app.add_typer(carried, name="models")
known = typer.Typer(invoke_without_command=True, result_callback=traits.list_all)
known.callback()(traits.traits)
known.command()(grammar.command(traits.show))
known.command(context_settings=grammar.spellings(""))(grammar.command(traits.new))
app.add_typer(known, name="traits")
for command in (figures.figures, vectors.extract, vectors.steer, vectors.project):
    app.command(context_settings=grammar.spellings(command.__name__))(grammar.command(command))


def main() -> None:
    """Run a command; a caller's mistake is one paragraph on standard error, never a traceback.

    Exit codes: 0; 2 where what was asked for cannot be (options, or options that do not fit the folder of results); 1
    where what was found cannot be used (files, models, servers, the machine); 130 and 143 after Ctrl-C and SIGTERM.
    """
    with ends_on_sigterm():
        _main()


def _main() -> NoReturn:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "transformers", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("persona_interp").setLevel(logging.INFO)  # a conversion, say, which takes a while
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show is written as its code
    grammar.warn_of_old_spellings(sys.argv[1:])
    try:
        grammar.refuse_empty_paths(sys.argv[1:])
        # typer turns Ctrl-C into 130 and returns it; commands return None
        code = app(prog_name="persona-interp", standalone_mode=False)
    except PersonaInterpError as error:
        _fail(f"{type(error).__name__}: {error}", 2 if isinstance(error, ConfigError) else 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:  # what read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(1) from None
    except Exception as error:
        if hasattr(error, "format_message"):
            said = str(error.format_message()).replace("Value error, ", "").replace("Input should be", "must be")  # pyright: ignore
            _fail(f"{said} (see --help)", 2)
        if os.environ.get(DEBUG):
            raise
        _fail(_unforeseen(error), 1)
    if code == _INTERRUPTED:
        _fail(f"interrupted.{kept()}", code)
    raise SystemExit(code)


def _unforeseen(error: Exception) -> str:
    """What to say of an error that no part of the package foresaw: the command, what went wrong, where to report it."""
    given = " ".join(_without_keys(sys.argv[1:])).encode("utf-8", "backslashreplace").decode()
    said = str(error).encode("utf-8", "backslashreplace").decode() or "no more is known"
    if isinstance(error, MemoryError):
        said = "there is not enough memory; give it less at once (a smaller batch, model or data set)"
    shortened = [text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …" for text in (given, said)]
    return (
        f"{type(error).__name__}: {shortened[1]}\n"
        f"  The command was: persona-interp {shortened[0]}\n"
        f"  If the machine is not to blame, please report this{_where()}, with what {DEBUG}=1 shows.{kept()}"
    )


def _without_keys(arguments: list[str]) -> list[str]:
    """Arguments as they may be shown to others."""
    shown, hide = [], False
    for part in arguments:
        name, sign, _ = part.partition("=")
        secret = name == "--api-key"
        shown.append("[key]" if hide else f"{name}=[key]" if secret and sign else part)
        hide = secret and not sign
    return shown


def _where() -> str:
    """Where faults are reported, as the package says of itself."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        addresses = dict(line.split(", ", 1) for line in metadata("persona-interp").get_all("Project-URL", []))
    except PackageNotFoundError:
        return ""
    return f" at {addresses['Issues']}" if "Issues" in addresses else ""


def _fail(text: str, code: int) -> NoReturn:
    if not told():
        typer.echo(text, err=True)
    raise SystemExit(code)
