"""How much work the main job is: three sizes, named by what they are for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from persona_interp.studies import sizes
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

_COMPARED = (*EFFORTS["quick"], "n_eval_questions", "kl", "eval_tokens", "test_tokens")


def cut_sentence(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """How much work a run was, how long it took, and what it left out of the standard size; empty for older results.

    What was cut so that it fits the minutes that it was given comes after that.
    """
    if config.get("effort") not in EFFORTS:
        return ""
    there = {name: config[name] for name in _COMPARED if config.get(name) is not None}
    if config.get("coefficients"):
        there.pop("kl", None)
    times = provenance.get("time_s")
    took_s = sum(times.values()) if isinstance(times, Mapping) else 0.0
    said = sizes.cut_sentence(config["effort"], there, _standard(), took_s=took_s)
    fit = provenance.get("fit")
    return f"{said} {fit['sentence']}" if isinstance(fit, Mapping) and fit.get("sentence") else said


def _standard() -> dict[str, Any]:
    """What a standard run has where a smaller one has less."""
    from persona_interp.studies.persona.config import RunConfig

    config = RunConfig("", ("",), **EFFORTS["standard"])
    counts = {name: getattr(config, name) for name in _COMPARED}
    return counts | {"n_random": config.n_drawn(), "n_test_questions": config.n_eval_questions}
