"""Contacts and what hangs on them: the state of their addresses, lists, e-mail groups, accounts' ids (eloqua.md 2.3, 2.5).

Subscription and bounce state belong to the address, not to the contact: they outlive a deleted contact and come back with
the person (eloqua.md 2.3, subscriptionDate; 3.5, addresses without contact). `eloqua.address` is the truth;
the columns IsSubscribed and IsBounced of `eloqua.contact` mirror it for the Bulk API. An address without a row there is
subscribed since its contact was created, and not bounced.

Call what changes anything inside `store.transaction()`; all changes go to the mutation log. Arguments named `..._sql` are a
SELECT of one column.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.entities import OWN_FIELDS, Entity, date_text
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

ADDRESS = "lower(trim({}))"
OWN = OWN_FIELDS["Contact"]
DEFAULT_FOLDER = 48

TABLES = """
    CREATE TABLE IF NOT EXISTS eloqua.address (address VARCHAR PRIMARY KEY, subscribed BOOLEAN, subscription_date TIMESTAMP,
        unsubscription_date TIMESTAMP, bounced BOOLEAN, bounceback_date TIMESTAMP);
    CREATE TABLE IF NOT EXISTS eloqua.list (Id BIGINT, name VARCHAR, description VARCHAR, folder_id BIGINT,
        data_lookup_id VARCHAR, created_at TIMESTAMP, updated_at TIMESTAMP, created_by VARCHAR, updated_by VARCHAR);
    CREATE TABLE IF NOT EXISTS eloqua.deleted_list AS FROM eloqua.list LIMIT 0;
    CREATE TABLE IF NOT EXISTS eloqua.list_member (list_id BIGINT, contact_id BIGINT);
    CREATE TABLE IF NOT EXISTS eloqua.email_group (Id BIGINT, name VARCHAR);
    CREATE TABLE IF NOT EXISTS eloqua.group_subscription (group_id BIGINT, address VARCHAR, subscribed BOOLEAN);
    CREATE TABLE IF NOT EXISTS eloqua.last_id ("table" VARCHAR, value BIGINT);
"""


class People:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._clock = eloqua, eloqua.store, eloqua.clock

    # -- tables and ids ---------------------------------------------------------------------------------------------

    def create_tables(self) -> None:
        """The tables of this module and of accounts, where they are not there yet."""
        self._store.execute(TABLES)
        accounts = self._eloqua.accounts
        columns = "".join(f", {quoted(known.internal_name)} VARCHAR NOT NULL DEFAULT ''" for known in accounts.fields)
        self._store.execute(f"""CREATE TABLE IF NOT EXISTS {accounts.table}
            (Id BIGINT, CreatedAt TIMESTAMP, UpdatedAt TIMESTAMP{columns})""")

    def reserve_ids(self, table: str, count: int = 1) -> int:
        """The first of `count` new ids of a table; an id is never given twice, its record deleted or not."""
        last = self._store.value('SELECT value FROM eloqua.last_id WHERE "table" = ?', [table])
        highest = max(last or 0, self._store.value(f"SELECT coalesce(max(Id), 0) FROM {table}"))
        self._remember_id(table, last, highest + count)
        return highest + 1

    def retire_id(self, table: str, number: int) -> None:
        """Before a record is deleted: its id must not come back."""
        last = self._store.value('SELECT value FROM eloqua.last_id WHERE "table" = ?', [table])
        if last is None or last < number:
            self._remember_id(table, last, number)

    def _remember_id(self, table: str, last: int | None, value: int) -> None:
        statement = (
            'INSERT INTO eloqua.last_id (value, "table") VALUES (?, ?)'
            if last is None
            else 'UPDATE eloqua.last_id SET value = ? WHERE "table" = ?'
        )
        self._store.execute(statement, [value, table])

    # -- contacts ---------------------------------------------------------------------------------------------------

    def contact_by_address(self, address: str) -> int | None:
        """The id of the contact with this address, without regard to case and blanks around it."""
        wanted = address.strip().lower()
        # Comparing lengths first spares folding a million addresses; only ASCII keeps its length for sure.
        length = f"strlen(C_EmailAddress) = {len(wanted)} AND " if wanted.isascii() else ""
        return self._store.value(
            f"SELECT min(Id) FROM eloqua.contact WHERE {length}lower(C_EmailAddress) = ?", [wanted]
        )

    def create_contact(
        self, values: Mapping[str, str], created_at: Any = None, account_id: int | None = None, by: str | None = None
    ) -> int:
        """Create a contact from field texts by internal name (canonical, see entities.py) and return its id.

        Subscription and bounce state are those of its address. The caller has checked that the address is new.
        """
        number, born = self.reserve_ids("eloqua.contact"), created_at or self._clock.naive
        fields = {known.internal_name: known.default for known in self._eloqua.contacts.fields if known.default}
        fields |= {name: value for name, value in values.items() if name not in OWN}
        fields["C_EmailAddress"] = fields.get("C_EmailAddress", "").strip()
        row = {
            "Id": number,
            "CreatedAt": born,
            "UpdatedAt": born,
            "Format": "unspecified",
            "AccountId": account_id,
            "CreatedBy": by,
            "UpdatedBy": by,
            **{known.internal_name: "" for known in self._eloqua.contacts.fields},
            **fields,
            **self._state_of(fields["C_EmailAddress"]),
            **OWN.values(number, born),
        }
        self._store.execute(
            f"INSERT INTO eloqua.contact ({', '.join(map(quoted, row))}) VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )
        self._store.log_change(
            "eloqua", "Contact", str(number), "create", {}, {name: value for name, value in fields.items() if value}
        )
        return number

    def take_states(self, contacts_sql: str) -> None:
        """After an import changed addresses of contacts: these have the state of their new one."""
        state = "(SELECT {} FROM eloqua.address a WHERE a.address = " + ADDRESS.format("C_EmailAddress") + ")"
        sets = [
            f"IsSubscribed = CASE WHEN coalesce({state.format('a.subscribed')}, true) THEN 'True' ELSE 'False' END",
            f"IsBounced = CASE WHEN coalesce({state.format('a.bounced')}, false) THEN 'True' ELSE 'False' END",
        ]
        self._store.execute(f"UPDATE eloqua.contact SET {', '.join(sets)} WHERE Id IN ({contacts_sql})")

    def update_contact(self, number: int, values: Mapping[str, str], by: str | None = None) -> bool:
        """Change fields of a contact; False when all were so already: then UpdatedAt stays (eloqua.md 2.3).

        Raises KeyError when there is no such contact.
        """
        old, values = self.contact(number), dict(values)
        if "C_EmailAddress" in values:
            values["C_EmailAddress"] = values["C_EmailAddress"].strip()
        changed = {n: v for n, v in values.items() if n not in OWN and (old.get(n) or "") != v}
        if not changed:
            return False
        row = dict(changed)
        if "C_EmailAddress" in changed:
            self._keep_address(number)  # the state stays with the address that the person leaves
            row |= self._state_of(changed["C_EmailAddress"])
        self._touch(number, row, by)
        self._store.log_change("eloqua", "Contact", str(number), "update", {n: old[n] for n in changed}, changed)
        return True

    def touch_contact(self, number: int, by: str | None = None) -> None:
        """Move UpdatedAt though nothing changed."""
        self._touch(number, {}, by)

    def _touch(self, number: int, row: dict[str, Any], by: str | None) -> None:
        now = self._clock.naive
        row = {**row, "UpdatedAt": now, "UpdatedBy": by, OWN.touched: date_text(now)}
        sets = ", ".join(f"{quoted(name)} = ?" for name in row)
        self._store.execute(f"UPDATE eloqua.contact SET {sets} WHERE Id = ?", [*row.values(), number])

    def _state_of(self, address: str) -> dict[str, str]:
        """What a contact shows of the state of its address."""
        state = self.address_state(address) or {"subscribed": True, "bounced": False}
        return {"IsSubscribed": str(state["subscribed"]), "IsBounced": str(state["bounced"])}

    def delete_contact(self, number: int) -> None:
        """The contact leaves its lists and goes; the address keeps its state. Raises KeyError when there is none."""
        old = self.contact(number)
        self._keep_address(number)
        self.retire_id("eloqua.contact", number)
        self._store.execute("DELETE FROM eloqua.list_member WHERE contact_id = ?", [number])
        for entity in self._eloqua.declared():
            self._unlink(entity, number)
        self._store.execute("DELETE FROM eloqua.contact WHERE Id = ?", [number])
        names = {known.internal_name for known in self._eloqua.contacts.fields}
        self._store.log_change(
            "eloqua", "Contact", str(number), "delete", {n: v for n, v in old.items() if n in names and v}, {}
        )

    def _unlink(self, entity: Entity, number: int) -> None:
        """Records of custom objects and events stay when their contact goes (deleteLinkedCustomObjectData is false)."""
        linked = self._store.rows(f"SELECT Id FROM {entity.table} WHERE ContactId = ?", [number])
        if not linked:
            return
        batch = self._store.new_batch("eloqua", entity.name, ["ContactId"])
        self._store.execute(
            f"INSERT INTO log.mutation SELECT {batch}, CAST(Id AS VARCHAR), 'update', ['{number}'], [NULL] "
            f"FROM {entity.table} WHERE ContactId = ? ORDER BY Id",
            [number],
        )
        self._store.execute(f"UPDATE {entity.table} SET ContactId = NULL WHERE ContactId = ?", [number])

    def contact(self, number: int) -> dict[str, Any]:
        """The contact's row. Raises KeyError."""
        found = self._store.dicts("SELECT * FROM eloqua.contact WHERE Id = ?", [number])
        if not found:
            raise KeyError(number)
        return found[0]

    def _keep_address(self, number: int) -> None:
        """Write down the state that the contact's address has, before only the address is left."""
        self._store.execute(
            f"""INSERT INTO eloqua.address
            SELECT {ADDRESS.format("C_EmailAddress")}, IsSubscribed IS DISTINCT FROM 'False', CreatedAt,
                   NULL, IsBounced = 'True', NULL
            FROM eloqua.contact WHERE Id = ? AND trim(C_EmailAddress) <> '' ON CONFLICT DO NOTHING""",
            [number],
        )

    # -- state of addresses -----------------------------------------------------------------------------------------

    def set_subscribed(self, addresses_sql: str, subscribed: bool) -> int:
        """Subscribe or unsubscribe addresses, with a contact or without; the number of those that changed."""
        return self._set_state(
            addresses_sql, "subscribed", subscribed, "subscription_date" if subscribed else "unsubscription_date"
        )

    def set_bounced(self, addresses_sql: str, bounced: bool) -> int:
        """Mark addresses as bounced or take it back; the number of those that changed."""
        return self._set_state(addresses_sql, "bounced", bounced, "bounceback_date")

    def _set_state(self, addresses_sql: str, column: str, value: bool, date: str) -> int:
        word, usual = ("true" if value else "false"), ("true" if column == "subscribed" else "false")
        self._store.execute(f"""CREATE OR REPLACE TEMP TABLE changed_address AS
            SELECT given.address, coalesce(a.{column}, {usual}) AS old, any_value(c.CreatedAt) AS born
            FROM (SELECT DISTINCT {ADDRESS.format("column0")} AS address FROM ({addresses_sql}) s(column0)) given
            LEFT JOIN eloqua.address a USING (address)
            LEFT JOIN eloqua.contact c ON {ADDRESS.format("c.C_EmailAddress")} = given.address
            WHERE given.address <> '' AND coalesce(a.{column}, {usual}) IS DISTINCT FROM {word} GROUP BY ALL""")
        changed = self._store.value("SELECT count(*) FROM changed_address")
        if changed:
            batch, now = self._store.new_batch("eloqua", "Address", [column]), self._clock.naive
            self._store.execute(f"""INSERT INTO log.mutation
                SELECT {batch}, address, 'update', [CAST(old AS VARCHAR)], ['{word}'] FROM changed_address""")
            self._store.execute(
                """INSERT INTO eloqua.address SELECT address, true, coalesce(born, ?), NULL, false, NULL
                   FROM changed_address ON CONFLICT DO NOTHING""",
                [now],
            )
            kept = "NULL" if column == "bounced" and not value else "?"
            self._store.execute(
                f"""UPDATE eloqua.address SET {column} = {word}, {date} = {kept}
                    WHERE address IN (SELECT address FROM changed_address)""",
                [now] if kept == "?" else [],
            )
            self._store.execute(f"""UPDATE eloqua.contact SET Is{column.capitalize()} = '{word.capitalize()}'
                WHERE {ADDRESS.format("C_EmailAddress")} IN (SELECT address FROM changed_address)""")
        self._store.execute("DROP TABLE changed_address")
        return changed

    def address_state(self, address: str) -> dict[str, Any] | None:
        """The row of eloqua.address, None when the address is in the usual state."""
        found = self._store.dicts("SELECT * FROM eloqua.address WHERE address = ?", [address.strip().lower()])
        return found[0] if found else None

    # -- lists ------------------------------------------------------------------------------------------------------

    def create_list(
        self, name: str, description: str = "", folder_id: int = DEFAULT_FOLDER, created_by: str = "77"
    ) -> int:
        """A new shared list without members; its id."""
        number, now = self.reserve_ids("eloqua.list"), self._clock.naive
        if number == 1:  # as a grown instance: ids of lists are not those of contacts
            number = 501
        lookup = str(uuid.uuid5(uuid.NAMESPACE_OID, f"list {self._eloqua.seed} {number}"))
        self._store.execute(
            "INSERT INTO eloqua.list VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [number, name, description, folder_id, lookup, now, now, created_by, created_by],
        )
        new = {"name": name, "description": description or None}
        self._store.log_change("eloqua", "ContactList", str(number), "create", {}, new)
        return number

    def update_list(self, number: int, values: Mapping[str, Any], updated_by: str = "77") -> None:
        """Set name, description or folder_id; updated_at moves even when nothing changed (eloqua.md 2.5)."""
        old = self._store.dicts("SELECT * FROM eloqua.list WHERE Id = ?", [number])[0]
        sets = "".join(f"{quoted(name)} = ?, " for name in values)
        self._store.execute(
            f"UPDATE eloqua.list SET {sets}updated_at = ?, updated_by = ? WHERE Id = ?",
            [*values.values(), self._clock.naive, updated_by, number],
        )
        self._store.log_change("eloqua", "ContactList", str(number), "update", {n: old[n] for n in values}, values)

    def delete_list(self, number: int) -> None:
        """The list goes, its members stay contacts. Raises KeyError when there is none."""
        found = self._store.dicts("SELECT name FROM eloqua.list WHERE Id = ?", [number])
        if not found:
            raise KeyError(number)
        self.retire_id("eloqua.list", number)
        self._store.execute("DELETE FROM eloqua.list_member WHERE list_id = ?", [number])
        self._store.execute("INSERT INTO eloqua.deleted_list FROM eloqua.list WHERE Id = ?", [number])
        self._store.execute("UPDATE eloqua.deleted_list SET updated_at = ? WHERE Id = ?", [self._clock.naive, number])
        self._store.execute("DELETE FROM eloqua.list WHERE Id = ?", [number])
        self._store.log_change("eloqua", "ContactList", str(number), "delete", found[0], {})

    def add_members(self, list_id: int, contacts_sql: str) -> int:
        """Put contacts on a list; ids that are no contact or on it already are passed over. The number of new members."""
        return self._change_members(
            list_id,
            f"""SELECT Id FROM eloqua.contact WHERE Id IN ({contacts_sql})
                AND Id NOT IN (SELECT contact_id FROM eloqua.list_member WHERE list_id = {int(list_id)})""",
            "INSERT INTO eloqua.list_member SELECT {list}, Id FROM changed_member",
            "NULL, [CAST(Id AS VARCHAR)]",
        )

    def remove_members(self, list_id: int, contacts_sql: str) -> int:
        """Take contacts off a list; the number of those that were on it."""
        return self._change_members(
            list_id,
            f"""SELECT contact_id AS Id FROM eloqua.list_member WHERE list_id = {int(list_id)}
                AND contact_id IN ({contacts_sql})""",
            "DELETE FROM eloqua.list_member WHERE list_id = {list} AND contact_id IN (SELECT Id FROM changed_member)",
            "[CAST(Id AS VARCHAR)], NULL",
        )

    def _change_members(self, list_id: int, chosen: str, change: str, values: str) -> int:
        self._store.execute(f"CREATE OR REPLACE TEMP TABLE changed_member AS {chosen} ORDER BY 1")
        changed = self._store.value("SELECT count(*) FROM changed_member")
        if changed:
            batch = self._store.new_batch("eloqua", "ContactList", ["member"])
            self._store.execute(change.format(list=int(list_id)))
            self._store.execute(f"""INSERT INTO log.mutation
                SELECT {batch}, '{int(list_id)}', 'update', {values} FROM changed_member""")
            self._store.execute("UPDATE eloqua.list SET updated_at = ? WHERE Id = ?", [self._clock.naive, list_id])
        self._store.execute("DROP TABLE changed_member")
        return changed

    def members(self, list_id: int) -> list[int]:
        return [
            row[0]
            for row in self._store.rows(
                "SELECT contact_id FROM eloqua.list_member WHERE list_id = ? ORDER BY 1", [list_id]
            )
        ]

    def membership(self, contact_id: int) -> list[tuple[int, str]]:
        """Id and name of the lists that the contact is on."""
        return self._store.rows(
            """SELECT l.Id, l.name FROM eloqua.list l JOIN eloqua.list_member m ON m.list_id = l.Id
               WHERE m.contact_id = ? ORDER BY l.Id""",
            [contact_id],
        )

    # -- e-mail groups ----------------------------------------------------------------------------------------------

    def create_email_group(self, name: str) -> int:
        number = self.reserve_ids("eloqua.email_group")
        self._store.execute("INSERT INTO eloqua.email_group VALUES (?, ?)", [number, name])
        self._store.log_change("eloqua", "EmailGroup", str(number), "create", {}, {"name": name})
        return number

    def set_group_subscribed(self, group_id: int, addresses_sql: str, subscribed: bool) -> int:
        """Subscribe addresses to an e-mail group or unsubscribe them; the number of those that changed.

        An address that nobody touched is subscribed to every group.
        """
        word = "true" if subscribed else "false"
        self._store.execute(f"""CREATE OR REPLACE TEMP TABLE changed_group AS
            SELECT given.address, coalesce(g.subscribed, true) AS old
            FROM (SELECT DISTINCT {ADDRESS.format("column0")} AS address FROM ({addresses_sql}) s(column0)) given
            LEFT JOIN eloqua.group_subscription g ON g.address = given.address AND g.group_id = {int(group_id)}
            WHERE given.address <> '' AND coalesce(g.subscribed, true) <> {word}""")
        changed = self._store.value("SELECT count(*) FROM changed_group")
        if changed:
            batch = self._store.new_batch("eloqua", "Address", [f"group {group_id}"])
            self._store.execute(f"""INSERT INTO log.mutation
                SELECT {batch}, address, 'update', [CAST(old AS VARCHAR)], [{literal(word)}] FROM changed_group""")
            self._store.execute(f"""DELETE FROM eloqua.group_subscription WHERE group_id = {int(group_id)}
                AND address IN (SELECT address FROM changed_group)""")
            self._store.execute(f"""INSERT INTO eloqua.group_subscription
                SELECT {int(group_id)}, address, {word} FROM changed_group""")
        self._store.execute("DROP TABLE changed_group")
        return changed

    def group_subscribed(self, group_id: int, address: str) -> bool:
        found = self._store.value(
            "SELECT subscribed FROM eloqua.group_subscription WHERE group_id = ? AND address = ?",
            [group_id, address.strip().lower()],
        )
        return found is not False
