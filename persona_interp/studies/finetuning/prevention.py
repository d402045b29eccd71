"""What each way of preventing or correcting a trait leaves of it, and what it costs.

One training set (level II of a trait, distilled from the model's own prompted answers), one seed, one adapter. Before
or during training: preventative steering at one layer and at all, preventative prompting, concept ablation (CAFT), the
projection penalty. Afterwards: steering against the trait, and an upper cap of the projection. Every arm is measured
in the same way: expression of the trait and of others on evaluation questions (with the share of coherent answers),
loss on held-out data of the task, perplexity of neutral texts, and accuracy on four-option questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.data.conversations import Conversation, conversations_hash
from persona_interp.data.multiple_choice import load_multiple_choice
from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.finetuning.train import finetune
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.record import intervention_record, record
from persona_interp.io import read_json, write_json
from persona_interp.judges.coherence import CoherenceReference
from persona_interp.measurements.capability import measure_multiple_choice, measure_perplexity, measure_task_loss
from persona_interp.measurements.expression import mean_expression
from persona_interp.measurements.sample_projections import project_samples
from persona_interp.models.hooked import HookedModelBase
from persona_interp.progress import track
from persona_interp.statistics import Interval, bootstrap_mean
from persona_interp.statistics.permutation import permutation_test_paired
from persona_interp.statistics.power import detectable_effect
from persona_interp.studies.finetuning.arm_effects import CAP, CHANGE, PLAIN, PROMPTING
from persona_interp.studies.finetuning.arms import STRENGTHS, Arm, PreventionConfig, arms
from persona_interp.studies.finetuning.cells import expression
from persona_interp.studies.finetuning.config import interval_row
from persona_interp.studies.finetuning.effects import STUDY
from persona_interp.studies.finetuning.prepared import Prepared, prepare
from persona_interp.studies.folder import RunFolder
from persona_interp.tables import read_table

TEST = "sign flips over questions"


def measure_prevention(config: PreventionConfig, folder: Path) -> tuple[Prepared, pd.DataFrame]:
    """One row an arm and measure: method, strength, metric, estimate, low, high, n, n_clusters, trait, judge.

    Changes also have p, by `TEST`, and what would be found in 80 % of repetitions.

    Args:
        folder: where trained models, answers and measurements are kept; the same call goes on where it was stopped.

    Raises:
        ConfigError: it holds those of other inputs.
    """
    prepared = prepare(config.setup, folder)
    data = prepared.data(config.trait, "level_2")
    held_out = data[:: config.holdout]
    train = [talk for i, talk in enumerate(data) if i % config.holdout]
    reference = _reference(prepared, config.trait, folder)
    bounds = _cap_bounds(config, prepared)
    todo = arms(config, prepared, bounds)
    about = prepared.identity() | {
        "config": {key: value for key, value in asdict(config).items() if key not in ("setup", *STRENGTHS)},
        "train": conversations_hash(train),
        "held out": conversations_hash(held_out),
        "direction": record(prepared.directions[config.trait]),
    }
    for arm in track(todo, "methods", total=len(todo)):
        home = folder / "prevention" / arm.name
        RunFolder.claim(home, STUDY, about | _about(arm, bounds), keeps=("measured.json",))
        if not (home / "measured.json").is_file():
            trained = _trained(config, prepared, arm, train, folder)
            write_json(home / "measured.json", _measure(config, prepared, *trained, held_out, reference, home))
    parts = []
    for arm in todo:
        home = folder / "prevention" / arm.name
        rows = pd.DataFrame([*read_json(home / "measured.json"), _against_plain(config, prepared, home)])
        parts.append(rows.assign(method=arm.method, strength=arm.strength, n_train=len(train)))
    return prepared, pd.concat(parts, ignore_index=True)


def _about(arm: Arm, bounds: Mapping[float, float]) -> dict[str, Any]:
    """What an arm does; a cap also depends on the base model's projections, to four digits."""
    return {
        "method": arm.method,
        "strength": arm.strength,
        "during": intervention_record(arm.during),
        "penalty": record(arm.penalty),
        "cap": f"{bounds[arm.strength]:.4g}" if arm.method == CAP else None,
    }


def _trained(
    config: PreventionConfig, prepared: Prepared, arm: Arm, train: Sequence[Conversation], folder: Path
) -> tuple[HookedModelBase, Intervention | None]:
    if arm.conversations is None:
        return prepared.model, None
    setup = config.setup
    trains_alone = arm.during is not None or arm.penalty is not None or arm.method == PROMPTING
    name = arm.name if trains_alone else f"{PLAIN} 0"
    done = finetune(
        setup.model,
        arm.conversations(train),
        out=folder / "prevention" / "trained" / name,
        lora=setup.lora,
        settings=setup.training(setup.seed),
        intervention=arm.during,
        penalty=arm.penalty,
        device=setup.device,
    )
    model = done.load(device=setup.device)
    return model, None if arm.afterwards is None else arm.afterwards(model)


def _measure(
    config: PreventionConfig,
    prepared: Prepared,
    model: HookedModelBase,
    intervention: Intervention | None,
    held_out: Sequence[Conversation],
    reference: CoherenceReference,
    home: Path,
) -> list[dict[str, Any]]:
    table = expression(prepared, model, home / "answers", intervention=intervention)
    groups = table.groupby(["trait", "judge"], sort=False)["score"]
    rated = [(f"{trait}", f"{judge}") for (trait, judge), scores in groups if scores.notna().any()]
    own, signs = _signs(prepared, table, config.trait)
    flags = (prepared.coherence.score(signs, reference) >= reference.gate).astype(float)
    items, texts = load_multiple_choice()[:: config.every_choice], load_neutral_texts()[: config.n_texts]
    under: dict[str, Any] = {"intervention": intervention, "progress": False}
    return [
        *(_row("expression", mean_expression(table, *of), trait=of[0], judge=of[1]) for of in rated),
        _row("coherent", bootstrap_mean(flags, own["question"].to_numpy(object).astype(str))),
        _row("accuracy", measure_multiple_choice(model, items, **under).accuracy),
        _row("neutral loss", measure_perplexity(model, texts, **under).loss),
        _row("task loss", measure_task_loss(model, held_out, **under).loss),
    ]


def _signs(prepared: Prepared, table: pd.DataFrame, trait: str) -> tuple[pd.DataFrame, Any]:
    """The answers on a trait as the headline judge has them, and the signs of their coherence."""
    own = table[(table["trait"] == trait) & (table["judge"] == prepared.headline)]
    return own, prepared.coherence.signs(list(own["question"]), list(own["answer"]), prepared.traits[trait])


def _against_plain(config: PreventionConfig, prepared: Prepared, home: Path) -> dict[str, Any]:
    """The change of expression from plain finetuning, over the same questions, by the headline judge."""
    trait, plain = prepared.traits[config.trait], home.parent / f"{PLAIN} 0"
    sides = []
    for folder in (plain, home):
        parts = sorted((folder / "answers" / trait.name).glob("part-*.parquet"))
        made = pd.concat([read_table(part) for part in parts], ignore_index=True)
        scores = prepared.judges[0].rate(trait, list(made["question"]), list(made["answer"]))
        sides.append(made[["question", "sample"]].assign(score=[score.value for score in scores]))
    both = sides[0].merge(sides[1], on=["question", "sample"], suffixes=("_plain", "_here")).dropna()
    here, there = (both[f"score_{side}"].to_numpy(float) for side in ("here", "plain"))
    questions = both["question"].to_numpy(object).astype(str)
    change = bootstrap_mean(here - there, questions)
    p = permutation_test_paired(here, there, questions).tested
    least = detectable_effect(change.error, change.freedom)
    return _row(CHANGE, change, trait=trait.name, judge=prepared.headline, p=p, detectable=least)


def _row(metric: str, found: Interval, **more: str | float) -> dict[str, Any]:
    return {"metric": metric, **interval_row(found), **more}


def _reference(prepared: Prepared, trait: str, folder: Path) -> CoherenceReference:
    """What counts as coherent: as the base model's own answers, nine of ten of which pass."""
    table = expression(prepared, prepared.model, folder / "base")
    return prepared.coherence.reference(_signs(prepared, table, trait)[1])


def _cap_bounds(config: PreventionConfig, prepared: Prepared) -> dict[float, float]:
    plain = prepared.data(config.trait, "normal")
    layer = config.setup.named_layer
    found = project_samples(
        prepared.model, plain, [prepared.directions[config.trait]], [layer], keep_tokens=True, progress=False
    )
    assert found.tokens is not None, "tokens were asked for"
    values = np.concatenate([tokens[:, 0, 0] for tokens in found.tokens])
    return {percentile: float(np.percentile(values, percentile)) for percentile in config.caps}
