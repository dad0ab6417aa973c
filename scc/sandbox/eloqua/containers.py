"""What records are members of: lists, segments, filters, e-mail groups, steps of a canvas (eloqua.md 3.2, 3.6, 3.7).

Lists of contacts and e-mail groups belong to people.py; here are those of accounts, and segments and filters, whose members
are whoever fits an EEL condition at the moment of asking.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.eel import Condition, compile_filter
from scc.sandbox.eloqua.entities import Entity, stamp
from scc.sandbox.store import Store

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

CONTAINER = re.compile(r"\{\{(ContactList|AccountList|ContactSegment|ContactFilter|EmailGroup)\[(\d{1,18})\]\}\}")
INSTANCE = re.compile(r"\{\{(?:Action|Decision)Instance\(([0-9A-Fa-f-]{32,36})\)(?:\.Execution\[\d+\])?\}\}")
TABLES = """
    CREATE TABLE IF NOT EXISTS eloqua.account_list (Id BIGINT, name VARCHAR, created_at TIMESTAMP, updated_at TIMESTAMP);
    CREATE TABLE IF NOT EXISTS eloqua.account_list_member (list_id BIGINT, account_id BIGINT);
    CREATE TABLE IF NOT EXISTS eloqua.chosen (kind VARCHAR, Id BIGINT, name VARCHAR, condition VARCHAR, created_at TIMESTAMP);
    CREATE TABLE IF NOT EXISTS eloqua.step_status (instance VARCHAR, record_id BIGINT, status VARCHAR);
"""
PATHS = {
    "ContactList": "/contacts/lists",
    "AccountList": "/accounts/lists",
    "ContactSegment": "/contacts/segments",
    "ContactFilter": "/contacts/filters",
    "EmailGroup": "/emailGroups",
}


def create_container_tables(store: Store) -> None:
    store.execute(TABLES)


class Containers:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._clock = eloqua, eloqua.store, eloqua.clock

    # -- what statements name -----------------------------------------------------------------------------------------

    def find(self, statement: Any) -> tuple[str, int] | None:
        """Kind and id of the container that a statement names, None when there is none such."""
        match = CONTAINER.fullmatch(statement.strip()) if isinstance(statement, str) else None
        if not match:
            return None
        kind, number = match[1], int(match[2])
        table = {"ContactList": "eloqua.list", "AccountList": "eloqua.account_list", "EmailGroup": "eloqua.email_group"}
        if kind in table:
            found = self._store.value(f"SELECT count(*) FROM {table[kind]} WHERE Id = ?", [number])
        else:
            found = self._store.value("SELECT count(*) FROM eloqua.chosen WHERE kind = ? AND Id = ?", [kind, number])
        return (kind, number) if found else None

    def instance(self, statement: Any) -> str | None:
        """The id of the step that a statement names, without dashes; the sandbox knows no canvas, so any id is one."""
        match = INSTANCE.fullmatch(statement.strip()) if isinstance(statement, str) else None
        return match[1].replace("-", "").lower() if match else None

    def members(self, statement: Any, entity: Entity) -> Condition | None:
        """SELECT of the ids of a container's members; None when it does not exist or holds no such records."""
        found = self.find(statement)
        if found is None or found[0] == "EmailGroup":
            return None
        kind, number = found
        if entity.kind != ("Account" if kind == "AccountList" else "Contact"):
            return None
        if kind == "ContactList":
            return Condition("SELECT contact_id FROM eloqua.list_member WHERE list_id = ?", [number])
        if kind == "AccountList":
            return Condition("SELECT account_id FROM eloqua.account_list_member WHERE list_id = ?", [number])
        return self._chosen(kind, number)

    def _chosen(self, kind: str, number: int) -> Condition:
        text = self._store.value("SELECT condition FROM eloqua.chosen WHERE kind = ? AND Id = ?", [kind, number])
        contacts = self._eloqua.contacts
        condition = compile_filter(text, contacts, True, self, 2**31) if text else Condition("true", [])
        # The same names inside as outside are no matter: the inner ones win.
        sql = f"SELECT r.Id FROM {contacts.from_clause(condition.joins)} WHERE {condition.sql}"
        return Condition(sql, condition.values)

    # -- making them --------------------------------------------------------------------------------------------------

    def choose(self, kind: str, name: str, condition: str) -> int:
        """A new ContactSegment or ContactFilter; its id. condition: EEL in UTC, "" for everybody. Raises BadFilter."""
        if condition:
            compile_filter(condition, self._eloqua.contacts, True, self, 2**31)
        number = self._store.value("SELECT coalesce(max(Id), 0) + 1 FROM eloqua.chosen WHERE kind = ?", [kind])
        self._store.execute(
            "INSERT INTO eloqua.chosen VALUES (?, ?, ?, ?, ?)", [kind, number, name, condition, self._clock.naive]
        )
        return number

    def create_account_list(self, name: str) -> int:
        number, now = self._store.value("SELECT coalesce(max(Id), 700) + 1 FROM eloqua.account_list"), self._clock.naive
        self._store.execute("INSERT INTO eloqua.account_list VALUES (?, ?, ?, ?)", [number, name, now, now])
        self._store.log_change("eloqua", "AccountList", str(number), "create", {}, {"name": name})
        return number

    def change_account_list(self, number: int, accounts_sql: str, add: bool) -> None:
        """Put accounts on a list of accounts or take them off it."""
        there = "SELECT account_id FROM eloqua.account_list_member WHERE list_id = ?"
        on = "NOT IN" if add else "IN"
        changed = [
            row[0]
            for row in self._store.rows(
                f"SELECT Id FROM eloqua.account WHERE Id IN ({accounts_sql}) AND Id {on} ({there}) ORDER BY Id",
                [number],
            )
        ]
        if not changed:
            return
        if add:
            self._store.execute("INSERT INTO eloqua.account_list_member SELECT ?, unnest(?)", [number, changed])
        else:
            self._store.execute(
                "DELETE FROM eloqua.account_list_member WHERE list_id = ? AND list_contains(?, account_id)",
                [number, changed],
            )
        batch = self._store.new_batch("eloqua", "AccountList", ["member"])
        values = "NULL, [CAST(a AS VARCHAR)]" if add else "[CAST(a AS VARCHAR)], NULL"
        self._store.execute(
            f"INSERT INTO log.mutation SELECT {batch}, '{number}', 'update', {values} FROM (SELECT unnest(?) AS a)",
            [changed],
        )

    # -- as the endpoints list them -----------------------------------------------------------------------------------

    def items(self, kind: str) -> list[dict[str, Any]]:
        """All of a kind: name, count where Eloqua has one, statement, uri, who and when."""
        if kind == "ContactList":
            rows = self._store.rows("""SELECT l.Id, l.name, l.created_at, l.updated_at, count(m.contact_id)
                FROM eloqua.list l LEFT JOIN eloqua.list_member m ON m.list_id = l.Id GROUP BY ALL ORDER BY l.Id""")
        elif kind == "AccountList":
            rows = self._store.rows("""SELECT l.Id, l.name, l.created_at, l.updated_at, count(m.account_id)
                FROM eloqua.account_list l LEFT JOIN eloqua.account_list_member m ON m.list_id = l.Id
                GROUP BY ALL ORDER BY l.Id""")
        elif kind == "EmailGroup":
            rows = self._store.rows("SELECT Id, name, NULL, NULL, NULL FROM eloqua.email_group ORDER BY Id")
        else:
            rows = self._store.rows(
                "SELECT Id, name, created_at, created_at, NULL FROM eloqua.chosen WHERE kind = ? ORDER BY Id", [kind]
            )
        return [self._item(kind, *row) for row in rows]

    def _item(self, kind: str, number: int, name: str, created: Any, updated: Any, count: int | None) -> dict[str, Any]:
        if count is None and kind in ("ContactSegment", "ContactFilter"):
            members = self._chosen(kind, number)
            count = self._store.value(f"SELECT count(*) FROM ({members.sql})", members.values)
        item: dict[str, Any] = {"name": name}
        if count is not None:
            item["count"] = count
        born, touched = (
            stamp(moment) if moment else "1900-01-01T05:00:00.0000000Z" for moment in (created, updated or created)
        )
        return {
            **item,
            "statement": f"{{{{{kind}[{number}]}}}}",
            "uri": f"{PATHS[kind]}/{number}",
            "createdBy": "API.User",
            "createdAt": born,
            "updatedBy": "API.User",
            "updatedAt": touched,
        }
