"""The levels that the whole project tests and reports at, in one place."""

CONFIDENCE = 0.95
"""Of every interval, unless the caller says otherwise."""

ALPHA = 0.05
"""Of every test: rejected where p, or q where several tests are reported together, is at most this."""

POWER = 0.80
"""A smallest detectable effect is the one found in this share of repetitions."""

NULL_QUANTILE = 1 - ALPHA
"""The quantile of a null that figures and tables show as its upper bound."""

N_RESAMPLES = 2000
"""Bootstrap draws of an interval."""

N_DRAWS = 2000
"""Draws of a null: its smallest p-value, 1 / 2001, survives a correction over 100 tests."""
