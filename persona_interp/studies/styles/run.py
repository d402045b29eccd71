"""A corpus of styles from sentences to tables: probe, vectors of every kind, steering, all kept in one folder."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.styles import StyleCorpus, style_trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.style import extract_style_activations, style_vector
from persona_interp.directions.style_generated import generate_style_rollouts, generated_style_vector
from persona_interp.directions.style_training import train_style_vectors
from persona_interp.effects import joined
from persona_interp.errors import ConfigError
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.io import manifest_path, path_part
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.lock import alone_in
from persona_interp.models.protocol import HookedModel
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.plan import say_plan
from persona_interp.studies.sizes import Sizes, named_effort
from persona_interp.studies.styles.arms import check_layers, layers_of
from persona_interp.studies.styles.config import StyleRun, shortest, style_prompts
from persona_interp.studies.styles.effects import STUDY, style_effects
from persona_interp.studies.styles.effort import style_plan
from persona_interp.studies.styles.judges import style_judge_table
from persona_interp.studies.styles.probe import style_probe
from persona_interp.studies.styles.steering import able_judges, measure_styles
from persona_interp.studies.styles.table import style_table

logger = logging.getLogger(__name__)

METHOD_VERSION = 3
"""Raised where the same inputs come to give other numbers."""
KEEPS = ("measurements_styles.parquet", "activations/*.safetensors")
PUBLISHED_READING = "style_vector, published reading"


@dataclass(frozen=True, eq=False)
class StyleResult:
    """The tables of a corpus, its vectors by style and method, and what is to be known of them."""

    probe: pd.DataFrame
    steering: pd.DataFrame
    vectors: Mapping[str, Mapping[str, Direction]]
    provenance: Mapping[str, Any]


@checked
@alone_in("out")
def run_styles(
    model: HookedModel,
    corpus: StyleCorpus,
    run: StyleRun,
    *,
    judges: Some[Judge],
    coherence: CoherenceJudge,
    out: Path,
    sizes: Sizes | None = None,
    progress: bool = True,
) -> StyleResult:
    """Probe, vectors and steering of a corpus; every step is kept in the folder and not done twice.

    Leaves vectors/style.CORPUS.STYLE.VARIANT.safetensors, effects and claims (`load_effects`), every answer's score in
    measurements_styles.parquet, and provenance_styles.json. The first judge that can rate all styles chooses the
    coefficients. The trained variant is left out, and the provenance's counts say so, where a style
    kept none of its vectors and there are other variants.

    Args:
        sizes: by what name they are called, for the report, which says what was cut.

    Raises:
        ConfigError: a style that the corpus lacks, no judge that can rate all of them, or a folder of other results:
            of another model, backend, dtype, chat template, corpus, judge, setting or version.
        HookpointError: there is no such block.
    """
    check_layers(run.steering, model)
    for part, kind in [(corpus.name, "corpus"), *((style, "style") for style in corpus.sentences)]:
        path_part(part, kind)
    wanted = _wanted(corpus, run)
    identity = {
        "model": of_model(model),
        "corpus": corpus.data_hash,
        "judges": of_judges([*judges, coherence]),
        **asdict(run),
        **of_package(METHOD_VERSION),
    }
    home = RunFolder.claim(out, STUDY, identity, keeps=KEEPS)
    used = corpus if run.n_sentences is None else corpus.take(run.n_sentences, seed=run.seed)
    if progress:
        likelihood = any(isinstance(judge, LikelihoodJudge) for judge in judges)
        steps = style_plan(run, used, wanted, n_layers=model.n_layers, d_model=model.d_model, likelihood=likelihood)
        say_plan(f"styles of {corpus.name} on {model.name}{named_effort(sizes)}", steps, model, folder=out, study=STUDY)
    fit, held_out = used.split(held_out=run.held_out, seed=run.seed)
    prompts = style_prompts(run)
    chooser, unable = _chooser(judges, held_out, wanted)
    activations = _activations(model, fit, out / "activations" / "fit.safetensors", progress)
    others = _activations(model, held_out, out / "activations" / "held_out.safetensors", progress)
    named = {"model": model.name, "corpus": corpus.name}
    probe = style_probe(activations, others, n_null=run.n_null, seed=run.seed, progress=progress).assign(**named)
    rated = style_judge_table(judges, held_out, fit, styles=wanted).assign(**named)
    vectors, counts = _vectors(model, fit, activations, wanted, prompts.generating, run, out, progress)
    measured = measure_styles(
        model,
        held_out,
        vectors,
        activations=activations,
        settings=run.steering,
        judges=judges,
        coherence=coherence,
        selection=prompts.selection,
        prompts=prompts.evaluation,
        random_judge=chooser.name,
        folder=out,
        progress=progress,
    )
    measured.save(out / "measurements_styles.parquet", {"corpus": corpus.name})
    layers, coefficient = run.steering.tested
    tested = joined(layers), coefficient
    table = style_table(measured, judge=chooser.name, tested=tested, n_resamples=run.n_resamples, seed=run.seed)
    table = table.assign(**named)
    effects, claims = style_effects(probe, table, rated, n_layers=model.n_layers)
    provenance = {
        "config": asdict(run),
        "model": model.provenance.to_dict(),
        "corpus": {"name": corpus.name, "data_hash": corpus.data_hash, "source": corpus.source},
        "judges": {judge.name: judge.description for judge in judges},
        "coherence": coherence.description,
        "n_fit": {style: len(texts) for style, texts in fit.sentences.items()},
        "n_held_out": {style: len(texts) for style, texts in held_out.sentences.items()},
        "chosen_by": chooser.name,
        "left_out": unable,
        "training": counts,
        **({} if sizes is None else {"size": sizes.record()}),
    }
    home.finish(model, provenance, effects, claims, seed=run.seed)
    return StyleResult(probe, table, vectors, provenance)


def _wanted(corpus: StyleCorpus, run: StyleRun) -> tuple[str, ...]:
    """The styles that are steered."""
    wanted = run.styles or corpus.styles
    unknown = [style for style in wanted if style not in corpus.styles]
    if unknown:
        raise ConfigError(f"{corpus.name} has no style {unknown[0]!r}.", f"Styles: {', '.join(corpus.styles)}.")
    return wanted


def _vectors(
    model: HookedModel,
    corpus: StyleCorpus,
    activations: Activations,
    styles: Sequence[str],
    generating: Sequence[str],
    run: StyleRun,
    folder: Path,
    progress: bool,
) -> tuple[dict[str, dict[str, Direction]], list[dict[str, Any]]]:
    """Style -> method -> direction, each saved; and how many trained vectors were kept."""
    makers: dict[str, Callable[[str], Direction]] = {}
    counts: list[dict[str, Any]] = []
    if "activation" in run.variants:
        makers["activation"] = lambda style: style_vector(activations, style)
    if run.published_reading:
        makers["published"] = lambda style: style_vector(
            activations, style, reading="published", method=PUBLISHED_READING
        )
    if "generated" in run.variants:
        home = folder / "style_rollouts"
        rollouts = generate_style_rollouts(model, corpus, generating, seed=run.seed, folder=home, progress=progress)
        makers["generated"] = lambda style: generated_style_vector(rollouts, style)
    if "trained" in run.variants:
        trained = train_style_vectors(
            model,
            shortest(corpus, run.n_trained),
            layers=layers_of(run.steering),
            settings=run.training,
            folder=folder / "style_training",
            progress=progress,
        )
        counts = trained.counts().to_dict("records")
        if all(row["n_kept"] for row in counts) or not makers:
            makers["trained"] = trained.direction  # refuses where it is all there is and no vector was kept
        else:
            logger.warning("no trained vector of some style was kept; the trained variant is left out")
    made = {style: {variant: make(style) for variant, make in makers.items()} for style in styles}
    for style, of_style in made.items():
        for variant, direction in of_style.items():
            direction.save(folder / "vectors" / f"style.{corpus.name}.{style}.{variant}.safetensors")
    return {style: {d.method: d for d in of_style.values()} for style, of_style in made.items()}, counts


def _activations(model: HookedModel, corpus: StyleCorpus, path: Path, progress: bool) -> Activations:
    if manifest_path(path).is_file():
        return Activations.load(path)
    made = extract_style_activations(model, corpus, progress=progress)
    made.save(path)
    return made


def _chooser(
    judges: Sequence[Judge], corpus: StyleCorpus, styles: Sequence[str]
) -> tuple[Judge, dict[str, dict[str, str]]]:
    """The first judge that can rate all styles; and for each style, which judges cannot and why."""
    unable = {style: able_judges(judges, style_trait(corpus, style, questions=[]))[1] for style in styles}
    for judge in judges:
        if not any(judge.name in of_style for of_style in unable.values()):
            return judge, unable
    reasons = [f"{style}: {name}: {why}" for style, of_style in unable.items() for name, why in of_style.items()]
    raise ConfigError(
        f"no judge can rate all styles of {corpus.name}.", *reasons[:6], "Give more sentences, or steer fewer styles."
    )
