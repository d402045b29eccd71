"""Texts with their tokens shaded: where in them a latent fires, as a figure and as HTML."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from pandas import DataFrame

from persona_interp.figures.style import GREY, PALETTE, TEXT

_SIZE = 6.5
_MONOSPACE = "DejaVu Sans Mono"
_BREAKS = {"\n": "⏎", "\t": "⇥", "\r": "⏎"}


def plot_contexts(contexts: DataFrame, ax: Axes, *, width: int = 96, label: bool = True) -> Axes:
    """A line a context, its tokens shaded by activation as a share of the largest of its latent; the peak is outlined.

    Args:
        contexts: of `contexts_frame`: latent, rank, position, token, activation, is_peak.
        width: characters of a line; what does not fit is left out at the ends, farthest from the peak first.
        label: write the latent's number at the left of its first line.
    """
    lines = list(_lines(contexts, width))
    largest = contexts.groupby("latent")["activation"].max().to_dict()
    ax.set_xlim(0, width)
    ax.set_ylim(len(lines), 0)
    ax.axis("off")
    before = None
    for row, (latent, tokens) in enumerate(lines):
        peak = next((start for start, _, _, is_peak in tokens if is_peak), 0)
        offset = width // 2 - peak if len(tokens) else 0
        length = sum(len(text) for _, text, _, _ in tokens)
        offset = max(0, min(offset, width - length))
        for start, text, activation, is_peak in tokens:
            share = activation / largest[latent] if largest[latent] > 0 else 0.0
            box = Rectangle(
                (offset + start, row + 0.08),
                len(text),
                0.84,
                facecolor=(*to_rgb(PALETTE[1]), min(1.0, max(0.0, share)) * 0.75),
                edgecolor=TEXT if is_peak else "none",
                linewidth=0.6 if is_peak else 0.0,
            )
            ax.add_patch(box)
            for k, character in enumerate(text):
                ax.text(
                    offset + start + k + 0.5, row + 0.52, character, ha="center", va="center", fontsize=_SIZE,
                    family=_MONOSPACE,
                )  # fmt: skip
        if label and latent != before:
            ax.text(-1, row + 0.52, f"{latent}", ha="right", va="center", fontsize=_SIZE, color=GREY)
        before = latent
    return ax


def contexts_html(contexts: DataFrame) -> str:
    """The same as one list of paragraphs for a page: every token a span whose background says its share."""
    largest = contexts.groupby("latent")["activation"].max().to_dict()
    red, green, blue = (round(255 * part) for part in to_rgb(PALETTE[1]))
    parts = []
    for (latent, rank), rows in contexts.groupby(["latent", "rank"], sort=False):
        most = largest[latent]
        spans = [
            f'<span style="background:rgba({red},{green},{blue},{_share(value, most):.2f})"'
            f' title="{value:.3g}">{escape(_shown(str(token)))}</span>'
            for token, value in zip(rows["token"], rows["activation"], strict=True)
        ]
        parts.append(f'<p class="context" data-latent="{latent}" data-rank="{rank}">{"".join(spans)}</p>')
    return "\n".join(parts)


def _share(value: float, most: float) -> float:
    return min(1.0, max(0.0, value / most)) if most > 0 else 0.0


def _shown(token: str) -> str:
    """A token with its line breaks as signs, and no character that a line cannot show."""
    shown = "".join(_BREAKS.get(character, character) for character in token)
    return "".join(character if character.isprintable() else "·" for character in shown)


_Token = tuple[int, str, float, bool]


def _lines(contexts: DataFrame, width: int) -> Sequence[tuple[Any, list[_Token]]]:
    """For each context its latent and tokens: where each starts in the line, its text, activation, and if it peaks."""
    rows = contexts.to_dict("records")
    made = []
    for (latent, _), several in groupby(rows, key=lambda row: (row["latent"], row["rank"])):
        tokens = [(_shown(str(r["token"])), float(r["activation"]), bool(r["is_peak"])) for r in several]
        tokens = _cut(tokens, width)
        starts, at = [], 0
        for text, _, _ in tokens:
            starts.append(at)
            at += len(text)
        made.append((latent, [(start, *token) for start, token in zip(starts, tokens, strict=True)]))
    return made


def _cut(tokens: list[tuple[str, float, bool]], width: int) -> list[tuple[str, float, bool]]:
    """Tokens that fit in a line, those farthest from the peak left out; a longer one is cut itself."""
    tokens = [(text[:width], activation, is_peak) for text, activation, is_peak in tokens]
    while sum(len(text) for text, _, _ in tokens) > width:
        peak = next((k for k, token in enumerate(tokens) if token[2]), 0)
        tokens = tokens[1:] if peak > len(tokens) - 1 - peak else tokens[:-1]
    return tokens
