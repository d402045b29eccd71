"""The table of claims in `analyses/README.md`, made from the claims of all saved results; run it after any of them.

What holds is named, the rest is counted: `pi.load_claims("analyses/results")` has every sentence with its rule.
"""

import argparse
import re
from pathlib import Path

import pandas as pd

from persona_interp.effects import CLAIMS_FILE, VERDICTS, load_claims
from persona_interp.io import atomic_write_bytes

RESULTS, README = Path(__file__).parent / "results", Path(__file__).parent / "README.md"
SHOWN = 6
"""Claims or traits named, at most."""

BEGIN, END = "<!-- claims: made by analyses/claims.py -->\n", "<!-- end of claims -->"


def table() -> str:
    """The table in Markdown: a row an analysis."""
    lines = ["| analysis | holds | does not | undecided | what holds |", "|---|---|---|---|---|"]
    names = {path.relative_to(RESULTS).parts[0] for path in RESULTS.rglob(CLAIMS_FILE)}
    for folder in (RESULTS / name for name in sorted(names)):
        claims = load_claims(folder)
        counts = " | ".join(str((claims["verdict"] == verdict).sum()) for verdict in VERDICTS)
        held = claims[claims["verdict"] == "holds"]
        named = [_named(str(name), rows) for name, rows in held.groupby("claim", sort=False)]
        more = f"; and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        lines.append(f"| `{folder.name}` | {counts} | {_cell('; '.join(named[:SHOWN]) + more)} |")
    return "\n".join(lines) + "\n"


def _named(claim: str, rows: pd.DataFrame) -> str:
    """A claim, and the traits of which it holds where they are few."""
    traits = list(dict.fromkeys(rows["trait"].dropna()))
    models = f", {rows['model'].nunique()} models" if rows["model"].nunique() > 1 else ""
    said = ", ".join(traits) if len(traits) <= SHOWN else f"{len(traits)} traits"
    return f"{claim} ({said}{models})" if said else claim


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def with_table(readme: str) -> str:
    """The README with today's table between its markers."""
    made, n = re.subn(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: BEGIN + table() + END, readme, flags=re.DOTALL
    )
    assert n == 1, f"{README} must have the markers once"
    return made


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    atomic_write_bytes(README, with_table(README.read_text(encoding="utf-8")).encode())
