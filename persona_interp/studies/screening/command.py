"""`persona-interp screen`: every sample of a data set on persona vectors, on one machine or a Ray cluster."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.studies import options

_PERCENTILE = 95.0
_TOKENS = 64


@options.alone_in_out
def screen(
    data: Annotated[
        str,
        typer.Argument(
            help="Conversations or preference pairs: JSON, CSV or Parquet, a folder, or a data set of the hub."
        ),
    ],
    vectors: Annotated[str, typer.Option("--vectors", "-v", help="Saved directions, separated by commas.")],
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    layer: Annotated[
        str, typer.Option(help="0-based blocks, separated by commas; default: nearest to depth 0.6.")
    ] = "",
    delta: Annotated[
        str, typer.Option(help="Compare with the last prompt token (prompt), with own answers (generate), or none.")
    ] = "prompt",
    max_new_tokens: Annotated[
        int | None, typer.Option(help=f"Of own answers, for --delta generate; default {_TOKENS}.")
    ] = None,
    clean: Annotated[str | None, typer.Option(help="Data of wanted behaviour that sets the threshold.")] = None,
    percentile: Annotated[
        float | None, typer.Option(help=f"Of the clean data, above which a sample is flagged; default {_PERCENTILE:g}.")
    ] = None,
    joint: Annotated[
        bool, typer.Option(help="The percentile is that of passing any threshold, over all vectors and layers.")
    ] = False,
    rank_by: Annotated[
        str | None, typer.Option(help="difference, projection, prompt_last or judge; default: the first there is.")
    ] = None,
    n_flagged: Annotated[int, typer.Option(help="Samples a vector shown with text and tokens, at most.")] = 50,
    judge: Annotated[str | None, typer.Option(help="embedding: a text judge's score beside the projections.")] = None,
    batch_rows: Annotated[int, typer.Option(help="Rows of a shard: what a killed run can lose.")] = 64,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster.")] = "local",
    ray_address: Annotated[str | None, typer.Option(help="Of the Ray cluster; default: as ray finds or starts it.")] = (
        None
    ),
    workers: Annotated[int | None, typer.Option(help="Ray workers; default: one a GPU, or one a CPU.")] = None,
) -> Path:
    """Projections of every sample of a data set, a summary, a ranking, and the samples above a clean data set's.

    Preference data (prompt, chosen, rejected) are screened as pairs: chosen minus rejected, and the pairs that most
    teach each trait.
    """
    from persona_interp.data.conversations import stream_conversations
    from persona_interp.data.streams import holds_preferences
    from persona_interp.directions.direction import Direction
    from persona_interp.errors import ConfigError
    from persona_interp.models.load import load_model
    from persona_interp.studies.screening.config import check_engine
    from persona_interp.studies.screening.pair_run import screen_pairs
    from persona_interp.studies.screening.run import screen as screen_data
    from persona_interp.studies.screening.text_report import pair_report, text_report

    options.refuse_idle(percentile, "--percentile", clean is not None, "--clean")
    options.refuse_idle(joint or None, "--joint", clean is not None, "--clean")
    options.refuse_idle(max_new_tokens, "--max-new-tokens", delta == "generate", "--delta generate")
    options.refuse_idle(ray_address, "--ray-address", engine == "ray", "--engine ray")
    options.refuse_idle(workers, "--workers", engine == "ray", "--engine ray")
    check_engine(engine)
    paths = [part.strip() for part in vectors.split(",") if part.strip()]
    if not paths:
        raise ConfigError("--vectors names no file.", "Give saved directions, separated by commas.")
    for source in (data, clean):
        if source is not None:
            next(iter(stream_conversations(source)), None)  # a missing file is said before the model is loaded
    pairs = holds_preferences(data)
    if pairs:
        idle = {
            "--clean": clean,
            "--rank-by": rank_by,
            "--judge": judge,
            "--delta": None if delta == "prompt" else delta,
        }
        if given := [name for name, value in idle.items() if value is not None]:
            raise ConfigError(
                f"{', '.join(given)} would do nothing: the data are preference pairs.",
                "Their answers are compared with each other, chosen minus rejected. Leave it out.",
            )
    loaded = load_model(model, backend, dtype=dtype)  # pyright: ignore (checked by load_model)
    directions = [Direction.load(path, loaded) for path in paths]
    if pairs:
        compared = screen_pairs(
            loaded,
            data,
            directions,
            out=out,
            layers=options.parse_numbers(layer, int, "layer") or None,
            n_shown=n_flagged,
            batch_rows=batch_rows,
            engine=engine,  # pyright: ignore (checked above)
            ray_address=ray_address,
            n_workers=workers,
        )
        typer.echo(pair_report(compared))
        return out
    result = screen_data(
        loaded,
        data,
        directions,
        out=out,
        layers=options.parse_numbers(layer, int, "layer") or None,
        delta=delta,  # pyright: ignore (checked there)
        clean=clean,
        percentile=_PERCENTILE if percentile is None else percentile,
        joint=joint,
        rank_by=rank_by,  # pyright: ignore (checked there)
        n_flagged=n_flagged,
        judge=judge,  # pyright: ignore (checked there)
        batch_rows=batch_rows,
        max_new_tokens=_TOKENS if max_new_tokens is None else max_new_tokens,
        engine=engine,  # pyright: ignore (checked above)
        ray_address=ray_address,
        n_workers=workers,
    )
    typer.echo(text_report(result))
    return out
