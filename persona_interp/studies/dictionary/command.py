"""`persona-interp sae`: a dictionary of sparse latents, trained on a model's own activations."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from persona_interp.studies import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from persona_interp.directions.sae.corpus import Corpus
    from persona_interp.models.protocol import HookedModel


@options.alone_in_out
def sae(
    out: options.Out,
    text: Annotated[
        list[str],
        typer.Option(help=f"Files of your own: .txt (a text a paragraph), or conversations. {options.SEVERAL}"),
    ] = options.NONE,
    own: Annotated[bool, typer.Option(help="Also the texts of this package.")] = True,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    layer: Annotated[int | None, typer.Option(help="0-based block; default: by --depth.", min=0)] = None,
    depth: Annotated[
        float | None, typer.Option(help="(layer + 1) / layers, in place of --layer; default 0.5.", min=0, max=1)
    ] = None,
    stream: Annotated[
        Literal["resid_pre", "attn_out", "mlp_out", "resid_post"], typer.Option(help="Where in the block.")
    ] = "resid_post",
    architecture: Annotated[
        Literal["batchtopk", "topk", "gated", "jumprelu"], typer.Option(help="What makes latents sparse.")
    ] = "batchtopk",
    effort: options.EffortOption = "standard",
    n_latents: Annotated[int | None, typer.Option(help="Default: by --effort.", min=1)] = None,
    k: Annotated[int | None, typer.Option(help="Latents that fire on a token; default: by --effort.", min=1)] = None,
    n_tokens: Annotated[
        int | None, typer.Option(help="Trained on, passes over the texts repeated; default: by --effort.", min=1)
    ] = None,
    batch_tokens: Annotated[int, typer.Option(help="Of a step.", min=1)] = 256,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.", min=0, max=10)] = 1e-3,
    sparsity: Annotated[float, typer.Option(help="Weight of the sparsity loss of gated and jumprelu.", min=0)] = 1.0,
    seed: options.Seed = 0,
) -> options.Outcome:
    """A dictionary in OUT/dictionary, which SAELens reads too, and its quality card; goes on after a stop."""
    from persona_interp.directions.sae.settings import SAETraining
    from persona_interp.effects import EFFECTS_FILE
    from persona_interp.errors import ConfigError
    from persona_interp.models.load import load_model
    from persona_interp.studies.dictionary.effort import EFFORTS
    from persona_interp.studies.dictionary.run import CARD, DICTIONARY, run_dictionary
    from persona_interp.studies.sizes import sizes_of
    from persona_interp.types import Hookpoint, layer_at_depth

    if layer is not None and depth is not None:
        raise ConfigError("got both --layer and --depth.", "Give one of them.")
    files = options.names(text, "text")
    if not files and not own:
        raise ConfigError("there is nothing to train on: no --text, and --no-own.", "Give texts.")
    for file in files:
        options.existing(Path(file), "--text")
    sizes = sizes_of(EFFORTS, effort, {"n_latents": n_latents, "k": k, "n_tokens": n_tokens})
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    block = layer_at_depth(0.5 if depth is None else depth, loaded.n_layers) if layer is None else layer
    training = SAETraining(
        Hookpoint(block, stream),
        architecture,
        **sizes.values,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        sparsity=sparsity,
        seed=seed,
    )
    corpus = texts_of(loaded, files, own=own, seed=seed)
    data = {"files": [Path(file).name for file in files], "own": own}
    made = run_dictionary(loaded, corpus, training, out=out, data=data, sizes=sizes)
    assert made.quality is not None, "training ends with it"
    card, place = made.quality.card(), out / DICTIONARY
    shown = [
        f"fvu {made.quality.fvu}",
        f"CE recovered {made.quality.ce_recovered}",
        f"{made.quality.l0:.1f} latents fire on a token, {made.quality.dead:.0%} never do: {made.quality.verdict}",
        f"dictionary: {place}",
        f"quality card: {place / CARD}",
        f"effects: {out / EFFECTS_FILE}",
    ]
    return options.Outcome(shown, {"quality": card, "dictionary": str(place)}, out, reported=True)


def texts_of(model: "HookedModel", files: "Sequence[str]", *, own: bool, seed: int) -> "Corpus":
    """The texts of this package and of files, those to measure on apart.

    Raises:
        ArtefactError, DataError: a file cannot be read.
        ConfigError: fewer than twenty texts.
    """
    from persona_interp.data.conversations import read_conversations
    from persona_interp.data.style_files import decode
    from persona_interp.directions.sae.corpus import Corpus, conversation_texts, corpus_texts
    from persona_interp.errors import ConfigError
    from persona_interp.statistics.streams import stream

    given: list[str] = []
    for file in files:
        path = Path(file)
        if path.suffix == ".txt":
            given += [part.strip() for part in decode(path).split("\n\n") if part.strip()]
        else:
            given += conversation_texts(model, read_conversations(path).conversations)
    given = list(dict.fromkeys(given))
    order = stream(seed, "held out files").permutation(len(given))
    apart = {given[k] for k in order[: round(len(given) / 10)]}
    trained, measured = [one for one in given if one not in apart], [one for one in given if one in apart]
    if own:
        packaged = corpus_texts(model, seed=seed)
        trained, measured = [*packaged.texts, *trained], [*packaged.held_out, *measured]
        if given:  # the first are measured
            measured = [measured[k] for k in stream(seed, "order of held-out texts").permutation(len(measured))]
    if len(trained) + len(measured) < 20:
        raise ConfigError(f"--text holds {len(given)} texts.", "Give at least 20, or the texts of this package too.")
    return Corpus(tuple(trained), tuple(measured))
