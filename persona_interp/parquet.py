"""Parquet files of tables, read whole where they are no larger than tables are, with their texts checked."""

import io

from pandas import DataFrame

MOST_CELLS = 20_000_000
"""Of a table that is read whole: those of the largest runs have a few million."""
DAMAGED = (ValueError, OSError, RecursionError, OverflowError, KeyError, TypeError, AttributeError, MemoryError)
"""What pandas and Arrow raise at damaged files; Arrow's own errors are among them."""


def parse_parquet(data: bytes) -> DataFrame:
    """The table in a Parquet file.

    Raises:
        ValueError: it unpacks to more cells than any table has, or holds texts that are not UTF-8; else as `DAMAGED`.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(data))
    about = file.metadata
    if about.num_rows * about.num_columns > MOST_CELLS:
        raise ValueError(f"it has {about.num_rows:,} rows of {about.num_columns:,} columns, more than any table")
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        raise ValueError("it has two columns of one name")
    table = file.read()
    table.validate(full=True)
    return table.to_pandas()
