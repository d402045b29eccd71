"""What the tables of styles, adapters and inventories are, for those who write them and those who read them."""

from persona_interp.tables import Form, numbers, texts, truths, wholes

STYLE_PROBE = Form("style_probe", (
    *texts("style readout"), *wholes("layer"), *texts("stream"), *numbers("auc low high"),
    *numbers("null_95 null_max_95 p", optional=True), *numbers("p_max detectable"),
    *wholes("n_train n_train_style", optional=True), *wholes("n_test"), *wholes("n_test_style", optional=True),
    *numbers("q"), *texts("declared"), *texts("model", optional=True), *texts("corpus"),
), open=True)  # fmt: skip
STYLE_JUDGES = Form("style_judges", (
    *texts("style judge"), *numbers("auc low high"), *wholes("n n_style"), *texts("note model corpus", optional=True),
), open=True)  # fmt: skip
STYLE_STEERING = Form("style_steering", (
    *texts("style prompts method layers"), *numbers("coefficient", unit="mean residual norms"),
    *texts("role", optional=True), *texts("judge"),
    *numbers("estimate low high effect effect_low effect_high", unit="points"),
    *numbers("p", optional=True), *numbers("q"), *wholes("n n_questions"), *numbers("p_random", optional=True),
    *numbers("null_low null_high", unit="points", optional=True), *wholes("n_random", optional=True),
    *numbers("coherent_share"), *truths("coherent", optional=True), *truths("chosen"), *numbers("q_random"),
    *texts("declared"), *numbers("detectable", unit="points"), *texts("model", optional=True), *texts("corpus"),
), open=True)  # fmt: skip
"""`layers` is a text: several are joined by +."""

ADAPTER_TEXTS = Form("psychadapter_texts", (
    *wholes("sample"), *texts("opening trait", filled=True), *numbers("z", unit="standard deviations"),
    *texts("text judged judge", filled=True), *numbers("score", unit="points"), *texts("model method"),
))  # fmt: skip
ADAPTER_NLL = Form("psychadapter_nll", (
    *texts("trait metric condition"), *numbers("estimate low high", unit="nats a token"), *wholes("n"),
    *numbers("p"), *numbers("detectable", unit="nats a token"), *numbers("q"),
    *texts("declared model method data", optional=True), *wholes("n_shuffles", optional=True),
), open=True)  # fmt: skip
ADAPTER_EXPRESSION = Form("psychadapter_expression", (
    *texts("trait judged judge"), *numbers("z", unit="standard deviations"),
    *numbers("estimate low high", unit="points"), *wholes("n"), *texts("model method", optional=True),
), open=True)  # fmt: skip
ADAPTER_EFFECTS = Form("psychadapter_offtarget", (
    *texts("trait judged judge"), *truths("on_target"),
    *numbers("estimate low high", unit="points a standard deviation"), *wholes("n n_openings"), *numbers("p"),
    *numbers("null_95 spearman spearman_low spearman_high rising", optional=True),
    *numbers("detectable", unit="points a standard deviation"), *numbers("q"), *texts("declared"),
    *texts("model method", optional=True),
), open=True)  # fmt: skip
ADAPTER_INDUCED = Form("psychadapter_induced", (
    *texts("trait"), *wholes("layer"), *texts("metric"), *numbers("estimate low high"), *wholes("n"),
    *texts("method model reference reference_method", optional=True), *truths("own", optional=True),
    *numbers("null_95 p others", optional=True), *texts("best_other", optional=True),
    *truths("equal", optional=True), *texts("position", optional=True), *numbers("q", optional=True),
    *texts("declared", optional=True),
), open=True)  # fmt: skip
"""`reference` and what follows, `position` apart, is of cosines."""

ADAPTER_COST = Form("psychadapter_cost", (
    *texts("metric"), *numbers("estimate low high"), *wholes("n"), *texts("model method trait", optional=True),
), open=True)  # fmt: skip

INVENTORY_SCORES = Form("inventory_scores", (
    *texts("model condition inventory"), *texts("judge", optional=True), *texts("format"),
    *texts("normalise", optional=True), *texts("scale pole"),
    *numbers("estimate low high", unit="points of the scale"), *wholes("n"),
    *wholes("n_negative n_wordings n_orders n_respondents", optional=True),
    *numbers("minimum midpoint maximum acquiescence acquiescence_low acquiescence_high", unit="points of the scale"),
    *numbers("mass"), *numbers("detectable", unit="points of the scale"), *texts("note", optional=True),
), open=True)  # fmt: skip
INVENTORY_RELIABILITY = Form("inventory_reliability", (
    *texts("model condition inventory"), *texts("judge", optional=True), *texts("format scale metric over"),
    *numbers("estimate low high null_low null_high"), *numbers("p", optional=True), *wholes("n"),
    *texts("note", optional=True), *numbers("q", optional=True), *texts("declared", optional=True),
), open=True)  # fmt: skip
INVENTORY_CHANGES = Form("inventory_changes", (
    *texts("model condition inventory"), *texts("judge", optional=True), *texts("format"),
    *texts("normalise", optional=True), *texts("scale compared_with measure"), *numbers("estimate low high"),
    *wholes("n"), *numbers("before after acquiescence_change", optional=True), *numbers("p detectable q"),
    *texts("declared"),
), open=True)  # fmt: skip
INVENTORY_TYPES = Form("inventory_types", (
    *texts("scale first second"), *numbers("estimate low high"), *wholes("n", optional=True),
    *numbers("probability", optional=True), *texts("letter"), *truths("decided"),
    *texts("model condition inventory format"), *texts("judge", optional=True), *texts("type modal"),
    *numbers("modal_probability", optional=True), *texts("credible"),
), open=True)  # fmt: skip
