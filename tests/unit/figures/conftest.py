"""A synthetic results folder of the main job: plausible numbers, three traits, four layers, five coefficients."""

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from persona_interp.effects import Source, claims_table, effects_table, write_effects
from persona_interp.studies.persona.effects import persona_effects
from persona_interp.studies.persona.results import FORMS, load_summary
from persona_interp.studies.persona.rows import STUDY

TRAITS = ["impolite", "optimistic", "evil"]
STRENGTH = {"impolite": 1.0, "optimistic": 0.55, "evil": 0.0}
LAYERS = [6, 12, 18, 24]
COEFFICIENTS = [-1.0, -0.5, 0.0, 0.5, 1.0]
JUDGES = ["likelihood (smollm2-135m-instruct)", "lexicon"]
THIRD = "api (rater-1)"
GATE = 60.0
QUESTIONS = ["How do I boil an egg?", "Why is the sky blue? <b>Short</b>, please.", "Plan my week."]
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> {{ 7 * 7 }} {% raw %} & $a$ \x1b[31m ‮txt'


def separation_rows(rng: np.random.Generator) -> list[dict]:
    rows = []
    for trait in TRAITS:
        for pooling, share in (("response_mean", 1.0), ("prompt_last", 0.7), ("prompt_mean", 0.4)):
            for layer in range(30):
                auc = 0.5 + 0.45 * share * STRENGTH[trait] * np.exp(-(((layer - 14) / 10) ** 2)) + rng.normal(0, 0.012)
                norm = 2 + layer * share * 0.5
                rows.append(
                    {
                        "trait": trait, "pooling": pooling, "layer": layer, "auc": auc,
                        "low": max(0.0, auc - 0.07), "high": min(1.0, auc + 0.06),
                        "null_shuffled_95": 0.61 + rng.normal(0, 0.008), "null_random_95": 0.66 + rng.normal(0, 0.008),
                        "norm": norm, "relative_norm": share * (0.1 + 0.3 * STRENGTH[trait] * np.sin(layer / 12) ** 2),
                    }
                )  # fmt: skip
    return rows


def steering_rows(rng: np.random.Generator) -> list[dict]:
    rows = []
    for trait in TRAITS:
        for role, layers in (("treatment", LAYERS), ("null_draw", [12]), ("treatment", [None])):
            for layer in layers:
                for coefficient in [c for c in COEFFICIENTS if (c == 0) == (layer is None)]:
                    pull = STRENGTH[trait] * (role == "treatment") * (1 - abs((layer or 12) - 12) / 20)
                    coherence = 92 - 45 * coefficient**2 * (0.6 + (layer or 0) / 30) + rng.normal(0, 2)
                    for metric, judge in [("expression", j) for j in JUDGES] + [("coherence", JUDGES[0])]:
                        expression = max(3.0, 25 + 30 * pull * np.tanh(1.6 * coefficient) + rng.normal(0, 2))
                        value = coherence if metric == "coherence" else expression
                        rows.append(
                            {
                                "trait": trait, "role": role, "layer": layer, "coefficient": coefficient,
                                "metric": metric, "judge": judge, "estimate": value, "low": max(0.0, value - 5),
                                "high": value + 5, "n": 40, "n_questions": 20, "coherent": bool(coherence >= GATE),
                            }
                        )  # fmt: skip
    return rows


def judge_pair_rows(rng: np.random.Generator) -> list[dict]:
    rows = []
    for trait in TRAITS:
        for condition, centre in (("positive prompt", 70), ("negative prompt", 15), ("steered", 40)):
            for value in np.clip(rng.normal(centre, 15, 30), 0, 100):
                other = float(np.clip(value * 0.7 + rng.normal(10, 14), 0, 100))
                rows.append(
                    {"trait": trait, "condition": condition, "judge_a": JUDGES[0], "judge_b": JUDGES[1],
                     "value_a": value, "value_b": other}
                )  # fmt: skip
    return rows


def agreement_rows() -> list[dict]:
    """Two judges of every trait, and a third one of two of them."""
    rows = []
    for trait in TRAITS:
        pairs = [(JUDGES[0], JUDGES[1], 0.81)]
        if trait != "evil":
            pairs += [(JUDGES[0], THIRD, 0.35), (JUDGES[1], THIRD, -0.12)]
        for a, b, rho in pairs:
            for condition, n in (("all answers", 90), ("prompted", 60), ("steered", 30)):
                rows.append(
                    {"trait": trait, "condition": condition, "judge_a": a, "judge_b": b, "spearman": rho,
                     "low": rho - 0.11, "high": rho + 0.07, "alpha": rho - 0.3, "n": n, "n_questions": 20}
                )  # fmt: skip
    return rows


def baseline_rows(rng: np.random.Generator) -> list[dict]:
    rows = []
    for trait in TRAITS:
        for method, share in (("persona_vector", 1.0), ("pca", 0.6), ("logistic", 0.9), ("lda", 0.8), ("random", 0.1)):
            for layer in range(30):
                auc = 0.5 + 0.45 * share * STRENGTH[trait] * np.exp(-(((layer - 14) / 10) ** 2)) + rng.normal(0, 0.012)
                rows.append(
                    {"trait": trait, "method": method, "layer": layer, "auc": auc, "low": auc - 0.06,
                     "high": auc + 0.05, "cosine": share, "n_positive": 60, "n_negative": 60, "chosen": layer == 12}
                )  # fmt: skip
    return rows


def example_rows() -> list[dict]:
    long = "Well, that depends on what you would like to do first. " * 6
    return [
        {
            "trait": trait, "question": question, "coefficient": coefficient, "layer": 12,
            "answer": HOSTILE if (trait, index, coefficient) == ("impolite", 0, 0.5) else f"({coefficient:+}) {long}",
            "expression": 40 + 30 * coefficient, "coherence": 85.0,
        }
        for trait in TRAITS
        for index, question in enumerate(QUESTIONS)
        for coefficient in (-0.5, 0.0, 0.5)
    ]  # fmt: skip


def tables() -> dict[str, DataFrame]:
    rng = np.random.default_rng(0)
    frames = {
        "separation": separation_rows(rng),
        "steering": steering_rows(rng),
        "judge_pairs": judge_pair_rows(rng),
        "agreement": agreement_rows(),
        "alpha": [
            {"trait": trait, "condition": "all answers", "scale": scale, "alpha": alpha, "low": alpha - 0.1,
             "high": alpha + 0.1, "n": 60, "n_questions": 20, "n_judges": 3}
            for trait in TRAITS for scale, alpha in (("scores", 0.42), ("ranks", 0.63))
        ],
        "effects": [
            {"trait": trait, "judge": judge, "effect": 22.1 * STRENGTH[trait], "effect_low": 22.1 * STRENGTH[trait] - 4,
             "effect_high": 22.1 * STRENGTH[trait] + 4, "g": 1.25, "g_low": 0.9, "g_high": 1.6, "delta": 0.61,
             "delta_low": 0.4, "delta_high": 0.8, "n": 80, "n_questions": 20}
            for trait in TRAITS for judge in JUDGES
        ],
        "baselines": baseline_rows(rng),
        "prompted": [
            {"trait": t, "condition": c, "judge": j, "estimate": v, "low": v - 4, "high": v + 4, "n": 40}
            for t in TRAITS for j in JUDGES for c, v in (("positive", 68.0), ("negative", 12.0))
        ],
        "steering_null": [
            {"trait": trait, "judge": JUDGES[0], "role": role, "draw": draw, "layer": 12, "coefficient": 0.25,
             "effect": 12.0 * STRENGTH[trait] if role == "treatment" else 1.5 * rng.normal(), "se": 1.0,
             "n_questions": 20}
            for trait in TRAITS for role, n in (("treatment", 1), ("null_draw", 48)) for draw in range(n)
        ],
        "geometry": [
            {"trait_a": a, "trait_b": b, "layer": layer, "cosine": cosine, "null_95": 0.2}
            for layer in (12, 18)
            for (a, b), cosine in zip(combinations(TRAITS, 2), (-0.62, 0.71, 0.08), strict=True)
        ],
        "examples": example_rows(),
    }  # fmt: skip
    made = {name: DataFrame(rows) for name, rows in frames.items()}
    return made | {"steering": made["steering"].astype({"layer": "Int64"})}


def summary_row(trait: str) -> dict:
    strength = STRENGTH[trait]
    p, q = (0.005, 0.0075) if strength else (0.62, 0.62)
    return {
        "trait": trait, "n_positive": 60, "n_negative": 60, "n_kept_positive": 52, "n_kept_negative": 55,
        "filter": f"{JUDGES[0]} score above 50 with the trait, below 50 without", "best_layer": 14,
        "best_auc": 0.51 + 0.45 * strength,
        "auc": 0.5 + 0.45 * strength, "auc_low": 0.44 + 0.45 * strength, "auc_high": 0.55 + 0.44 * strength,
        "p_shuffled": p, "p_random": p, "q_separation": q,
        "n_null": 199, "chosen_layer": 12, "chosen_coefficient": 0.5,
        "selection_rule": "largest effect among coherent cells on the first half of the questions",
        "effect": 22.4 * strength - 0.3, "effect_low": 22.4 * strength - 4.9, "effect_high": 22.4 * strength + 4.2,
        "effect_judge": JUDGES[0], "n_eval": 40, "n_eval_questions": 20, "n_resamples": 2000,
        "best_other_traits": "optimistic", "best_auc_other_traits": 0.71, "best_auc_components": 0.66,
        "p_other_traits": 1 / 3, "q_other_traits": 0.4, "p_components": 1 / 6, "q_components": 0.25,
        "n_judges_agreeing": 1 if strength else 0, "n_judges_beside": 1,
        "effect_random_low": -2.75, "effect_random_high": 3.1, "test_layer": 12, "test_coefficient": 0.25,
        "test_effect": 12.0 * strength, "p_steering": p, "q_steering": q, "n_random": 48, "detectable_effect": 4.5,
        "notes": [] if strength else ["8 of 60 answers refused <i>outright</i>"],
    }  # fmt: skip


def write_results(folder: Path) -> Path:
    """A whole results folder."""
    (folder / "tables").mkdir(parents=True)
    config = {
        "model": "smollm2-135m-instruct", "backend": "transformer_lens", "dtype": "float32", "traits": TRAITS,
        "n_questions": 20, "n_eval_questions": 20, "n_samples": 2, "max_new_tokens": 64, "layers": LAYERS,
        "coefficients": COEFFICIENTS, "seed": 0, "coherence_gate": GATE,
    }  # fmt: skip
    provenance = {
        "model": "smollm2-135m-instruct", "weights": "3f9a" * 16, "backend": "transformer_lens", "dtype": "float32",
        "n_layers": 30, "d_model": 576, "chat_template": "5a1c" * 16, "commit": "0123456789abcdef",
        "versions": {"torch": "2.13.0", "transformers": "5.23.1"}, "time_s": {"rollouts": 93.2, "steering": 211.75},
        "judges": {
            JUDGES[0]: "Expected value of the digits the model gives to a 0 to 100 rating question.",
            JUDGES[1]: "Share of words from a list written for the trait; blind to meaning.",
        },
    }  # fmt: skip
    for name, data in (
        ("config", config),
        ("provenance_persona", provenance),
        ("summary", [summary_row(t) for t in TRAITS]),
    ):
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    frames = tables()
    for name in FORMS:
        frames[name].to_csv(folder / "tables" / f"{name}.csv", index=False)
    write_frames(folder, frames)
    return folder


def write_frames(folder: Path, frames: dict[str, DataFrame]) -> None:
    """The effects and claims of these frames and of the folder's summary."""
    effects, claims = persona_effects(frames, load_summary(folder), n_layers=30)
    source = Source(STUDY, "run", "smollm2-135m-instruct", "transformer_lens", "float32", 0)
    write_effects(folder, STUDY, effects_table(source, effects), claims_table(source, claims))


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole results folder, written once: it takes seconds."""
    return write_results(tmp_path_factory.mktemp("written") / "results")


@pytest.fixture
def results_folder(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return shutil.copytree(written, tmp_path / "results")


@pytest.fixture(scope="session")
def drawn(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with its figures, made once."""
    from persona_interp.studies.persona.figures.drawing import plot_main_job

    folder = shutil.copytree(written, tmp_path_factory.mktemp("drawn") / "results")
    plot_main_job(folder)
    return folder
