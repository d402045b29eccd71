"""What the tables of adapters are, for those who write them and those who read them."""

from persona_interp.tables import Form, numbers, texts, wholes

LOSSES = Form("psychadapter_losses", (
    *wholes("step"), *wholes("epoch", optional=True), *numbers("loss", unit="nats a token"),
    *numbers("grad_norm learning_rate", optional=True), *wholes("n_tokens", optional=True),
), open=True)  # fmt: skip

ADAPTER_TEXTS = Form("psychadapter_texts", (
    *wholes("sample"), *texts("opening trait", filled=True), *numbers("z", unit="standard deviations"),
    *texts("text judged judge", filled=True), *numbers("score", unit="points"), *texts("model method"),
))  # fmt: skip
