"""`persona-interp run`: the main job."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from persona_interp.errors import ConfigError
from persona_interp.studies import options

if TYPE_CHECKING:
    from persona_interp.studies.persona.config import RunConfig

DEFAULT_TRAITS = ["evil", "optimistic", "impolite"]


@options.alone_in_out
def run(
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    trait: Annotated[list[str], typer.Option(help=f"Names or files of traits. {options.SEVERAL}")] = DEFAULT_TRAITS,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    layer: options.Layers = options.NONE,
    effort: options.EffortOption = "standard",
    minutes: Annotated[
        float | None, typer.Option(help="Cut sizes, but none that are given here, until the run fits.", min=0.1)
    ] = None,
    coefficient: options.Coefficients = options.NONE,
    kl: options.KL = options.NONE,
    n_questions: options.SizedQuestions = None,
    n_instructions: Annotated[int, typer.Option(help="Pairs of system prompts a trait.", min=1)] = 5,
    n_samples: options.SizedSamples = None,
    n_eval_questions: options.EvalQuestions = None,
    n_eval_samples: options.EvalSamples = None,
    max_new_tokens: options.SizedTokens = None,
    keep: options.Filter = "paired",
    judge_model: Annotated[
        list[str],
        typer.Option(help=f"Models of likelihood judges, the first filters; default: the unsteered. {options.SEVERAL}"),
    ] = options.NONE,
    api_judge: Annotated[
        str, typer.Option(help="Model of an OpenAI-compatible server that judges too; OPENAI_BASE_URL, OPENAI_API_KEY.")
    ] = "",
    api_price: Annotated[
        str, typer.Option(help="Its price, for the cost: USD per million prompt and completion tokens, as 0.4,1.6.")
    ] = "",
    reasoning_tokens: Annotated[
        int, typer.Option(help="Tokens that the API judge may reason with before it rates.", min=0)
    ] = 0,
    reasoning_effort: Annotated[str, typer.Option(help="Passed to the API judge, as low.")] = "",
    lexical: Annotated[bool, typer.Option(help="Rate by word lists too: valence, politeness.")] = True,
    extra_judges_on: Annotated[
        Literal["chosen", "all"], typer.Option(help="Steered answers for the API judge and further models.")
    ] = "chosen",
    n_judge_pairs: Annotated[int, typer.Option(help="Prompt pairs of the likelihood judge.", min=1)] = 1,
    seed: options.Seed = 0,
) -> options.Outcome:
    """The main job: vectors, steering, statistics, figures and report.html for every trait."""
    from persona_interp.studies.persona.fit import TimeLimit
    from persona_interp.studies.persona.run import run_main_job

    config, asked_for = main_job_config(
        options.names(trait, "trait"),
        model=model,
        backend=backend,
        dtype=dtype,
        effort=effort,
        layers=layer,
        coefficients=coefficient,
        kl=kl,
        n_questions=n_questions,
        n_eval_questions=n_eval_questions,
        n_eval_samples=n_eval_samples,
        max_new_tokens=max_new_tokens,
        keep=keep,
        seed=seed,
    )
    config = replace(
        config,
        n_instructions=n_instructions,
        n_held_out_instructions=n_instructions,
        n_samples=n_samples or config.n_samples,
        judge_models=options.names(judge_model, "judge-model"),
        api_judge=api_judge,
        api_price=_price(api_price),
        reasoning_tokens=reasoning_tokens,
        reasoning_effort=reasoning_effort,
        template_options=options.template_options(template_option),
        lexical=lexical,
        extra_judges_on=extra_judges_on,
        n_judge_pairs=n_judge_pairs,
    )
    limit = None if minutes is None else TimeLimit(minutes, asked_for)
    return options.Outcome((), {}, run_main_job(config, out, limit), reported=True)


def main_job_config(
    traits: tuple[str, ...],
    *,
    model: str,
    backend: Literal["transformer_lens", "nnsight"],
    dtype: str,
    effort: options.Effort,
    layers: Sequence[str],
    coefficients: Sequence[str],
    kl: Sequence[str],
    n_questions: int | None,
    n_eval_questions: int | None,
    n_eval_samples: int | None,
    max_new_tokens: int | None,
    keep: Literal["paired", "independent", "none"],
    seed: int,
) -> tuple["RunConfig", tuple[str, ...]]:
    """The main job as `run` and `traits new` ask for it, which share these options.

    Returns:
        The configuration, and its fields that were asked for one by one: they win over the sizes of the effort.

    Raises:
        ConfigError: an option is out of range, or both kinds of strengths were given.
    """
    from persona_interp.studies.persona.config import RunConfig
    from persona_interp.studies.persona.effort import EFFORTS

    sizes: dict[str, Any] = {
        "n_questions": n_questions,
        "n_held_out_questions": n_eval_questions,
        "n_eval_questions": n_eval_questions,
        "n_eval_samples": n_eval_samples,
        "max_new_tokens": max_new_tokens,
        "n_selection_questions": None if n_questions is None else min(10, n_questions),
        "kl": options.kl_targets(kl, coefficients, options.NONE) or None,
    }
    given = {name: value for name, value in sizes.items() if value is not None}
    config = RunConfig(
        model=model,
        traits=traits,
        backend=backend,
        dtype=dtype,
        effort=effort,
        layers=options.numbers(layers, "layer", int),
        coefficients=options.numbers(coefficients, "coefficient"),
        filter=keep,
        seed=seed,
        **{**EFFORTS[effort], **given},
    )
    return config, tuple(given)


def _price(text: str) -> tuple[float, float] | None:
    """The two prices of a text; none of an empty one."""
    if not text:
        return None
    prices = options.numbers([text], "api-price")
    if len(prices) != 2:
        raise ConfigError(
            f"api-price must be two prices, of prompt and completion tokens, got {text!r}.",
            "Give US dollars per million tokens, as in --api-price 0.4,1.6.",
        )
    return prices[0], prices[1]
