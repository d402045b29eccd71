"""What the tables of inventories are, for those who write them and those who read them."""

from persona_interp.tables import Form, numbers, texts, truths, wholes

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
