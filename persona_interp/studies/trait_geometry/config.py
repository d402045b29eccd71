"""Which models and traits are compared, and where their vectors are read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_interp.arguments import checked
from persona_interp.bounds import Share, SomeTuple
from persona_interp.directions.direction import Direction
from persona_interp.directions.formats import ModelShape, load_persona_vectors
from persona_interp.errors import ConfigError
from persona_interp.io import sha256_file
from persona_interp.statistics.mantel import Correlation

Vectors = Mapping[str, Mapping[str, Direction]]
"""Model -> trait -> direction."""


@checked
@dataclass(frozen=True)
class GeometryConfig:
    """What is compared.

    Args:
        shapes: of the models whose published vectors are read.
        depths: (layer + 1) / layers, at which cosines are taken.
        mid_depth: of the claims and the heat maps, chosen before looking.
        correlations: over pairs of traits; the claims are of the first.
    """

    shapes: tuple[ModelShape, ...]
    traits: SomeTuple[str]
    depths: SomeTuple[Share] = tuple(step / 20 for step in range(1, 20))
    mid_depth: Share = 0.5
    correlations: tuple[Correlation, ...] = ("pearson", "spearman")

    def __post_init__(self) -> None:
        """Refuse a depth of the claims at which nothing is compared."""
        if self.mid_depth not in self.depths or not self.correlations:
            raise ConfigError(
                f"mid_depth must be one of the depths, and correlations at least one, got {self.mid_depth:g} of"
                f" {', '.join(f'{depth:g}' for depth in self.depths)} and {len(self.correlations)}."
            )


def load_vectors(
    config: GeometryConfig, folder: Path, extra: Sequence[tuple[str, Path]] = ()
) -> tuple[Vectors, dict[str, str]]:
    """The directions of every model that has files for all traits, and the SHA-256 of every file.

    Args:
        folder: with MODEL/TRAIT_response_avg_diff.pt; a model that lacks a trait there is left out.
        extra: names and folders of vectors of this package, TRAIT.safetensors.

    Raises:
        ConfigError: an extra folder lacks a trait.
    """
    vectors: dict[str, Mapping[str, Direction]] = {}
    hashes: dict[str, str] = {}
    for shape in config.shapes:
        files = {trait: folder / shape.name / f"{trait}_response_avg_diff.pt" for trait in config.traits}
        if all(path.is_file() for path in files.values()):
            vectors[shape.name] = {trait: load_persona_vectors(path, shape) for trait, path in files.items()}
            hashes |= {f"{shape.name}/{path.name}": sha256_file(path) for path in files.values()}
    for name, home in extra:
        files = {trait: home / f"{trait}.safetensors" for trait in config.traits}
        if missing := [str(path) for path in files.values() if not path.is_file()]:
            raise ConfigError(f"{name} has no vector {missing[0]}.", "Expected TRAIT.safetensors for every trait.")
        vectors[name] = {trait: Direction.load(path) for trait, path in files.items()}
        hashes |= {f"{name}/{path.name}": sha256_file(path) for path in files.values()}
    return vectors, hashes
