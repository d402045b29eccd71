"""Which judges are shown to work in this very run: those choose the setting and head the results, together.

A judge is tried on texts whose trait is known and on the model's own prompted answers. Where none passes alone, those
that see the trait weakly are tried together: the mean of several weak views can be better than each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.judges.consensus import CONSENSUS, Standard
from persona_interp.judges.protocol import Judge
from persona_interp.judges.validity import (
    Validity,
    headline_auc,
    prompts_read,
    scores_on_texts,
    sees_texts,
    sees_weakly,
    validity_on_answers,
    validity_on_texts,
    why_not_shown,
)
from persona_interp.rollouts.generate import Rollouts
from persona_interp.studies.persona.bench import Bench, Panel
from persona_interp.tables import kept_table

NOT_EXPRESSIBLE, NO_JUDGE = "not expressible", "no judge"


@dataclass(frozen=True)
class Shown:
    """The judges of one trait by what is known of them.

    Args:
        found: every AUC, of the consensus too.
        heads: those that make the consensus.
        reasons: why a judge is not shown to work alone.
    """

    found: tuple[Validity, ...]
    heads: tuple[str, ...]
    reasons: Mapping[str, str]

    @property
    def ungraded(self) -> str | None:
        """Why steering is not graded, where neither a judge nor several together are shown to work."""
        if self.heads:
            return None
        sees = any(sees_texts([one for one in self.found if one.judge == judge]) for judge in self.reasons)
        return NOT_EXPRESSIBLE if sees else NO_JUDGE

    def auc(self, judge: str) -> float:
        """The one AUC that stands beside the numbers of a judge."""
        return headline_auc([one for one in self.found if one.judge == judge])


def judges_shown(bench: Bench, trait: Trait, judges: Panel, train: Rollouts, test: Rollouts) -> Shown:
    """Every judge of a trait tried; its scores of the texts are kept.

    Judges that rate everything are tried on the answers to extraction questions, so that evaluation questions choose no
    judge; the others, which only stand beside, on those to evaluation questions.
    """

    def rated() -> pd.DataFrame:
        tables = [scores_on_texts(judge, trait).assign(judge=judge.name) for judge in judges.judges]
        return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)

    texts = kept_table(bench.folder / "rollouts" / trait.name / "validity.parquet", rated)
    found = []
    for judge in judges.judges:
        found += validity_on_texts(trait.name, judge.name, texts[texts["judge"] == judge.name])
        own = train if judge in judges.everywhere else test
        found.append(own_answers([judge], trait, own, judge.name))
    whys = {j.name: why_not_shown([one for one in found if one.judge == j.name]) for j in judges.judges}
    reasons = {name: why for name, why in whys.items() if why is not None}
    heads = [judge for judge in judges.everywhere if judge.name not in reasons]
    weak = [j for j in judges.everywhere if sees_weakly([one for one in found if one.judge == j.name])]
    if heads:
        found += _together(trait, heads, texts, train)
    elif len(weak) > 1 and why_not_shown(together := _together(trait, weak, texts, train)) is None:
        heads, found = weak, [*found, *together]
    return Shown(tuple(found), tuple(judge.name for judge in heads), reasons)


def _together(trait: Trait, judges: Sequence[Judge], texts: pd.DataFrame, train: Rollouts) -> list[Validity]:
    """The AUCs of the mean of several judges, standardised on texts without the trait, or answers against it."""
    names = [judge.name for judge in judges]
    wide = texts[texts["judge"].isin(names)].pivot(index=["texts", "pair", "positive"], columns="judge", values="score")
    rated = wide.reindex(columns=names).dropna().reset_index()
    scored = []
    for _, rows in rated.groupby("texts", sort=False):
        standard = Standard.of(rows[~rows["positive"].astype(bool)], names)
        scored.append(rows[["texts", "pair", "positive"]].assign(score=standard.consensus(rows)))
    found = validity_on_texts(trait.name, CONSENSUS, pd.concat(scored, ignore_index=True)) if scored else []
    return [*found, own_answers(judges, trait, train, CONSENSUS)]


def own_answers(judges: Sequence[Judge], trait: Trait, rollouts: Rollouts, name: str) -> Validity:
    """On answers to the system prompts that none of the judges compares with."""
    frame = rollouts.frame[rollouts.frame["instruction"] >= max(prompts_read(judge) for judge in judges)]
    positive, names = (frame["side"] == "positive").to_numpy(bool), [judge.name for judge in judges]
    scores = frame[names[0]].to_numpy(float)
    if len(names) > 1:
        scores = Standard.of(frame[~positive], names).consensus(frame)
    return validity_on_answers(name, trait.name, scores, positive, list(frame["question"]))
