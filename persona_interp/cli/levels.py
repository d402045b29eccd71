"""`persona-interp levels`: training sets that hold none, some and much of a trait."""

from typing import Annotated, Literal

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome


@options.alone_in_out
def levels(
    trait: Annotated[str, typer.Argument(help="A trait of the package, or a file.")],
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    judge: Annotated[
        Literal["embedding", "likelihood"], typer.Option(help="What chooses the answer of each level.")
    ] = "embedding",
    judge_model: Annotated[str | None, typer.Option(help="Of the likelihood judge; default: the model itself.")] = None,
    n_questions: Annotated[
        int | None, typer.Option(help="Questions that are asked; default: all 240 or so.", min=1)
    ] = None,
    n_samples: Annotated[int, typer.Option(help="Candidates a system prompt.", min=1)] = 1,
    min_gap: Annotated[float, typer.Option(help="Points between the highest level and the plain answer.")] = 10.0,
    max_new_tokens: options.AnswerTokens = options.ANSWER_TOKENS,
    seed: options.Seed = 0,
) -> Outcome:
    """Answers of the model at three levels of a trait: OUT/normal.jsonl, level_1.jsonl and level_2.jsonl.

    Answers less coherent than nine of ten plain ones are left out: judges take oddness for a trait.
    """
    from persona_interp.data.traits import load_trait, training_questions
    from persona_interp.errors import ConfigError
    from persona_interp.finetuning.levels import generate_levels
    from persona_interp.judges.coherence import CoherenceJudge
    from persona_interp.judges.embedding import EmbeddingJudge
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.judges.sentences import SentenceEncoder
    from persona_interp.models.load import load_model

    if judge_model is not None and judge != "likelihood":
        raise ConfigError("--judge-model was given without --judge likelihood.", "Give both, or leave it out.")
    wanted = load_trait(trait)
    questions = training_questions(wanted)
    if n_questions is not None and not 1 <= n_questions <= len(questions):
        raise ConfigError(f"--n-questions must be 1 to {len(questions)}, got {n_questions}.")
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    encoder = SentenceEncoder.packaged()
    if judge == "embedding":
        rater = EmbeddingJudge(encoder)
    else:
        own = loaded if judge_model is None else load_model(judge_model, backend, dtype=dtype)
        rater = LikelihoodJudge(own)
    made = generate_levels(
        loaded,
        wanted,
        rater,
        questions=questions[:n_questions],
        n_samples=n_samples,
        min_gap=min_gap,
        coherence=CoherenceJudge(loaded, encoder),
        max_new_tokens=max_new_tokens,
        seed=seed,
        folder=out / "answers",
    )
    made.write(out)
    means = made.table.groupby("level", sort=False)["expression"].mean()
    n_kept = len(made.table) // len(means)
    lines = [
        f"{n_kept} of {made.n_asked} questions contrast; mean expression by the {judge} judge:",
        *(f"  {out / f'{level}.jsonl'}: {mean:.1f}" for level, mean in means.items()),
    ]
    levels = [{"file": out / f"{level}.jsonl", "mean": float(mean)} for level, mean in means.items()]
    return Outcome(lines, {"n_asked": made.n_asked, "n_kept": n_kept, "judge": judge, "levels": levels}, out)
