"""`persona-interp judge`: are judges valid, by labels that people gave, or by ratings of the answers of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from persona_interp.errors import ConfigError
from persona_interp.studies import options
from persona_interp.studies.judge_validity.kinds import DEFAULT, Kind

if TYPE_CHECKING:
    from persona_interp.studies.options import Outcome

KINDS: tuple[str, ...] = get_args(Kind)
WAYS = (
    "Give one of: DATA with --trait and --out; --export-sheet RUN with --out; --import-sheet FILE with --run RUN.",
    "See persona-interp judge --help.",
)
N_ROWS = 60


def judge(
    data: Annotated[
        str | None,
        typer.Argument(
            help="Labelled answers: CSV, JSON, JSONL or Parquet with answer, label and perhaps question and group."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for results; of --export-sheet the .csv file.")
    ] = None,
    trait: Annotated[str | None, typer.Option(help="Name or file of the trait that the labels of DATA are of.")] = None,
    which: Annotated[
        list[str], typer.Option("--judge", help=f"{', '.join(KINDS)}; default: all but api. {options.SEVERAL}")
    ] = options.NONE,
    judge_model: Annotated[
        list[str],
        typer.Option(help=f"Models of likelihood judges; default: {options.DEFAULT_MODEL}. {options.SEVERAL}"),
    ] = options.NONE,
    backend: Annotated[
        Literal["transformer_lens", "nnsight"] | None,
        typer.Option(help="What opens the layers of judging models; default: transformer_lens."),
    ] = None,
    dtype: Annotated[
        options.DtypeName | None, typer.Option(help="Of judging models; auto, the default: bfloat16 where it is fast.")
    ] = None,
    export_sheet: Annotated[
        Path | None, typer.Option(help="Folder of `run`, of whose answers a blind sheet is written.")
    ] = None,
    n: Annotated[
        int | None, typer.Option(help=f"Answers on the sheet of --export-sheet; default {N_ROWS}.", min=1)
    ] = None,
    import_sheet: Annotated[
        list[str], typer.Option(help=f"A filled sheet, called by its rater. {options.SEVERAL}")
    ] = options.NONE,
    run: Annotated[Path | None, typer.Option(help="Folder of `run` that --import-sheet belongs to.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of intervals, or of which answers a sheet has and their order.", min=0)
    ] = None,
) -> "Outcome":
    """Validity of judges on labelled answers (AUC, calibration); or by people: a blind sheet of a run, read back."""
    ways = {"DATA": data, "--export-sheet": export_sheet, "--import-sheet": import_sheet or None}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        raise ConfigError(f"got {' and '.join(given) or 'neither DATA nor a sheet'}.", *WAYS)
    way = given[0]
    of_data = {"--trait": trait, "--judge": which or None, "--judge-model": judge_model or None}
    _refuse_idle(way, {**of_data, "--backend": backend, "--dtype": dtype}, "DATA")
    _refuse_idle(way, {"--run": run}, "--import-sheet")
    _refuse_idle(way, {"--n": n}, "--export-sheet")
    if way == "--import-sheet":
        if out is not None:
            raise ConfigError("--out does nothing with --import-sheet: ratings are kept in the folder of --run.", *WAYS)
        if seed is not None:
            raise ConfigError("--seed does nothing with --import-sheet: nothing is drawn.", *WAYS)
        return _imported(import_sheet, run)
    if out is None:
        raise ConfigError(f"{way} was given without --out.", *WAYS)
    if export_sheet is not None:
        return _exported(export_sheet, out, N_ROWS if n is None else n, seed or 0)
    assert data is not None
    return _measured(
        data,
        out=out,
        trait=trait,
        which=which,
        judge_model=judge_model,
        backend=backend or "transformer_lens",
        dtype=dtype or "auto",
        seed=seed or 0,
    )


@options.alone_in_out
def _measured(
    data: str,
    *,
    out: Path,
    trait: str | None,
    which: Sequence[str],
    judge_model: Sequence[str],
    backend: str,
    dtype: str,
    seed: int,
) -> "Outcome":
    from persona_interp.data.labelled import read_labelled
    from persona_interp.data.traits import load_trait
    from persona_interp.studies.judge_validity.kinds import load_judges
    from persona_interp.studies.judge_validity.labelled_run import measure_judges

    if trait is None:
        raise ConfigError("DATA was given without --trait, which says what its labels are of.", *WAYS)
    kinds = options.names(which, "judge", KINDS) or DEFAULT
    models = options.names(judge_model, "judge-model")
    options.refuse_idle(models or None, "--judge-model", "likelihood" in kinds, "--judge likelihood")
    wanted, labelled = load_trait(trait), read_labelled(data)
    judges = load_judges(kinds, models or (options.DEFAULT_MODEL,), backend=backend, dtype=dtype, cache=out)
    measure_judges(judges, wanted, labelled, out=out, seed=seed)
    return options.Outcome(_said(out, "judge_validity"), {}, out, reported=True)


def _exported(run: Path, out: Path, n: int, seed: int) -> "Outcome":
    from persona_interp.studies.persona.raters.sheet import export_sheet

    sheet = export_sheet(options.existing(run, "--export-sheet"), out, n=n, seed=seed)
    shown = [
        f"{out}: {len(sheet)} answers to rate from 0 to 100 in the column rating. Give every rater a copy, named after"
        " them, and read the filled ones back:",
        f"  persona-interp judge --import-sheet RATER.csv --run {run}",
    ]
    return options.Outcome(shown, {"sheet": str(out), "n": len(sheet), "run": str(run)})


def _imported(sheets: Sequence[str], run: Path | None) -> "Outcome":
    from persona_interp.studies.persona.raters.ratings import import_sheets

    if run is None:
        raise ConfigError("--import-sheet was given without --run, the folder that the sheet was exported from.", *WAYS)
    files = [options.existing(Path(name), "--import-sheet") for name in options.names(sheets, "import-sheet")]
    ratings = import_sheets(options.existing(run, "--run"), files)
    counted = ratings.groupby("rater").size()
    raters = [f"{rater}: {count} ratings" for rater, count in counted.items()]
    data = {"raters": {str(rater): int(count) for rater, count in counted.items()}}
    return options.Outcome([*raters, *_said(run, "raters")], data, run, reported=True)


def _said(folder: Path, study: str) -> list[str]:
    """The sentences of a study's claims."""
    from persona_interp.effects.files import saved_claims

    claims = saved_claims(folder, study)
    return [] if claims is None else [str(sentence) for sentence in claims["sentence"]]


def _refuse_idle(way: str, given: dict[str, object], needed: str) -> None:
    for option, value in given.items():
        options.refuse_idle(value, option, way == needed, needed)
