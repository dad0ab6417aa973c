"""Many records in one statement: rows travel into DuckDB as one JSON text (binding thousands of values costs more)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scc.sandbox.store import quoted, text

if TYPE_CHECKING:
    from scc.sandbox.salesforce.schema import SObject
    from scc.sandbox.store import Store

TEXTS = "(SELECT unnest(from_json(?, '[\"VARCHAR\"]')))"


def texts(values: Iterable[Any]) -> str:
    """The parameter of `IN {TEXTS}`."""
    return json.dumps([str(value) for value in values])


def by_id(store: Store, known: SObject, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Records with these ids, deleted and hidden ones too, with the column hidden_."""
    if not ids:
        return {}
    found = store.dicts(f"SELECT * FROM {known.table} WHERE Id IN {TEXTS}", [texts(ids)])
    return {row["Id"]: row for row in found}


def insert(store: Store, known: SObject, records: Sequence[Mapping[str, Any]]) -> None:
    """records: complete rows by column name, all with the same names."""
    if records:
        names = list(records[0])
        columns = ", ".join(quoted(name) for name in names)
        store.execute(f"INSERT INTO {known.table} ({columns}) {unpacked(known, names)}", [packed(names, records)])


def update(store: Store, known: SObject, names: Collection[str], records: Sequence[Mapping[str, Any]]) -> None:
    """Write these columns of records that exist, found by Id."""
    if records and names:
        names = ["Id", *(name for name in names if name != "Id")]
        sets = ", ".join(f"{quoted(name)} = v.{quoted(name)}" for name in names[1:])
        store.execute(
            f"UPDATE {known.table} SET {sets} FROM ({unpacked(known, names)}) v WHERE {known.table}.Id = v.Id",
            [packed(names, records)],
        )


def log(
    store: Store, known: SObject, kind: str, names: Collection[str], changes: Sequence[tuple[str, Mapping, Mapping]]
) -> None:
    """Log changes of one kind: (id, old, new) each; an update that changed nothing is not one."""
    if kind == "update":
        names = [n for n in names if any(old.get(n) != new.get(n) for _, old, new in changes)]
        changes = [c for c in changes if any(c[1].get(n) != c[2].get(n) for n in names)]
    names = list(names)
    if not changes:
        return
    batch = store.new_batch("salesforce", known.name, names)
    entries = [
        {"i": i, "o": [text(old.get(n)) for n in names], "n": [text(new.get(n)) for n in names]}
        for i, old, new in changes
    ]
    store.execute(
        """INSERT INTO log.mutation SELECT ?, v.i, ?, v.o, v.n FROM
           (SELECT unnest(from_json(?, '[{"i":"VARCHAR","o":["VARCHAR"],"n":["VARCHAR"]}]')) AS v)""",
        [batch, kind, json.dumps(entries)],
    )


def packed(names: Sequence[str], records: Iterable[Mapping[str, Any]]) -> str:
    return json.dumps([[text(record.get(name)) for name in names] for record in records])


def unpacked(known: SObject, names: Sequence[str]) -> str:
    """SQL of the rows that `packed` made, typed as the object's columns are."""
    types = {f.name: f.sql_type for f in known.fields.values()}
    columns = ", ".join(
        f"CAST(v[{i}] AS {types.get(name, 'BOOLEAN')}) AS {quoted(name)}" for i, name in enumerate(names, 1)
    )
    return f"SELECT {columns} FROM (SELECT unnest(from_json(?, '[[\"VARCHAR\"]]')) AS v)"
