"""`persona-interp traits [show, new]`: the traits there are, and one more from its name."""

import json
from typing import Annotated

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome

_QUESTIONS = 40
_IN_FLIGHT, _TIMEOUT_S = 8, 600.0


AsJson = Annotated[bool, typer.Option("--json", help="The list as JSON on standard output.")]


def traits(as_json: AsJson = False) -> bool:
    """The traits of the package; `show` prints one whole, `new` makes one from its name to a figure."""
    del as_json
    return True


def list_all(alone: bool | None, as_json: bool) -> None:
    """The list, where no subcommand ran: a subcommand returns None, `traits` itself True."""
    if not alone:
        return
    from persona_interp.data.traits import list_traits, load_trait

    found = {name: load_trait(name).description for name in list_traits()}
    lines = [f"{name:24}{description}" for name, description in found.items()]
    typer.echo(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(lines))


def show(name: Annotated[str, typer.Argument(help="A trait of the package, or a file.")]) -> Outcome:
    """The prompts and questions of one trait, as JSON."""
    from persona_interp.data.traits import load_trait, trait_to_dict

    found = trait_to_dict(load_trait(name))
    return Outcome([json.dumps(found, indent=2, ensure_ascii=False)], found)


@options.alone_in_out
def new(
    name: Annotated[str, typer.Argument(help="The name of the trait, and of its file in OUT.")],
    description: Annotated[str, typer.Option(help="What the trait is, in one or two sentences.")],
    out: options.Out,
    base_url: Annotated[str, typer.Option(help="Of the server that writes it; default: OPENAI_BASE_URL.")] = "",
    api_model: Annotated[str, typer.Option(help="The model that writes it; default: OPENAI_MODEL.")] = "",
    api_key: Annotated[str, typer.Option(help="Others on this machine may see it; set OPENAI_API_KEY instead.")] = "",
    max_repairs: Annotated[
        int, typer.Option(help="Requests in a row that may bring nothing usable.", min=0, max=1000)
    ] = 3,
    only_trait: Annotated[bool, typer.Option("--only-trait", help="Write the trait file and stop.")] = False,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    layer: options.Layers = options.NONE,
    effort: options.EffortOption = "standard",
    coefficient: options.Coefficients = options.NONE,
    kl: options.KL = options.NONE,
    n_questions: options.SizedQuestions = None,
    n_eval_questions: options.EvalQuestions = None,
    n_eval_samples: options.EvalSamples = None,
    max_new_tokens: options.SizedTokens = None,
    keep: options.Filter = "paired",
    seed: options.Seed = 0,
) -> Outcome:
    """A new trait from its name to a figure: OUT/NAME.json by an API, then vector and report in OUT/NAME.

    Run it again after an interruption: what was written, answered or computed is kept.
    """
    from persona_interp.data.trait_generation import generate_trait_file, kept_trait
    from persona_interp.data.traits import check_name
    from persona_interp.endpoint.client import ChatClient, Endpoint
    from persona_interp.report import write_report
    from persona_interp.studies.persona.command import main_job_config
    from persona_interp.studies.persona.run import run_main_job

    check_name(name, "the command line")
    path, folder = out / f"{name}.json", out / name
    config, _ = main_job_config(
        (str(path),),
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
    if kept_trait(path, name, description) is None:  # one that is there needs no server and no key
        endpoint = Endpoint.from_environment(model=api_model, base_url=base_url, api_key=api_key)
        client = ChatClient(endpoint, in_flight=_IN_FLIGHT, timeout_s=_TIMEOUT_S, cache=out / "api_cache.sqlite")
        wanted = max(_QUESTIONS, 2 * config.n_questions, 2 * config.n_eval_questions)
        try:
            generate_trait_file(
                path, name, description, client=client, n_questions=wanted, max_repairs=max_repairs, seed=seed
            )
        finally:
            client.close()
    if only_trait:
        return Outcome([str(path)], {"trait": path}, out)
    run_main_job(config, folder)
    vector, page = folder / "vectors" / f"{name}.response_mean.safetensors", write_report(folder)
    return Outcome([str(path), str(vector), str(page)], {"trait": path, "direction": vector, "report": page}, out)
