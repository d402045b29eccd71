"""Wrong kinds of arguments."""

from tests.integration.inputs.row import Command, Row

ROWS: tuple[Row, ...] = (
    Command(
        "unknown trait", ("extract", "evill", "--out", "{tmp}/o", "--model", "{model}"), 1, "no trait is called 'evill'"
    ),
)
