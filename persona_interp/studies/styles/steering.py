"""Styles steered: answers of every arm, rated by every judge, as measurements; `style_table` compares them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.styles import StyleCorpus, style_trait
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError
from persona_interp.identity import of_judges, of_package
from persona_interp.io import sha256_json
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.protocol import Judge
from persona_interp.lock import alone_in
from persona_interp.measurements.frame import Measurements, score_rows
from persona_interp.measurements.steering import score_coherence
from persona_interp.models.protocol import HookedModel
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.studies.styles.arms import (
    SELECTION,
    UNSTEERED,
    StyleArm,
    StyleSteering,
    answer_arm,
    answer_norms,
    answer_random,
    arm_columns,
    check_layers,
    in_units,
    is_random,
    layers_of,
    random_style_directions,
    style_arms,
)
from persona_interp.tables import kept_table

METHOD_VERSION = 2
"""Raised where the same answers come to get other scores."""


@checked
@alone_in("folder")
def measure_styles(
    model: HookedModel,
    corpus: StyleCorpus,
    vectors: Mapping[str, Mapping[str, Direction]],
    *,
    activations: Activations,
    settings: StyleSteering,
    judges: Some[Judge],
    coherence: CoherenceJudge,
    selection: Some[str],
    prompts: Mapping[str, Sequence[str]],
    random_judge: str = "",
    folder: Path | None = None,
    progress: bool = True,
) -> Measurements:
    """Expression (0..100, one metric a judge) and coherence of every answer of every arm, for every style.

    Arms: unsteered; prompted for the style; each vector at each placement and coefficient; random directions at the
    first placement and largest coefficient, rated by one judge and without coherence. All add vectors of equal length:
    a coefficient is a share of the mean residual norm of the unsteered answers.
    `method` is the arm, `run_id` the set of prompts, `stream` names all blocks where there are several (layer is then
    missing). A judge that cannot rate a style is left out for it; `able_judges` says which and why.

    Args:
        corpus: sentences that no vector was made from: judges take their exemplars from them.
        vectors: style -> method -> direction.
        activations: of the sentences that the vectors were made from; random directions have their covariance.
        random_judge: name of the judge that rates the answers along random directions; default: the first.
        selection: prompts to choose a coefficient on; prompts: sets of others to evaluate on, by name.
        folder: where answers and scores are kept; the same call goes on where an interrupted one stopped.

    Raises:
        ConfigError: no style or prompts, a prompt both selects and evaluates, or a folder of another configuration.
        IncompatibleDirectionError: a vector belongs to another model.
        HookpointError: there is no such block.
    """
    check_layers(settings, model)
    asked = _all_prompts(selection, prompts, vectors)
    answers = _answers(model, corpus, vectors, activations, settings, asked, folder, progress)
    gated = _with_coherence(answers, coherence, folder)
    parts = []
    for style in vectors:
        trait = style_trait(corpus, style, questions=[q for of_set in prompts.values() for q in of_set])
        able, _ = able_judges(judges, trait)
        ours = gated[gated["style"].isin(["", style])].reset_index(drop=True)
        scored = _scored(ours, trait, able, random_judge or judges[0].name, folder)
        parts.append(_measurements(scored, [judge.name for judge in able], model=model.name, style=style))
    return Measurements.concat(parts)


def able_judges(judges: Sequence[Judge], trait: Trait) -> tuple[list[Judge], dict[str, str]]:
    """The judges that can rate a style, and why the others cannot.

    A lexical judge needs a declared valence, a likelihood judge contrastive prompts, and each that is calibrated must
    tell the exemplars apart.
    """
    reasons = {judge.name: judge.unable(trait) for judge in judges}
    able = [judge for judge in judges if reasons[judge.name] is None]
    return able, {name: why for name, why in reasons.items() if why is not None}


def rate_style(judge: Judge, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Scores of answers; the embedding judge sees the answer alone: its exemplars are sentences without a question."""
    asked = [""] * len(answers) if isinstance(judge, EmbeddingJudge) else list(questions)
    return [score.value for score in judge.rate(trait, asked, list(answers))]


def _all_prompts(
    selection: Sequence[str], prompts: Mapping[str, Sequence[str]], vectors: Mapping[str, Mapping[str, Direction]]
) -> dict[str, Sequence[str]]:
    if not vectors or not selection or not prompts or not all(prompts.values()):
        raise ConfigError(
            "steering styles needs a style, prompts to choose a coefficient on and prompts to evaluate on,"
            f" got {len(vectors)}, {len(selection)} and {sum(map(len, prompts.values()))}.",
        )
    shared = set(selection) & {question for of_set in prompts.values() for question in of_set}
    if shared or SELECTION in prompts:
        raise ConfigError(
            f"{sorted(shared)[0]!r} both selects and evaluates."
            if shared
            else f"{SELECTION!r} names a set to evaluate.",
            "A coefficient is chosen on prompts that evaluate nothing.",
        )
    return {SELECTION: selection, **prompts}


def _answers(
    model: HookedModel,
    corpus: StyleCorpus,
    vectors: Mapping[str, Mapping[str, Direction]],
    activations: Activations,
    settings: StyleSteering,
    prompts: Mapping[str, Sequence[str]],
    folder: Path | None,
    progress: bool,
) -> pd.DataFrame:
    """All answers: style (empty where an arm serves all), method, layers, coefficient, prompts, question, ..."""
    home = None if folder is None else folder / "answers"

    plain = answer_arm(
        model, StyleArm(UNSTEERED), prompts, settings, folder=home, label="unsteered answers", progress=progress
    )
    norms = answer_norms(plain)
    scaled = {
        style: {method: in_units(direction, norms, model) for method, direction in of_style.items()}
        for style, of_style in vectors.items()
    }
    drawn = random_style_directions(activations, layers_of(settings), n=settings.n_random, seed=settings.seed)
    arms = style_arms(corpus, scaled, settings)
    rows = [plain.frame.assign(style="", **arm_columns(StyleArm(UNSTEERED)))]
    for k, arm in enumerate(arms, start=1):
        label = f"{corpus.name}: answers {k}/{len(arms)}"
        made = answer_arm(model, arm, prompts, settings, folder=home, label=label, progress=progress)
        rows.append(made.frame.assign(style=arm.style or "", **arm_columns(arm)))
    if drawn:
        random = [in_units(direction, norms, model) for direction in drawn]
        evaluated = {name: of_set for name, of_set in prompts.items() if name != SELECTION}
        made = answer_random(model, random, evaluated, settings, folder=home, progress=progress)
        rows.append(made.assign(style=""))
    return pd.concat(rows, ignore_index=True)[list(_KEYS)]


def _with_coherence(answers: pd.DataFrame, coherence: CoherenceJudge, folder: Path | None) -> pd.DataFrame:
    """The answers with their coherence and gate, against the unsteered answers to the same set of prompts."""

    def compute() -> pd.DataFrame:
        parts = []
        for _, group in answers[~is_random(answers["method"])].groupby("prompts", sort=False):
            parts.append(score_coherence(group, group["method"] == UNSTEERED, coherence)[0])
        return pd.concat(parts).reindex(answers.index).astype(float)

    key = {"answers": _hash(answers), "judge": of_judges([coherence]), **of_package(METHOD_VERSION)}
    return answers.join(_kept(folder, "coherence", key, compute))


def _scored(
    answers: pd.DataFrame, trait: Trait, judges: Sequence[Judge], random_judge: str, folder: Path | None
) -> pd.DataFrame:
    """The answers with one column a judge; all but one leave out those along random directions."""
    columns = []
    for judge in judges:
        key = {"answers": _hash(answers), "judge": of_judges([judge]), "trait": trait.data_hash}
        key |= {"random directions": judge.name == random_judge, **of_package(METHOD_VERSION)}

        def compute(judge: Judge = judge) -> pd.DataFrame:
            rated = answers if judge.name == random_judge else answers[~is_random(answers["method"])]
            scores = rate_style(judge, trait, list(rated["question"]), list(rated["answer"]))
            return pd.DataFrame({judge.name: pd.Series(scores, rated.index, dtype=float).reindex(answers.index)})

        place = f"{trait.name}-{sha256_json(judge.name)[:8]}"
        columns.append(_kept(folder, place, key, compute))
    return pd.concat([answers, *columns], axis=1)


def _kept(
    folder: Path | None, name: str, key: Mapping[str, object], compute: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """A table from the folder, or computed and kept there."""
    if folder is None:
        return compute()
    home = folder / "scores" / name
    refuse_other_config(home / "config.json", key)
    return kept_table(home / "scores.parquet", compute)


def _hash(answers: pd.DataFrame) -> str:
    return sha256_json(answers[list(_KEYS)].to_dict("records"))[:16]


def _measurements(scored: pd.DataFrame, judges: Sequence[str], *, model: str, style: str) -> Measurements:
    several = scored["layers"].str.contains("+", regex=False)
    single = scored["layers"].where(~several & (scored["layers"] != ""))
    layers = {"layer": pd.to_numeric(single), "layers": scored["layers"].where(several, "")}
    named = scored.assign(model=model, trait=style, **layers, stream="resid_post", run_id="")
    return Measurements(score_rows(named, judges))


_KEYS = ("style", "method", "layers", "coefficient", "prompts", "question", "sample", "answer")
