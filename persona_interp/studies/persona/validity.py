"""Which judges are shown to work in this very run: those choose the setting and head the results, together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.judges.protocol import Judge
from persona_interp.judges.validity import (
    Validity,
    headline_auc,
    prompts_read,
    sees_texts,
    validity_on_answers,
    validity_on_texts,
    why_not_shown,
)
from persona_interp.rollouts.generate import Rollouts
from persona_interp.studies.persona.bench import Bench, Panel
from persona_interp.tables import Form, kept_table, numbers, texts, wholes

NOT_EXPRESSIBLE, NO_JUDGE = "not expressible", "no judge"
VALIDITY = Form("validity", (
    *texts("trait judge texts", filled=True), *numbers("auc low high"), *wholes("n n_clusters"),
))  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """The judges of one trait by what is known of them.

    Args:
        found: every AUC.
        heads: those that rate every answer and are shown to work.
        reasons: why each of the others is not shown to.
    """

    found: tuple[Validity, ...]
    heads: tuple[str, ...]
    reasons: Mapping[str, str]

    @property
    def ungraded(self) -> str | None:
        """Why steering is not graded, where no judge that rates everything is shown to work; None where one is."""
        if self.heads:
            return None
        sees = any(sees_texts([one for one in self.found if one.judge == judge]) for judge in self.reasons)
        return NOT_EXPRESSIBLE if sees else NO_JUDGE

    def auc(self, judge: str) -> float:
        """The one AUC that stands beside the numbers of a judge; of the consensus it is not known (NaN)."""
        return headline_auc([one for one in self.found if one.judge == judge])


def judges_shown(bench: Bench, trait: Trait, judges: Panel, train: Rollouts, test: Rollouts) -> Shown:
    """Every judge of a trait tried on texts whose trait is known and on the model's own prompted answers; kept.

    Judges that rate everything are tried on the answers to extraction questions, so that evaluation questions choose no
    judge; the others, which only stand beside, on those to evaluation questions.
    """

    def tried() -> pd.DataFrame:
        found = [one for judge in judges.judges for one in validity_on_texts(judge, trait)]
        found += [_own_answers(judge, trait, train) for judge in judges.everywhere]
        found += [_own_answers(judge, trait, test) for judge in judges.asked_rarely]
        return pd.DataFrame([asdict(one) for one in found])

    path = bench.folder / "rollouts" / trait.name / "validity.parquet"
    rows = kept_table(path, tried, VALIDITY).itertuples(index=False)
    return shown_by([Validity(*row) for row in rows], judges)


def shown_by(found: Sequence[Validity], judges: Panel) -> Shown:
    """The judges that these AUCs show to work."""
    whys = {j.name: why_not_shown([one for one in found if one.judge == j.name]) for j in judges.judges}
    heads = tuple(judge.name for judge in judges.everywhere if whys[judge.name] is None)
    return Shown(tuple(found), heads, {name: why for name, why in whys.items() if why is not None})


def _own_answers(judge: Judge, trait: Trait, rollouts: Rollouts) -> Validity:
    """On answers to the system prompts that the judge does not compare with."""
    frame = rollouts.frame[rollouts.frame["instruction"] >= prompts_read(judge)]
    scores, positive = frame[judge.name].to_numpy(float), (frame["side"] == "positive").to_numpy(bool)
    return validity_on_answers(judge.name, trait.name, scores, positive, list(frame["question"]))
