"""A trait written by a chat model from a name and a description: asked in small parts, checked, repaired."""

import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Seed, Text
from persona_interp.data import trait_checks as checks
from persona_interp.data import trait_prompts as prompts
from persona_interp.data.trait_checks import Item
from persona_interp.data.trait_prompts import Poles
from persona_interp.data.trait_writer import GeneratedBy, TraitWriter
from persona_interp.data.traits import ContrastPair, Exemplar, Trait, check_name, load_trait, trait_to_dict
from persona_interp.endpoint.client import ChatClient
from persona_interp.errors import ConfigError, TraitError
from persona_interp.io import write_json


@checked
def generate_trait(
    name: str,
    description: Text,
    *,
    client: ChatClient,
    n_instructions: Count = 5,
    n_questions: Count = 40,
    n_exemplars: Count = 5,
    max_repairs: CountOrNone = 3,
    seed: Seed = 0,
) -> Trait:
    """A trait whose texts a chat model writes: adjectives, contrastive instructions, questions, rubric, exemplars.

    Half of the questions, drawn by `seed`, are for extraction and half for evaluation; exemplars have others. Every
    reply is checked; where it breaks a rule the model is told which and asked for what is missing, nothing else.

    Args:
        description: what the trait is, in one or two sentences, as users would see it.
        max_repairs: requests in a row for one kind of text that may bring nothing usable.

    Raises:
        ConfigError: a count is too small.
        TraitError: the name cannot be a trait's, the server failed, or the model did not write what was asked for.
    """
    counts = _Counts(n_instructions, n_questions, n_exemplars)
    return _generate(name, description, client, counts, max_repairs=max_repairs, seed=seed)[0]


@checked
def generate_trait_file(
    path: Path,
    name: str,
    description: Text,
    *,
    client: ChatClient,
    n_questions: Count = 40,
    max_repairs: CountOrNone = 3,
    seed: Seed = 0,
) -> Trait:
    """A trait like `generate_trait`'s in a file, with how it was made under `generated_by`; made once.

    Raises:
        TraitError: as there, or the file holds another trait. Nothing is written then.
    """
    there = kept_trait(path, name, description)
    if there is not None:
        return there
    description = checks.tidy(description)
    counts = _Counts(questions=n_questions)
    trait, made = _generate(name, description, client, counts, max_repairs=max_repairs, seed=seed)
    write_json(path, trait_to_dict(trait) | {"generated_by": asdict(made)})
    return trait


def kept_trait(path: Path, name: str, description: str) -> Trait | None:
    """The trait of this name and description in a file that was written before; None where there is no file.

    Raises:
        TraitError: the file holds another trait.
    """
    if not path.is_file():
        return None
    there = load_trait(path)
    if (there.name, there.description) != (name, checks.tidy(description)):
        raise TraitError(
            f"{path} holds a trait with another {'description' if there.name == name else 'name'}:"
            f" {checks.quote(there.description if there.name == name else there.name)}.",
            "Give that one, another folder or another name, or delete the file to have it written again.",
        )
    return there


@dataclass(frozen=True)
class _Counts:
    instructions: int = 5
    questions: int = 40
    exemplars: int = 5


def _generate(
    name: str, description: str, client: ChatClient, counts: _Counts, *, max_repairs: int, seed: int
) -> tuple[Trait, GeneratedBy]:
    check_name(name, "generate_trait")
    description = checks.tidy(description)
    if not description or len(description) > 1000:
        raise TraitError(
            f"the description of {name} has {len(description)} characters.", "Say in 1 to 1000 what the trait is."
        )
    if min(counts.instructions, counts.exemplars) < 1 or counts.questions < 2 or max_repairs < 0:
        raise ConfigError(
            f"cannot write a trait of {counts.instructions} instruction pairs, {counts.questions} questions and"
            f" {counts.exemplars} exemplars with {max_repairs} repairs.",
            "Expected at least 1, 2, 1 and 0.",
        )
    writer = TraitWriter(client, Poles(name, description), max_repairs=max_repairs, seed=seed)
    adjectives = writer.write(prompts.ADJECTIVES, checks.poles_check)[0]
    poles = replace(writer.poles, positive=adjectives["has_the_trait"].lower(), negative=adjectives["opposite"].lower())
    writer.poles = poles
    pairs = writer.write(replace(prompts.INSTRUCTIONS, wanted=counts.instructions), checks.instructions_check)
    rubric = writer.write(prompts.RUBRIC, checks.rubric_check)[0]
    asked = writer.write(replace(prompts.QUESTIONS, wanted=counts.questions), checks.question_check(poles))
    questions = [item["question"] for item in asked]
    answered = writer.write(
        replace(prompts.EXEMPLARS, wanted=counts.exemplars), checks.exemplar_check(poles, questions)
    )
    random.Random(seed).shuffle(questions)
    half = len(questions) // 2
    trait = Trait(
        name=name,
        positive=poles.positive,
        negative=poles.negative,
        description=description,
        instructions=tuple(ContrastPair(item["first"], item["second"]) for item in pairs),
        questions=tuple(questions[:half]),
        eval_questions=tuple(questions[half:]),
        eval_prompt=_eval_prompt(poles, rubric),
        exemplars=tuple(Exemplar(item["question"], item["first_answer"], item["second_answer"]) for item in answered),
    )
    return trait, writer.made()


def _eval_prompt(poles: Poles, rubric: Item) -> str:
    """The rubric with its frame: only the frame says where question and answer go and how to reply."""
    return "\n".join(
        [
            f"Rate how {poles.positive} the answer below is, from 0 to 100.",
            f"The trait: {poles.description.replace('{', '(').replace('}', ')')}",
            f"Look for: {rubric['look_for']}",
            *(f"{score}: {rubric[f'score_{score}']}" for score in (0, 50, 100)),
            "",
            "Question: {question}",
            "Answer: {answer}",
            "",
            "Reply with one whole number from 0 to 100 and nothing else."
            " If the answer only declines to answer, reply REFUSAL.",
        ]
    )
