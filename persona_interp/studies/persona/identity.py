"""What the numbers of a run depend on: a folder is used again for the same inputs alone."""

from collections.abc import Sequence
from typing import Any

from persona_interp.data.hard_pairs import pairs_hash
from persona_interp.data.traits import Trait
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.studies.persona.bench import Bench
from persona_interp.studies.persona.config import RunConfig

METHOD_VERSION = 6
"""Raised where the same inputs come to give other numbers."""
KEEPS = ("neutral/*", "rollouts/*/*", "steering/*/*", "baselines/*", "measurements.parquet")


def of_inputs(config: RunConfig, traits: Sequence[Trait]) -> dict[str, Any]:
    """What is known before a model is loaded; a key a setting and a trait, so that a refusal names what differs."""
    settings = {("name of the model" if name == "model" else name): value for name, value in config.to_dict().items()}
    contents = {f"contents of trait {trait.name}": trait.data_hash for trait in traits}
    pairs = {f"hard pairs of trait {t.name}": pairs_hash(t) for t in traits}
    return {**settings, **contents, **pairs}


def of_run(bench: Bench, traits: Sequence[Trait]) -> dict[str, Any]:
    """All of it: models with their weights, backend, dtype and chat template, judges, settings, traits, versions."""
    return {
        **of_inputs(bench.config, traits),
        "model": of_model(bench.model),
        "judges": {
            **of_judges([bench.embedding, bench.coherence, *bench.rules, *bench.likelihoods]),
            **({} if bench.endpoint is None else {"api": [bench.endpoint.model, bench.endpoint.base_url]}),
        },
        **of_package(METHOD_VERSION),
    }
