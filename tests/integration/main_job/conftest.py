"""A main job of one trait, and what two runs are compared by."""

from dataclasses import replace
from pathlib import Path

import pytest

from persona_interp.studies.persona.config import RunConfig


@pytest.fixture(scope="module")
def small(config: RunConfig) -> RunConfig:
    """Of one trait, for runs that are made many times."""
    return replace(config, traits=config.traits[:1], n_random=1)


def results_of(folder: Path) -> dict[str, bytes]:
    """Everything that must not depend on how a run was made: the numbers, the vectors and the answers."""
    chosen = [folder / name for name in ("measurements.parquet", "effects.parquet", "claims.parquet", "summary.json")]
    for pattern in ("tables/*.csv", "vectors/*", "rollouts/**/*.parquet", "steering/**/*.parquet"):
        chosen += folder.glob(pattern)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in chosen}
