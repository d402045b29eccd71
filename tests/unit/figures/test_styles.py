"""Figures of styles: what is drawn is what the tables say."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.figures.style import paper_style
from persona_interp.studies.styles.figures import draw_style_probe, draw_style_steering, plot_style_probe, steering_rows

JUDGE = "embedding (x)"


def probe_table() -> pd.DataFrame:
    rows = []
    for style in ("a", "b", "c", "d"):
        for readout, base in (("logistic probe", 0.6), ("style vector", 0.5)):
            for k, (layer, stream) in enumerate([(0, "resid_pre"), (0, "resid_post"), (1, "resid_post")]):
                auc = base + 0.1 * k
                rows.append(
                    {"model": "m/x", "corpus": "k", "style": style, "readout": readout, "layer": layer, "auc": auc,
                     "stream": stream, "low": auc - 0.1, "high": auc + 0.1, "null_95": 0.6, "null_max_95": 0.65}
                )  # fmt: skip
    return pd.DataFrame(rows)


def steering_table() -> pd.DataFrame:
    arms = [
        ("unsteered", "", 0.0, False), ("prompt", "", 0.0, True), ("random 0", "1", 0.2, False),
        ("style_vector", "1", 0.2, False), ("style_vector", "1", 0.4, True), ("style_vector", "1+2", 0.2, True),
    ]  # fmt: skip
    rows = []
    for style in ("a", "b"):
        for prompts in ("factual", "subjective"):
            for k, (method, layers, coefficient, chosen) in enumerate(arms):
                plain = method == "unsteered"
                rows.append(
                    {"corpus": "k", "style": style, "prompts": prompts, "method": method, "layers": layers,
                     "coefficient": coefficient, "judge": JUDGE, "estimate": 50.0, "low": 40.0, "high": 60.0,
                     "effect": np.nan if plain else float(k), "effect_low": k - 1.0, "effect_high": k + 1.0,
                     "null_low": -1.0 if layers else np.nan, "null_high": 1.0 if layers else np.nan,
                     "coherent": coefficient < 0.4, "chosen": chosen}
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_the_probe_has_a_line_a_readout_and_hollow_points_for_embeddings() -> None:
    with paper_style():
        ax = Figure().subplots()
        table = probe_table()
        plot_style_probe(table[table["style"] == "a"], ax, layers=[1])
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["logistic probe"].get_ydata(), [0.7, 0.8])
    np.testing.assert_allclose(lines["style vector"].get_ydata(), [0.6, 0.7])
    hollow = [line for line in ax.get_lines() if line.get_gid() == "embedding"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in hollow] == [(-1, 0.6), (-1, 0.5)]


def test_there_is_a_panel_a_style() -> None:
    with paper_style():
        (drawn,) = draw_style_probe(probe_table(), layers=[1])
    assert [ax.get_title(loc="left") for ax in drawn.figure.axes if ax.axison] == ["a", "b", "c", "d"]
    assert drawn.name == "style_probe_k" and "k, m/x: held-out AUC" in drawn.caption
    both = pd.concat([probe_table(), probe_table().assign(model="n")])
    with paper_style():
        assert [each.name for each in draw_style_probe(both)] == ["style_probe_k_m-x", "style_probe_k_n"]


def test_blocks_read_from_a_file_are_named_as_before(tmp_path: Path) -> None:
    table = steering_table()
    table = table[~table["layers"].str.contains("+", regex=False)]
    table.to_csv(tmp_path / "t.csv", index=False)
    again = steering_rows(pd.read_csv(tmp_path / "t.csv"))
    assert again["trait"].tolist() == steering_rows(table)["trait"].tolist()


def test_the_forest_shows_the_chosen_coefficients() -> None:
    rows = steering_rows(steering_table())
    assert rows["trait"].drop_duplicates().tolist() == [
        "prompted", "activations, layer 1", "activations, layers 1+2"
    ]  # fmt: skip
    assert rows.loc[rows["trait"] == "activations, layer 1", "coefficient"].unique() == [0.4]
    at = steering_rows(steering_table(), coefficient=0.2)
    assert set(at["coefficient"]) == {0.0, 0.2} and "prompted" in set(at["trait"])


def test_points_are_effects_and_hollow_where_incoherent() -> None:
    with paper_style():
        (drawn,) = draw_style_steering(steering_table())
    axes = [ax for ax in drawn.figure.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in axes] == ["a", "b"]
    points = {
        (line.get_label(), float(line.get_xdata()[0])) for line in axes[0].get_lines() if line.get_marker() == "o"
    }
    assert {("factual", 1.0), ("subjective", 4.0), ("factual", 5.0)} <= points
    hollow = [line for line in axes[0].get_lines() if line.get_gid() == "incoherent"]
    assert [float(line.get_xdata()[0]) for line in hollow] == [4.0, 4.0]
