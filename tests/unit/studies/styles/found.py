"""Frames as the probe and the steering of two styles give them, and their effects."""

import pandas as pd

from persona_interp.effects import Claim, Effect, Source, effects_table
from persona_interp.studies.styles.effects import style_effects

JUDGE = "embedding (x)"
ARMS = (
    ("unsteered", "", 0.0, False), ("prompt", "", 0.0, True), ("style_vector", "1", 0.2, False),
    ("style_vector", "1", 0.4, True), ("style_vector", "1+2", 0.2, True),
)  # fmt: skip


def probe_frame(styles: tuple[str, ...] = ("a", "b"), *, corpus: str = "k") -> pd.DataFrame:
    """A fresh probe and the vector at the embedding and two blocks; only the first style is told apart."""
    rows = []
    for style in styles:
        for readout, base in (("logistic probe", 0.6), ("style vector", 0.5)):
            p = 0.01 if style == styles[0] else 0.6
            for k, (layer, stream) in enumerate([(0, "resid_pre"), (0, "resid_post"), (1, "resid_post")]):
                auc = base + 0.1 * k
                rows.append(
                    {"corpus": corpus, "style": style, "readout": readout, "layer": layer, "auc": auc, "q": 2 * p,
                     "stream": stream, "low": auc - 0.1, "high": auc + 0.1, "null_95": 0.6, "null_max_95": 0.65,
                     "p_max": p, "n_test": 8, "detectable": 0.91}
                )  # fmt: skip
    return pd.DataFrame(rows)


def steering_frame(styles: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    """Arms in the order of ARMS, whose effects are 1 to 4; two layers are the named place, ranked among 100 draws."""
    rows = []
    for style in styles:
        for prompts in ("factual", "subjective"):
            for k, (method, layers, coefficient, chosen) in enumerate(ARMS):
                plain, ranked = method == "unsteered", layers == "1+2"
                won = ranked and (style, prompts) == (styles[0], "factual")
                rows.append(
                    {"corpus": "k", "style": style, "prompts": prompts, "method": method, "layers": layers,
                     "coefficient": coefficient, "judge": JUDGE, "estimate": 50.0, "low": 40.0, "high": 60.0, "n": 4,
                     "role": "unsteered" if plain else "control" if method == "prompt" else "treatment",
                     "effect": None if plain else float(k), "n_questions": 4, "p": None if plain else 0.1,
                     "effect_low": k - 0.5, "effect_high": k + 0.5, "detectable": 4.56,
                     "null_low": -1.0 if ranked else None, "null_high": 1.0 if ranked else None,
                     "n_random": 100 if ranked else 0, "p_random": (0.01 if won else 0.4) if ranked else None,
                     "q_random": (0.04 if won else 0.5) if ranked else None,
                     "declared": "primary" if ranked else "exploratory",
                     "coherent": coefficient < 0.4, "chosen": chosen}
                )  # fmt: skip
    return pd.DataFrame(rows)


def judges_frame(styles: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"style": style, "judge": JUDGE, "auc": 0.8, "low": 0.6, "high": 0.9, "n": 8, "corpus": "k"}
            for style in styles
        ]
    )


def found(styles: tuple[str, ...] = ("a", "b"), *, corpus: str = "k") -> tuple[list[Effect], list[Claim]]:
    return style_effects(probe_frame(styles, corpus=corpus), steering_frame(styles), judges_frame(styles), n_layers=3)


def effects_of(styles: tuple[str, ...] = ("a", "b"), *, model: str = "m/x") -> pd.DataFrame:
    return effects_table(Source("styles", "run", model), found(styles)[0])
