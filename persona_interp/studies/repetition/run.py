"""Repetition in a folder: doses, maps of heads and their ablation as effects and claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from persona_interp.arguments import checked
from persona_interp.data.opinions import Topic, load_opinions
from persona_interp.data.traits import load_trait
from persona_interp.directions.persona import persona_vector
from persona_interp.errors import ConfigError
from persona_interp.identity import of_model, of_package
from persona_interp.io import sha256_json
from persona_interp.lock import alone_in
from persona_interp.measurements.unit_ablation import check_enough_units
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.rollouts.generate import generate_rollouts
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.plan import Step, say_plan
from persona_interp.studies.repetition.config import COUNTS, RepetitionRun
from persona_interp.studies.repetition.effects import STUDY, repetition_effects
from persona_interp.studies.repetition.heads import HEADS_FROM, HeadAblation, HeadMaps, ablate_heads, head_maps
from persona_interp.studies.repetition.prompts import CONDITIONS, stated_prompts
from persona_interp.studies.repetition.scores import agreement_table, dose_rows
from persona_interp.studies.sizes import Sizes, named_effort
from persona_interp.types import Hookpoint, default_layer

METHOD_VERSION = 2
"""Raised where the same inputs come to give other numbers."""
KEEPS = (f"cells/{STUDY}/*", "rollouts/*")
_PROMPT, _ANSWERS = 90, 60


@dataclass(frozen=True, eq=False)
class RepetitionResult:
    """What was found: doses on evaluation topics, and heads that were chosen on others."""

    doses: pd.DataFrame
    maps: HeadMaps
    ablation: HeadAblation
    layer: int


def halves(topics: Sequence[Topic], n: int) -> tuple[list[tuple[int, Topic]], list[tuple[int, Topic]]]:
    """Topics to choose on (every other one, from the first) and to evaluate on, n of each at most."""
    numbered = list(enumerate(topics))
    return numbered[::2][:n], numbered[1::2][:n]


@checked
@alone_in("out")
def run_repetition(
    model: HookedModelBase,
    run: RepetitionRun,
    *,
    out: Path,
    layer: int | None = None,
    sizes: Sizes | None = None,
    progress: bool = True,
) -> RepetitionResult:
    """Agreement by how often an opinion is stated, and the heads it goes through: effects and claims in `out`.

    Args:
        layer: 0-based block of the direction and the last whose heads are looked at; default: nearest to depth 0.6.

    Raises:
        ConfigError: `out` holds results of another configuration, or more topics or heads are asked than there are.
        EmptySelectionError: no filler is as long as an opinion.
        HookpointError: the layer does not exist, or attention of this architecture is not read.
    """
    topics = load_opinions()
    layer = default_layer(model.n_layers) if layer is None else layer
    choosing, evaluating = halves(topics, run.n_topics)
    if run.n_topics > min(len(choosing), len(evaluating)):
        raise ConfigError(f"n_topics must be at most {len(topics) // 2}, half of the topics, got {run.n_topics}.")
    model.check_hookpoints([Hookpoint(layer)])
    check_enough_units(model, "head", layer, run.n_heads)
    opinions = sha256_json([[topic.name, [[o.said, o.again] for o in topic.opinions]] for topic in topics])[:16]
    trait = load_trait(run.trait)
    identity = {
        "model": of_model(model),
        "opinions": opinions,
        "trait": [trait.name, trait.data_hash],
        "layer": layer,
        **run.to_dict(),
        **of_package(METHOD_VERSION),
    }
    folder = RunFolder.claim(out, STUDY, identity, keeps=KEEPS)
    if progress:
        title = f"repetition on {model.name}{named_effort(sizes)}"
        say_plan(title, _plan(run), model, folder=out, study=STUDY)
    tables = [
        folder.cell(
            f"doses {condition}",
            ["doses", condition],
            lambda condition=condition: agreement_table(
                model,
                list(stated_prompts(model.tokenizer, evaluating, condition, COUNTS)),
                topics,
                progress=progress,
            ),
        )
        for condition in CONDITIONS
    ]
    doses = dose_rows(pd.concat(tables, ignore_index=True), seed=run.seed)
    rollouts = generate_rollouts(
        model,
        trait,
        n_questions=min(run.n_questions, len(trait.questions)),
        n_instructions=2,
        max_new_tokens=run.max_new_tokens,
        seed=run.seed,
        pool=("response_mean",),
        folder=out / "rollouts" / trait.name,
        progress=progress,
    )
    direction = persona_vector(rollouts, filter="none")
    four, none = (list(stated_prompts(model.tokenizer, choosing, HEADS_FROM, (n,))) for n in (4, 0))
    maps = head_maps(model, direction, layer, four, none, progress=progress)
    both = list(stated_prompts(model.tokenizer, evaluating, HEADS_FROM, (0, 4)))
    ablation = ablate_heads(model, maps, both, none, topics, run, progress=progress)
    result = RepetitionResult(doses, maps, ablation, layer)
    effects, claims = repetition_effects(result, n_layers=model.n_layers, run=run)
    provenance = {
        "model": model.provenance.to_dict(),
        "opinions": opinions,
        "topics": {"chosen on": [t.name for _, t in choosing], "evaluated on": [t.name for _, t in evaluating]},
        "layer": layer,
        "run": run.to_dict(),
        "heads": maps.chosen(run.n_heads),
        "head_error": maps.error,
        "versions": library_versions(),
        **({} if sizes is None else {"size": sizes.record()}),
    }
    folder.finish(model, provenance, effects, claims, seed=run.seed)
    return result


def _plan(run: RepetitionRun) -> list[Step]:
    """Answers to score, rollouts, attention, and ablations."""
    scored = 2 * run.n_topics * (1 + 3 * (len(COUNTS) - 1))
    n = 4 * run.n_questions
    ablated = (2 + run.n_random) * 3 * run.n_topics
    return [
        Step("agreement", scored, 0, scored * (_PROMPT + _ANSWERS)),
        Step("rollouts", n, n * run.max_new_tokens, n * 60),
        Step("attention", 4 * run.n_topics, 0, 8 * run.n_topics * _PROMPT),
        Step("heads ablated", ablated, 0, ablated * (_PROMPT + _ANSWERS // 2)),
    ]
