"""`persona-interp repetition`: does stating an opinion more often make a model agree more?"""

from typing import Annotated

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome


@options.alone_in_out
def repetition(
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    layer: Annotated[int | None, typer.Option(help="0-based block; default: nearest to depth 0.6.", min=0)] = None,
    effort: options.EffortOption = "standard",
    n_topics: Annotated[
        int | None, typer.Option(help="Topics of each half, 20 at most; default: by --effort.", min=6, max=20)
    ] = None,
    n_random: Annotated[
        int | None, typer.Option(help="Random sets of heads to rank among; default: by --effort.", min=0)
    ] = None,
    heads: Annotated[int, typer.Option(help="Heads that are ablated together.", min=1)] = 8,
    trait: Annotated[str, typer.Option(help="Whose direction heads write to.")] = "sycophantic",
    seed: options.Seed = 0,
) -> Outcome:
    """Agreement by how often an opinion is stated, and the heads it goes through, as effects in OUT."""
    from persona_interp.effects import EFFECTS_FILE, load_claims
    from persona_interp.models.load import load_model
    from persona_interp.studies.repetition.config import EFFORTS, RepetitionRun
    from persona_interp.studies.repetition.effects import STUDY
    from persona_interp.studies.repetition.run import run_repetition
    from persona_interp.studies.sizes import sizes_of

    sizes = sizes_of(EFFORTS, effort, {"n_topics": n_topics, "n_random": n_random})
    run = RepetitionRun(**sizes.values, n_heads=heads, trait=trait, seed=seed)
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    run_repetition(loaded, run, out=out, layer=layer, sizes=sizes)
    claims = load_claims(out)
    sentences = [str(row) for row in claims.loc[claims["study"] == STUDY, "sentence"]]
    return Outcome([*sentences, f"effects: {out / EFFECTS_FILE}"], {"claims": sentences}, out, reported=True)
