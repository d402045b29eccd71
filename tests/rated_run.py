"""What a run keeps of its answers, with a judge that sees how much of a trait each has, and one that does not."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pandas import DataFrame

from persona_interp.tables import write_table

SEES, BLIND = "sees (tiny)", "blind (tiny)"
QUESTIONS = tuple(f"How is day {k}?" for k in range(12))
FORMULA = "=SUM(1, 2) it is"
MEANS = {"steered down": 15.0, "unsteered": 30.0, "steered up": 60.0, "positive prompt": 80.0, "negative prompt": 10.0}
"""How much of the trait answers of a kind have on average."""


def truth_of(answer: str) -> float:
    """How much of the trait an answer has, which its text says."""
    return float(answer.partition("it is ")[2].partition(" ")[0] or 50)


def write_answers(
    folder: Path, trait: str, *, layer: int = 12, seed: int = 0, judges: tuple[str, str] = (SEES, BLIND)
) -> None:
    """The answers of one trait, steered at a layer and at another one, and held out under two pairs of prompts.

    Args:
        judges: the names of the one that sees and of the one that does not.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for place, coefficient in ((layer, 0.5), (layer, -0.5), (layer + 1, 0.5), (None, 0.0)):
        kind = "unsteered" if place is None else "steered up" if coefficient > 0 else "steered down"
        rows += [
            _row(rng, kind, question, judges) | {"layer": place, "coefficient": coefficient} for question in QUESTIONS
        ]
    rows[0]["answer"] = FORMULA
    steered = DataFrame(rows).astype({"layer": "Int64"}).drop(columns=["side", "instruction"])
    write_table(folder / "steering" / trait / "evaluation" / "scored.parquet", steered)
    held_out = DataFrame(
        [
            _row(rng, f"{side} prompt", question, judges)
            | {"side": side, "instruction": instruction, "response_ids": [1, 2]}
            for side in ("positive", "negative")
            for instruction in range(2)
            for question in QUESTIONS
        ]
    )
    home = folder / "rollouts" / trait / "held_out"
    write_table(home / "part-00000.parquet", held_out[["side", "instruction", "question", "answer", "response_ids"]])
    write_table(home / "scores.parquet", held_out[list(judges)])


def write_summary(folder: Path, traits: Sequence[str], *, layer: int = 12) -> Path:
    """The files beside the answers: a run in the words of its folder, with no effects."""
    names = "n_positive n_negative n_kept_positive n_kept_negative filter best_layer auc auc_low auc_high p_shuffled"
    names += " p_random q_separation n_null selection_rule effect effect_low effect_high n_eval n_eval_questions"
    empty = dict.fromkeys(f"{names} n_resamples effect_judge".split())
    at = {"chosen_layer": layer, "chosen_coefficient": 0.5, "judges_shown": [SEES]}
    summary = [{**empty, "trait": trait, **at} for trait in traits]
    judges = {SEES: "sees", BLIND: "blind", "coherence": "coherence"}
    for name, data in (
        ("config", {"model": "tiny", "seed": 0, "traits": list(traits), "n_judge_pairs": 1}),
        ("identity_persona", {"model": "tiny", "seed": 0}),
        ("provenance_persona", {"model": "tiny", "backend": "b", "dtype": "float32", "n_layers": 30, "judges": judges}),
        ("summary", summary),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def rated_folder(folder: Path, traits: Sequence[str] = ("impolite",)) -> Path:
    """The folder of a run with its answers."""
    for k, trait in enumerate(traits):
        write_answers(folder, trait, seed=k)
    return write_summary(folder, traits)


def fill(sheet: Path, filled: Path, *, noise: float, seed: int = 0, every: int = 1) -> Path:
    """The sheet as a rater who sees the truth with noise fills it, every so many rows."""
    from persona_interp.tables import read_table

    rng, table = np.random.default_rng(seed), read_table(sheet)
    ratings = [np.clip(truth_of(answer) + noise * rng.standard_normal(), 0, 100) for answer in table["answer"]]
    shown = [f"{rating:.1f}" if k % every == 0 else "" for k, rating in enumerate(ratings)]
    write_table(filled, table.assign(rating=shown))
    return filled


def _row(rng: np.random.Generator, kind: str, question: str, judges: tuple[str, str]) -> dict[str, object]:
    truth = float(np.clip(MEANS[kind] + 12 * rng.standard_normal(), 0, 100))
    answer = f"I say it is {truth:.2f} of a hundred ({rng.integers(10**6)})."
    values = float(np.clip(truth + 8 * rng.standard_normal(), 0, 100)), 100 * float(rng.random())
    scores = dict(zip(judges, values, strict=True))
    return {"question": question, "answer": answer, "side": "", "instruction": -1, **scores}
