"""Keyed items and their scales, and the wordings in which an inventory is put to a model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Text
from persona_interp.data.inventory_wordings import Kind, Wording, check_wording, default_wordings
from persona_interp.errors import DataError
from persona_interp.io import sha256_json


@dataclass(frozen=True)
class Scale:
    """What items are summed to; a larger score means more of the first pole."""

    name: str
    description: str = ""
    poles: tuple[str, str] = ("high", "low")


@dataclass(frozen=True)
class Item:
    """A statement to rate, as a verb phrase (`worry about things`) or a whole sentence.

    Args:
        key: 1 where agreeing raises the scale, -1 where it lowers it.
    """

    text: str
    scale: str
    key: int
    facet: str = ""


@dataclass(frozen=True)
class PoleOption:
    """One of two statements, and the pole of the scale that choosing it speaks for."""

    text: str
    pole: str


@dataclass(frozen=True)
class ForcedChoice:
    """Two statements, one for each pole of a scale."""

    scale: str
    options: tuple[PoleOption, PoleOption]
    facet: str = ""


@checked
@dataclass(frozen=True)
class Inventory:
    """Items with keys that match their scales.

    Raises:
        DataError: on making it, where items, keys, scales or wordings do not match.
    """

    name: str
    kind: Kind
    items: tuple[Item, ...] | tuple[ForcedChoice, ...]
    scales: tuple[Scale, ...]
    wordings: tuple[Wording, ...]
    source: str
    licence: str
    description: Text = ""

    def __post_init__(self) -> None:
        """Refuse keys that do not match the items."""
        _check(self)

    @property
    def n_options(self) -> int:
        """Points of the rating scale, or two."""
        return len(self.wordings[0].labels) if self.kind == "likert" else 2

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest answer: 1 and the number of points, or 0 and 1 (share of the first pole)."""
        return (1.0, float(self.n_options)) if self.kind == "likert" else (0.0, 1.0)

    @property
    def statements(self) -> tuple[Item, ...]:
        """The items of a rated inventory.

        Raises:
            DataError: it is a forced choice.
        """
        if self.kind != "likert":
            raise DataError(f"{self.name} has pairs to choose from, not statements to rate.", "See `choices`.")
        return cast(tuple[Item, ...], self.items)

    @property
    def choices(self) -> tuple[ForcedChoice, ...]:
        """The items of a forced choice.

        Raises:
            DataError: its statements are rated.
        """
        if self.kind != "forced_choice":
            raise DataError(f"{self.name} has statements to rate, not pairs.", "See `statements` and `paired`.")
        return cast(tuple[ForcedChoice, ...], self.items)

    @property
    def one_way(self) -> tuple[str, ...]:
        """Scales whose items are all keyed the same way, so that agreeing with everything looks like the trait."""
        if self.kind != "likert":
            return ()
        keys = {scale.name: {item.key for item in self.statements if item.scale == scale.name} for scale in self.scales}
        return tuple(name for name, found in keys.items() if len(found) == 1)

    @property
    def data_hash(self) -> str:
        """Hash of everything in it, for provenance."""
        return sha256_json(asdict(self))[:16]

    @checked
    def scale(self, name: str) -> Scale:
        """A scale by its name."""
        return next(scale for scale in self.scales if scale.name == name)

    @checked
    def take(self, n: Count) -> "Inventory":
        """The first n items of every scale."""
        kept = [item for s in self.scales for item in [i for i in self.items if i.scale == s.name][:n]]
        return replace(self, items=tuple(item for item in self.items if item in kept))


def paired(inventory: Inventory, *, name: str | None = None) -> Inventory:
    """Forced choices between the k-th item keyed up and the k-th keyed down of every scale.

    Raises:
        DataError: it has no statements to rate, or a scale is keyed one way only.
    """
    if inventory.one_way:
        raise DataError(
            f"{', '.join(inventory.one_way)} of {inventory.name} is keyed one way only.",
            "Pairs need items of both keys on every scale.",
        )
    made = []
    for scale in inventory.scales:
        up, down = ([i for i in inventory.statements if (i.scale, i.key) == (scale.name, key)] for key in (1, -1))
        for n, (a, b) in enumerate(zip(up, down, strict=False)):
            first, second = PoleOption(a.text, scale.poles[0]), PoleOption(b.text, scale.poles[1])
            made.append(ForcedChoice(scale.name, (first, second) if n % 2 == 0 else (second, first), a.facet))
    return Inventory(
        name=name or f"{inventory.name}_paired",
        kind="forced_choice",
        items=tuple(made),
        scales=inventory.scales,
        wordings=default_wordings("forced_choice"),
        source=inventory.source,
        licence=inventory.licence,
        description=f"The opposite statements of {inventory.name}, as forced choices.",
    )


def _check(inventory: Inventory) -> None:
    """Refuse items, keys, scales and wordings that do not match.

    Raises:
        DataError: says which, and where.
    """
    if not inventory.wordings:
        raise DataError(f"{inventory.name} has no wording.", "Leave `wordings` out to use the package's own.")
    for wording in inventory.wordings:
        check_wording(wording, inventory.kind, inventory.name)
    names = [wording.name for wording in inventory.wordings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"two wordings of {inventory.name} are called {twice[0]!r}.", "Give each a name of its own.")
    if len(sizes := {len(wording.labels) for wording in inventory.wordings}) > 1:
        raise DataError(
            f"the wordings of {inventory.name} have {' and '.join(map(str, sorted(sizes)))} labels.",
            "All need the same number, so that their answers can be compared.",
        )
    _check_items(inventory)


def _check_items(inventory: Inventory) -> None:
    """Items of the right kind with keys or poles of their scale, none twice, and no scale without items."""
    known = {scale.name: scale for scale in inventory.scales}
    if not inventory.items:
        raise DataError(f"{inventory.name} has no item.", "Give at least one a scale.")
    for n, item in enumerate(inventory.items, start=1):
        where = f"{inventory.name}, item {n}"
        if isinstance(item, ForcedChoice) != (inventory.kind == "forced_choice"):
            raise DataError(f"{where} is a {type(item).__name__} in a {inventory.kind} inventory.")
        if item.scale not in known:
            raise DataError(f"{where} loads on {item.scale!r}.", f"Scales: {', '.join(known) or 'none'}.")
        if isinstance(item, Item):
            _check_texts([item.text], where)
            if item.key not in (1, -1):
                raise DataError(f"{where} has the key {item.key!r}.", "Expected 1 or -1.")
            continue
        _check_texts([option.text for option in item.options], where)
        poles = [option.pole for option in item.options]
        if set(poles) != set(known[item.scale].poles):
            raise DataError(
                f"{where} offers the poles {' and '.join(poles)}.",
                f"Expected one option for each pole of {item.scale}: {' and '.join(known[item.scale].poles)}.",
            )
    if empty := [name for name in known if all(item.scale != name for item in inventory.items)]:
        raise DataError(
            f"no item of {inventory.name} loads on {', '.join(empty)}.", "Leave that scale out, or add some."
        )
    _check_twice(inventory.name, "scale", [scale.name for scale in inventory.scales])
    _check_twice(inventory.name, "item", [_content(item) for item in inventory.items])


def _check_texts(texts: Sequence[str], where: str) -> None:
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f"{where} has an empty text.", "Give the statement, or leave the item out.")


def _check_twice(name: str, what: str, values: Sequence[str]) -> None:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise DataError(f"{name} has the {what} {twice[0]!r} more than once.", f"Every {what} must be there once.")


def _content(item: Item | ForcedChoice) -> str:
    texts = [item.text] if isinstance(item, Item) else sorted(option.text for option in item.options)
    return " / ".join(text.strip().lower() for text in texts)
