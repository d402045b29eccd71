"""How numbers and texts are written in sentences and on the page."""

import math
import re

UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def interval(estimate: float | None, low: float | None, high: float | None, *, digits: int = 2) -> str:
    """`0.93 [0.88, 0.97]`, with a sign where the quantity is a difference (one digit)."""
    show = signed if digits == 1 else number
    if estimate is None or not math.isfinite(estimate):
        return number(None)
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return f"{show(estimate, digits)} [no interval]"
    return f"{show(estimate, digits)} [{show(low, digits)}, {show(high, digits)}]"


def change(estimate: float | None, low: float | None, high: float | None, *, digits: int) -> str:
    """`+1.20 [+0.81, +1.64]`: a difference, with signs and as many digits as its unit asks for."""
    if estimate is None or not math.isfinite(estimate):
        return number(None)
    known = low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    bounds = f"{signed(low, digits)}, {signed(high, digits)}" if known else "no interval"
    return f"{signed(estimate, digits)} [{bounds}]"


def extent(low: float | None, high: float | None, digits: int = 1, *, sign: bool | None = None) -> str:
    """`−2.8 to +3.1`, signed as `interval` does unless said; `not computed` without both ends."""
    show = signed if (digits == 1 if sign is None else sign) else number
    return "not computed" if low is None or high is None else f"{show(low, digits)} to {show(high, digits)}"


def equal(symbol: str, value: str) -> str:
    """`n = 40` that is not broken across lines."""
    return f"{symbol}\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{value}"


def number(value: float | None, digits: int | None = None) -> str:
    """A number to `digits` places, or to three significant digits; `not computed` if there is none."""
    if value is None or not math.isfinite(value):
        return "not computed"
    return (f"{value:.3g}" if digits is None else f"{value:.{digits}f}").replace("-", "−")


def signed(value: float | None, digits: int | None = None) -> str:
    """A number with its sign, zero without one."""
    text = number(value, digits)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 else text


def whole(value: int | None) -> str:
    """A count or a layer as text."""
    return "not recorded" if value is None else f"{value:,}"


def plain(text: str) -> str:
    """Text from data with control characters and direction overrides made visible."""
    return UNREADABLE.sub("\ufffd", text.replace("\r\n", "\n"))
