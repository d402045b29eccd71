"""`persona-interp screen`: every sample of a data set on persona vectors, on one machine or a Ray cluster."""

from typing import Annotated, Literal

import typer

from persona_interp.studies import options

_PERCENTILE = 95.0


@options.alone_in_out
def screen(
    data: Annotated[
        str,
        typer.Argument(
            help="Conversations or preference pairs: JSON, CSV or Parquet, a folder, or a data set of the hub."
        ),
    ],
    vector: options.Vectors,
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    layer: Annotated[
        list[str], typer.Option(help=f"0-based blocks; default: nearest to depth 0.6. {options.SEVERAL}")
    ] = options.NONE,
    delta: Annotated[
        Literal["prompt", "generate", "none"],
        typer.Option(help="Compare with the last prompt token, with own answers, or not."),
    ] = "prompt",
    max_new_tokens: Annotated[
        int | None,
        typer.Option(help=f"Of own answers, for --delta generate; default {options.ANSWER_TOKENS}.", min=1),
    ] = None,
    clean: Annotated[str | None, typer.Option(help="Data of wanted behaviour that sets the threshold.")] = None,
    percentile: Annotated[
        float | None,
        typer.Option(help=f"Of the clean data, for flags; default {_PERCENTILE:g}.", min=0, max=100),
    ] = None,
    joint: Annotated[
        bool, typer.Option(help="The percentile is that of passing any threshold, over all vectors and layers.")
    ] = False,
    rank_by: Annotated[
        Literal["difference", "projection", "prompt_last", "judge"] | None,
        typer.Option(help="Default: the first there is."),
    ] = None,
    n_flagged: Annotated[int, typer.Option(help="Samples a vector shown with text and tokens.", min=0)] = 50,
    judge: Annotated[
        Literal["embedding"] | None, typer.Option(help="A text judge's score beside the projections.")
    ] = None,
    batch_rows: Annotated[int, typer.Option(help="Rows of a shard: what a killed run can lose.", min=1)] = 64,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="ray: a cluster.")] = "local",
    ray_address: Annotated[str | None, typer.Option(help="Of the Ray cluster; default: as ray finds or starts it.")] = (
        None
    ),
    workers: Annotated[int | None, typer.Option(help="Ray workers; default: one a GPU or CPU.", min=1)] = None,
) -> options.Outcome:
    """Projections of every sample of a data set, a summary, a ranking, and the samples above a clean data set's.

    Preference data (prompt, chosen, rejected) are screened as pairs: chosen minus rejected, and the pairs that most
    teach each trait.
    """
    from persona_interp.data.conversations import stream_conversations
    from persona_interp.data.streams import holds_preferences
    from persona_interp.directions.direction import check_direction
    from persona_interp.errors import ConfigError
    from persona_interp.models.load import load_model
    from persona_interp.studies.screening.pair_run import screen_pairs
    from persona_interp.studies.screening.run import screen as screen_data
    from persona_interp.studies.screening.text_report import pair_report, text_report

    options.refuse_idle(percentile, "--percentile", clean is not None, "--clean")
    options.refuse_idle(joint or None, "--joint", clean is not None, "--clean")
    options.refuse_idle(max_new_tokens, "--max-new-tokens", delta == "generate", "--delta generate")
    options.refuse_idle(ray_address, "--ray-address", engine == "ray", "--engine ray")
    options.refuse_idle(workers, "--workers", engine == "ray", "--engine ray")
    layers = options.numbers(layer, "layer", int)
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
    directions = options.directions(vector)
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    for direction in directions:
        check_direction(direction, loaded)
    if pairs:
        compared = screen_pairs(
            loaded,
            data,
            directions,
            out=out,
            layers=list(layers) or None,
            n_shown=n_flagged,
            batch_rows=batch_rows,
            engine=engine,
            ray_address=ray_address,
            n_workers=workers,
        )
        return options.Outcome([pair_report(compared)], {}, out, reported=True)
    result = screen_data(
        loaded,
        data,
        directions,
        out=out,
        layers=list(layers) or None,
        delta=delta,
        clean=clean,
        percentile=_PERCENTILE if percentile is None else percentile,
        joint=joint,
        rank_by=rank_by,
        n_flagged=n_flagged,
        judge=judge,
        batch_rows=batch_rows,
        max_new_tokens=options.ANSWER_TOKENS if max_new_tokens is None else max_new_tokens,
        engine=engine,
        ray_address=ray_address,
        n_workers=workers,
    )
    return options.Outcome([text_report(result)], {}, out, reported=True)
