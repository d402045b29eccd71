"""What the table of answers is, for those who write it and those who read it."""

from persona_interp.tables import Form, numbers, texts, wholes

INVENTORY_ANSWERS = Form("inventory_answers", (
    *texts("model condition inventory", filled=True), *wholes("respondent"), *texts("wording format order"),
    *wholes("item"), *texts("scale"), *wholes("key"), *numbers("answer keyed", unit="points of the scale"),
    *numbers("log_odds", unit="nats"), *numbers("mass"), *wholes("chosen chosen_position"),
))  # fmt: skip
