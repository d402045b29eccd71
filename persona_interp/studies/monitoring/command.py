"""`persona-interp monitor`: a transcript's projections on saved directions, token by token, with alerts."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome

_RATE = 0.01


def monitor(
    transcript: Annotated[str, typer.Argument(help="Conversations: JSON, CSV or Parquet; every row is data.")],
    vector: options.Vectors,
    layer: options.Layer,
    threshold: Annotated[float | None, typer.Option(help="Alert above this score, in residual units.")] = None,
    neutral: Annotated[str | None, typer.Option(help="Transcript of neutral answers that sets the threshold.")] = None,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help=f"Share of neutral answers that may raise an alert; default {_RATE}.", min=0, max=1),
    ] = None,
    window: Annotated[int, typer.Option(help="Tokens that a score is averaged over.", min=1)] = 1,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="CSV or Parquet file with every token.")] = None,
    figure: Annotated[Path | None, typer.Option(help="PNG or PDF of the first conversation.")] = None,
) -> Outcome:
    """Projection along every answer of a transcript, a row a turn, and alerts above a threshold."""
    from persona_interp.directions.direction import check_direction
    from persona_interp.errors import ConfigError
    from persona_interp.io import atomic_write_bytes
    from persona_interp.models.load import load_model
    from persona_interp.studies.monitoring.monitor import Monitor
    from persona_interp.studies.monitoring.plan import monitoring_plan
    from persona_interp.studies.monitoring.smoothing import Smoothing
    from persona_interp.studies.monitoring.transcript import monitor_transcripts, read_transcript, turn_table
    from persona_interp.studies.plan import say_plan
    from persona_interp.tables import write_table

    if threshold is not None and neutral is not None:
        raise ConfigError("got both --threshold and --neutral.", "Give the threshold, or the traffic that sets it.")
    options.refuse_idle(false_alarm_rate, "--false-alarm-rate", neutral is not None, "--neutral")
    if figure is not None and figure.suffix not in (".png", ".pdf"):
        raise ConfigError(f"a figure cannot be written as {figure.name!r}.", "The name must end in .png or .pdf.")
    options.check_table(out)
    conversations = read_transcript(transcript)
    traffic = None if neutral is None else read_transcript(neutral)
    directions = options.directions(vector)
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    for direction in directions:
        check_direction(direction, loaded)
    say_plan(
        f"{len(conversations)} conversations on {loaded.name}",
        monitoring_plan(loaded.tokenizer, {"conversations": conversations, "neutral conversations": traffic or []}),
        loaded,
        folder=None,
        study="monitoring",
    )
    watch, shown, limits = Monitor(directions, layer, thresholds=threshold, smoothing=Smoothing(window)), [], []
    if traffic is not None:
        monitor_transcripts(watch, loaded, traffic)
        watch = watch.calibrate(false_alarm_rate=_RATE if false_alarm_rate is None else false_alarm_rate)
        for (direction, _), limit in zip(watch.channels, watch.thresholds, strict=True):
            shown.append(
                f"{direction.trait}: threshold {limit.value:.4g} from {limit.n} neutral answers, at most"
                f" {limit.false_alarm_rate:g} of which raise an alert"
            )
            said = {"threshold": limit.value, "n": limit.n, "false_alarm_rate": limit.false_alarm_rate}
            limits.append({"trait": direction.trait, **said})
    frame = monitor_transcripts(watch, loaded, conversations)
    if out is not None:
        write_table(out, frame)
    if figure is not None:
        from persona_interp.studies.monitoring.figures.monitoring import rendered_tokens

        atomic_write_bytes(figure, rendered_tokens(frame, watch.limits(), kind=figure.suffix[1:]))
    turns = turn_table(frame)
    data = {"turns": turns.to_dict("records"), "thresholds": limits}
    return Outcome([*shown, _table(turns, several=len(conversations) > 1)], data, out)


def _table(table, *, several: bool):
    from rich.table import Table

    shown = Table(*(["conversation"] if several else []), "turn", "trait", "tokens", "before", "mean", "max", "alerts")
    for row in table.to_dict("records"):
        name = [Path(row["conversation"]).name] if several else []
        numbers = (f"{row[column]:.2f}" for column in ("before", "mean", "max"))
        shown.add_row(*name, str(row["turn"]), row["trait"], str(row["n_tokens"]), *numbers, str(row["alerts"]))
    return shown
