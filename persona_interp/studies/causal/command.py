"""`persona-interp causal`: layer by layer, where a trait can be read and where it acts."""

from typing import Annotated

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome


@options.alone_in_out
def causal(
    trait: Annotated[str, typer.Argument(help="A trait of the package, or a file.")],
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    effort: options.EffortOption = "standard",
    n_questions: options.SizedQuestions = None,
    n_eval: options.EvalQuestions = None,
    max_new_tokens: options.SizedTokens = None,
    n_layers: Annotated[
        int | None, typer.Option(help="Blocks that are looked at, evenly over the depth; default: by --effort.", min=1)
    ] = None,
    n_random: Annotated[
        int | None, typer.Option(help="Random directions at every layer; default: by --effort.", min=0)
    ] = None,
    kl: Annotated[float, typer.Option(help="KL divergence at which directions are added, in nats.", min=0.001)] = 0.3,
    cumulative: Annotated[bool, typer.Option(help="Also at all layers up to each.")] = True,
    likelihood: Annotated[bool, typer.Option(help="Also the likelihood judge, by the model itself.")] = True,
    seed: options.Seed = 0,
) -> Outcome:
    """Decodable, steerable, necessary, sufficient, mediated: a trait's direction at every layer as effects in OUT."""
    from persona_interp.data.traits import load_trait
    from persona_interp.effects import EFFECTS_FILE, load_claims
    from persona_interp.judges.embedding import EmbeddingJudge
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.models.load import load_model
    from persona_interp.studies.causal.config import EFFORTS, CausalRun
    from persona_interp.studies.causal.effects import STUDY
    from persona_interp.studies.causal.run import causal_panel
    from persona_interp.studies.sizes import sizes_of

    given = {
        "n_questions": n_questions,
        "n_eval": n_eval,
        "max_new_tokens": max_new_tokens,
        "n_layers": n_layers,
        "n_random": n_random,
    }
    sizes = sizes_of(EFFORTS, effort, given)
    run = CausalRun(**sizes.values, kl=kl, cumulative=cumulative, seed=seed)
    asked = load_trait(trait)
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    judges = [EmbeddingJudge(), *([LikelihoodJudge(loaded, n_pairs=1)] if likelihood else [])]
    causal_panel(loaded, asked, judges, run, out=out, sizes=sizes)
    claims = load_claims(out)
    sentences = [str(row) for row in claims.loc[claims["study"] == STUDY, "sentence"]]
    return Outcome([*sentences, f"effects: {out / EFFECTS_FILE}"], {"claims": sentences}, out, reported=True)
