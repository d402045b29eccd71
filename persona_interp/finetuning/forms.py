"""What the tables of training are, for those who write them and those who read them."""

from persona_interp.tables import Column, Form, numbers, texts

DRIFT = Form("drift", (
    Column("step", "whole", filled=True), *texts("trait", filled=True), Column("layer", "whole", filled=True),
    *numbers("shift low high projection", unit="residual units"), *numbers("expression", unit="points"),
    *texts("action", filled=True),
))  # fmt: skip
LEVEL_SCORES = Form("scores", (
    *texts("question level answer", filled=True), *texts("asked", filled=True, optional=True),
    *numbers("expression", unit="points"),
))  # fmt: skip
