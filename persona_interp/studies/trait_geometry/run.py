"""From vectors to cosines by depth in a folder, and from saved cosines to effects and claims."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
from pandas import DataFrame

from persona_interp.directions.geometry import Cosines, cosines_by_depth
from persona_interp.effects import Source, q_of, run_id_of, write_runs
from persona_interp.errors import ArtefactError
from persona_interp.figures.frames import distinct, keep
from persona_interp.io import read_record, write_json
from persona_interp.models.identity import library_versions
from persona_interp.statistics.mantel import compare_geometry
from persona_interp.studies.trait_geometry.config import GeometryConfig, Vectors
from persona_interp.studies.trait_geometry.effects import STUDY, geometry_claims, geometry_effects
from persona_interp.tables import Column, Form, numbers, read_table, texts, write_table

COSINES = Form(
    "cosines",
    (
        Column("model", "text", filled=True),
        *numbers("depth", unit="(layer + 1) / layers"),
        *texts("trait_a trait_b", filled=True),
        *numbers("cosine"),
    ),
)
"""The cosine of every pair of traits in every model at every depth, each pair once."""
_REMEDY = "Make the folder again from the vectors."


def run_trait_geometry(vectors: Vectors, hashes: Mapping[str, str], config: GeometryConfig, out: Path) -> None:
    """Compare two models or more: cosines.csv, provenance.json, effects.parquet and claims.parquet in the folder.

    Args:
        hashes: SHA-256 of every file of vectors, by its name; the run is named by them and the configuration.

    Raises:
        AlignmentError: fewer than 5 traits, or vectors that do not reach a depth.
    """
    pairs = list(combinations(range(len(config.traits)), 2))
    rows = [
        {"model": name, "depth": depth, "trait_a": config.traits[i], "trait_b": config.traits[j], "cosine": at[i, j]}
        for name, model in vectors.items()
        for depth, at in zip(config.depths, cosines_by_depth(model, config.depths), strict=True)
        for i, j in pairs
    ]
    write_table(out / "cosines.csv", DataFrame(rows), COSINES, digits=6)
    write_json(
        out / "provenance.json", {"config": asdict(config), "sha256": dict(hashes), "versions": library_versions()}
    )
    write_geometry_effects(out)


def write_geometry_effects(folder: Path) -> None:
    """Effects and claims from the cosines and the provenance that are saved in a folder.

    Raises:
        ArtefactError: one of them is missing or damaged.
    """
    cosines = saved_cosines(folder)
    said = read_record(folder / "provenance.json", remedy=_REMEDY)
    config, hashes = said.get("config"), said.get("sha256")
    if not isinstance(config, dict) or not {"mid_depth", "correlations"} <= config.keys():
        raise ArtefactError(f"{folder / 'provenance.json'} does not say mid_depth and correlations.", _REMEDY)
    compared = [
        (a, b, correlation, compare_geometry(_cosines_of(cosines, a), _cosines_of(cosines, b), correlation=correlation))
        for a, b in combinations(distinct(cosines, "model"), 2)
        for correlation in config["correlations"]
    ]
    effects = geometry_effects(
        compared, depths=distinct(cosines, "depth"), mid_depth=config["mid_depth"], n_traits=len(_traits(cosines))
    )
    source = Source(STUDY, run_id_of({"config": config, "sha256": hashes}))
    write_runs(folder, STUDY, [(source, effects, geometry_claims(effects, q_of(effects)))])


def saved_cosines(folder: Path) -> DataFrame:
    """The cosines in a folder.

    Raises:
        ArtefactError: there are none, or they are damaged.
    """
    return read_table(folder / "cosines.csv", COSINES, remedy=_REMEDY)


def _traits(cosines: DataFrame) -> list[str]:
    """The traits, in the order in which they were given: each is first of a pair before it is second."""
    return list(dict.fromkeys([*distinct(cosines, "trait_a"), *distinct(cosines, "trait_b")]))


def _cosines_of(cosines: DataFrame, model: str) -> Cosines:
    """The cosines of one model as matrices, in the order of depths and traits.

    Raises:
        ArtefactError: a pair of traits has not one cosine at every depth.
    """
    depths, traits = distinct(cosines, "depth"), _traits(cosines)
    rows = keep(cosines, "model", model)
    depth = [depths.index(value) for value in rows["depth"]]
    a, b = ([traits.index(name) for name in rows[column]] for column in ("trait_a", "trait_b"))
    found = np.full((len(depths), len(traits), len(traits)), np.nan)
    found[:, range(len(traits)), range(len(traits))] = 1
    found[depth, a, b] = found[depth, b, a] = rows["cosine"]
    if np.isnan(found).any() or len(rows) != len(depths) * len(traits) * (len(traits) - 1) // 2:
        raise ArtefactError(f"cosines.csv has not one cosine of {model} for every pair of traits and depth.", _REMEDY)
    return found
