"""Pages of exported rows, as JSON or CSV text that DuckDB writes whole: no row ever becomes a Python object.

Quoting costs more than all the rest, and hardly any column needs it: so the sync notes at its end which columns do.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from scc.sandbox.store import Store, literal

# What a JSON text must escape, and what makes an RFC 4180 cell need quotes.
JSON_ODD = '["\\\\\\x00-\\x1f]'
CSV_ODD = '[",\\r\\n]'
WORTH_HALVING = 5000  # rows
_helpers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sandbox-page")
EITHER_ODD = '["\\\\,\\x00-\\x1f]'


@dataclass
class Rows:
    """The rows of an export: a table with columns c0, c1 ..., the names they are shown by, and what must be quoted."""

    table: str
    names: list[str]
    count: int
    json_odd: frozenset[int]
    csv_odd: frozenset[int]
    size: int  # bytes of the values


def looked_at(store: Store, table: str, names: list[str]) -> Rows:
    """Take stock of a table of rows that will not change any more."""
    columns = [f"c{i}" for i in range(len(names))]
    everything = f"concat({', '.join(columns)})"
    count, odd, size = store.rows(f"""SELECT count(*), count(*) FILTER (regexp_matches(t, '{EITHER_ODD}')),
        coalesce(sum(strlen(t)), 0) FROM (SELECT {everything} AS t FROM {table})""")[0]
    found: list[frozenset[int]] = [frozenset(), frozenset()]
    if odd:
        for k, pattern in enumerate((JSON_ODD, CSV_ODD)):
            tests = ", ".join(f"bool_or(regexp_matches({c}, '{pattern}'))" for c in columns)
            flags = store.rows(f"SELECT {tests} FROM {table} WHERE regexp_matches({everything}, '{EITHER_ODD}')")[0]
            found[k] = frozenset(i for i, flag in enumerate(flags) if flag)
    return Rows(table, names, count, found[0], found[1], int(size))


def json_rows(store: Store, rows: Rows, limit: int, offset: int) -> bytes:
    """Objects with a comma between them, in the order of the table."""
    parts, before = [], "{"
    for i, name in enumerate(rows.names):
        key = before + json.dumps(name, ensure_ascii=False) + ":"
        if i in rows.json_odd:
            parts += [literal(key), f"to_json(c{i})"]
            before = ","
        else:
            parts += [literal(key + '"'), f"c{i}"]
            before = '",'
    parts.append(literal("}" if before == "," else '"}'))
    return joined(store, rows, f"concat({', '.join(parts)})", ",", limit, offset)


def csv_rows(store: Store, rows: Rows, limit: int, offset: int) -> bytes:
    """RFC 4180 lines, each with its end (eloqua.md 6, point 13)."""
    cells = [quoted_cell(f"c{i}") if i in rows.csv_odd else f"c{i}" for i in range(len(rows.names))]
    line = ", ',', ".join(cells)
    return joined(store, rows, f"concat({line}, chr(13), chr(10))", "", limit, offset)


def csv_header(names: list[str]) -> bytes:
    cells = ['"' + n.replace('"', '""') + '"' if any(mark in n for mark in '",\r\n') else n for n in names]
    return (",".join(cells) + "\r\n").encode()


def quoted_cell(column: str) -> str:
    return (
        f"CASE WHEN regexp_matches({column}, '{CSV_ODD}') THEN '\"' || replace({column}, '\"', '\"\"') || '\"' "
        f"ELSE {column} END"
    )


def joined(store: Store, rows: Rows, row: str, between: str, limit: int, offset: int) -> bytes:
    """The texts of a page's rows in one piece.

    DuckDB works at one page with one thread, for it lies within a block of rows: two halves keep two busy.
    """
    end = min(offset + limit, rows.count)
    middle = (offset + end) // 2
    if end - offset < WORTH_HALVING:
        return piece(store, rows, row, between, offset, end)
    half = _helpers.submit(piece, store, rows, row, between, middle, end)
    try:
        first = piece(store, rows, row, between, offset, middle)
    finally:
        wait([half])
    return between.encode().join((first, half.result()))


def piece(store: Store, rows: Rows, row: str, between: str, start: int, end: int) -> bytes:
    """As a blob: DuckDB's UTF-8 goes out as it is."""
    return store.value(f"""SELECT encode(string_agg({row}, {literal(between)} ORDER BY rowid)) FROM {rows.table}
                           WHERE rowid >= {start} AND rowid < {end}""")
