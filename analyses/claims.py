"""The table of claims in `analyses/README.md`, made from the claims of all saved results; run it after any of them.

What holds is listed, what does not is counted: `pi.load_claims("analyses/results")` has every sentence with its rule.
"""

import re
from pathlib import Path

import pandas as pd

from persona_interp.effects import CLAIMS_FILE, VERDICTS, load_claims
from persona_interp.io import atomic_write_bytes

RESULTS, README = Path(__file__).parent / "results", Path(__file__).parent / "README.md"
BEGIN, END = "<!-- claims: made by analyses/claims.py -->\n", "<!-- end of claims -->"


def table() -> str:
    """The table in Markdown: a row an analysis and a kind of claim."""
    lines = ["| analysis | claim | holds | does not | undecided | it holds of |", "|---|---|---|---|---|---|"]
    for folder in sorted(path.parent for path in RESULTS.glob(f"*/{CLAIMS_FILE}")):
        claims = load_claims(folder)
        for name, rows in claims.groupby("claim", sort=False):
            counts = [str((rows["verdict"] == verdict).sum()) for verdict in VERDICTS]
            lines.append(f"| {folder.name} | {_cell(str(name))} | {' | '.join(counts)} | {_cell(_holders(rows))} |")
    return "\n".join(lines) + "\n"


def _holders(rows: pd.DataFrame) -> str:
    """Of what the claim holds: the traits, by model where several models were asked."""
    held = rows[rows["verdict"] == "holds"]
    if rows["model"].nunique() < 2:
        return ", ".join(dict.fromkeys(held["trait"].fillna("all")))
    return "; ".join(f"{model}: {', '.join(part['trait'])}" for model, part in held.groupby("model", sort=False))


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
    atomic_write_bytes(README, with_table(README.read_text(encoding="utf-8")).encode())
