"""A screening in a terminal: what was screened, every direction's numbers, and the samples at the top."""

from io import StringIO

import pandas as pd
from rich.console import Console
from rich.table import Table

from persona_interp.effects import saved_claims
from persona_interp.studies.screening.effects import STUDY
from persona_interp.studies.screening.pair_run import PairResult
from persona_interp.studies.screening.result import ScreenResult


def text_report(result: ScreenResult, *, width: int = 120) -> str:
    """Plain text, with the summary as a table."""
    lines = [
        f"{result.source}: {result.n_rows - result.n_unusable:,} of {result.n_rows:,} rows screened"
        + (f", {result.n_unusable:,} unusable (unusable.csv says why)." if result.n_unusable else "."),
        _threshold_line(result),
        *_claims(result),
        _flagged_line(result),
    ]
    return _rendered(_table(result.summary), width) + "\n".join(lines)


def pair_report(result: PairResult, *, width: int = 120) -> str:
    """What preference pairs have more of in the chosen answers: plain text, with the summary as a table."""
    lines = [
        f"{result.source}: {result.n_rows - result.n_unusable:,} of {result.n_rows:,} preference pairs screened, of"
        f" {result.n_prompts:,} prompts"
        + (f"; {result.n_unusable:,} unusable (unusable.csv says why)." if result.n_unusable else "."),
        *_claims(result),
        f"The pairs that most teach each trait, with text: {result.folder / 'pair_texts.jsonl'}",
    ]
    table = Table("direction")
    for name in ("layer", "pairs", "prompts", "chosen - rejected [95 %]", "p", "chosen higher [95 %]"):
        table.add_column(name, no_wrap=True, justify="right")
    for row in result.summary.to_dict("records"):
        mean = f"{_number(row['mean'])} [{_number(row['low'])}, {_number(row['high'])}]"
        share = f"{_number(row['share_higher'])} [{_number(row['share_low'])}, {_number(row['share_high'])}]"
        p = "" if pd.isna(row["p"]) else f"{row['p']:.2g}"
        table.add_row(row["direction"], str(row["layer"]), f"{row['n']:,}", f"{row['n_prompts']:,}", mean, p, share)
    return _rendered(table, width) + "\n".join(lines)


def _threshold_line(result: ScreenResult) -> str:
    clean = result.clean
    if clean is None:
        return f"No clean data was given, so there is no threshold: samples are only ranked, by {result.score}."
    return (
        f"Threshold: percentile {clean.percentile:g} of the {result.score} of {clean.n:,} clean samples"
        f" ({clean.source}): of new clean ones at most {100 - clean.percentile:.3g} % pass it"
        + (f", and at most {100 * clean.any_rate:.3g} % any of {n}." if (n := len(clean.thresholds)) > 1 else ".")
    )


def _claims(result: ScreenResult | PairResult) -> list[str]:
    claims = saved_claims(result.folder, STUDY)
    return [] if claims is None else claims["sentence"].tolist()


def _flagged_line(result: ScreenResult) -> str:
    of = "" if result.clean is None else " above the threshold"
    return f"{result.n_flagged} samples{of} with text and tokens: {result.folder / 'flagged.jsonl'}"


def _table(summary: pd.DataFrame) -> Table:
    table = Table("direction")
    for name in ("layer", "score", "n", "mean [95 %]", "sd", "p50", "p95", "threshold", "above"):
        table.add_column(name, no_wrap=True, justify="left" if name == "score" else "right")
    for row in summary.to_dict("records"):
        numbers = [_number(row.get(name)) for name in ("sd", "p50", "p95", "threshold")]
        mean = f"{_number(row.get('mean'))} [{_number(row.get('low'))}, {_number(row.get('high'))}]"
        share = row["share_above"]
        above = "" if pd.isna(share) else f"{100 * share:.1f} %"
        table.add_row(row["direction"], str(row["layer"]), row["score"], f"{row['n']:,}", mean, *numbers, above)
    return table


def _number(value: float | None) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.2f}"


def _rendered(table: Table, width: int) -> str:
    console = Console(file=StringIO(), markup=False, width=width)
    console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()
