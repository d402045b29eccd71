"""The head of the report: all claims of a folder, those that hold first."""

from pathlib import Path

import pytest

from persona_interp.effects import (
    CLAIMS_FILE,
    Claim,
    Effect,
    Source,
    Verdict,
    claims_table,
    effects_table,
    write_effects,
)
from persona_interp.errors import ArtefactError
from persona_interp.sections.claims import claims_section


def claim(trait: str, verdict: Verdict) -> Claim:
    sentence = f"<b>{trait}</b> is {verdict}."
    return Claim(
        claim="it is", trait=trait, sentence=sentence, rule="q is at most 0.05", effects=[], verdict=verdict,
        detectable=0.1234, unit="AUC",
    )  # fmt: skip


def test_claims_of_all_studies_stand_in_one_table(tmp_path: Path) -> None:
    for study, claims in {
        "styles": [claim("cold", "undecided"), claim("warm", "holds")],
        "persona": [claim("rude", "does not"), claim("shy", "holds")],
    }.items():
        source = Source(study, study)
        effects = effects_table(source, [Effect(metric="AUC", estimate=0.7)])
        write_effects(tmp_path, source.study, effects, claims_table(source, claims))
    section = claims_section(tmp_path)
    assert section is not None
    assert section.sentences == ("4 claims, named beforehand; holds: 2, does not: 1, undecided: 1.",)
    rows = section.tables[0].rows
    assert [row[1] for row in rows] == ["warm", "shy", "rude", "cold"]
    assert [row[3] for row in rows] == ["holds", "holds", "does not", "undecided"]
    assert rows[0][4] == "0.123 AUC"
    assert section.notes[1:] == ("styles, rule: q is at most 0.05.", "persona, rule: q is at most 0.05.")


def test_a_folder_without_claims_has_no_head(tmp_path: Path) -> None:
    assert claims_section(tmp_path) is None
    source = Source("styles", "a")
    write_effects(tmp_path, source.study, effects_table(source, []), claims_table(source, []))
    assert claims_section(tmp_path) is None


def test_a_damaged_table_of_claims_is_named(tmp_path: Path) -> None:
    (tmp_path / CLAIMS_FILE).write_bytes(b"PAR1junk")
    with pytest.raises(ArtefactError, match=CLAIMS_FILE):
        claims_section(tmp_path)
