"""The one table of effects and the one of claims: what every study found, in the same columns, for any number of runs.

`effects.parquet` has a row for each number that carries a claim. What was not saved stays missing: no cell is filled so
that a row looks comparable. Where two studies mean different things by a null or a reference, the words differ.
"""

from persona_interp.effects.effect import (
    CLAIMS,
    EFFECTS,
    VERDICTS,
    Claim,
    Effect,
    Role,
    Source,
    Verdict,
    joined,
    layers_of,
    mean_depth,
    run_id_of,
)
from persona_interp.effects.files import (
    CLAIMS_FILE,
    EFFECTS_FILE,
    Run,
    load_claims,
    load_effects,
    saved_claims,
    saved_effects,
    saved_studies,
    write_effects,
    write_runs,
)
from persona_interp.effects.tables import claims_table, effects_table, family_of, q_of, rejected, verdict, with_q

__all__ = [
    "CLAIMS",
    "CLAIMS_FILE",
    "EFFECTS",
    "EFFECTS_FILE",
    "VERDICTS",
    "Claim",
    "Effect",
    "Role",
    "Run",
    "Source",
    "Verdict",
    "claims_table",
    "effects_table",
    "family_of",
    "joined",
    "layers_of",
    "load_claims",
    "load_effects",
    "mean_depth",
    "q_of",
    "rejected",
    "run_id_of",
    "saved_claims",
    "saved_effects",
    "saved_studies",
    "verdict",
    "with_q",
    "write_effects",
    "write_runs",
]
