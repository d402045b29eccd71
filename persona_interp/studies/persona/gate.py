"""Does the gate of coherence let a persona pass, and stop nonsense? Shares of answers whose coherence is known."""

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.judges.corruption import corrupted
from persona_interp.measurements.steering import score_coherence
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.generate import answer
from persona_interp.statistics.shares import clustered_share
from persona_interp.statistics.streams import derived_seed
from persona_interp.studies.persona.bench import Bench
from persona_interp.tables import kept_table, rows_of
from persona_interp.types import NO_EDITS

UNSTEERED, PROMPTED = "unsteered answers", "answers to a positive system prompt"
LEAST_PASSING, MOST_CORRUPTED = 0.75, 0.10
"""Shares that are expected to pass: at least of prompted answers, at most of each kind of corrupted ones."""


def gate_rows(bench: Bench, trait: Trait, scored: pd.DataFrame) -> pd.DataFrame:
    """Shares that pass the gate of the steered answers: of unsteered, of prompted, and of corrupted unsteered answers.

    Prompted answers are drawn like the steered ones, under another positive prompt than the one that the judge of
    coherence reads, where the trait has two. Intervals are over questions. A trait without prompts has no such row.

    Args:
        scored: the answers of the evaluation, with those at coefficient 0.
    """
    plain = scored[scored["coefficient"] == 0][["question", "sample", "answer"]].assign(kind=UNSTEERED)
    first = plain[plain["sample"] == 0]

    def gated() -> pd.DataFrame:
        made = corrupted(list(first["question"]), list(first["answer"]), seed=bench.config.seed)
        several = [plain, *(first.assign(answer=texts, kind=f"{kind} answers") for kind, texts in made.items())]
        table = pd.concat([*several, _prompted(bench, trait)], ignore_index=True)
        unsteered = table["kind"] == UNSTEERED
        return table.join(score_coherence(table, unsteered, bench.coherence, trait=trait)[0])

    table = kept_table(bench.folder / "steering" / trait.name / "gate.parquet", gated)
    rows = []
    for kind, cell in table.groupby("kind", sort=False):
        share = clustered_share(cell["passes_gate"].to_numpy(bool), cell["question"].to_numpy(str))
        found = {"estimate": share.estimate, "low": share.low, "high": share.high}
        rows.append({"trait": trait.name, "kind": kind, **found, "n": share.n, "n_questions": share.n_clusters})
    return pd.DataFrame(rows)


def gate_notes(rows: pd.DataFrame) -> list[str]:
    """What the shares say of the gate in one sentence, and a warning where it does not do what it is for."""
    shares = {str(row["kind"]): float(row["estimate"]) for row in rows_of(rows)}
    wrong = [f"{share:.0%} of {kind}" for kind, share in shares.items() if _is_wrong(kind, share)]
    expected = f"at least {LEAST_PASSING:.0%} of prompted and at most {MOST_CORRUPTED:.0%} of corrupted answers"
    said = ", ".join(f"{share:.0%} of {kind}" for kind, share in shares.items())
    outcome = f"Not as expected ({expected}): {'; '.join(wrong)}." if wrong else f"Expected are {expected}."
    return [f"The gate of coherence lets pass {said}. {outcome}"]


def _is_wrong(kind: str, share: float) -> bool:
    if kind == UNSTEERED:
        return False
    return share < LEAST_PASSING if kind == PROMPTED else share > MOST_CORRUPTED


def _prompted(bench: Bench, trait: Trait) -> pd.DataFrame:
    prompts = trait.system_prompts("positive")[:2]
    if not prompts:
        return pd.DataFrame(columns=["question", "answer", "kind"])
    config = bench.config
    questions = trait.eval_questions[: config.n_eval_questions]
    requests = pd.DataFrame({"side": "positive", "instruction": len(prompts) - 1, "question": list(questions)})
    made = answer(
        bench.model,
        requests.assign(system=prompts[-1]),
        sampling=Sampling(config.eval_tokens, config.eval_temperature, seed=derived_seed(config.seed, "gate")),
        trait=trait.name,
        edits=NO_EDITS,
        edits_hash=None,
        folder=bench.folder / "steering" / trait.name / "gate",
        label=f"{trait.name}: prompted answers",
    )
    return made.frame[["question", "answer"]].assign(kind=PROMPTED)
