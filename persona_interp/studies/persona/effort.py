"""How much work the main job is: three sizes, named by what they are for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from persona_interp.studies.options import Effort

EFFORTS: Mapping[Effort, Mapping[str, Any]] = MappingProxyType(
    {
        "quick": {
            **{"n_questions": 10, "n_held_out_questions": 10, "max_new_tokens": 32},
            **{"n_selection_questions": 10, "n_eval_samples": 1, "sweep": "chosen"},
            **{"n_random": 60, "n_test_questions": 10},
        },
        "standard": {"max_new_tokens": 48},
        "paper": {**{"n_samples": 10, "max_new_tokens": 128, "eval_tokens": 128}, "n_eval_samples": 10},
    }
)
"""Fields of `RunConfig` that differ from its defaults."""


def cut_by(effort: Effort) -> dict[str, str]:
    """What an effort leaves out of the standard one, for the report: field -> "10 instead of 20"."""
    from persona_interp.studies.persona.config import RunConfig

    standard = RunConfig("", ("",), **EFFORTS["standard"])
    chosen = EFFORTS[effort]
    return {
        name: f"{value} instead of {getattr(standard, name)}"
        for name, value in chosen.items()
        if value != getattr(standard, name)
    }
