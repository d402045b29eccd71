"""What the tables of adapters are, for those who write them and those who read them."""

from persona_interp.tables import Form, numbers, texts, truths, wholes

LOSSES = Form("psychadapter_losses", (
    *wholes("step"), *wholes("epoch", optional=True), *numbers("loss", unit="nats a token"),
    *numbers("grad_norm learning_rate", optional=True), *wholes("n_tokens", optional=True),
), open=True)  # fmt: skip

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
