"""Hard pairs of answers: subtle, against valence, of one topic and length. They test judges and tune nothing."""

from dataclasses import asdict
from importlib import resources

from persona_interp.arguments import checked
from persona_interp.data.traits import Exemplar, Trait
from persona_interp.errors import TraitError
from persona_interp.io import read_json, sha256_json

_LOW = "low_"


@checked
def hard_pairs(trait: Trait) -> tuple[Exemplar, ...]:
    """The pairs written for the trait of this name, none of them an exemplar; empty for other traits.

    The low pole of a trait has the same pairs, their answers exchanged.

    Raises:
        TraitError: a pair is no object of question, pos and neg.
    """
    is_low = trait.name.startswith(_LOW)
    file = resources.files("persona_interp.data").joinpath("hard_pairs", f"{trait.name.removeprefix(_LOW)}.json")
    with resources.as_file(file) as path:
        if not path.is_file():
            return ()
        rows = read_json(path)
    try:
        pairs = [Exemplar(row["question"], row["pos"], row["neg"]) for row in rows]
    except (KeyError, TypeError) as error:
        raise TraitError(
            f"the hard pairs of {trait.name} are not in the expected form.", "Install persona-interp again."
        ) from error
    return tuple(Exemplar(p.question, p.neg, p.pos) if is_low else p for p in pairs)


def pairs_hash(trait: Trait) -> str:
    """What scores of the hard pairs of a trait belong to: a hash of all of them."""
    return sha256_json([asdict(pair) for pair in hard_pairs(trait)])[:16]
