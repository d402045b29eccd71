"""`persona-interp emoji`: emoji before and after tuning on texts that hold none, and the neurons that write them."""

from typing import TYPE_CHECKING, Annotated

import typer

from persona_interp.studies import options

if TYPE_CHECKING:
    from pandas import DataFrame


@options.alone_in_out
def emoji(
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    trait: Annotated[
        list[str], typer.Option(help=f"Names or files; default: by --effort. {options.SEVERAL}")
    ] = options.NONE,
    control: Annotated[
        str, typer.Option(help="What the control is tuned on: plain answers, or those of the low pole.")
    ] = "plain",
    effort: options.EffortOption = "standard",
    n_train: Annotated[int | None, typer.Option(help="Questions trained on; default: by --effort.", min=1)] = None,
    n_repeats: Annotated[
        int | None, typer.Option(help="Training sets and seeds of every arm; default: by --effort.", min=1)
    ] = None,
    n_questions: Annotated[int | None, typer.Option(help="Held-out questions; default: by --effort.", min=1)] = None,
    n_samples: Annotated[int | None, typer.Option(help="Answers to each of them; default: by --effort.", min=1)] = None,
    n_random: Annotated[int | None, typer.Option(help="Sets of random neurons; default: by --effort.", min=0)] = None,
    max_new_tokens: options.SizedTokens = None,
    seed: options.Seed = 0,
) -> options.Outcome:
    """Emoji of answers before and after tuning as effects in OUT; the same command goes on after a stop."""
    from persona_interp.effects import EFFECTS_FILE
    from persona_interp.models.load import load_model
    from persona_interp.studies.emoji.config import CONTROLS, EmojiRun
    from persona_interp.studies.emoji.effort import EFFORTS
    from persona_interp.studies.emoji.run import run_emoji
    from persona_interp.studies.sizes import sizes_of

    traits = options.names(trait, "trait") or None
    (kind,) = options.names([control], "control", CONTROLS)
    asked = {"n_train": n_train, "n_repeats": n_repeats, "n_questions": n_questions, "n_samples": n_samples}
    sizes = sizes_of(
        EFFORTS, effort, {**asked, "traits": traits, "n_random": n_random, "max_new_tokens": max_new_tokens}
    )
    run = EmojiRun(**sizes.values, control=kind, seed=seed)  # pyright: ignore[reportArgumentType]
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    answers = run_emoji(loaded, run, out=out, sizes=sizes)
    return options.Outcome([summary(answers), f"effects: {out / EFFECTS_FILE}"], {}, out, reported=True)


def summary(answers: "DataFrame") -> str:
    """The share of answers with an emoji of every arm, under both forms of the questions."""
    lines = ["answers with an emoji:"]
    for (trait, arm, condition), rows in answers.groupby(["trait", "arm", "condition"], sort=False):
        hits = int((rows["n_emoji"] > 0).sum())
        lines.append(f"  {f'{trait}, ' if trait else ''}{arm}, {condition}: {hits} of {len(rows)}")
    return "\n".join(lines)
