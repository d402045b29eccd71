"""What the main job found, in words: one sentence a trait, and how its numbers are written."""

from typing import Literal

from persona_interp.measurements.setting import COHERENT_SHARE
from persona_interp.sections.words import change, equal, extent, interval, number, plain, signed, whole
from persona_interp.statistics.levels import ALPHA
from persona_interp.studies.persona.results import TraitSummary

Q_LEVEL = ALPHA
"""A separation is called found when both q values are at most this."""

RAISES = "raises expression"


Grade = Literal["strong", "moderate", "weak", "not shown", "not expressible", "no judge", "not measured"]

GRADES: dict[Grade, str] = {
    "strong": "separates beyond exchanged prompts and random directions (q over all claims of the run), no other"
    " trait's vector and no principal component does as well,"
    " steering raises expression more than random directions do (each a draw; q likewise), and two judges that are"
    " shown to work confirm it",
    "moderate": "separates and steers beyond chance, without specificity or without a second judge",
    "weak": "separates or steers beyond chance, not both",
    "not shown": "neither separates nor steers beyond chance, at this size and these counts",
    "not expressible": "judges that see the trait in texts do not tell this model's answers to prompts for it from"
    " those to prompts against it, so steering is not graded: a finding about the model",
    "no judge": "no judge of this run is shown to see the trait in texts, so steering is not graded",
    "not measured": "a part was not measured",
}
"""What each grade of a claim asks for."""


def grade(row: TraitSummary) -> Grade:
    """How much the run supports the claim that its persona vector is a direction of the trait (see `GRADES`)."""
    if row.ungraded in ("not expressible", "no judge"):
        return row.ungraded
    if row.auc is None or row.p_shuffled is None or _unsteered(row):
        return "not measured"
    made = claims(row)
    if not made:
        return "not shown"
    if len(made) < 2:
        return "weak"
    return "strong" if is_specific(row) and _confirmed(row) else "moderate"


def _confirmed(row: TraitSummary) -> bool:
    """Whether a second judge says the same: one beside the only one of the consensus, or two of its several."""
    needed = 2 if row.judges_shown is not None and len(row.judges_shown) > 1 else 1
    return (row.n_judges_agreeing or 0) >= needed


def unit_of(row: TraitSummary) -> str:
    """The unit of all effects of a trait."""
    return row.effect_unit or "points of 100"


def digits_of(row: TraitSummary) -> int:
    """Digits after the point that its effects are shown with: one of points, two of standard deviations."""
    return 1 if row.effect_unit is None else 2


def judge_of(row: TraitSummary) -> str:
    """What rated the effect; a consensus with those that make it."""
    if not row.judges_shown:
        return plain(row.effect_judge or "not named")
    return f"consensus of {' and '.join(plain(name) for name in row.judges_shown)}"


def _by_people(row: TraitSummary) -> str:
    """What human raters say of the judge; nothing in the sentences of a run that is being written."""
    return "" if row.raters is None else f", {plain(row.raters)}"


def claims(row: TraitSummary) -> tuple[Literal["separation", "steering"], ...]:
    """What the run claims of one trait. Both claims of all traits are one family, corrected together.

    Steering is claimed where q is at most 0.05 and the interval at the chosen setting lies above zero, too.
    """
    separates = row.q_separation is not None and row.q_separation <= Q_LEVEL
    steers = not _unsteered(row) and _verb(row) == RAISES
    return (("separation",) if separates else ()) + (("steering",) if steers else ())


def is_specific(row: TraitSummary) -> bool | None:
    """Whether neither another trait's vector nor a principal component separates as well.

    None where that was not tested, and where the vector is ahead but does not separate beyond chance itself.
    """
    rivals, own = (row.best_auc_other_traits, row.best_auc_components), row.best_auc
    if own is None or row.best_auc_other_traits is None:
        return None
    ahead = all(rival is None or rival < own for rival in rivals)
    return None if ahead and "separation" not in claims(row) else ahead


def specificity(row: TraitSummary) -> str:
    """Whether other directions separate the same answers as well, as plain sentences; empty where not tested."""
    if row.best_auc is None:
        return ""
    said = ""
    if row.best_auc_other_traits is not None:
        beaten = row.best_auc_other_traits < row.best_auc
        said = (
            f"{'No vector' if beaten else 'Not specific: a vector'} of another trait of this run separates these"
            f" answers as well: the best is that of {plain(row.best_other_traits or 'one not named')}, AUC"
            f" {number(row.best_auc_other_traits, 2)} where the vector's own best layer has {number(row.best_auc, 2)}"
            f" ({equal('p', number(row.p_other_traits))},"
            f" {equal('q', number(row.q_other_traits))}). "
        )
    if row.best_auc_components is not None:
        said += (
            "The best principal component of the paired differences reaches AUC"
            f" {number(row.best_auc_components, 2)} ({equal('p', number(row.p_components))},"
            f" {equal('q', number(row.q_components))}). "
        )
    return said.strip()


def confirmation(row: TraitSummary) -> str:
    """What the other judges say of the effect, as a plain sentence; empty where there are none."""
    if not row.n_judges_beside or _unsteered(row):
        return ""
    return (
        f"Of {whole(row.n_judges_beside)} {'other' if row.judges_shown is None else 'single'}"
        f" judge{'' if row.n_judges_beside == 1 else 's'}{'' if row.judges_shown is None else ' shown to work'},"
        f" {whole(row.n_judges_agreeing)} give the effect the same sign with an interval that leaves out zero."
    )


def verdict(row: TraitSummary) -> str:
    """The outcome for one trait in a few words, for a heading."""
    separated = (
        "separation not measured"
        if row.auc is None
        else "separation not tested"
        if row.p_shuffled is None
        else "separated"
        if "separation" in claims(row)
        else "not separated"
    )
    return f"{separated}; steering {row.ungraded or ('not measured' if _unsteered(row) else _verb(row))}"


def in_short(row: TraitSummary, model: str) -> str:
    """One sentence that a visitor takes in at a glance; the numbers with their tests follow below."""
    name, made = plain(row.trait), claims(row)
    of_model = f"{plain(model)}'s answers to prompts for and against it apart"
    separates = (
        f"The persona vector of {name} tells {of_model} (AUC {number(row.auc, 2)})"
        if "separation" in made
        else f"The persona vector of {name} is not shown to tell {of_model}"
    )
    if row.ungraded is not None:
        why = "the model does not express it" if row.ungraded == "not expressible" else "no judge here sees it surely"
        return f"{separates}; whether adding it makes answers more {name} is not graded, as {why}."
    if _unsteered(row):
        return f"{separates}; steering was not measured."
    size = f"{signed(row.effect, digits_of(row))} {unit_of(row)}"
    if "steering" in made:
        found = f"{size}, more than random directions do{_gated(row)}"
        return f"{separates}, and adding it makes answers more {name}: {found}."
    return f"{separates}; that adding it makes answers more {name} is not shown ({size})."


def _gated(row: TraitSummary) -> str:
    """What the gate of coherence says of the answers at the chosen setting, where too few pass it."""
    if row.coherent_share is None or row.coherent_share >= COHERENT_SHARE:
        return ""
    asked = f"and {COHERENT_SHARE:.0%} are asked for"
    return f"; but {row.coherent_share:.0%} of these answers pass the gate of coherence, {asked}"


def finding(row: TraitSummary) -> str:
    """What was found for one trait, as one plain sentence with its numbers; a negative result as plainly."""
    return f"{separation_sentence(row)}; {effect_sentence(row)}."


def separation_sentence(row: TraitSummary) -> str:
    """What was found of the separation, without the full stop."""
    if row.auc is None:
        return "Separation by the persona vector was not measured"
    if row.p_shuffled is None:
        return (
            f"The persona vector separates with AUC {interval(row.auc, row.auc_low, row.auc_high)}, which is not"
            " tested: so few pairs of system prompts have too few arrangements"
        )
    shown = "separation" in claims(row)
    outcome = (
        "tells held-out answers to positive from those to negative prompts"
        if shown
        else "does not tell held-out answers to positive from those to negative prompts better than"
        f" {_not_beaten(row)} would"
    )
    said = (
        f"The persona vector {outcome}: AUC {interval(row.auc, row.auc_low, row.auc_high)} at layer"
        f" {whole(row.best_layer)} ({_answers(row)}; {equal('p', number(row.p_shuffled))} among {whole(row.n_null)}"
        f" exchanges of whole prompts and {equal('p', number(row.p_random))} among"
        f" {'' if row.n_null_random is None else whole(row.n_null_random) + ' '}random directions;"
        f" {equal('q', number(row.q_separation))})"
    )
    if not shown and row.detectable_auc is not None:
        said += (
            f"; an AUC of {number(row.detectable_auc, 2)} or more at its best layer would exceed exchanged prompts in"
            " 80 % of repetitions"
        )
    return said


def _not_beaten(row: TraitSummary) -> str:
    """The nulls that the vector does not exceed, or chance over all claims where it exceeds each by itself."""
    nulls = {"exchanged prompts": row.p_shuffled, "random directions": row.p_random}
    above = [name for name, p in nulls.items() if p is None or not p <= Q_LEVEL]
    return " or ".join(above) or "chance among all claims of the run"


def _unsteered(row: TraitSummary) -> bool:
    return row.effect is None or row.chosen_coefficient is None or row.chosen_layer is None


def _answers(row: TraitSummary) -> str:
    """The answers of the test and those of the vector; earlier versions recorded the latter alone."""
    made = f"{whole(row.n_kept_positive)} and {whole(row.n_kept_negative)}"
    if row.n_test_positive is None:
        return f"a vector of {made} answers"
    counts = (
        f"{equal('n', whole(row.n_test_positive))} answers to positive and {whole(row.n_test_negative)} to negative"
    )
    return f"{counts} prompts, a vector of {made} others"


def effect_sentence(row: TraitSummary, *, vector: str = "it") -> str:
    """What was found of steering, to stand inside a sentence, without the full stop.

    Args:
        vector: what the sentence calls the vector.
    """
    if row.ungraded is not None and row.effect is None:
        return f"steering is not graded ({row.ungraded}): {GRADES[row.ungraded].partition(', so')[0]}"
    if row.chosen_coefficient is None or row.chosen_layer is None:
        return "no steering strength could be chosen, so no effect of steering is reported"
    place = f"adding {vector} at layer {row.chosen_layer} with coefficient {signed(row.chosen_coefficient)}"
    if row.effect is None:
        return f"the effect of {place} was not measured"
    size = f"{change(row.effect, row.effect_low, row.effect_high, digits=digits_of(row))} {unit_of(row)}"
    against = "" if row.effect_unit else " against unsteered"
    return (
        f"{place} {_verb(row)}: {size}{against} (judge: {judge_of(row)}{_by_people(row)};"
        f" {equal('n', whole(row.n_eval))} answers to {whole(row.n_eval_questions)} questions)"
        f"{_gated(row)}{_ranked(row)}"
    )


def _verb(row: TraitSummary) -> str:
    """What steering did: by its interval at the chosen setting, and by its rank among random directions.

    It raises expression only where both say so. Nothing else is tested, and nothing else is claimed.
    """
    assert row.effect is not None
    if row.effect_low is None or row.effect_high is None:
        return "has an effect on expression whose uncertainty could not be computed"
    if row.effect_low <= 0 <= row.effect_high:
        return "has no detectable effect on expression"
    if row.effect < 0:
        return "does not raise expression (it is lower, which is not tested)"
    if row.q_steering is None:
        return f"{RAISES}, which was not tested against random directions"
    return RAISES if row.q_steering <= Q_LEVEL else f"{RAISES}, but not beyond random directions of equal norm"


def _ranked(row: TraitSummary) -> str:
    """The test against random directions, and what it could have found where it found nothing."""
    if row.test_effect is None or row.p_steering is None:
        return ""
    unit, digits = "points" if row.effect_unit is None else unit_of(row), digits_of(row)
    said = (
        f"; at layer {whole(row.test_layer)} with coefficient {signed(row.test_coefficient)}, named beforehand, its"
        f" effect of {signed(row.test_effect, digits)} {unit} ranks with {equal('p', number(row.p_steering))},"
        f" {equal('q', number(row.q_steering))} among {whole(row.n_random)} random directions of equal norm"
    )
    if row.effect_random_low is not None:
        low, high = row.effect_random_low, row.effect_random_high
        said += f" ({extent(low, high, digits, sign=True)}{' points' if row.effect_unit is None else ''})"
    if row.detectable_effect is not None and not (row.q_steering is not None and row.q_steering <= Q_LEVEL):
        said += (
            f"; an effect of {signed(row.detectable_effect, digits)} {unit} or more would have"
            f" {equal('p', f'{ALPHA:g}')} or less by itself in 80 % of repetitions"
        )
    return said
