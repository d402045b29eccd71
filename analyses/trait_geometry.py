"""Do different models place the same traits at the same angles to each other?

Published persona vectors of seven traits for Qwen3-4B, Qwen3-32B and gpt-oss-20b: the cosines of the 21 pairs of traits
are correlated between models at equal relative depth. Null: the traits of one model renamed in all 5,040 ways, each
renaming with its own maximum over depths. Interval: jackknife over traits. All p-values of the summary are corrected
together (Benjamini-Hochberg). The embedding row and the row after the final norm take no part.
"""

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

import pandas as pd
from kept_results import write_tables

from persona_interp.directions.direction import Direction
from persona_interp.directions.formats import ModelShape, load_persona_vectors
from persona_interp.directions.geometry import cosines_by_depth
from persona_interp.errors import ConfigError
from persona_interp.figures.style import legend_below, panel_figure, paper_style, save_figure
from persona_interp.figures.trait_geometry import plot_cosine_map, plot_similarity_by_depth
from persona_interp.io import sha256_file, write_json
from persona_interp.models.identity import library_versions
from persona_interp.statistics import benjamini_hochberg
from persona_interp.statistics.mantel import Correlation, compare_geometry

VECTORS = Path(__file__).parent.parent / ".." / "shared" / "data" / "persona_vectors" / "vectors"
WHERE_FROM = """There are no published vectors in {folder}.
  This analysis reads files MODEL/TRAIT_response_avg_diff.pt. Vectors in this form come from the persona_vectors
  repository (safety-research/persona_vectors, generate_vec.py) and from forks of it that released theirs.
  Name their folder with --vectors, or make vectors with `persona-interp run` and name them with --extra NAME=FOLDER."""


@dataclass(frozen=True)
class Config:
    """Which models and traits are compared, and where.

    Args:
        extra: names and folders of our own vectors (.safetensors), such as `vectors/` of a main job.
        mid_depth: of the heat maps, chosen before looking.
    """

    vectors: Path = VECTORS
    shapes: tuple[ModelShape, ...] = (
        ModelShape("Qwen3-4B", 36, 2560),
        ModelShape("Qwen3-32B", 64, 5120),
        ModelShape("gpt-oss-20b", 24, 2880),
    )
    extra: tuple[tuple[str, Path], ...] = ()
    traits: tuple[str, ...] = (
        *("evil", "sycophantic", "hallucinating", "humorous", "impolite", "optimistic", "apathetic"),
    )
    depths: tuple[float, ...] = tuple(step / 20 for step in range(1, 20))
    mid_depth: float = 0.5
    correlations: tuple[Correlation, ...] = ("pearson", "spearman")


Model = dict[str, Direction]


def load_models(config: Config) -> tuple[dict[str, Model], dict[str, str]]:
    """The directions of every model by trait, and the SHA-256 of every file."""
    models: dict[str, Model] = {}
    hashes: dict[str, str] = {}
    for shape in config.shapes:
        files = {trait: config.vectors / shape.name / f"{trait}_response_avg_diff.pt" for trait in config.traits}
        if all(path.is_file() for path in files.values()):
            models[shape.name] = {trait: load_persona_vectors(path, shape) for trait, path in files.items()}
            hashes |= {f"{shape.name}/{path.name}": sha256_file(path) for path in files.values()}
    for name, folder in config.extra:
        files = {trait: folder / f"{trait}.safetensors" for trait in config.traits}
        missing = [str(path) for path in files.values() if not path.is_file()]
        if missing:
            raise ConfigError(f"{name} has no vector {missing[0]}.", "Expected TRAIT.safetensors for every trait.")
        models[name] = {trait: Direction.load(path) for trait, path in files.items()}
        hashes |= {f"{name}/{path.name}": sha256_file(path) for path in files.values()}
    return models, hashes


@dataclass(frozen=True, eq=False)
class Tables:
    """Cosines a model, depth and pair of traits; similarity a pair of models and depth; the summary of each pair."""

    cosines: pd.DataFrame
    by_depth: pd.DataFrame
    summary: pd.DataFrame


def run(models: dict[str, Model], config: Config) -> Tables:
    """The three tables."""
    angles = {name: cosines_by_depth(model, config.depths) for name, model in models.items()}
    pairs = list(combinations(range(len(config.traits)), 2))
    cosines = [
        {"model": name, "depth": depth, "trait_a": config.traits[i], "trait_b": config.traits[j], "cosine": at[i, j]}
        for name, model in angles.items()
        for depth, at in zip(config.depths, model, strict=True)
        for i, j in pairs
    ]
    by_depth, summary = [], []
    for (a, ours), (b, theirs) in combinations(angles.items(), 2):
        for correlation in config.correlations:
            found = compare_geometry(ours, theirs, correlation=correlation)
            row = {"model_a": a, "model_b": b, "correlation": correlation}
            counts = {"n_traits": len(config.traits), "n_pairs": found.n_pairs, "n_null": found.n_null}
            columns = {
                name: getattr(found, name)
                for name in ("estimate", "low", "high", "loo_low", "loo_high", "null_95", "p")
            }
            frame = pd.DataFrame({"depth": config.depths, **columns})
            by_depth.append(frame.assign(**row, null_max_95=found.null_max_95, **counts))
            best, mid = int(found.estimate.argmax()), config.depths.index(config.mid_depth)
            at = {
                f"{name}_{label}": float(values[place])
                for label, place in (("mid", mid), ("best", best))
                for name, values in columns.items()
            }
            overall = {"best_depth": config.depths[best], "null_max_95": found.null_max_95, "p_max": found.p_max}
            summary.append({**row, **counts, **at, **overall})
    table = pd.DataFrame(summary)
    tested = table[["p_mid", "p_max"]].to_numpy()
    table[["q_mid", "q_max"]] = benjamini_hochberg(tested.ravel()).reshape(tested.shape)
    return Tables(pd.DataFrame(cosines), pd.concat(by_depth, ignore_index=True), table)


def draw(tables: Tables, config: Config, folder: Path) -> None:
    """Heat maps at mid depth, and similarity against depth, from the tables alone."""
    middle = tables.cosines[tables.cosines["depth"] == config.mid_depth]
    names = list(dict.fromkeys(tables.cosines["model"]))
    with paper_style():
        figure, axes = panel_figure(1, len(names), panel_height=2.1, page_wide=True, share_y="all", square=True)
        image = None
        for ax, name in zip(axes[0], names, strict=True):
            image = plot_cosine_map(middle[middle["model"] == name], ax, traits=config.traits)
            ax.set_title(name)
        if image is not None:
            bar = figure.colorbar(image, ax=axes[0], shrink=0.8, aspect=25)
            bar.set_label(f"cosine (cells: × 100), depth {config.mid_depth:g}")
            bar.outline.set_visible(False)  # pyright: ignore
        save_figure(figure, middle, folder, "trait_cosines")
        shown = tables.by_depth[tables.by_depth["correlation"] == config.correlations[0]]
        groups = list(shown.groupby(["model_a", "model_b"], sort=False))
        figure, axes = panel_figure(1, len(groups), panel_height=2.0, page_wide=True, share_y="all")
        for ax, ((a, b), frame) in zip(axes[0], groups, strict=True):
            plot_similarity_by_depth(frame, ax)
            ax.set_title(f"{a}\nand {b}")
        axes[0][0].set_ylabel("Pearson correlation, 21 pairs")
        legend_below(figure, columns=2)
        save_figure(figure, shown, folder, "geometry_by_depth")


def main() -> int:
    """Compare the models there are, and write tables and figures under `analyses/results/trait_geometry/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, default=VECTORS, help="folder with MODEL/TRAIT_response_avg_diff.pt")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME=FOLDER", help="our own vectors")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/trait_geometry"))
    chosen = parser.parse_args()
    extra = tuple((name, Path(folder)) for name, _, folder in (text.partition("=") for text in chosen.extra))
    config = replace(Config(), vectors=chosen.vectors, extra=extra)
    models, hashes = load_models(config)
    if len(models) < 2:
        print(WHERE_FROM.format(folder=chosen.vectors))  # noqa: T201
        return 0
    tables = run(models, config)
    made = {"cosines": tables.cosines, "by_depth": tables.by_depth, "summary": tables.summary}
    write_tables(chosen.out, made, digits=6)
    draw(tables, config, chosen.out)
    said = asdict(config) | {"vectors": None, "extra": [name for name, _ in extra]}
    write_json(chosen.out / "provenance.json", {"config": said, "sha256": hashes, "versions": library_versions()})
    columns = ["model_a", "model_b", "correlation", "estimate_mid", "low_mid", "high_mid", "p_mid", "q_mid"]
    print(tables.summary[[*columns, "estimate_best", "best_depth", "p_max", "q_max"]].round(4).to_string())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
