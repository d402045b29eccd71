"""`persona-interp inventory`: questionnaires by log-probabilities, with and without a change of the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome, refuse_idle

if TYPE_CHECKING:
    from persona_interp.interventions.protocol import Intervention
    from persona_interp.models.protocol import HookedModel
    from persona_interp.studies.inventory.run import InventoryTables

_COEFFICIENT = 0.3


@options.alone_in_out
def inventory(
    names: Annotated[list[str] | None, typer.Argument(help="Inventories of the package, or files.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for results.")] = None,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    system: Annotated[str | None, typer.Option(help="System prompt of the second condition.")] = None,
    vector: Annotated[Path | None, typer.Option("--vector", "-v", help="A saved direction to add.")] = None,
    layer: Annotated[int | None, typer.Option(help="0-based block, for --vector.", min=0)] = None,
    coefficient: Annotated[
        float | None, typer.Option(help=f"In units of the mean residual norm; default {_COEFFICIENT:g}.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="A saved PsychAdapter.")] = None,
    z: Annotated[str | None, typer.Option(help="Its trait values: trait=2,other=-1.")] = None,
    respondents: Annotated[Path | None, typer.Option(help="A text file, a system prompt a line.")] = None,
    effort: options.EffortOption = "standard",
    wording: Annotated[list[str], typer.Option(help=f"Names; default: by --effort. {options.SEVERAL}")] = options.NONE,
    order: Annotated[
        list[str],
        typer.Option(help=f"Of options: given, reversed, shuffled; default: by --effort. {options.SEVERAL}"),
    ] = options.NONE,
    normalise: Annotated[Literal["sum", "mean", "pmi"] | None, typer.Option(help="Default: by format.")] = None,
    only_list: Annotated[bool, typer.Option("--list", help="The inventories of the package.")] = False,
    seed: options.Seed = 0,
) -> Outcome | None:
    """Scores with intervals, their reliability, and the type, of a model and of the model changed.

    Without a name: the inventories of the package. A vector, an adapter and a system prompt together make one second
    condition, which is compared with the model as it is. OUT is for one call: tables of another one are refused.
    """
    if only_list or not names:
        return _list()
    from persona_interp.data.inventories import load_inventory
    from persona_interp.models.load import load_model
    from persona_interp.studies.inventory.conditions import Condition
    from persona_interp.studies.inventory.effort import EFFORTS, first_wordings
    from persona_interp.studies.inventory.run import InventoryRun, run_inventories
    from persona_interp.studies.sizes import sizes_of

    refuse_idle(layer, "--layer", vector is not None, "--vector")
    refuse_idle(coefficient, "--coefficient", vector is not None, "--vector")
    refuse_idle(z, "--z", adapter is not None, "--adapter")
    folder = _required(out, "--out", "A folder for tables.")
    wordings = options.names(wording, "wording") or None
    orders = options.names(order, "order", ("given", "reversed", "shuffled")) or None
    sizes = sizes_of(EFFORTS, effort, {"n_wordings": None if wordings is None else len(wordings), "orders": orders})
    whole = [load_inventory(name) for name in names]
    asked = whole if wordings else [first_wordings(one, sizes.values["n_wordings"]) for one in whole]
    people = None if respondents is None else tuple(_lines(respondents))
    if vector is not None:
        options.directions([str(vector)])  # a missing file is said before the model is loaded
        _required(layer, "--layer", "A 0-based block.")
    if adapter is not None:
        options.existing(adapter, "--adapter")
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    strength = _COEFFICIENT if coefficient is None else coefficient
    change, said = _change(loaded, vector, layer, strength, adapter, z or "")
    conditions = [Condition()]
    if change is not None or system is not None:
        parts = [*(["system prompt"] if system is not None else []), *said]
        conditions.append(Condition(" + ".join(parts), system, change))
    run = InventoryRun(
        respondents=people,
        wordings=wordings,
        orders=sizes.values["orders"],
        normalise=normalise,
        seed=seed,
    )
    found = run_inventories(loaded, asked, conditions, run, out=folder, sizes=sizes)
    notes = [f"note: {line}" for line in found.warnings]
    data = {"scores": found.scores.to_dict("records"), "types": [str(one) for one in found.types], "notes": notes}
    return Outcome([*_shown(found), *notes, f"tables: {folder / 'tables'}"], data, folder, reported=True)


def _change(
    model: "HookedModel",
    vector: Path | None,
    layer: int | None,
    coefficient: float,
    adapter: Path | None,
    z: str,
) -> "tuple[Intervention | None, list[str]]":
    """What is done to the model, and the same in words."""
    parts, said = [], []
    if vector is not None:
        from persona_interp.directions.direction import Direction
        from persona_interp.interventions.residual import Add

        place = _required(layer, "--layer", "A 0-based block.")
        direction = Direction.load(vector, model)
        parts.append(Add(direction, place, coefficient))
        said.append(f"{direction.trait} {coefficient:+g} at layer {place}")
    if adapter is not None:
        from persona_interp.directions.psychadapter import PsychAdapter
        from persona_interp.interventions.prefix import TraitPrefix

        values = options.parse_z(_required(z or None, "--z", "Trait values of the adapter: trait=2,other=-1."))
        parts.append(TraitPrefix(PsychAdapter.load(adapter, model), values))
        said.append("adapter " + ", ".join(f"{trait} {value:+g}" for trait, value in values.items()))
    if len(parts) < 2:
        return (parts[0] if parts else None), said
    from persona_interp.interventions.protocol import Stack

    return Stack(*parts), said


def _list() -> Outcome:
    from persona_interp.data.inventories import list_inventories, load_inventory

    known = [(name, load_inventory(name)) for name in list_inventories()]
    lines = [f"{name:22}{len(one.items)} items, {one.kind}. {one.description}" for name, one in known]
    rows = [{"inventory": name, "n_items": len(one.items), "kind": one.kind} for name, one in known]
    return Outcome(lines, rows)


def _lines(path: Path) -> list[str]:
    from persona_interp.data.style_files import decode
    from persona_interp.errors import DataError
    from persona_interp.texts import clean_text

    lines = [line.strip() for line in decode(path).splitlines() if line.strip()]
    return [clean_text(line, f"a line of {path}", longest=100_000, error=DataError) for line in lines]


def _required(value, option: str, what: str):
    from persona_interp.errors import ConfigError

    if value is None:
        raise ConfigError(f"{option} is missing.", what)
    return value


def _shown(tables: "InventoryTables") -> list[object]:
    from rich.table import Table

    parts: list[object] = []
    for (name, condition, form), rows in tables.scores.groupby(["inventory", "condition", "format"], sort=False):
        first = rows.iloc[0]
        title = f"{name}, {condition}: {form}s from {first['minimum']:g} to {first['maximum']:g}"
        shown = Table("scale", "score", "interval", "n", "acquiescence", title=title, title_justify="left")
        for row in rows.to_dict("records"):
            said = "" if row["acquiescence"] != row["acquiescence"] else f"{row['acquiescence']:.2f}"
            interval = f"[{row['low']:.2f}, {row['high']:.2f}]"
            shown.add_row(str(row["scale"]), f"{row['estimate']:.2f}", interval, str(row["n"]), said)
        parts.append(shown)
    return [*parts, *(f"type by {one.inventory} ({one.condition}, {one.format}): {one}" for one in tables.types)]
