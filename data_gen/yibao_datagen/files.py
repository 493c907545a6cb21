"""Tables to a Parquet file, or one of commas, in bounded memory: the same rows give the same bytes, in whatever parts they come."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

GROUP_ROWS = 1 << 18


def write_parquet(parts: Iterable[pa.Table], out: Path) -> int:
    """Write the rows of all parts to a file; return how many they are.

    It is written beside `out` first, so that an interrupted run leaves no half file under its name.
    """
    unfinished = out.with_name(f"{out.name}.{os.getpid()}.part")
    rows = 0
    writer: pq.ParquetWriter | None = None
    try:
        for group in _groups(parts):
            if writer is None:
                writer = pq.ParquetWriter(unfinished, group.schema, compression="lz4", store_decimal_as_integer=True)
            writer.write_table(group, row_group_size=GROUP_ROWS)
            rows += len(group)
        if writer is None:
            raise ValueError(f"{out}: expected at least one table, got none")
        writer.close()
        writer = None
        unfinished.replace(out)
    finally:
        if writer is not None:
            writer.close()
        unfinished.unlink(missing_ok=True)
    return rows


def write_csv(parts: Iterable[pa.Table], out: Path, encoding: str = "utf-8") -> int:
    """Write the rows of all parts as text with commas, in UTF-8 or, as old offices do, GBK; return how many they are.

    Money that is float64 is written with all its digits.
    """
    unfinished = out.with_name(f"{out.name}.{os.getpid()}.part")
    rows, given = 0, False
    try:
        with unfinished.open("wb") as file:
            for part in parts:
                options = pacsv.WriteOptions(include_header=not given, quoting_style="needed")
                given = True
                sink = pa.BufferOutputStream()
                texts = [
                    column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
                    for column in part.columns
                ]
                pacsv.write_csv(pa.table(texts, names=part.column_names), sink, options)
                file.write(sink.getvalue().to_pybytes().decode("utf-8").encode(encoding))
                rows += len(part)
        if not given:
            raise ValueError(f"{out}: expected at least one table, got none")
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def _groups(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Give the rows in tables of GROUP_ROWS, the last one shorter."""
    held: list[pa.Table] = []
    count = 0
    given = False
    for part in parts:
        held.append(part)
        count += len(part)
        while count >= GROUP_ROWS:
            table = _joined(held)
            yield _joined([table.slice(0, GROUP_ROWS)])
            given = True
            held = [table.slice(GROUP_ROWS)]
            count = len(held[0])
    if count or (held and not given):
        yield _joined(held)


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()
