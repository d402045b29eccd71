"""A trait's substrates as rows of the table of effects, and claims on writers and on how distributed a trait is."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_interp.directions.writers import Writers
from persona_interp.effects import Claim, Effect, q_of, rejected
from persona_interp.measurements.roles import NULL, TREATMENT, UNSTEERED
from persona_interp.models.components import UNIT_KINDS, UnitKind
from persona_interp.sections.words import interval, number
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.studies.substrates.config import SubstratesRun
from persona_interp.studies.substrates.latent_effects import latent_effects, sparse, steers
from persona_interp.tables import rows_of
from persona_interp.types import depth_of

if TYPE_CHECKING:
    from persona_interp.studies.substrates.run import SubstratesResult

STUDY = "substrates"
SHARE, PART, PIECE = "share of the projection difference", "part of the projection difference", "written"
HALF, OUTLIER = "units that write half", "size over the median"
AUC, CHANGE = "AUC", "change of expression"
PERPLEXITY = "perplexity of neutral texts"
ABLATED = "writers ablated"
N_SHOWN = 20
NAMED_K = 8
"""Neurons of the probe that the claim of few neurons is about, named before."""
WITH, WITHOUT = "high-norm dimensions and positions included", "without high-norm dimensions and positions"
REMOVES = (
    "rank of the ablated writers among random units of the same layers and sizes, at the number named before, under the"
    " trait prompt, corrected over neurons and heads: q is at most 0.05; and the interval of the change lies below zero"
)
FEW = (
    f"rank of the held-out AUC of {NAMED_K} chosen neurons among {NAMED_K} random ones: q is at most 0.05; and their"
    " interval lies above 0.5"
)
_PLURAL = {"neuron": "neurons", "head": "heads"}

Row = dict[str, Any]


def substrate_effects(
    result: "SubstratesResult", trait: str, *, n_layers: int, known: Mapping[str, float], run: SubstratesRun
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of what was found.

    Args:
        known: AUC of every judge on texts whose trait is known.
    """
    found = result.found
    here = Effect(
        metric=SHARE,
        trait=trait,
        method=found.direction.method,
        layers=str(found.layer),
        depth=depth_of(found.layer, n_layers),
        stream="resid_post",
        pooling="response_mean",
        data="answers to held-out extraction questions",
        place="named",
    )
    effects = [*_outliers(result, here)]
    for writers, said in ((found.writers, WITHOUT), (found.everything, WITH)):
        role = "treatment" if writers is found.writers else "control"
        effects += [replace(effect, role=role) for effect in _writers(writers, said, here, n_layers, run.seed)]
    effects += _parts(found.everything, here, n_layers, run.seed)
    probed = list(_probe(result.probe, here))
    ablated = [
        (row, effect)
        for kind in UNIT_KINDS
        for row, effect in _ablated(result.ablations[kind], kind, here, known, run, result)
    ]
    few = [_few_neurons(row, effect, result.probe) for row, effect in probed if _is_named(row)]
    effects += [*(effect for _, effect in (*probed, *ablated)), *few]
    for kind, table in result.capability.items():
        effects += _capability(table, kind, here)
    compared, sparsity = [], []
    if result.latents is not None:
        more, compared, sparsity = latent_effects(result.latents, here, run, result.headline, known)
        effects += more
    q = dict(zip(map(id, effects), q_of(effects), strict=True))
    claims = [
        _removes(row, effect, q[id(effect)], _damage(result, effect))
        for row, effect in ablated
        if effect.family == ABLATED
    ]
    claims += [_few(effect, q[id(effect)], result.probe) for effect in few]
    claims += [steers(effect, tested, q[id(effect)]) for effect, tested in compared if effect.family is not None]
    claims += [sparse(effect, q[id(effect)]) for effect in sparsity if effect.family == "sparse in latents"]
    return effects, claims


def _outliers(result: "SubstratesResult", here: Effect) -> Iterator[Effect]:
    """The largest dimensions and the largest token, over the median of their kind."""
    outliers = result.found.outliers
    of = replace(here, metric=OUTLIER, role="control", substrate="residual", unit="times the median")
    sizes = outliers.sizes.sort(descending=True)
    for size, index in list(zip(sizes.values.tolist(), sizes.indices.tolist(), strict=True))[:5]:
        yield replace(of, condition=f"dimension {index}", estimate=size, n=sum(map(len, outliers.token_norms)))
    in_prompts, in_responses = outliers.n_positions
    said = f"largest token; {in_prompts} outlying positions in prompts, {in_responses} in responses"
    yield replace(of, condition=said, estimate=outliers.largest, n=sum(map(len, outliers.token_norms)))


def _writers(writers: Writers, said: str, here: Effect, n_layers: int, seed: int) -> Iterator[Effect]:
    """The units that write most, with their intervals; how many write half."""
    for kind in UNIT_KINDS:
        n = len(writers.questions)
        for row in rows_of(writers.table(kind, n=N_SHOWN, seed=seed)):
            yield replace(
                here,
                substrate=kind,
                layers=str(row["layer"]),
                depth=depth_of(row["layer"], n_layers),
                stream="mlp_act" if kind == "neuron" else "head_out",
                condition=f"{kind} {row['layer']}.{row['index']}, {said}",
                place="searched",
                unit="residual units",
                reference="negative answers to the same questions",
                fixed="direction; not corrected for the ranking",
                cluster="question",
                n_cluster=n,
                n=n,
                test="largest |t| over all units, sign flips of questions",
                null_kind="positive and negative answers exchanged, question by question",
                p=row["p"],
                family=f"writers, {_PLURAL[kind]}, {said}",
            ).measured(row, "share")
        size = writers.of(kind)[0].size
        yield replace(
            here,
            metric=HALF,
            substrate=kind,
            condition=f"{_PLURAL[kind]}, {said}",
            unit=f"of {size} {_PLURAL[kind]}",
            estimate=writers.units_for(kind),
            n=n,
        )


def _parts(writers: Writers, here: Effect, n_layers: int, seed: int) -> Iterator[Effect]:
    """What embedding, attention and MLP of every block write, and the whole difference."""
    n = len(writers.questions)
    of = replace(
        here,
        metric=PIECE,
        unit="residual units",
        reference="negative answers to the same questions",
        cluster="question",
        n_cluster=n,
        n=n,
        fixed="direction",
    )
    total = writers.total
    yield replace(of, substrate="residual", condition="all parts", level=CONFIDENCE).measured(
        {"estimate": total.estimate, "low": total.low, "high": total.high}
    )
    for row in rows_of(writers.parts(seed=seed)):
        block = row["layer"]
        yield replace(
            of,
            substrate={"attention": "head", "mlp": "neuron"}.get(row["part"], "residual"),
            layers=None if block is None else str(block),
            depth=0.0 if block is None else depth_of(block, n_layers),
            stream={"attention": "attn_out", "mlp": "mlp_out"}.get(row["part"], "resid_pre"),
            condition=row["part"],
            place="swept",
        ).measured(row, "share")


def _probe(table: pd.DataFrame, here: Effect) -> Iterator[tuple[Row, Effect]]:
    """Held-out AUC of probes of k neurons, of random ones, and of the dense readouts."""
    for row in rows_of(table):
        k, readout = row["k"], row["readout"]
        dense = readout in ("direction", "all")
        yield (
            row,
            replace(
                here,
                metric=AUC,
                method=readout,
                role={"sparse": "treatment", "random": "null"}.get(readout, "control"),
                substrate="residual" if dense else "neuron",
                stream="resid_post" if dense else "mlp_act",
                data="answers to extraction questions, whole questions held out",
                place="swept",
                strength=None if dense else k,
                strength_unit=None if dense else "neurons",
                condition={
                    "sparse": "the first neurons of the l1 path",
                    "random": "random neurons, mean and middle 95 % of the draws",
                    "direction": "mean difference of residuals",
                    "all": "ridge logistic regression on all residual dimensions",
                }[readout],
                reference="chance, 0.5",
                fixed="fitted probes",
                cluster="question",
                n=_whole(row["n"]),
                n_cluster=_whole(row["n_questions"]),
                n_null=_whole(row["n_null"]),
                test=None if row["p"] is None else "rank among shuffled poles",
                null_kind=None if row["p"] is None else "poles shuffled within questions, the whole fit made anew",
                null_high=row["null_high"],
                p=row["p"],
                family="neuron probes" if row["p"] is not None else None,
            ).measured(row, "auc"),
        )


def _ablated(
    table: pd.DataFrame,
    kind: UnitKind,
    here: Effect,
    known: Mapping[str, float],
    run: SubstratesRun,
    result: "SubstratesResult",
) -> Iterator[tuple[Row, Effect]]:
    """The change of expression without the writers, ranked among random units."""
    named = run.n_neurons if kind == "neuron" else run.n_heads
    for row in rows_of(table):
        primary = row["k"] == named and row["judge"] == result.headline
        yield (
            row,
            replace(
                here,
                metric=CHANGE,
                unit="points of 100",
                substrate=kind,
                stream="mlp_act" if kind == "neuron" else "head_out",
                layers="+".join(map(str, range(result.found.layer + 1))),
                condition=f"writers set to their mean, under the trait prompt ({_PLURAL[kind]})",
                data="evaluation questions",
                place="named" if row["k"] == named else "swept",
                strength=row["k"],
                strength_unit=f"{_PLURAL[kind]} ablated",
                reference="whole answers under the trait prompt",
                fixed="units, judge",
                cluster="question",
                n=row["n"],
                n_cluster=row["n_questions"],
                test="rank among random units, lower expression",
                null_kind="random units of the same layers and sizes",
                null_low=row["null_low"],
                null_high=row["null_high"],
                n_null=row["n_draws"],
                p=row["p"],
                family=None if row["p"] is None else ABLATED if primary else f"{ABLATED}, other judges",
                judge=row["judge"],
                judge_validity=known.get(row["judge"]),
            ).measured(row, "effect"),
        )


def _capability(table: pd.DataFrame, kind: UnitKind, here: Effect) -> Iterator[Effect]:
    for row in rows_of(table):
        if row["role"] == UNSTEERED and kind != UNIT_KINDS[0]:
            continue  # the whole model stands once
        whole = row["role"] == UNSTEERED
        which = "writers" if row["role"] == TREATMENT else f"random set {row['draw'] + 1}"
        yield replace(
            here,
            metric=row["metric"],
            role="control" if whole else "treatment" if row["role"] == TREATMENT else "null",
            substrate="weights" if whole else kind,
            layers=None,
            depth=None,
            stream=None,
            pooling=None,
            method=None if whole else here.method,
            data="neutral texts" if "perplexity" in row["metric"] else "four-option questions",
            condition="whole model" if whole else f"{_PLURAL[kind]}, {which}",
            strength=None if whole else row["k"],
            strength_unit=None if whole else f"{_PLURAL[kind]} ablated",
            n=row["n"],
            fixed="units",
        ).measured(row)


def _whole(value: int | float | None) -> int | None:
    return None if value is None else int(value)


def _is_named(row: Row) -> bool:
    return row["readout"] == "sparse" and row["k"] == NAMED_K and row["p_random"] is not None


def _few_neurons(row: Row, effect: Effect, table: pd.DataFrame) -> Effect:
    """The same AUC, ranked among those of as many random neurons."""
    random = rows_of(table[(table["readout"] == "random") & (table["k"] == row["k"])])[0]
    return replace(
        effect,
        condition=f"{effect.condition}, against random ones",
        place="named",
        test="rank among random neurons",
        null_kind=f"probes of {NAMED_K} random neurons",
        null_low=random["low"],
        null_high=random["high"],
        n_null=_whole(random["n_null"]),
        p=row["p_random"],
        family="few neurons",
    )


def _damage(result: "SubstratesResult", effect: Effect) -> str:
    """What the same ablation does to perplexity, in words; nothing where that was not measured."""
    table = result.capability.get(effect.substrate)  # pyright: ignore[reportArgumentType]
    if table is None or table.empty:
        return ""
    rows = table[table["metric"] == PERPLEXITY]
    whole = float(rows.loc[rows["role"] == UNSTEERED, "estimate"].iloc[0])
    at = rows[rows["k"] == effect.strength]
    own = float(at.loc[at["role"] == TREATMENT, "estimate"].iloc[0])
    random = float(at.loc[at["role"] == NULL, "estimate"].mean())
    return f" Perplexity of neutral texts goes from {whole:.1f} to {own:.1f}, without random ones to {random:.1f}."


def _removes(row: Row, effect: Effect, q: float, damage: str) -> Claim:
    kind = _PLURAL[str(effect.substrate)]
    holds = rejected(q) and row["high"] is not None and row["high"] < 0
    verdict = "holds" if holds else "does not" if row["low"] is not None and row["low"] > 0 else "undecided"
    does = "lowers" if holds else "is not shown to lower"
    sentence = (
        f"Ablating the {row['k']} {kind} that write most of {effect.trait} {does} its expression under the trait prompt"
        f" more than random {kind} of the same size do: {interval(row['effect'], row['low'], row['high'], digits=1)}"
        f" points from {row['whole']:.1f}, random {kind} {row['random']:+.1f}, q {number(q)} ({row['judge']}).{damage}"
    )
    return effect.claimed(f"{kind} write it", sentence, REMOVES, verdict)


def _few(effect: Effect, q: float, table: pd.DataFrame) -> Claim:
    dense = float(table.loc[table["readout"] == "all", "auc"].iloc[0])
    random = float(table.loc[(table["readout"] == "random") & (table["k"] == NAMED_K), "auc"].iloc[0])
    holds = rejected(q) and effect.low is not None and effect.low > 0.5
    does = "tell" if holds else "are not shown to tell"
    auc = interval(effect.estimate, effect.low, effect.high)
    sentence = (
        f"{NAMED_K} chosen neurons {does} answers with {effect.trait} from those without better than random neurons"
        f" do: AUC {auc}, {NAMED_K} random ones {random:.2f}, the dense probe {dense:.2f}, q {number(q)}."
    )
    return effect.claimed("few neurons tell", sentence, FEW, "holds" if holds else "undecided")
