"""What the tables of style vectors are, for those who write them and those who read them."""

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
