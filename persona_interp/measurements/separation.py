"""Held-out separation of a contrastive direction, layer by layer, and what chance gives for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pandas import DataFrame

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Seed
from persona_interp.errors import AlignmentError
from persona_interp.statistics import Interval, auc_intervals
from persona_interp.statistics.contrast import Contrast, Questions, Rows
from persona_interp.statistics.effects import first_largest
from persona_interp.statistics.levels import CONFIDENCE, N_DRAWS
from persona_interp.statistics.nested_auc import NestedAuc, nested_auc, prompt_nested_auc, row_cell
from persona_interp.statistics.null_families import NullBattery, NullFamily
from persona_interp.statistics.nulls import Covariance, Splits, null_battery, separation_statistic
from persona_interp.statistics.power import detectable_auc
from persona_interp.statistics.prompt_battery import exchanged_battery, untested_battery
from persona_interp.statistics.prompt_exchange import HeldOutPrompts

HeldOut = Literal["disjoint", "crossed", "questions"]
_DRAWN = {"shuffled_labels": "shuffled", "random_directions": "random"}


@dataclass(frozen=True, eq=False)
class SeparationProfile:
    """How well each layer's mean difference tells held-out positives from negatives, with two nulls of its maximum.

    An AUC above 0.5 means that positives project higher. The headline is `nested`, whose layers are chosen on other
    questions and prompts. The map by layer is exploratory: its intervals hold for a layer named in advance, and the
    AUC of its best layer is optimistic. The nulls of the p-values choose their best layer too.

    Args:
        intervals: held-out AUC of each layer with its interval over questions.
        norms: length of the mean difference, in units of the residual stream.
        battery: all null families, for `battery_table`.
        n_shared_questions: questions that are in both training and test; 0 where the test is held out by question.
        nested: AUC at layers chosen on other questions (and other prompts), the headline.
        held_out: `disjoint` or `crossed` prompts where the prompt is the unit, `questions` otherwise.
    """

    intervals: tuple[Interval, ...]
    norms: Float[np.ndarray, " layer"]
    battery: NullBattery
    n_train: tuple[int, int]
    n_test: tuple[int, int]
    n_shared_questions: int
    nested: NestedAuc
    held_out: HeldOut = "questions"

    @property
    def auc(self) -> Float[np.ndarray, " layer"]:
        """Held-out AUC of each layer."""
        return np.array([interval.estimate for interval in self.intervals])

    @property
    def best_layer(self) -> int:
        """The layer with the largest held-out AUC; the earliest of equals."""
        return first_largest(self.auc)

    @property
    def null_shuffled(self) -> Float[np.ndarray, " draw"]:
        """Largest AUC over layers for each shuffling of the training labels."""
        return self.battery["shuffled_labels"].maxima

    @property
    def null_random(self) -> Float[np.ndarray, " draw"]:
        """The same for each set of covariance-matched random directions."""
        return self.battery["random_directions"].maxima

    @property
    def null_shuffled_95(self) -> Float[np.ndarray, " layer"]:
        """95th percentile of that null at each layer alone, for figures."""
        return self.battery["shuffled_labels"].layer_95

    @property
    def null_random_95(self) -> Float[np.ndarray, " layer"]:
        """The same of the random directions."""
        return self.battery["random_directions"].layer_95

    @property
    def p_shuffled(self) -> float:
        """One-sided p-value of the largest AUC against shuffled labels, or exchanged prompts."""
        return self.battery["shuffled_labels"].p_value

    @property
    def p_random(self) -> float:
        """The same against covariance-matched random directions; with prompts never below `p_shuffled`."""
        return self.battery["random_directions"].p_value

    @property
    def detectable_auc(self) -> float:
        """The least AUC that exceeds exchanged prompts in 80 % of repetitions with new questions; NaN without bounds.

        For one test at 0.05: the 95th percentile of the exchange's maximum over layers, and 0.84 standard errors of the
        headline on the scale of log-odds. Prompts are held fixed. Random directions may ask for more.
        """
        best, upper = self.nested.interval, self.battery["shuffled_labels"].percentile_95
        return float(detectable_auc(best.error, best.freedom, upper))

    @property
    def p_other_traits(self) -> float | None:
        """One-sided p-value of the largest AUC against other traits' vectors; None where none were given."""
        return None if self.other_traits is None else self.other_traits.p_value

    @property
    def p_components(self) -> float | None:
        """The same against principal components of the training differences; NaN where the rows allow none."""
        return None if self.components is None else self.components.p_value

    @property
    def other_traits(self) -> NullFamily | None:
        """Other traits' vectors on the same rows, turned to this trait's side; None where none were given."""
        return self._family("other_traits")

    @property
    def components(self) -> NullFamily | None:
        """Principal components of the paired training differences about their mean."""
        return self._family("components")

    def _family(self, name: str) -> NullFamily | None:
        return next((family for family in self.battery.families if family.family == name), None)

    def to_frame(self) -> DataFrame:
        """One row a layer, for tables and figures."""
        return DataFrame(
            {
                "layer": np.arange(len(self.intervals)),
                "auc": self.auc,
                "low": [interval.low for interval in self.intervals],
                "high": [interval.high for interval in self.intervals],
                "null_shuffled_95": self.null_shuffled_95,
                "null_random_95": self.null_random_95,
                "norm": self.norms,
            }
        )

    def summary(self) -> dict[str, Any]:
        """The nested AUC, the layer chosen most often, p-values and all counts, JSON-ready.

        A p, and what its test could find, is None where no test is possible: so few members or arrangements that it
        could never be 0.05.
        """
        best, families = self.nested.interval, {name: self.battery[name] for name in _DRAWN}
        detectable_auc = self.detectable_auc
        tests = {f"p_{key}": families[name].row()["p"] for name, key in _DRAWN.items()}
        return {
            **{"best_layer": self.nested.layer, "auc": best.estimate, "auc_low": best.low, "auc_high": best.high},
            **{"level": best.level, **{key: None if np.isnan(p) else p for key, p in tests.items()}},
            "detectable_auc": None if np.isnan([detectable_auc, tests["p_shuffled"]]).any() else detectable_auc,
            "best_auc": families["shuffled_labels"].best,
            **{"n_null": len(self.null_shuffled), "n_null_random": len(self.null_random), "held_out": self.held_out},
            "p_floor_shuffled": families["shuffled_labels"].p_floor,
            **dict(zip(("n_train_positive", "n_train_negative"), self.n_train, strict=True)),
            **dict(zip(("n_test_positive", "n_test_negative"), self.n_test, strict=True)),
            "n_test_questions": best.n_clusters,
            "n_shared_questions": self.n_shared_questions,
            **_named_family("other_traits", self.other_traits),
            **_named_family("components", self.components),
        }


@checked
def separation_profile(
    *,
    train_positive: Rows,
    train_negative: Rows,
    test_positive: Rows,
    test_negative: Rows,
    train_positive_questions: Questions,
    train_negative_questions: Questions,
    test_positive_questions: Questions,
    test_negative_questions: Questions,
    train_prompts: tuple[Questions, Questions] | None = None,
    test_prompts: tuple[Questions, Questions] | None = None,
    n_null: Count = N_DRAWS,
    other_directions: Mapping[str, Float[np.ndarray, "_ _"]] | None = None,
    shuffled_splits: Splits = "train",
    random_covariance: Covariance = "within",
    level: Between0And1 = CONFIDENCE,
    seed: Seed = 0,
) -> SeparationProfile:
    """AUC of test projections on the training mean difference, per layer, against the null battery of its maximum.

    Shuffled labels: training labels are permuted within each question, so the null keeps what questions do.
    Random directions: normal with the covariance of the training activations (shrunk), as long as the true
    difference, and pointing to the positive side of training. In both a draw uses the same random weights of the
    training rows at every layer, so its layers are as correlated as those of a true difference.

    Where there is no effect, shuffling rejects at its level and random directions less often than theirs: at level
    0.1, 0.09 to 0.11 and 0.05 to 0.08 of simulated sets, with independent layers or with correlated layers and rows.

    This holds where rows are alike through their questions only. Where system prompts differ, these nulls reject in
    0.3 to 0.9 of sets without a trait: give the prompts. Then every AUC is of prompts and questions that made no
    direction, whole prompts are exchanged (exactly, where at most `n_null` arrangements exist), and random directions
    are a matter of specificity: their p is never below that of the exchange, which alone speaks of chance. Measured
    levels and power: tests/golden/levels/separation.csv. With one pair of prompts no test is possible.

    Other traits' vectors and the principal components of the training differences are few: `battery` gives their
    floor and the best of them by name, and where the floor is above 0.05 the table has no p.

    Args:
        train_prompts: the pair of system prompts of the positive and of the negative training rows; with them
            `shuffled_splits` makes no difference, since training and test labels are exchanged together.
        other_directions: other traits' vectors by name, a row a layer.
        shuffled_splits: `train` scores directions from shuffled labels on the true test labels. Such a direction keeps
            a random part of the effect, so where the effect is many times the spread it separates too, and
            `p_shuffled` is large. `both` shuffles the test labels as well, and has no such ceiling.
        random_covariance: `within` centres each pole on its own mean first, and asks for more than the variation inside
            the poles. `total` is that of all training rows, so it holds the effect itself: where a strong effect is a
            large part of the variance, random directions find it too and `p_random` is large.

    Raises:
        AlignmentError: shapes or question labels do not match, values are not finite, or no training question has
            both a positive and a negative row, so that labels cannot be shuffled within questions.
        EmptySelectionError: one of the four sets has no rows.
    """
    _check_shapes(train_positive, train_negative, test_positive, test_negative)
    if (train_prompts is None) != (test_prompts is None):
        raise AlignmentError("prompts were given for one split only.", "Give those of training and test, or neither.")
    asked = (train_positive_questions, train_negative_questions), (test_positive_questions, test_negative_questions)
    train = Contrast.of(train_positive, train_negative, *asked[0], prompts=train_prompts)
    test = Contrast.of(test_positive, test_negative, *asked[1], name="test", prompts=test_prompts)
    differences = np.stack([train.weights() @ ours for _, ours in train.layers()])
    scores = np.stack([theirs @ differences[layer] for layer, theirs in test.layers()], axis=1)
    battery = null_battery(
        differences,
        train,
        test.values,
        test.labels,
        separation_statistic,
        other_vectors=other_directions,
        target_groups=test.questions,
        shuffled_splits=shuffled_splits if train.prompts is None else None,
        random_covariance=random_covariance,
        n_draws=n_null,
        seed=seed,
    )
    held = None if train.prompts is None else HeldOutPrompts.of(train, test)
    held_out: HeldOut = "questions"
    if held is not None and held.possible():
        held_out = "disjoint" if held.disjoint else "crossed"
        nested, intervals = prompt_nested_auc(held, test.questions, level=level)
        battery = exchanged_battery(battery, held, [i.estimate for i in intervals], n_draws=n_null, seed=seed)
    else:
        cell = row_cell(scores, test.labels)
        nested = nested_auc([cell], lambda _: [cell], test.questions, level=level)
        sides = scores[test.labels], scores[~test.labels]
        intervals = auc_intervals(*sides, *asked[1], level=level)
        battery = battery if held is None else untested_battery(battery)
    return SeparationProfile(
        intervals=tuple(intervals),
        norms=np.linalg.norm(differences, axis=1),
        battery=battery,
        n_train=(len(train_positive), len(train_negative)),
        n_test=(len(test_positive), len(test_negative)),
        n_shared_questions=len(np.intersect1d(train.questions, test.questions)),
        nested=nested,
        held_out=held_out,
    )


def _check_shapes(*sets: Rows) -> None:
    if len({rows.shape[1:] for rows in sets}) > 1:
        raise AlignmentError(
            f"the four sets must have the same (layers, width), got {', '.join(str(rows.shape[1:]) for rows in sets)}.",
            "All must come from one model and its hookpoints.",
        )


def _named_family(name: str, family: NullFamily | None) -> dict[str, Any]:
    """Entries of the summary: p-value, its floor, and the best member with its AUC; None without members."""
    known = None if family is None or family.n == 0 else family.row()
    if known is not None and np.isnan(known["p"]):
        known["p"] = None  # no test is possible
    keys = {"p": "p", "p_floor": "p_floor", "best": "best_member", "best_auc": "best_value"}
    return {f"{ours}_{name}": None if known is None else known[theirs] for ours, theirs in keys.items()}
