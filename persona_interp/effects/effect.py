"""What one row of the table of effects, and one of the table of claims, is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any, Literal

from persona_interp.io import sha256_json
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.resampling import Interval
from persona_interp.tables import Column, Form, numbers, texts, truths, wholes
from persona_interp.types import depth_of

Number = int | float
Role = Literal["treatment", "control", "null"]
Substrate = Literal["residual", "latent", "neuron", "head", "virtual_token", "prompt", "weights"]
Place = Literal["named", "chosen", "searched", "swept"]
Verdict = Literal["holds", "does not", "undecided"]

ROLES: tuple[Role, ...] = ("treatment", "control", "null")
SUBSTRATES: tuple[Substrate, ...] = ("residual", "latent", "neuron", "head", "virtual_token", "prompt", "weights")
PLACES: tuple[Place, ...] = ("named", "chosen", "searched", "swept")
VERDICTS: tuple[Verdict, ...] = ("holds", "does not", "undecided")

_HOW = ("place", "role", "strength", "strength_unit", "metric", "reference", "test", "null_kind", "family", "judge")
_FOUND = ("layers", "strength")
WHAT = ("trait", "method", "substrate", "layers", "stream", "pooling", "condition", "data")
EFFECTS = Form(
    "effects",
    (
        Column("effect_id", "text", filled=True),
        Column("study", "text", filled=True),
        Column("run_id", "text", filled=True),
        *texts("model backend dtype"),
        *wholes("seed"),
        *texts("trait method"),
        Column("substrate", "text", allowed=SUBSTRATES),
        *texts("layers"),
        *numbers("depth", unit="share of the model's blocks"),
        Column("place", "text", allowed=PLACES),
        *texts("stream pooling condition data"),
        Column("role", "text", allowed=ROLES, filled=True),
        *numbers("strength"),
        *texts("strength_unit"),
        Column("metric", "text", filled=True),
        *texts("unit reference"),
        *numbers("estimate low high level"),
        *texts("fixed"),
        *wholes("n"),
        *texts("cluster"),
        *wholes("n_cluster"),
        *texts("test null_kind"),
        *numbers("null_low null_high"),
        *wholes("n_null"),
        *numbers("p"),
        *texts("family"),
        *wholes("n_family"),
        *numbers("q detectable"),
        *texts("judge"),
        *numbers("judge_validity"),
        *truths("coherent"),
    ),
)
"""The columns of `effects.parquet`; see `Effect` for what they hold."""

CLAIMS = Form(
    "claims",
    (
        *(Column(name, "text", filled=True) for name in ("study", "run_id", "claim", "sentence", "rule")),
        *texts("model trait effects"),
        Column("verdict", "text", allowed=VERDICTS, filled=True),
        *numbers("detectable"),
        *texts("unit"),
    ),
)
"""The columns of `claims.parquet`; see `Claim` for what they hold."""


@dataclass(frozen=True)
class Source:
    """Where effects come from.

    Args:
        study: the kind of work, such as "persona" or "styles".
        run_id: a name of the run that no other run has.
    """

    study: str
    run_id: str
    model: str | None = None
    backend: str | None = None
    dtype: str | None = None
    seed: int | None = None

    @classmethod
    def of(cls, study: str, identity: Any, model: Mapping[str, Any], seed: int | None) -> "Source":
        """The source of a run.

        Args:
            identity: all that its numbers depend on, as plain data.
            model: its provenance.
        """
        return cls(study, run_id_of(identity), model["model"], model["backend"], model["dtype"], seed)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One number with what it is of, its interval, and its test.

    Args:
        metric: what the number is, such as "AUC" or "change of expression"; `unit` of estimate, low and high.
        layers: 0-based blocks joined by "+": "14", "12+13+14"; `depth` is the mean of (layer + 1) / n_layers over them.
        place: how layers and strength came about: "named" before any answer, "chosen" on other data, "searched" for the
            largest estimate on these data, so that they are a finding and no part of what the effect is of, or one of
            all that were "swept".
        condition: what was done or compared, in words; `data`: the texts or questions by name.
        role: treatment is what the study is about, control another way to the same end, null what has no effect.
        strength: coefficient of an intervention, in `strength_unit`.
        reference: what the estimate is relative to, in words: "unsteered answers", "chance, 0.5".
        low, high: interval at `level`, over `n_cluster` of `cluster`; `fixed` names what it holds fixed.
        test: how p was found; `null_kind` what stands for no effect, `null_low` and `null_high` its central 95 %
            (one-sided: its 95th percentile is `null_high`), `n_null` draws or arrangements.
        family: the tests that p is corrected with, declared before; q and n_family are made by `with_q`.
        detectable: the least effect that this test finds in 80 % of repetitions, in the unit of the estimate.
        judge: what rated the answers; `judge_validity` its AUC on texts whose trait is known.
        coherent: whether the answers pass the gate of coherence; missing where there is none.
    """

    metric: str
    role: Role = "treatment"
    estimate: Number | None = None
    low: Number | None = None
    high: Number | None = None
    level: Number | None = None
    fixed: str | None = None
    n: int | None = None
    cluster: str | None = None
    n_cluster: int | None = None
    unit: str | None = None
    reference: str | None = None
    trait: str | None = None
    method: str | None = None
    substrate: Substrate | None = None
    layers: str | None = None
    depth: Number | None = None
    place: Place | None = None
    stream: str | None = None
    pooling: str | None = None
    condition: str | None = None
    data: str | None = None
    strength: Number | None = None
    strength_unit: str | None = None
    test: str | None = None
    null_kind: str | None = None
    null_low: Number | None = None
    null_high: Number | None = None
    n_null: int | None = None
    p: Number | None = None
    family: str | None = None
    detectable: Number | None = None
    judge: str | None = None
    judge_validity: Number | None = None
    coherent: bool | None = None

    def measured(
        self, row: Mapping[str, Any], estimate: str = "estimate", low: str = "low", high: str = "high"
    ) -> "Effect":
        """With the estimate of a row and its interval, where it has one, by the names of their columns."""
        level = None if row[low] is None else CONFIDENCE
        return replace(self, estimate=row[estimate], low=row[low], high=row[high], level=level)

    def estimated(self, found: Interval) -> "Effect":
        """With an estimate, its interval where there is one, and the rows and clusters that it is over."""
        ends = {name: None if isnan(value) else value for name, value in found.row.items() if name != "n"}
        return replace(self, n=found.n, n_cluster=found.n_clusters).measured(ends)

    def at_block(self, layer: int, n_layers: int) -> "Effect":
        """Of the residual stream at the output of a block."""
        depth = depth_of(layer, n_layers)
        return replace(self, substrate="residual", layers=str(layer), depth=depth, stream="resid_post")

    def judged_by(self, known: Mapping[str, Mapping[str, float]]) -> "Effect":
        """With the AUC of its judge for its trait, from trait -> judge -> AUC, where that is known."""
        auc = known.get(self.trait or "", {}).get(self.judge or "")
        return self if auc is None or self.judge_validity is not None else replace(self, judge_validity=auc)

    @property
    def findable(self) -> float | None:
        """What is detectable, where the test that was named is possible: a p that cannot be had finds nothing."""
        untested = self.test is not None and (self.p is None or self.p != self.p)
        return None if untested or self.detectable is None else float(self.detectable)

    def claimed(self, claim: str, sentence: str, rule: str, verdict: Verdict) -> "Claim":
        """A claim that rests on this effect alone: of its trait, with what its test could find."""
        return Claim(
            claim=claim,
            trait=self.trait,
            sentence=sentence,
            rule=rule,
            effects=[self],
            verdict=verdict,
            detectable=self.findable,
            unit=self.unit or self.metric,
        )

    def id_in(self, source: Source) -> str:
        """Sixteen characters that name this effect: what it is of, and nothing of what was found."""
        hidden = _FOUND if self.place == "searched" else ()
        what = [None if name in hidden else getattr(self, name) for name in (*WHAT, *_HOW)]
        return sha256_json([source.study, source.run_id, *what])[:16]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that a run may come to, and what it came to.

    Args:
        claim: its name, such as "separation".
        rule: what must be so for the verdict `holds`; `does not` asks that the interval excludes the claim.
        effects: that it rests on.
        detectable: the least effect that this test finds in 80 % of repetitions, in `unit`.
    """

    claim: str
    trait: str | None
    sentence: str
    rule: str
    effects: Sequence[Effect]
    verdict: Verdict
    detectable: float | None = None
    unit: str | None = None


def run_id_of(identity: Any) -> str:
    """A name for a run, from all that its numbers depend on as plain data."""
    return sha256_json(identity)[:12]


def joined(layers: Iterable[int]) -> str:
    """Blocks as the column `layers` has them."""
    return "+".join(map(str, layers))


def layers_of(cell: str) -> tuple[int, ...]:
    """The blocks of a cell of the column `layers`."""
    return tuple(map(int, cell.split("+"))) if cell else ()


def mean_depth(layers: str, n_layers: int) -> float | None:
    """Mean depth of the blocks of a cell, (layer + 1) / n_layers each; None without blocks."""
    blocks = layers_of(layers)
    if not blocks:
        return None
    return sum(depth_of(layer, n_layers) for layer in blocks) / len(blocks)
