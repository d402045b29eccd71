"""Every public function, method and dataclass is `checked`: each wrong kind of each argument is refused by name.

What is wrong is decided by beartype from the annotation, and by the few rules that are stricter than annotations.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest
from beartype.door import is_bearable

import persona_interp
from persona_interp.errors import ConfigError

BESIDE = {
    "models.hooked": "HookedModelBase",
    "models.protocol": "Sampling",
    "rollouts.generate": "Rollouts answer",
    "studies.finetuning.arms": "PreventionConfig",
    "studies.finetuning.config": "Setup",
    "studies.finetuning.robustness": "RobustnessConfig",
    "studies.finetuning.shift": "ShiftConfig",
    "studies.inventory.run": "InventoryRun run_inventories",
    "studies.inventory.validity": "ValidityRun",
    "studies.monitoring.config": "MonitoringConfig",
    "studies.persona.config": "RunConfig",
    "studies.persona.run": "run_main_job",
    "studies.screening.config": "ScreenConfig",
    "studies.screening.planted": "PlantedConfig",
    "studies.trait_geometry.config": "GeometryConfig",
    "types": "Edit KVPrefix TokenBatch",
}
"""What is public without being exported: the configurations of studies, models, and what these take."""

NOT_OURS = {"on_train_begin", "on_step_end", "on_log", "passed"}
"""Methods that transformers calls with arguments of its own, and one that is asked about what was measured, NaN too."""


class Nothing:
    """Of no kind that anything takes."""


WRONG: list[Any] = [
    Nothing(),
    None,
    True,
    3,
    0.5,
    "median",
    b"bytes",
    [Nothing()],
    [3],
    ["a"],
    [True],
    {"a": Nothing()},
]
HUGE: list[Any] = [2**70, 10**400]
UNENDING: list[Any] = [float("nan"), float("inf"), -float("inf"), 10**400]
UNPRINTABLE: list[Any] = ["\ud800"]


def public() -> Iterator[tuple[str, Callable[..., Any], bool]]:
    """Every public function, method and `__init__`, by name, and whether it takes an object first."""
    names = [(name, getattr(persona_interp, name)) for name in persona_interp.__all__]
    names += [
        (name, getattr(import_module(f"persona_interp.{module}"), name))
        for module, several in BESIDE.items()
        for name in several.split()
    ]
    for name, thing in names:
        if inspect.isclass(thing) and issubclass(thing, Exception):
            continue  # raised, not called
        if inspect.isclass(thing):
            for method, found in methods(thing):
                function = found.__func__ if isinstance(found, classmethod | staticmethod) else found
                yield f"{name}.{method}", function, not isinstance(found, staticmethod)
        else:
            yield name, thing, False


def methods(thing: type) -> Iterator[tuple[str, Any]]:
    """The methods that a class has from this package, and its `__init__`."""
    for base in thing.__mro__:
        if base.__module__.startswith("persona_interp") and not getattr(base, "_is_protocol", False):
            for name, found in vars(base).items():
                is_public = not name.startswith("_") and name not in NOT_OURS
                if is_public or name == "__call__" or (name == "__init__" and base is thing):
                    method = getattr(found, "__func__", found)
                    if inspect.isfunction(method) and not getattr(method, "__isabstractmethod__", False):
                        yield name, found


@cache
def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(function, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return" and hint is not Any}


EVERY = {name: (function, bound) for name, function, bound in public() if hints_of(function)}


def members(hint: Any) -> list[Any]:
    """The members of a union, or the one that there is."""
    if get_origin(hint) is Annotated:
        return members(get_args(hint)[0])
    return [m for one in get_args(hint) for m in members(one)] if get_origin(hint) in (Union, UnionType) else [hint]


def wrong_for(hint: Any) -> list[Any]:
    """Values that an argument of this annotation must not have; none for one that may be anything."""
    alone = members(hint)
    if Any in alone:
        return []
    lists = [m for m in alone if get_origin(m) in (tuple, list, Sequence)]
    wrong = [value for value in WRONG if not any(is_bearable(v, hint) for v in (value, *converted(value, alone)))]
    wrong += [True] if {int, float} & {m for m in alone if isinstance(m, type)} else []
    wrong += HUGE if int in alone and float not in alone else []
    wrong += UNENDING if float in alone else []
    wrong += UNPRINTABLE if str in alone or Path in alone else []
    for one in lists:
        entries = [m for argument in get_args(one) if argument is not ... for m in members(argument)]
        wrong += [[value] for value in UNENDING if float in entries]
        wrong += [["a", value] for value in UNPRINTABLE if str in entries]
    return wrong


def converted(value: Any, alone: list[Any]) -> list[Any]:
    """What may be made of a value: a number of a whole one, a path of text, a tuple of a list."""
    if isinstance(value, list | dict) and any(get_origin(m) is Iterable for m in alone):
        return [()]  # not looked into
    if isinstance(value, list):
        return [tuple(value), *([[float(v) for v in value], tuple(map(float, value))] if value == [3] else [])]
    if type(value) is int:
        return [float(value)]
    return [Path(value)] if isinstance(value, str) else []


def call(function: Callable[..., Any], bound: bool, name: str, value: Any) -> None:
    """The function called with one argument alone: the others are looked at later."""
    kind = inspect.signature(function).parameters[name].kind
    first = (None,) if bound else ()
    if kind is inspect.Parameter.VAR_POSITIONAL:
        function(*first, value)
    elif kind is inspect.Parameter.VAR_KEYWORD:
        function(*first, anything=value)
    else:
        function(*first, **{name: value})


@pytest.mark.parametrize("name", EVERY)
def test_every_wrong_kind_of_every_argument_is_refused_by_name(name: str) -> None:
    function, bound = EVERY[name]
    assert hasattr(function, "__checked__"), f"{name} is public: decorate it with persona_interp.arguments.checked"
    for argument, hint in hints_of(function).items():
        for value in wrong_for(hint):
            kind = inspect.signature(function).parameters[argument].kind
            shown = "anything" if kind is inspect.Parameter.VAR_KEYWORD else argument
            try:
                call(function, bound, argument, value)
            except ConfigError as error:
                text = str(error)
                assert text.startswith(shown) and " must be " in text and "got " in text, text
                assert len(text) < 1000 and text.count("\n") <= 2, text
            else:
                pytest.fail(f"{argument}={value!r:.60} of {name} was taken")


def test_dataclasses_are_checked_whole() -> None:
    """A subclass makes an `__init__` of its own, which has to be checked too."""
    for name, (function, _) in EVERY.items():
        thing = getattr(persona_interp, name.removesuffix(".__init__"), None)
        if dataclasses.is_dataclass(thing):
            assert function is vars(thing)["__init__"]


def test_the_table_is_not_empty() -> None:
    assert len(EVERY) > 220
    assert sum(len(wrong_for(hint)) for function, _ in EVERY.values() for hint in hints_of(function).values()) > 10_000
