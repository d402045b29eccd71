"""How much work the main job is: three sizes, named by what they are for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from persona_interp.studies.options import Effort

EFFORTS: Mapping[Effort, Mapping[str, Any]] = MappingProxyType(
    {
        "quick": {
            **{"n_questions": 10, "n_held_out_questions": 10, "max_new_tokens": 32},
            **{"n_selection_questions": 20, "n_eval_samples": 1, "n_unsteered": 3, "sweep": "chosen"},
            **{"n_random": 60, "n_test_questions": 10},
        },
        "standard": {"max_new_tokens": 48, "n_selection_questions": 20, "n_unsteered": 4},
        "paper": {
            **{"n_samples": 10, "max_new_tokens": 128, "eval_tokens": 128},
            **{"n_selection_questions": 20, "n_eval_samples": 10, "n_unsteered": 10},
        },
    }
)
"""Fields of `RunConfig` that differ from its defaults."""


def cut_sentence(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """How much work a run was, how long it took, and what it left out of the standard size; empty for older results."""
    if config.get("effort") not in EFFORTS:
        return ""
    fewer = [
        f"{name.replace('_', ' ').removeprefix('n ')} {config[name]} instead of {standard}"
        for name, standard in _standard().items()
        if config.get(name) is not None and _less(config[name], standard)
    ]
    times = provenance.get("time_s")
    took = f" It took {sum(times.values()) / 60:.1f} minutes." if isinstance(times, Mapping) and times else ""
    return f"Effort {config['effort']}.{took}" + (f" Cut against standard: {', '.join(fewer)}." if fewer else "")


def _standard() -> dict[str, Any]:
    """What a standard run has where a quick one has less."""
    from persona_interp.studies.persona.config import RunConfig

    config = RunConfig("", ("",), **EFFORTS["standard"])
    counts = {name: getattr(config, name) for name in EFFORTS["quick"]}
    return counts | {"n_random": config.n_drawn(), "n_test_questions": config.n_eval_questions}


def _less(value: Any, standard: Any) -> bool:
    if isinstance(value, int) and isinstance(standard, int):
        return value < standard
    return value == "chosen" and standard == "all"
