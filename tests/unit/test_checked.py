"""What `checked` takes, what it refuses and in which words, and what it costs."""

import inspect
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Positive, Seed, ShareBelow1, Some, SomeTuple, Text
from persona_interp.errors import ConfigError


@checked
def take(
    value: Any = None,
    *,
    whole: int = 0,
    count: Count = 1,
    maybe: Count | None = None,
    seed: Seed = 0,
    number: float = 0.0,
    level: Between0And1 = 0.95,
    part: ShareBelow1 = 0.0,
    positive: Positive = 1.0,
    either: int | float = 0,
    flag: bool = True,
    name: str = "",
    text: Text = "",
    path: Path = Path(),
    place: str | Path = "",
    choice: Literal["mean", "last"] = "mean",
    sign: Literal[1, -1] = 1,
    texts: Sequence[str] = (),
    some: Some[str] = ("a",),
    numbers: Sequence[float] = (),
    rows: Sequence[Sequence[int]] = (),
    texts_or_rows: Sequence[str] | Sequence[Sequence[int]] = (),
    fields: tuple[int, ...] = (),
    pair: tuple[str, float] = ("a", 0.0),
    by_name: Mapping[str, float] = {},
    function: Callable[[int], int] = abs,
    lazy: Iterable[int] = (),
    tensor: Float[Tensor, "a b"] | None = None,
    frame: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Whatever it was given."""
    return locals()


ONE_MILLION = "must be 1 to 1000000, got"
REFUSED = [
    ("whole", 1.5, "whole must be a whole number, got 1.5."),
    ("whole", True, "whole must be a whole number, got True."),
    ("whole", "3", "whole must be a whole number, got '3'."),
    ("whole", None, "whole must be a whole number, got None."),
    ("whole", np.bool_(True), "whole must be a whole number, got np.True_."),
    ("whole", 2**63, f"whole must be -{2**63} to {2**63 - 1}, got {2**63}."),
    ("whole", 10**5000, f"whole must be -{2**63} to {2**63 - 1}, got an int."),
    ("count", 0, f"count {ONE_MILLION} 0."),
    ("count", 10**12, f"count {ONE_MILLION} 1000000000000."),
    ("maybe", 0, f"maybe {ONE_MILLION} 0."),
    ("maybe", "x", "maybe must be a whole number or None, got 'x'."),
    ("seed", -1, "seed must be 0 to 4294967295, got -1."),
    ("seed", 2**32, "seed must be 0 to 4294967295, got 4294967296."),
    ("number", float("nan"), "number must be a finite number, got nan."),
    ("number", float("inf"), "number must be a finite number, got inf."),
    ("number", np.float32("nan"), "number must be a finite number, got nan."),
    ("number", 10**400, "number must be a finite number, got 1000"),
    ("number", False, "number must be a finite number, got False."),
    ("number", torch.tensor(1.0), "number must be a finite number, got a Tensor."),
    ("level", 1, "level must be above 0 and below 1, got 1.0."),
    ("part", 1.0, "part must be at least 0 and below 1, got 1.0."),
    ("positive", 0.0, "positive must be above 0 and at most 1000000, got 0.0."),
    ("either", "1", "either must be a whole number or a finite number, got '1'."),
    ("flag", 1, "flag must be True or False, got 1."),
    ("flag", None, "flag must be True or False, got None."),
    ("name", 3, "name must be text, got 3."),
    ("name", b"abc", "name must be text, got b'abc'."),
    ("name", "a\0b", "name must be text without the character NUL, got 'a\\x00b'."),
    ("name", "\ud800", "name must be text without lone surrogates (decode it with errors='replace'), got '\\ud800'."),
    ("text", "\udfff", "text must be text without lone surrogates"),
    ("path", "", "path must be a path, got ''."),
    ("path", 3, "path must be a path, got 3."),
    ("path", "a\0b", "path must be text without the character NUL"),
    ("place", 3.5, "place must be text or a path, got 3.5."),
    ("choice", "meam", "choice must be mean or last, got 'meam'.\n  Did you mean mean?"),
    ("choice", ["mean"], "choice must be mean or last, got ['mean']."),
    ("sign", True, "sign must be 1 or -1, got True."),
    ("texts", "a text", "texts must be a list of texts, got 'a text'.\n  Put it in a list."),
    ("texts", ["a", 3], "texts[1] must be text, got 3."),
    ("texts", ["a", "\ud800"], "texts[1] must be text without lone surrogates"),
    ("texts", {"a": 1}, "texts must be a list of texts, got {'a': 1}."),
    ("texts", iter(["a"]), "texts must be a list of texts, got a list_iterator."),
    ("texts", np.zeros((2, 2)), "texts must be a list of texts, got a ndarray."),
    ("some", [], "some must be a list of texts that is not empty, got []."),
    ("numbers", [1.0, float("inf")], "numbers[1] must be a finite number, got inf."),
    ("numbers", [True], "numbers[0] must be a finite number, got True."),
    ("rows", [[1], [2, "x"]], "rows[1][1] must be a whole number, got 'x'."),
    ("rows", ["x"], "rows[0] must be a list of whole numbers, got 'x'.\n  Put it in a list."),
    ("fields", (1, 2.0), "fields[1] must be a whole number, got 2.0."),
    ("pair", ("a",), "pair must be (text, a finite number), got ('a',)."),
    ("pair", ("a", float("nan")), "pair[1] must be a finite number, got nan."),
    ("by_name", {"a": "x"}, "by_name['a'] must be a finite number, got 'x'."),
    ("by_name", {1: 1.0}, "by_name key must be text, got 1."),
    ("by_name", [1.0], "by_name must be a dictionary from texts to finite numbers, got [1.0]."),
    ("function", "abs", "function must be a function, got 'abs'."),
    ("lazy", 3, "lazy must be an Iterable, got 3."),
    ("tensor", [[1.0]], "tensor must be a Tensor or None, got [[1.0]]."),
    ("frame", {"a": [1]}, "frame must be a DataFrame or None, got {'a': [1]}."),
]


@pytest.mark.parametrize(("name", "value", "says"), REFUSED, ids=[f"{i} {row[0]}" for i, row in enumerate(REFUSED)])
def test_a_wrong_value_is_refused_in_one_paragraph(name: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        take(**{name: value})
    assert str(caught.value).startswith(says)
    assert str(caught.value).endswith("\n  It is an argument of take.")


def test_what_was_given_is_shown_in_bounded_length() -> None:
    for value in ("x" * 10**6, ["x" * 10**6] * 1000, {k: "y" * 1000 for k in range(1000)}, torch.ones(500, 500)):
        with pytest.raises(ConfigError) as caught:
            take(whole=value)  # pyright: ignore
        assert len(str(caught.value)) < 350


CONVERTED = [
    ("whole", np.int64(3), 3),
    ("number", np.float32(0.5), 0.5),
    ("number", 1, 1.0),
    ("either", 1, 1),
    ("flag", np.bool_(False), False),
    ("path", "a/b", Path("a/b")),
    ("place", "a/b", "a/b"),
    ("text", "a\0b", "a\0b"),
    ("texts", pd.Series(["a", "b"]), ["a", "b"]),
    ("numbers", np.arange(3), [0.0, 1.0, 2.0]),
    ("numbers", (1, 2.5), (1.0, 2.5)),
    ("fields", [1, np.int32(2)], (1, 2)),
    ("fields", range(3), (0, 1, 2)),
    ("by_name", {"a": 1}, {"a": 1.0}),
    ("texts_or_rows", [[1, 2]], [[1, 2]]),
    ("texts_or_rows", ["a"], ["a"]),
    ("maybe", None, None),
]


@pytest.mark.parametrize(("name", "value", "expected"), CONVERTED)
def test_a_right_value_arrives_as_the_kind_that_the_annotation_names(name: str, value: Any, expected: Any) -> None:
    arrived = take(**{name: value})[name]
    assert arrived == expected and type(arrived) is type(expected)
    if isinstance(expected, list | tuple):
        assert [type(x) for x in arrived] == [type(x) for x in expected]


def test_right_values_are_the_very_same_objects() -> None:
    texts, rows, tensor = ["a", "ä"], [[1], [2]], torch.ones(2, 2)
    arrived = take(texts=texts, rows=rows, tensor=tensor)
    assert arrived["texts"] is texts and arrived["rows"] is rows and arrived["tensor"] is tensor


@checked
@dataclass(frozen=True)
class Settings:
    """Some settings."""

    n: Count = 3
    layers: SomeTuple[int] = (1,)


@checked
def many(*folders: str | Path, **details: str | int) -> object:
    """Any number."""
    return folders, details


class Judge:
    """Methods of all kinds."""

    @checked
    def __init__(self, n: Count) -> None:
        self.n = n

    @classmethod
    @checked
    def make(cls, n: Count) -> "Judge":
        """One."""
        return cls(n)


def test_dataclasses_methods_and_variadic_arguments_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"n must be 1 to 1000000, got 0\.\n  It is an argument of Settings"):
        Settings(0)
    with pytest.raises(ConfigError, match=r"layers must be a list of whole numbers that is not empty, got \(\)\."):
        Settings(layers=())
    with pytest.raises(ConfigError, match="n must be a whole number, got 'x'.\n  It is an argument of Judge"):
        Judge.make("x")  # pyright: ignore
    with pytest.raises(ConfigError, match="folders must be text or a path, got 3"):
        many("a", 3)  # pyright: ignore
    with pytest.raises(ConfigError, match="b must be text or a whole number, got 0.5"):
        many(a=1, b=0.5)  # pyright: ignore
    assert Judge.make(2).n == 2 and Settings(layers=[1, 2]).layers == (1, 2)  # pyright: ignore


def test_signatures_docstrings_pickles_and_errors_of_python_stay() -> None:
    assert list(inspect.signature(Settings).parameters) == ["n", "layers"]
    assert take.__doc__ == "Whatever it was given." and take.__name__ == "take"
    assert pickle.loads(pickle.dumps(take)) is take
    assert pickle.loads(pickle.dumps(Settings(4))) == Settings(4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'm'"):
        Settings(m=1)  # pyright: ignore


def test_a_check_costs_microseconds_and_of_a_hundred_thousand_texts_some_milliseconds() -> None:
    def nothing(n: int = 0, name: str = "", rate: float = 0.0) -> object:
        return n, name, rate

    guarded = checked(nothing)
    texts = ["ein Text: ä" if i % 5 else "a text" for i in range(100_000)]

    def best(call: Callable[[], Any], n: int) -> float:
        times = []
        for _ in range(5):
            start = perf_counter()
            for _ in range(n):
                call()
            times.append((perf_counter() - start) / n)
        return min(times)

    assert best(lambda: guarded(1, name="a", rate=0.5), 1000) < 100e-6  # 2 µs without the checks of the tests
    assert best(lambda: take(texts=texts), 1) < 1  # 12 ms
