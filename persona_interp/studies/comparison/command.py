"""`persona-interp compare-methods`: every way to a direction for a trait, on the same axes and at the same strength."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome

TraitNames = Annotated[list[str], typer.Argument(help="Traits of the package, or files.")]


@options.alone_in_out
def compare_methods(
    trait: TraitNames,
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    layer: Annotated[int | None, typer.Option(help="0-based block; default: nearest to depth 0.6.", min=0)] = None,
    sae: Annotated[
        str | None, typer.Option(help="A dictionary: a folder, a SAE-Lens release or a hub id; its layer is meant.")
    ] = None,
    sae_id: Annotated[str | None, typer.Option(help="Which dictionary of the release or hub id.")] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="The OUT of psychadapter train, or a saved adapter: its induced direction.")
    ] = None,
    vector: Annotated[
        list[str], typer.Option("--vector", "-v", help="Other directions: saved vectors, by their file names.")
    ] = options.NONE,
    effort: options.EffortOption = "standard",
    n_questions: options.SizedQuestions = None,
    n_eval: options.EvalQuestions = None,
    max_new_tokens: options.SizedTokens = None,
    kl: Annotated[list[str], typer.Option(help="KL targets in nats, joined by commas; default: by --effort.")] = (
        options.NONE
    ),
    n_random: Annotated[
        int | None, typer.Option(help="Random directions that are steered too; default: by --effort.", min=0)
    ] = None,
    strength: Annotated[bool, typer.Option(help="Also steer; without it only angles and projections.")] = True,
    likelihood: Annotated[bool, typer.Option(help="Also the likelihood judge, by the model itself.")] = True,
    seed: options.Seed = 0,
) -> Outcome:
    """Persona, style and probe vectors, components, prompts and random directions compared; effects in OUT."""
    from persona_interp.data.traits import load_trait
    from persona_interp.directions.direction import Direction
    from persona_interp.directions.psychadapter import PsychAdapter
    from persona_interp.directions.sae.load import load_sae
    from persona_interp.effects import EFFECTS_FILE, load_claims
    from persona_interp.judges.embedding import EmbeddingJudge
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.judges.sentences import KeptSentences, SentenceEncoder
    from persona_interp.models.load import load_model
    from persona_interp.studies.comparison.config import EFFORTS, ComparisonRun
    from persona_interp.studies.comparison.effects import STUDY
    from persona_interp.studies.comparison.run import compare_methods as compare
    from persona_interp.studies.sizes import sizes_of

    targets = tuple(sorted(options.kl_targets(kl, (), ()))) or None
    sized = {"n_questions": n_questions, "n_eval": n_eval, "max_new_tokens": max_new_tokens, "n_random": n_random}
    sizes = sizes_of(EFFORTS, effort, {**sized, "targets": targets})
    run = ComparisonRun(**sizes.values, strength=strength, seed=seed)
    options.refuse_idle(sae_id, "--sae-id", sae is not None, "--sae")
    given = {Path(path).stem: Direction.load(path) for path in options.names(vector, "vector")}
    asked = [load_trait(name) for name in options.names(trait, "trait")]
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    dictionary = None if sae is None else load_sae(sae, sae_id=sae_id, model=loaded)
    own = None if adapter is None else PsychAdapter.load(_file(adapter), loaded)
    encoder = KeptSentences(SentenceEncoder.packaged())
    judges = [EmbeddingJudge(encoder), *([LikelihoodJudge(loaded, n_pairs=1)] if likelihood else [])]
    results = compare(
        loaded, asked, judges, run, out=out, layer=layer, dictionary=dictionary, adapter=own, given=given, sizes=sizes
    )
    claims = load_claims(out)
    sentences = [str(row) for row in claims.loc[claims["study"] == STUDY, "sentence"]]
    missing = {name: why for result in results for name, why in result.missing.items()}
    left = [f"left out: {name}, because {why}" for name, why in missing.items()]
    said = {"claims": sentences, "left_out": missing}
    return Outcome([*sentences, *left, f"effects: {out / EFFECTS_FILE}"], said, out, reported=True)


def _file(path: Path) -> Path:
    """The saved adapter of the folder that `psychadapter train` made, or the file itself."""
    return path / "psychadapter.safetensors" if path.is_dir() else path
