"""A run that fits the minutes it is given: sizes are cut in a stated order until it fits, down to stated floors."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from persona_interp.arguments import checked
from persona_interp.bounds import Positive
from persona_interp.data.traits import Trait
from persona_interp.files import is_file
from persona_interp.io import read_record, write_json
from persona_interp.models.speed import Speed
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.plan import plan_of
from persona_interp.studies.plan import total_seconds
from persona_interp.studies.sizes import is_less, said, shown

LADDER: tuple[Mapping[str, Any], ...] = tuple(
    MappingProxyType(rung)
    for rung in (
        {"sweep": "chosen"},
        {"n_eval_samples": 1},
        {"n_random": 60},
        {"n_unsteered": 3},
        {"n_questions": 10, "n_held_out_questions": 10},
        {"n_random": 39},
        {"n_selection_questions": 12},
        {"n_eval_questions": 12},
        {"n_test_questions": 8},
        {"n_unsteered": 2},
        {"kl": 2},
        {"max_new_tokens": 24, "eval_tokens": 24},
        {"n_eval_questions": 10},
        {"n_selection_questions": 8},
        {"n_questions": 6, "n_held_out_questions": 6},
        {"n_random": 19},
        {"n_test_questions": 6, "test_tokens": 12},
        {"max_new_tokens": 16, "eval_tokens": 16},
    )
)
"""What is cut, in order: what takes most and tells least first. The last value of a size is its floor.

39 random directions are the fewest with which one true effect among the two claims of a trait can have q <= 0.05, and
19 the fewest with which p can be 0.05: then steering is claimed where separation is, too. Of three targets of `kl` the
largest is left out, so that the strength of the test against random directions, the middle one, stays.
"""

FIT = "fit.json"


@checked
@dataclass(frozen=True)
class TimeLimit:
    """The minutes that a run may take.

    Args:
        fixed: sizes that are not cut, fields of `RunConfig`: those that were asked for one by one.
    """

    minutes: Positive
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """A configuration whose plan fits, or the least one.

    Args:
        seconds: that its plan takes.
        changed: the sizes that were cut.
        sentence: what was cut, and whether that was enough; empty where nothing had to be.
    """

    config: RunConfig
    seconds: float
    changed: Mapping[str, Any]
    sentence: str


def fitted(config: RunConfig, traits: list[Trait], n_layers: int, speed: Speed, limit: TimeLimit) -> Fitted:
    """The configuration with as little cut, in the order of `LADDER`, as makes its plan fit the limit at this speed.

    Where even the floors do not fit, those are taken, and the sentence says so.
    """

    def seconds(of: RunConfig) -> float:
        return total_seconds(plan_of(of, traits, n_layers), speed)

    now, changed = config, dict[str, Any]()
    for rung in LADDER:
        if seconds(now) <= 60 * limit.minutes:
            break
        cut = _cut(now, rung, limit.fixed)
        now, changed = replace(now, **cut), {**changed, **cut}
    took = seconds(now)
    words = [f"{said(name)} {shown(_there(config, name))} to {shown(value)}" for name, value in changed.items()]
    parts = [f"Cut to fit {limit.minutes:g} minutes: {', '.join(words)}."] if words else []
    if took > 60 * limit.minutes:
        left = "These are the least sizes" if words else "There is nothing to cut"
        parts.append(f"{left}, and they take about {took / 60:.0f} minutes here, not {limit.minutes:g}.")
    return Fitted(now, took, changed, " ".join(parts))


def kept_fit(folder: Path, config: RunConfig, limit: TimeLimit) -> Fitted | None:
    """What was chosen when a run of this configuration and limit began in the folder; None where there is none.

    Raises:
        ArtefactError: the file is damaged.
    """
    path = folder / FIT
    if not is_file(path):
        return None
    kinds = {"asked": dict, "sizes": dict, "sentence": str, "seconds": float}
    found = read_record(path, kinds, remedy="Delete it: the sizes are chosen again.")
    if found["asked"] != _asked(config, limit):
        return None
    sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in found["sizes"].items()}
    return Fitted(replace(config, **sizes), found["seconds"], sizes, found["sentence"])


def keep_fit(folder: Path, config: RunConfig, limit: TimeLimit, found: Fitted) -> None:
    """Keep what was chosen for a configuration, so that the run goes on with the same sizes on a busier machine."""
    record = {"asked": _asked(config, limit), "sizes": found.changed}
    write_json(folder / FIT, {**record, "sentence": found.sentence, "seconds": found.seconds})


def _asked(config: RunConfig, limit: TimeLimit) -> dict[str, Any]:
    return json.loads(json.dumps({**config.to_dict(), "minutes": limit.minutes, "fixed": sorted(limit.fixed)}))


def _cut(config: RunConfig, rung: Mapping[str, Any], fixed: Sequence[str]) -> dict[str, Any]:
    """The changes of a rung, those that make a size less."""
    found = {}
    for name, least in rung.items():
        there = _there(config, name)
        if name == "kl":
            least = there if config.coefficients or len(there) <= least else tuple(sorted(there)[:least])
        if name not in fixed and is_less(least, there):
            found[name] = least
    return found


def _there(config: RunConfig, name: str) -> Any:
    """A size as the run has it, also where the configuration leaves it open."""
    meant = {
        "n_random": config.n_drawn(),
        "n_test_questions": config.n_test_questions or config.n_eval_questions,
        "n_unsteered": config.n_unsteered or config.n_eval_samples,
    }
    return meant.get(name, getattr(config, name))
