"""The engine of several machines: Ray Data maps the batches over workers that hold the model once each.

A worker writes the shards of its batches by their number, as one process would. Every machine must see the data set,
the model and the output folder under the same names. What a killed worker had not written is run again by Ray.
"""

import logging
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from persona_interp import errors
from persona_interp.data.streams import count_rows, stream_rows
from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, ModelError, PersonaInterpError
from persona_interp.io import remove_partial_writes
from persona_interp.models.load import load_model
from persona_interp.progress import track
from persona_interp.studies.screening.batch import Scorer, Screener
from persona_interp.studies.screening.config import ScreenConfig, check_engine
from persona_interp.studies.screening.pairs import PairScreener
from persona_interp.studies.screening.store import Shards

_SPANS_A_WORKER = 8
_SPAN = ("source", "folder", "start", "stop")


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a worker makes its screener: the model by name, and what is asked of it."""

    model: str
    backend: str
    dtype: str
    weights: str
    directions: tuple[Direction, ...]
    config: ScreenConfig
    kind: type[Screener | PairScreener] = Screener

    @classmethod
    def of(cls, screener: Scorer) -> "Recipe":
        """The recipe that makes an equal screener."""
        own = screener.model.provenance
        kind = PairScreener if isinstance(screener, PairScreener) else Screener
        return cls(screener.model.name, own.backend, own.dtype, own.weights, screener.directions, screener.config, kind)

    def make(self) -> Screener | PairScreener:
        """Load the model, which must be the same one.

        Raises:
            ModelError: it has other weights.
        """
        model = load_model(self.model, self.backend, dtype=self.dtype)  # pyright: ignore (a backend of a loaded model)
        if model.provenance.weights != self.weights:
            raise ModelError(
                f"a Ray worker's {self.model} has weights {model.provenance.weights}, not {self.weights}.",
                "Every machine must load the same model under this name.",
            )
        return self.kind.make(model, self.directions, self.config)


class Worker:
    """An actor of Ray Data: makes a screener at its first span, then screens span after span.

    An error of this package is returned, not raised: Ray would hand over its text only.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._screener: Scorer | None = None

    def __call__(self, spans: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The span, whose bounds are batch numbers, and the error that ended it: its kind and its text, or nothing."""
        kind, text = "", ""
        try:
            for source, folder, start, stop in zip(*(spans[name].tolist() for name in _SPAN), strict=True):
                self._screen(source, Shards(Path(folder)), start, stop)
        except PersonaInterpError as error:
            kind, text = type(error).__name__, str(error)
        n = len(spans["start"])
        return {"error": np.array([kind] * n, dtype=object), "text": np.array([text] * n, dtype=object)}

    def _screen(self, source: str, shards: Shards, start: int, stop: int) -> None:
        screener = self._screener = self._screener or self._recipe.make()
        if not all(shards.has(number) for number in range(start, stop)):
            shards.fill(screener.batches(source, start=start, stop=stop), screener)


def screen_on_ray(
    screener: Scorer,
    parts: Sequence[tuple[str, Shards]],
    *,
    address: str | None = None,
    n_workers: int | None = None,
    progress: bool = True,
) -> None:
    """Score every batch of data sets that has no shard yet, on a cluster.

    Args:
        parts: data sets, each with its shards.
        address: of the cluster, as `ray.init` takes it; default: where RAY_ADDRESS or a running cluster points, else
            one is started on this machine.
        n_workers: default: one a GPU of the cluster, or one a CPU where there is no GPU.

    Raises:
        MissingPackageError: ray is not installed.
        ConfigError: the cluster cannot be reached.
        PersonaInterpError: what a worker raised.
    """
    ray = _ray()
    missing = [
        (source, shards, missing_batches(source, shards, screener.config.batch_rows)) for source, shards in parts
    ]
    if not any(numbers for *_, numbers in missing):
        return
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    try:
        _map(ray, Recipe.of(screener), missing, n_workers, progress)
    finally:
        if started:
            ray.shutdown()
        for _, shards in parts:
            remove_partial_writes(shards.folder)  # of workers that were killed


def missing_batches(source: str, shards: Shards, at_once: int) -> list[int]:
    """The batches of a data set without a shard; a source that cannot say how many rows it has is read through."""
    n = count_rows(source)
    n = 1 + max((row for row, _ in stream_rows(source)), default=-1) if n is None else n
    return [number for number in range(-(-n // at_once)) if not shards.has(number)]


def spans(missing: list[int], longest: int) -> list[tuple[int, int]]:
    """Runs of consecutive batches as (start, stop), none longer than so many batches."""
    found: list[tuple[int, int]] = []
    for number in missing:
        if found and found[-1][1] == number and number - found[-1][0] < longest:
            found[-1] = found[-1][0], number + 1
        else:
            found.append((number, number + 1))
    return found


def worker_error(kind: str, text: str) -> PersonaInterpError:
    """The error of this package that a worker met, from its name and text."""
    return getattr(errors, kind, PersonaInterpError)(text)


def _map(
    ray,
    recipe: Recipe,
    missing: Sequence[tuple[str, Shards, list[int]]],
    n_workers: int | None,
    progress: bool,
) -> None:
    """Spans are long enough that reading up to each one's start costs little, short enough to share the work evenly."""
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    workers = n_workers or gpus or max(1, int(resources.get("CPU", 1)))
    longest = -(-sum(len(numbers) for *_, numbers in missing) // (_SPANS_A_WORKER * workers))
    cut = [
        dict(zip(_SPAN, (source, str(shards.folder.absolute()), *span), strict=True))
        for source, shards, numbers in missing
        for span in spans(numbers, longest)
    ]
    ray.data.DataContext.get_current().enable_progress_bars = False
    done = ray.data.from_items(cut, override_num_blocks=len(cut)).map_batches(
        Worker,
        fn_constructor_args=(recipe,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(cut)), max_tasks_in_flight_per_actor=1),
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        **({"num_gpus": 1} if gpus else {"num_cpus": 1}),
    )
    for row in track(done.iter_rows(), "screen on Ray", total=len(cut), show=progress):
        if row["error"]:
            raise worker_error(row["error"], row["text"])


def _ray():
    check_engine("ray")
    import ray
    import ray.data

    return ray


def _connect(ray, address: str | None) -> None:
    for noisy in ("ray", "ray.data"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)  # ray sets one of its own
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"cannot reach a Ray cluster at {address or 'the default address'}: {str(error).splitlines()[0]}",
            "Start one with `ray start --head`, or leave the address out to start one on this machine.",
        ) from error
