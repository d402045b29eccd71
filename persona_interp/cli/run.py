"""`persona-interp run`: the main job."""

from typing import Annotated

import typer

from persona_interp.cli.options import DEFAULT_MODEL, Backend, Dtype, Model, Out, Seed, app, parse_numbers


@app.command()
def run(
    out: Out,
    model: Model = DEFAULT_MODEL,
    traits: Annotated[str, typer.Option(help="Names or files, separated by commas.")] = "evil,optimistic,impolite",
    backend: Backend = "transformer_lens",
    dtype: Dtype = "auto",
    layers: Annotated[str, typer.Option(help="Layers to steer at, separated by commas; default by depth.")] = "",
    coefficients: Annotated[str, typer.Option(help="In units of the mean residual norm.")] = "-0.3,-0.15,0.15,0.3",
    n_questions: Annotated[int, typer.Option(help="Extraction questions a trait.")] = 20,
    n_instructions: Annotated[int, typer.Option(help="Pairs of system prompts a trait.")] = 5,
    n_samples: Annotated[int, typer.Option(help="Contrastive answers a prompt.")] = 1,
    n_eval_questions: Annotated[int, typer.Option(help="Evaluation questions a trait.")] = 20,
    n_eval_samples: Annotated[int, typer.Option(help="Steered answers a question.")] = 2,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of a contrastive answer.")] = 40,
    keep: Annotated[str, typer.Option("--filter", help="paired, independent or none.")] = "paired",
    judge_model: Annotated[
        str, typer.Option(help="Models of the likelihood judges, by commas, the first filters; default: the unsteered.")
    ] = "",
    api_judge: Annotated[
        str, typer.Option(help="Model of an OpenAI-compatible server that judges too; OPENAI_BASE_URL, OPENAI_API_KEY.")
    ] = "",
    lexical: Annotated[bool, typer.Option(help="Rate traits that have a valence by the VADER lexicon too.")] = True,
    extra_judges_on: Annotated[
        str, typer.Option(help="Steered answers for the API judge and further models: chosen or all.")
    ] = "chosen",
    n_judge_pairs: Annotated[int, typer.Option(help="Prompt pairs of the likelihood judge.")] = 1,
    seed: Seed = 0,
) -> None:
    """The main job: vectors, steering, statistics, figures and report.html for every trait."""
    from persona_interp.main_job.config import RunConfig, split_names
    from persona_interp.main_job.run import run_main_job

    config = RunConfig(
        model=model,
        traits=split_names(traits),
        backend=backend,  # pyright: ignore (checked by RunConfig)
        dtype=dtype,
        layers=tuple(parse_numbers(layers, int, "layers")),
        coefficients=tuple(parse_numbers(coefficients, float, "coefficients")),
        n_questions=n_questions,
        n_instructions=n_instructions,
        n_held_out_questions=n_eval_questions,
        n_held_out_instructions=min(3, n_instructions),
        n_samples=n_samples,
        n_eval_questions=n_eval_questions,
        n_eval_samples=n_eval_samples,
        n_selection_questions=min(10, n_questions),
        max_new_tokens=max_new_tokens,
        filter=keep,  # pyright: ignore (checked by RunConfig)
        judge_models=split_names(judge_model),
        api_judge=api_judge,
        lexical=lexical,
        extra_judges_on=extra_judges_on,  # pyright: ignore (checked by RunConfig)
        n_judge_pairs=n_judge_pairs,
        seed=seed,
    )
    typer.echo(str(run_main_job(config, out)))
