"""What a row of a table of steered answers stands for."""

TREATMENT = "treatment"
"""The direction in question."""

NULL = "null_draw"
"""A random direction, one draw of the null (not `null`, which readers of CSV files take for a missing value)."""

CONTROL = "control"
"""Another way to the same end, such as a prompt that asks for it."""

UNSTEERED = "unsteered"
"""No change at all."""
