"""What each way of preventing or correcting a trait leaves of it, and what it costs.

One training set (level II of a trait, distilled from the model's own prompted answers), one seed, one adapter. Before
or during training: preventative steering at one layer and at all, preventative prompting, concept ablation (CAFT), the
projection penalty. Afterwards: steering against the trait, and an upper cap of the projection. Every arm is measured
in the same way: expression of the trait and of others on evaluation questions (with the share of coherent answers),
loss on held-out data of the task, perplexity of neutral texts, and accuracy on four-option questions. A frontier shows
what each costs; strengths are listed, not chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from finetuning_cells import expression
from finetuning_prepared import Prepared, prepare, write_provenance
from finetuning_setup import chosen_config
from kept_results import conversations_hash, refuse_other_inputs, write_tables
from prevention_arms import BASE, CAP, PLAIN, PRESETS, STRENGTHS, Arm, Config, arms

from persona_interp.data.conversations import Conversation
from persona_interp.data.multiple_choice import load_multiple_choice
from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.figures.steering import incoherent_handle
from persona_interp.figures.style import legend_below, panel_figure, paper_style, save_figure
from persona_interp.finetuning.train import finetune
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.record import intervention_record, record
from persona_interp.io import read_json, write_json
from persona_interp.judges.coherence import CoherenceJudge, CoherenceReference
from persona_interp.measurements.capability import measure_multiple_choice, measure_perplexity, measure_task_loss
from persona_interp.measurements.expression import expression_change, mean_expression
from persona_interp.measurements.steering import COHERENT_SHARE
from persona_interp.models.hooked import HookedModelBase
from persona_interp.progress import track
from persona_interp.statistics import Interval, bootstrap_mean
from persona_interp.studies.finetuning.figures.prevention import plot_frontier
from persona_interp.studies.screening.sample_projections import project_samples
from persona_interp.tables import read_table

COSTS = {
    "task loss": ("task loss, nats a token", "left"),
    "neutral loss": ("neutral-text loss, nats", "left"),
    "accuracy": ("four-option accuracy", "right"),
}


def run(config: Config, folder: Path) -> tuple[Prepared, pd.DataFrame]:
    """One row an arm and measure: method, strength, metric, estimate, low, high, n, and what was measured by what."""
    prepared = prepare(config.setup, folder)
    data = prepared.data(config.trait, "level_2")
    held_out = data[:: config.holdout]
    train = [talk for i, talk in enumerate(data) if i % config.holdout]
    coherence = prepared.coherence
    reference = _reference(prepared, coherence, config.trait, folder)
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
        refuse_other_inputs(home / "measured.json", about | _about(arm, bounds))
        if not (home / "measured.json").is_file():
            model, intervention = _trained(config, prepared, arm, train, folder)
            write_json(
                home / "measured.json",
                _measure(config, prepared, model, intervention, held_out, coherence, reference, home),
            )
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
    config: Config, prepared: Prepared, arm: Arm, train: Sequence[Conversation], folder: Path
) -> tuple[HookedModelBase, Intervention | None]:
    if arm.conversations is None:
        return prepared.model, None
    setup = config.setup
    trains_alone = arm.during is not None or arm.penalty is not None or arm.method == "preventative prompting"
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
    config: Config,
    prepared: Prepared,
    model: HookedModelBase,
    intervention: Intervention | None,
    held_out: Sequence[Conversation],
    coherence: CoherenceJudge,
    reference: CoherenceReference,
    home: Path,
) -> list[dict[str, Any]]:
    table = expression(prepared, model, home / "answers", intervention=intervention)
    rows = [
        _row("expression", mean_expression(table, trait, judge), trait=trait, judge=judge)
        for trait, judge in dict.fromkeys(zip(table["trait"], table["judge"], strict=True))
        if table[(table["trait"] == trait) & (table["judge"] == judge)]["score"].notna().any()
    ]
    own = table[(table["trait"] == config.trait) & (table["judge"] == prepared.headline)]
    scores = coherence.score(coherence.signs(list(own["question"]), list(own["answer"])), reference)
    flags = (scores >= reference.gate).astype(float)
    rows.append(_row("coherent", bootstrap_mean(flags, own["question"].to_numpy(object).astype(str))))
    items = load_multiple_choice()[:: config.every_choice]
    choice = measure_multiple_choice(model, items, intervention=intervention, progress=False)
    texts = load_neutral_texts()[: config.n_texts]
    rows.append(_row("accuracy", choice.accuracy))
    rows.append(_row("neutral loss", measure_perplexity(model, texts, intervention=intervention, progress=False).loss))
    rows.append(_row("task loss", measure_task_loss(model, held_out, intervention=intervention, progress=False).loss))
    return rows


def _against_plain(config: Config, prepared: Prepared, home: Path) -> dict[str, Any]:
    """The change of expression from plain finetuning, over the same questions, by the headline judge."""
    trait, plain = prepared.traits[config.trait], home.parent / f"{PLAIN} 0"
    sides = []
    for folder in (plain, home):
        parts = sorted((folder / "answers" / trait.name).glob("part-*.parquet"))
        made = pd.concat([read_table(part) for part in parts], ignore_index=True)
        scores = prepared.judges[0].rate(trait, list(made["question"]), list(made["answer"]))
        made = made[["question", "sample"]].assign(trait=trait.name, judge=prepared.headline)
        sides.append(made.assign(score=[score.value for score in scores]))
    change = expression_change(sides[0], sides[1], trait.name, prepared.headline)
    return _row("change from plain finetuning", change, trait=trait.name, judge=prepared.headline)


def _row(metric: str, found: Interval, **more: str) -> dict[str, Any]:
    return {"metric": metric, "estimate": found.estimate, "low": found.low, "high": found.high, "n": found.n, **more}


def _reference(prepared: Prepared, coherence: CoherenceJudge, trait: str, folder: Path) -> CoherenceReference:
    """What counts as coherent: as the base model's own answers, nine of ten of which pass."""
    table = expression(prepared, prepared.model, folder / "base")
    own = table[(table["trait"] == trait) & (table["judge"] == prepared.headline)]
    return coherence.reference(coherence.signs(list(own["question"]), list(own["answer"])))


def _cap_bounds(config: Config, prepared: Prepared) -> dict[float, float]:
    plain = prepared.data(config.trait, "normal")
    layer = config.setup.named_layer
    found = project_samples(
        prepared.model, plain, [prepared.directions[config.trait]], [layer], keep_tokens=True, progress=False
    )
    assert found.tokens is not None, "tokens were asked for"
    values = np.concatenate([tokens[:, 0, 0] for tokens in found.tokens])
    return {percentile: float(np.percentile(values, percentile)) for percentile in config.caps}


def frontier(rows: pd.DataFrame, config: Config, judge: str) -> pd.DataFrame:
    """One row a method, strength and cost: the trait's expression beside what was paid for it."""
    keys = ["method", "strength"]
    own = rows[(rows["metric"] == "expression") & (rows["trait"] == config.trait) & (rows["judge"] == judge)]
    left = own[[*keys, "estimate", "low", "high"]].set_axis(
        [*keys, "expression", "expression_low", "expression_high"], axis=1
    )
    gate = rows[rows["metric"] == "coherent"].assign(coherent=lambda frame: frame["estimate"] >= COHERENT_SHARE)
    left = left.merge(gate[[*keys, "coherent"]], on=keys)
    costs = rows[rows["metric"].isin(COSTS)]
    right = costs[[*keys, "metric", "estimate", "low", "high"]].set_axis(
        [*keys, "metric", "cost", "cost_low", "cost_high"], axis=1
    )
    return left.merge(right, on=keys)


def claims(rows: pd.DataFrame, config: Config, judge: str) -> pd.DataFrame:
    """What each method undoes of the change that plain finetuning made, and what it costs over plain finetuning."""
    own = rows[(rows["metric"] == "expression") & (rows["trait"] == config.trait) & (rows["judge"] == judge)]
    found = []
    for row in own.to_dict("records"):
        at = (rows["method"] == row["method"]) & (rows["strength"] == row["strength"])
        facts = {name: row[name] for name in ("method", "strength", "estimate", "low", "high", "n", "n_train")}
        for metric in ("change from plain finetuning", "coherent", *COSTS):
            value = rows[at & (rows["metric"] == metric)].iloc[0]
            facts |= {metric: value["estimate"], f"{metric} low": value["low"], f"{metric} high": value["high"]}
        found.append({"claim": f"expression of {config.trait}", "judge": judge, **facts})
    return pd.DataFrame(found)


def draw(rows: pd.DataFrame, config: Config, judge: str, folder: Path) -> None:
    """The frontier, a panel a cost."""
    points = frontier(rows, config, judge)
    names = [name for name in dict.fromkeys(points["method"]) if name not in (BASE, PLAIN)]
    with paper_style():
        figure, axes = panel_figure(1, len(COSTS), share_y="all")
        for ax, (metric, (label, better)) in zip(axes[0], COSTS.items(), strict=True):
            plot_frontier(points[points["metric"] == metric], ax, label=label, names=names, better=better)
        for k, ax in enumerate(axes[0]):
            ax.set_ylabel("" if k else f"expression of {config.trait}")
        legend_below(figure, columns=3, extra=[incoherent_handle()])
        save_figure(figure, points, folder, "frontier")


def main() -> None:
    """Measure and write under `analyses/results/prevention/`."""
    config, chosen = chosen_config(__doc__, PRESETS, "prevention", quick="20 minutes", paper="2 hours")
    prepared, rows = run(config, chosen.work / chosen.preset)
    table = claims(rows, config, prepared.headline)
    write_tables(chosen.out, {"measured": rows, "claims": table})
    draw(rows, config, prepared.headline, chosen.out)
    write_provenance(chosen.out, prepared, config, {"strengths": "listed beforehand; none is chosen on these numbers"})
    print(table.round(3).to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
