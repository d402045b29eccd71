"""What a study will do and about how long that takes here, by a speed that is measured, said before it starts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from persona_interp.files import is_file
from persona_interp.io import read_record, write_json
from persona_interp.models.protocol import HookedModel
from persona_interp.models.speed import Speed, measure_speed
from persona_interp.progress import is_quiet, show_table

WORTH_SAYING = 60.0
"""Seconds from which on a plan is said, and worth two seconds of measuring."""
ANSWER_S = 0.012
"""Seconds in which the embedding judge reads an answer."""
CHARACTERS = 4
"""Of a token, where texts are not split into tokens for a plan."""


@dataclass(frozen=True)
class Step:
    """A part of a study.

    Args:
        n: of what it is done to, such as answers that are written or texts that are read; 0: not counted.
        written, read, trained: tokens; those trained go forward and back.
        other_s: seconds of what is no model.
    """

    what: str
    n: int
    written: int = 0
    read: int = 0
    other_s: float = 0.0
    trained: int = 0

    def seconds(self, speed: Speed) -> float:
        """How long it takes at a speed."""
        return speed.seconds(self.written, self.read, self.trained) + self.other_s


def total_seconds(steps: Sequence[Step], speed: Speed) -> float:
    """How long all steps take together."""
    return sum(step.seconds(speed) for step in steps)


def kept_speed(steps: Sequence[Step], measure: Callable[[float], Speed], path: Path | None = None) -> Speed:
    """The speed that was kept, or else that of this machine now, which is then to be kept with `keep_speed`.

    It is measured for two seconds, or for less where one round already shows that there is little to do.

    Args:
        measure: from seconds to a speed.
        path: where a run keeps the speed that it began with, so that it goes on by the same plan.
    """
    if path is not None and is_file(path):
        kinds = {"written": float, "read": float}
        return Speed(**read_record(path, kinds, optional={"trained": float}, remedy="Delete it."))
    speed = measure(0.0)
    return measure(2.0) if total_seconds(steps, speed) >= WORTH_SAYING else speed


def keep_speed(path: Path, speed: Speed) -> None:
    """Keep the speed that a run began with, where none is kept."""
    if not is_file(path):
        write_json(path, asdict(speed))


def announce(title: str, steps: Sequence[Step], speed: Speed, *, counted: str = "n", notes: Sequence[str] = ()) -> None:
    """The plan as a table on standard error, where it takes a minute or more, unless PERSONA_INTERP_QUIET is set."""
    total = total_seconds(steps, speed)
    if total < WORTH_SAYING:
        return
    rows = [(step.what, f"{step.n:,}" if step.n else "", f"{step.seconds(speed) / 60:.1f}") for step in steps]
    said = f"{title}: about {total / 60:.0f} minutes at {speed.words()}"
    show_table("\n".join([said, *notes]), ("stage", counted, "minutes"), rows)


def say_plan(title: str, steps: Sequence[Step], model: HookedModel, *, folder: Path | None, study: str) -> None:
    """Measure a model's speed, keep it in the folder if there is one, and say the plan; nothing where all is quiet."""
    if is_quiet():
        return
    path = None if folder is None else folder / f"speed_{study}.json"
    writes, reads = any(step.written for step in steps), any(step.read or step.trained for step in steps)
    speed = kept_speed(steps, lambda seconds: measure_speed(model, seconds=seconds, writes=writes, reads=reads), path)
    if path is not None:
        keep_speed(path, speed)
    announce(title, steps, speed)
