"""Writers, matched random units, outliers and probes: what is planted is found."""

import numpy as np
import pytest
import torch

from persona_interp.directions.attribution import Attribution
from persona_interp.directions.neuron_probe import neuron_probe
from persona_interp.directions.outliers import Outliers, find_outliers
from persona_interp.directions.writers import find_writers, matched_units
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.types import Hookpoint
from tests.contract.tiny import Tiny
from tests.small import direction, make_small

QUESTIONS = tuple(f"q{i}" for i in range(12))


def attribution(
    shift: float, *, trait: str = "loud", questions: tuple[str, ...] = QUESTIONS, seed: int = 0
) -> Attribution:
    """Random shares of which one neuron's and one head's are shifted."""
    generator = torch.Generator().manual_seed(seed)
    n = len(questions)
    neurons = 0.1 * torch.randn(n, 2, 30, generator=generator)
    heads = 0.1 * torch.randn(n, 2, 4, generator=generator)
    neurons[:, 1, 7] += shift
    heads[:, 0, 2] += shift / 2
    rest = torch.zeros(n, 2)
    embedding = torch.ones(n)
    projection = embedding + neurons.sum((1, 2)) + heads.sum((1, 2))
    return Attribution(
        trait, Hookpoint(1), questions, projection, embedding, heads, neurons, rest, rest, 10.0, torch.ones(n).long()
    )


def test_planted_writers_come_first_with_their_part() -> None:
    found = find_writers(attribution(2.0), attribution(0.0, seed=1))
    neurons, heads = found.table("neuron", n=5), found.table("head", n=3)
    assert tuple(neurons.iloc[0][["layer", "index"]]) == (1, 7) and neurons["p"].iloc[0] <= 0.05 < neurons["p"].iloc[1]
    assert tuple(heads.iloc[0][["layer", "index"]]) == (0, 2)
    assert neurons["low"].iloc[0] < 2.0 < neurons["high"].iloc[0]
    assert neurons["part"].iloc[0] == pytest.approx(neurons["share"].iloc[0] / found.total.estimate)
    parts = found.parts()
    assert parts["share"].sum() == pytest.approx(found.total.estimate, abs=1e-5)
    assert found.units_for("neuron") == 1


def test_only_shared_questions_count() -> None:
    found = find_writers(attribution(1.0), attribution(0.0, questions=QUESTIONS[2:5] + ("other",)))
    assert found.questions == QUESTIONS[2:5]
    with pytest.raises(EmptySelectionError, match="share no question"):
        find_writers(attribution(1.0), attribution(0.0, questions=("x", "y")))
    with pytest.raises(AlignmentError, match="got shares of loud at resid_post at layer 1 and of evil"):
        find_writers(attribution(1.0), attribution(0.0, trait="evil"))


def test_random_units_are_of_the_same_layers_and_sizes() -> None:
    sizes = np.random.default_rng(0).lognormal(sigma=2, size=(3, 400))
    places = [(0, 5), (2, 17), (2, 18)]
    drawn = matched_units(sizes, places, seed=0, draws=50)
    assert drawn == matched_units(sizes, places, seed=0, draws=50) != matched_units(sizes, places, seed=1, draws=50)
    for one in drawn:
        assert [layer for layer, _ in one] == [0, 2, 2] and not set(one) & set(places) and len(set(one)) == 3
        ratios = [sizes[place] / sizes[own] for place, own in zip(one, places, strict=True)]
        assert all(0.5 < ratio < 2 for ratio in ratios)
    few = matched_units(sizes[:, :4], [(1, 0), (1, 1), (1, 2)], seed=0, draws=20)
    assert all((1, 3) in one and {layer for layer, _ in one} <= {0, 1, 2} and len(set(one)) == 3 for one in few)
    with pytest.raises(EmptySelectionError, match="6 units are too few to draw 4 others at random"):
        matched_units(sizes[:, :2], [(0, 0), (0, 1), (1, 0), (1, 1)], seed=0, draws=1)
    with pytest.raises(ConfigError, match="units must be of layers 0 to .* got \\(9, 0\\)"):
        matched_units(sizes, [(9, 0)], seed=0, draws=1)
    with pytest.raises(ConfigError, match="sizes of units must be finite"):
        matched_units(sizes * np.nan, [(0, 0)], seed=0, draws=1)


def test_few_neurons_tell_a_planted_trait_and_random_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    questions = np.repeat([f"q{i:02}" for i in range(12)], 4)
    positive = np.tile([True, False], 24)
    neurons = rng.standard_normal((48, 200))
    neurons[:, 11] += 2.5 * positive
    residuals = neurons @ rng.standard_normal((200, 16))
    table = neuron_probe(
        neurons, residuals, positive, questions, ks=(1, 4), n_permutations=19, n_random=40, progress=False
    )
    sparse = table[table["readout"] == "sparse"].set_index("k")
    random = table[table["readout"] == "random"].set_index("k")
    assert sparse.loc[1, "auc"] > 0.9 and sparse.loc[1, "p"] == sparse.loc[1, "p"] <= 0.05
    assert sparse.loc[1, "p_random"] <= 0.05
    assert random.loc[1, "auc"] < 0.65 and random.loc[1, "low"] < 0.5 < random.loc[1, "high"]
    assert sparse.loc[1, "low"] < sparse.loc[1, "auc"] <= sparse.loc[1, "high"]


def test_a_diffuse_trait_is_told_by_any_neurons() -> None:
    rng = np.random.default_rng(0)
    questions, positive = np.repeat([f"q{i:02}" for i in range(12)], 4), np.tile([True, False], 24)
    neurons = rng.standard_normal((48, 200)) + 1.5 * positive[:, None]
    table = neuron_probe(
        neurons, neurons[:, :8], positive, questions, ks=(8,), n_permutations=0, n_random=40, progress=False
    )
    assert table.loc[table["readout"] == "sparse", "p_random"].iloc[0] > 0.05
    assert table.loc[table["readout"] == "random", "auc"].iloc[0] > 0.95


def test_probes_refuse_what_they_cannot_do() -> None:
    values, positive = np.zeros((8, 4)), np.tile([True, False], 4)
    questions = np.repeat(["a", "b"], 4)
    with pytest.raises(AlignmentError, match="n_folds must be 2 or more, up to the 2 questions, got 5"):
        neuron_probe(values, values, positive, questions, ks=(1,))
    with pytest.raises(EmptySelectionError, match="k must be at most the 4 neurons that there are, got 9"):
        neuron_probe(values, values, positive, questions, ks=(9,), n_folds=2)
    some = np.random.default_rng(0).normal(size=(8, 4))
    for poles in (np.ones(8, dtype=bool), questions == "a"):
        with pytest.raises(AlignmentError, match="both poles outside of every fold"):
            neuron_probe(some, some, poles, questions, ks=(1,), n_folds=2)
    with pytest.raises(AlignmentError, match="must be finite"):
        neuron_probe(np.full_like(some, np.nan), some, positive, questions, ks=(1,), n_folds=2)
    with pytest.raises(EmptySelectionError, match="no neuron differs"):
        neuron_probe(values, some, positive, questions, ks=(1,), n_folds=2)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("small"))


def test_planted_outliers_are_found(small: Tiny) -> None:
    model = small.hooked("nnsight")
    plain = find_outliers(model, 1, ["abc def", "ghi"], ["jkl", "mno pqr"], progress=False)
    assert plain.n_positions == (0, 0) and plain.dimensions == ()
    norms = (torch.tensor([100.0, 1.0, 1.1]), torch.tensor([0.9, 50.0, 1.0, 1.0]))
    sizes = torch.ones(6)
    sizes[[4, 2]] = torch.tensor([30.0, 12.0])
    found = Outliers(Hookpoint(1), 10.0, norms, sizes, (1, 1))
    assert found.dimensions == (4, 2) and found.n_positions == (1, 1) and found.largest == 100
    assert found.keep == [[True, True], [False, True, True]]
    whole = direction(torch.arange(1.0, 13.0).reshape(2, 6))
    left = found.without(whole)
    assert left.vectors[1].tolist() == [7, 8, 0, 10, 0, 12] and torch.equal(left.vectors[0], whole.vectors[0])
    with pytest.raises(EmptySelectionError, match="there is no sample"):
        find_outliers(model, 1, [], [], progress=False)
    only = direction(torch.tensor([[1.0] * 6, [0, 0, 1.0, 0, 1.0, 0]]))
    with pytest.raises(ConfigError, match="nothing is left of loud"):
        found.without(only)


def test_token_norms_are_over_the_median_of_all(small: Tiny) -> None:
    found = find_outliers(small.hooked("nnsight"), 1, ["abc def", "ghi"], ["jkl", "mno pqr"], progress=False)
    together = torch.cat(found.token_norms)
    assert float(together.median()) == pytest.approx(1.0)
    assert float(found.sizes.median()) == pytest.approx(1.0)
    assert [len(norms) for norms in found.token_norms] == [
        n + len(keep) for n, keep in zip(found.n_prompt, found.keep, strict=True)
    ]
