"""What the kept parts of a run were made from: a folder is used again for the same inputs alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from persona_interp.data.traits import Trait
from persona_interp.effects import Source
from persona_interp.errors import ConfigError
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.io import read_record
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.studies.persona.bench import Bench
from persona_interp.studies.persona.rows import STUDY

FILE = "identity.json"
METHOD_VERSION = 5
"""Raised where the same inputs come to give other numbers."""


def check_traits(folder: Path, traits: Sequence[Trait]) -> None:
    """Refuse a folder whose scores are of other contents of the traits; a new folder passes, and nothing is written.

    Raises:
        ConfigError: a trait's file has changed since, or the folder is of a version that did not keep what it was made
            from.
    """
    if (folder / FILE).is_file():
        refuse_other_config(folder / FILE, _traits(traits))
    elif (folder / "config.json").is_file():
        raise ConfigError(
            f"{folder} holds a run, but no {FILE} that says which contents of traits and models it was made from.",
            "It was made by an earlier version, or the file was deleted. Use another folder.",
        )


def claim(folder: Path, bench: Bench, traits: Sequence[Trait]) -> None:
    """Write down what a new folder is made from; refuse a folder that was made from something else.

    Raises:
        ConfigError: names what differs: a model's weights, backend, dtype or chat template, a judge, or a trait.
    """
    lexical = [] if bench.lexical is None else [bench.lexical]
    identity = {
        **_traits(traits),
        "model": of_model(bench.model),
        "judges": {
            **of_judges([bench.embedding, bench.coherence, *lexical, *bench.likelihoods]),
            **({} if bench.endpoint is None else {"api": [bench.endpoint.model, bench.endpoint.base_url]}),
        },
        **of_package(METHOD_VERSION),
    }
    refuse_other_config(folder / FILE, identity)


def _traits(traits: Sequence[Trait]) -> dict[str, Any]:
    """A key a trait, so that a refusal names the one that differs."""
    return {f"contents of trait {trait.name}": trait.data_hash for trait in traits}


def source(folder: Path, bench: Bench) -> Source:
    """Where the effects of a run come from."""
    identity = [bench.config.to_dict(), read_record(folder / FILE)]
    return Source.of(STUDY, identity, bench.model.provenance.to_dict(), bench.config.seed)
