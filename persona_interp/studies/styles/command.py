"""`persona-interp styles`: style vectors of a corpus, how well each layer tells its styles apart, and steering."""

from typing import TYPE_CHECKING, Annotated

import typer

from persona_interp.studies import options

if TYPE_CHECKING:
    from persona_interp.studies.styles.run import StyleResult

COEFFICIENTS = ["0.1", "0.2"]
VARIANTS = ["activation", "generated", "trained"]


@options.alone_in_out
def styles(
    corpus: Annotated[str, typer.Argument(help="A corpus of the package, a .jsonl or .csv (text, style), a folder.")],
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    style: Annotated[list[str], typer.Option(help=f"Styles to steer; default: all. {options.SEVERAL}")] = options.NONE,
    layer: Annotated[int | None, typer.Option(help="0-based block; default: nearest to depth 19/32.", min=0)] = None,
    depth: Annotated[
        float | None, typer.Option(help="(layer + 1) / layers, in place of --layer.", min=0, max=1)
    ] = None,
    joint: Annotated[bool, typer.Option(help="Also steer at the three published layers together.")] = True,
    coefficient: options.Coefficients = COEFFICIENTS,
    variant: Annotated[list[str], typer.Option(help=f"Of {', '.join(VARIANTS)}. {options.SEVERAL}")] = VARIANTS[:1],
    published: Annotated[bool, typer.Option(help="Also vectors read one block earlier, as published.")] = False,
    effort: options.EffortOption = "standard",
    n_sentences: Annotated[
        int | None, typer.Option(help="Sentences a style, at most; default: by --effort.", min=1)
    ] = (None),
    n_questions: Annotated[
        int | None, typer.Option(help="Evaluation prompts of each kind; default: by --effort.", min=1)
    ] = None,
    n_selection: Annotated[
        int | None, typer.Option(help="Prompts on which the coefficient is chosen; default: by --effort.", min=1)
    ] = None,
    n_random: Annotated[
        int | None, typer.Option(help="Random directions to rank each vector among; default: by --effort.", min=0)
    ] = None,
    likelihood: Annotated[bool, typer.Option(help="Also the likelihood judge, by the model itself; slow.")] = False,
    max_new_tokens: options.SizedTokens = None,
    n_trained: Annotated[int, typer.Option(help="Sentences a style of the trained variant.", min=1)] = 8,
    learning_rate: Annotated[
        float, typer.Option(help="Of the trained variant; the paper's is 0.01.", min=0, max=100)
    ] = 0.01,
    epochs: Annotated[int, typer.Option(help="Of the trained variant, at most.", min=1)] = 400,
    max_loss: Annotated[float, typer.Option(help="Trained vectors count below this, nats a sentence.", min=0)] = 5.0,
    seed: options.Seed = 0,
) -> options.Outcome:
    """Style vectors in OUT/vectors, probes and steering as effects; the same command goes on after a stop."""
    from persona_interp.data.styles import load_styles
    from persona_interp.directions.style import published_layers
    from persona_interp.directions.style_training import StyleTraining
    from persona_interp.effects import EFFECTS_FILE
    from persona_interp.errors import ConfigError
    from persona_interp.models.load import load_model
    from persona_interp.studies.sizes import sizes_of
    from persona_interp.studies.styles.arms import StyleSteering
    from persona_interp.studies.styles.config import StyleRun
    from persona_interp.studies.styles.effort import EFFORTS
    from persona_interp.studies.styles.judges import style_judges
    from persona_interp.studies.styles.run import run_styles
    from persona_interp.types import layers_at_depth

    asked = {"n_sentences": n_sentences, "n_questions": n_questions, "n_selection": n_selection}
    sizes = sizes_of(EFFORTS, effort, {**asked, "n_random": n_random, "max_new_tokens": max_new_tokens})
    given = load_styles(corpus)
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    layers = published_layers(loaded.n_layers)
    single = layers[:1] if layer is None else (layer,)
    if depth is not None:
        if layer is not None:
            raise ConfigError("got both --layer and --depth.", "Give one of them.")
        single = layers_at_depth([depth], loaded.n_layers)
    placements = (single, layers) if joint and layers != single else (single,)
    strengths = options.numbers(coefficient, "coefficient")
    steering = StyleSteering(
        placements,
        strengths,
        n_random=sizes.values["n_random"],
        max_new_tokens=sizes.values["max_new_tokens"],
        seed=seed,
    )
    run = StyleRun(
        steering,
        styles=options.names(style, "style"),
        variants=options.names(variant, "variant", VARIANTS),  # pyright: ignore (narrowed by the choices)
        published_reading=published,
        n_sentences=sizes.values["n_sentences"],
        n_questions=sizes.values["n_questions"],
        n_selection=sizes.values["n_selection"],
        n_trained=n_trained,
        training=StyleTraining(learning_rate, epochs, max_loss, max_characters=None, seed=seed),
        seed=seed,
    )
    judges, coherence = style_judges(loaded, likelihood=likelihood)
    made = run_styles(loaded, given, run, judges=judges, coherence=coherence, out=out, sizes=sizes)
    return options.Outcome([summary(made), f"effects: {out / EFFECTS_FILE}"], {}, out, reported=True)


def summary(made: "StyleResult") -> str:
    """For every style the best layer of the probe, and what the chosen coefficients change by the judge that chose."""
    from persona_interp.studies.styles.probe import PROBE, best_layers

    best = best_layers(made.probe)
    lines = []
    for row in best[best["readout"] == PROBE].to_dict("records"):
        lines.append(
            f"{row['style']}: held-out AUC {row['auc']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
            f" at layer {row['layer']}, p {row['p_max']:.3g} over all layers"
        )
    chosen = made.steering[made.steering["chosen"] & (made.steering["judge"] == made.provenance["chosen_by"])]
    lines.append(f"change of expression against unsteered answers ({made.provenance['chosen_by']}):")
    for row in chosen.to_dict("records"):
        where = f" at {row['layers']}, coefficient {row['coefficient']:g}" if row["layers"] else ""
        lines.append(
            f"  {row['style']}, {row['prompts']}, {row['method']}{where}: {row['effect']:+.1f}"
            f" [{row['effect_low']:+.1f}, {row['effect_high']:+.1f}], q {row['q']:.2g}"
            f"{'' if row['coherent'] else ', fails the coherence gate'}"
        )
    left_out = made.provenance["left_out"]
    lines += [f"not rated: {style} by {name}: {why}" for style, of in left_out.items() for name, why in of.items()]
    for row in made.provenance["training"]:
        lines.append(f"trained: {row['n_kept']} of {row['n']} vectors kept for {row['style']}")
    return "\n".join(lines)
