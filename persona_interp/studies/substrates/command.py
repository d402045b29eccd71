"""`persona-interp substrates`: a trait as a direction, as neurons and as heads, and what ablation removes."""

from typing import Annotated

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome


@options.alone_in_out
def substrates(
    trait: Annotated[str, typer.Argument(help="A trait of the package, or a file.")],
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
    effort: options.EffortOption = "standard",
    n_questions: options.SizedQuestions = None,
    n_eval: options.EvalQuestions = None,
    max_new_tokens: options.SizedTokens = None,
    n_random: Annotated[
        int | None, typer.Option(help="Random sets of units to rank the writers among; default: by --effort.", min=0)
    ] = None,
    neurons: Annotated[int, typer.Option(help="Neurons that write most, ablated together in the test.", min=1)] = 64,
    heads: Annotated[int, typer.Option(help="Heads that write most, ablated together in the test.", min=1)] = 8,
    ratio: Annotated[
        float, typer.Option(help="Times the median from which positions and dimensions are outliers.", min=1)
    ] = 10.0,
    likelihood: Annotated[bool, typer.Option(help="Also the likelihood judge, by the model itself.")] = True,
    capability: Annotated[bool, typer.Option(help="Also perplexity and accuracy without the units.")] = True,
    seed: options.Seed = 0,
) -> Outcome:
    """Writers of a trait's direction, probes of k neurons and ablations as effects in OUT; goes on after a stop."""
    from persona_interp.data.traits import load_trait
    from persona_interp.directions.sae.load import load_sae
    from persona_interp.effects import EFFECTS_FILE, load_claims
    from persona_interp.judges.embedding import EmbeddingJudge
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.models.load import load_model
    from persona_interp.studies.sizes import sizes_of
    from persona_interp.studies.substrates.config import SubstratesRun
    from persona_interp.studies.substrates.effects import STUDY
    from persona_interp.studies.substrates.effort import EFFORTS
    from persona_interp.studies.substrates.run import run_substrates

    given = {"n_questions": n_questions, "n_eval": n_eval, "max_new_tokens": max_new_tokens, "n_random": n_random}
    sizes = sizes_of(EFFORTS, effort, given)
    run = SubstratesRun(
        **sizes.values,
        neurons=tuple(sorted({16, 256, neurons})),
        heads=tuple(sorted({2, heads})),
        n_neurons=neurons,
        n_heads=heads,
        ratio=ratio,
        capability=capability,
        seed=seed,
    )
    options.refuse_idle(sae_id, "--sae-id", sae is not None, "--sae")
    asked = load_trait(trait)
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    dictionary = None if sae is None else load_sae(sae, sae_id=sae_id, model=loaded)
    judges = [EmbeddingJudge(), *([LikelihoodJudge(loaded, n_pairs=1)] if likelihood else [])]
    run_substrates(loaded, asked, judges, run, out=out, layer=layer, dictionary=dictionary, sizes=sizes)
    claims = load_claims(out)
    sentences = [str(row) for row in claims.loc[claims["study"] == STUDY, "sentence"]]
    return Outcome([*sentences, f"effects: {out / EFFECTS_FILE}"], {"claims": sentences}, out, reported=True)
