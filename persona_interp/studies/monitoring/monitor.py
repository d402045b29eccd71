"""`Monitor`: projections on directions, token by token while a model generates, and alerts above a threshold."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Seed, Some, Temperature, Text
from persona_interp.directions.direction import Direction, check_direction, check_same_model
from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.interventions.protocol import Intervention
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import line_stop_ids, text_batch
from persona_interp.statistics.thresholds import Per, Threshold, calibrate_threshold
from persona_interp.studies.monitoring.readings import Readings, Step
from persona_interp.studies.monitoring.smoothing import Smoothing
from persona_interp.studies.monitoring.streaming import in_background, text_pieces
from persona_interp.types import NO_EDITS, Hookpoint


@dataclass(frozen=True)
class Alert:
    """The first token of an answer at which a score is above its threshold."""

    call: int
    row: int
    token_index: int
    token_id: int
    trait: str
    layer: int
    score: float
    threshold: float


@dataclass(frozen=True)
class StreamedToken:
    """A token as it is generated: the text it adds, and its readings, one a direction and layer."""

    index: int
    token_id: int
    text: str
    projections: tuple[float, ...]
    scores: tuple[float, ...]
    alert: bool


class Monitor:
    """Projection a.v/|v| of every answer token, and of the last prompt token, on one or several directions.

    In residual units; larger means more of the direction's pole. The score is the projection smoothed along the answer;
    an alert is a score above the threshold. The last prompt token is read but raises no alert: it is of another
    distribution than answers. With several directions or layers each has its own threshold and its own false alarms.

    Args:
        layers: 0-based blocks whose output is read; every direction is read at every layer.
        thresholds: one for every direction and layer (direction by direction), or one value for all; `calibrate` sets
            them to a false-alarm rate.
        on_alert: called once an answer, direction and layer; an exception in it ends the generation.
    """

    @checked
    def __init__(
        self,
        directions: Direction | Some[Direction],
        layers: int | Some[int],
        *,
        thresholds: float | Sequence[Threshold] | None = None,
        on_alert: Callable[[Alert], None] | None = None,
        smoothing: Smoothing = Smoothing(),  # noqa: B008 (frozen)
    ) -> None:
        self.directions = (directions,) if isinstance(directions, Direction) else tuple(directions)
        self.layers = (layers,) if isinstance(layers, int) else tuple(layers)
        self.channels = tuple((direction, Hookpoint(layer)) for direction in self.directions for layer in self.layers)
        self.thresholds = _thresholds(thresholds, len(self.channels))
        self.smoothing, self.on_alert = smoothing, on_alert
        self.alerts: list[Alert] = []
        limits = np.array([threshold.value for threshold in self.thresholds])
        self.readings = Readings(
            self.directions, self.layers, smoothing=smoothing, limits=limits, on_step=self._raise_alerts
        )
        self._alerted: set[tuple[int, int, int]] = set()
        self._tokenizer: PreTrainedTokenizerBase | None = None

    def clear(self) -> None:
        """Forget everything seen so far."""
        self.readings.clear()
        self.alerts, self._alerted = [], set()

    @checked
    @contextmanager
    def watching(
        self, model: HookedModelBase | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> Iterator["Monitor"]:
        """A context in which whatever this model runs or generates is monitored; afterwards nothing stays hooked.

        Args:
            model: a hooked model, or a plain model of transformers (its own `generate` is then watched).
            tokenizer: of a plain model, for the texts of tokens in `frame`.

        Raises:
            IncompatibleDirectionError: a direction belongs to another model.
            HookpointError: a layer does not exist.
        """
        if isinstance(model, HookedModelBase):
            self.check(model)
            with model.watched(self.readings):
                yield self
            return
        from persona_interp.models.identity import describe
        from persona_interp.models.watch import watched_transformers

        provenance = describe(model, tokenizer)
        for direction in self.directions:
            check_same_model(direction, provenance)
        self._tokenizer = tokenizer
        with watched_transformers(model, self.readings):
            yield self

    @checked
    def stream(
        self,
        model: HookedModelBase,
        prompt: Text,
        *,
        intervention: Intervention | None = None,
        max_new_tokens: Count = 64,
        temperature: Temperature = 0.0,
        seed: Seed = 0,
    ) -> Iterator[StreamedToken]:
        """The answer to one prompt (chat template applied), token by token with readings.

        The model is in use, in another thread, until the last token was taken; stop early by closing the generator.

        Raises:
            IncompatibleDirectionError: a direction or the intervention belongs to another model.
            ContextLengthError: prompt and answer do not fit the context.
        """
        if intervention is not None:
            intervention.check(model)
        stops = line_stop_ids(model.tokenizer)

        def produce(put: Callable[[Step], None]) -> None:
            with self.watching(model), self.readings.passing_on(put):
                model.generate(
                    text_batch(model.tokenizer, [prompt]),
                    sampling=Sampling(max_new_tokens, temperature, seed=seed, stop_ids=stops),
                    edits=NO_EDITS if intervention is None else intervention.edits,
                    prefix=None if intervention is None else intervention.prefix,
                )

        pieces = text_pieces(model.tokenizer)
        next(pieces)
        for step in in_background(produce):
            for k in np.flatnonzero(step.index >= 0):
                token_id = int(step.ids[k])
                readings = (tuple(step.projections[k].tolist()), tuple(step.scores[k].tolist()))
                yield StreamedToken(
                    int(step.index[k]), token_id, pieces.send(token_id), *readings, alert=bool(step.alerts[k].any())
                )

    @checked
    def calibrate(
        self,
        *,
        false_alarm_rate: Between0And1 = 0.01,
        per: Per = "answer",
        clusters: Sequence[str] | None = None,
        joint: bool = False,
    ) -> "Monitor":
        """A new monitor with thresholds set on what this one has seen, which must be neutral traffic.

        See `calibrate_threshold` for what the rate promises.

        Args:
            clusters: of the answers seen, in order (their questions or conversations), where several belong together.
            joint: whether the rate is that of any alarm over all directions and layers: each then has its share of it
                (Bonferroni), so it needs that many times as many answers. Otherwise it is that of each alone, and any
                alarm is raised at up to their number times the rate.

        Raises:
            ConfigError: too few answers for the rate.
            EmptySelectionError: this monitor has seen no answer.
        """
        channels = self.answer_scores()
        rate = false_alarm_rate / len(channels) if joint else false_alarm_rate
        found = [calibrate_threshold(one, false_alarm_rate=rate, per=per, clusters=clusters) for one in channels]
        return Monitor(self.directions, self.layers, thresholds=found, on_alert=self.on_alert, smoothing=self.smoothing)

    def answer_scores(self) -> list[list[Float[np.ndarray, " _"]]]:
        """For every direction and layer, the scores of every answer seen, token by token.

        Raises:
            EmptySelectionError: no answer token was seen.
        """
        tokens = self.readings.tokens()
        tokens = tokens[tokens["token_index"] >= 0]
        if tokens.empty:
            raise EmptySelectionError("this monitor has seen no answer token.", "Generate inside `monitor.watching`.")
        answers = [answer for _, answer in tokens.groupby(["call", "row"], sort=True)]
        return [[answer[f"score {k}"].to_numpy(float) for answer in answers] for k in range(len(self.channels))]

    def frame(self) -> pd.DataFrame:
        """One row a token, direction and layer, in the order of calls, answers and tokens.

        `token_index` is -1 at the last prompt token, which has no score. `z` is relative to neutral traffic, missing
        where the thresholds were not calibrated.
        """
        tokens = self.readings.tokens()
        texts = {i: "" if self._tokenizer is None else self._tokenizer.decode([i]) for i in tokens["token_id"].unique()}
        parts = []
        for k, ((direction, hookpoint), threshold) in enumerate(zip(self.channels, self.thresholds, strict=True)):
            part = tokens[["call", "row", "token_index", "token_id"]].copy()
            part["token"] = [texts[i] for i in part["token_id"]]
            part["trait"], part["layer"] = direction.trait, hookpoint.layer
            part["projection"], part["score"] = tokens[f"projection {k}"], tokens[f"score {k}"]
            part["z"] = (part["score"] - threshold.mean) / threshold.sd
            part["alert"] = tokens[f"alert {k}"]
            parts.append(part)
        return pd.concat(parts).sort_values(["call", "row", "token_index"], kind="stable", ignore_index=True)

    def limits(self) -> dict[tuple[str, int], float]:
        """The threshold of each trait and layer; NaN where there is none."""
        names = [(direction.trait, hookpoint.layer) for direction, hookpoint in self.channels]
        return {name: threshold.value for name, threshold in zip(names, self.thresholds, strict=True)}

    @checked
    def check(self, model: HookedModelBase) -> None:
        """Refuse a model that the directions were not made with, or that lacks a layer.

        Raises:
            IncompatibleDirectionError: a direction belongs to another model.
            HookpointError: a layer does not exist.
        """
        for direction in self.directions:
            check_direction(direction, model)
        model.check_hookpoints(self.readings.hookpoints)
        self._tokenizer = model.tokenizer

    def _raise_alerts(self, step: Step) -> None:
        for token, channel in np.argwhere(step.alerts).tolist():
            key = (step.call, int(step.rows[token]), channel)
            if key in self._alerted:
                continue
            self._alerted.add(key)
            (direction, hookpoint), limit = self.channels[channel], self.thresholds[channel].value
            place = (*key[:2], int(step.index[token]), int(step.ids[token]))
            alert = Alert(*place, direction.trait, hookpoint.layer, float(step.scores[token, channel]), limit)
            self.alerts.append(alert)
            if self.on_alert is not None:
                self.on_alert(alert)


def _thresholds(given: float | Sequence[Threshold] | None, n: int) -> tuple[Threshold, ...]:
    if given is None or isinstance(given, int | float):
        return (Threshold(float("nan") if given is None else float(given)),) * n
    if len(given) != n:
        raise AlignmentError(f"every direction and layer must have one threshold, got {len(given)} for {n}.")
    return tuple(given)
