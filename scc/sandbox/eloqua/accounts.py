"""Accounts: their standard fields, and what changes them (eloqua.md 2.7, 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.entities import OWN_FIELDS, Field, date_text
from scc.sandbox.store import quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

# id, display name, internal name, type
ACCOUNT_FIELDS = [
    Field(100084, "Company Name", "M_CompanyName", not_null=True),
    Field(100085, "Country", "M_Country"),
    Field(100086, "Business Phone", "M_BusPhone"),
    Field(100087, "Address 1", "M_Address1"),
    Field(100088, "Address 2", "M_Address2"),
    Field(100089, "Address 3", "M_Address3"),
    Field(100090, "City", "M_City"),
    Field(100091, "State or Province", "M_State_Prov"),
    Field(100092, "Zip or Postal Code", "M_Zip_Postal"),
    Field(100093, "SFDC Account ID", "M_SFDCAccountID"),
    Field(100094, "Website", "M_Website1"),
    Field(100095, "Industry", "M_Industry1"),
    Field(100096, "Employees", "M_Employees1", "number"),
    Field(100097, "Date Created", "M_DateCreated", "date", read_only=True),
    Field(100098, "Date Modified", "M_DateModified", "date", read_only=True),
    Field(100099, "Eloqua Company ID", "CompanyIDExt", read_only=True),
]
OWN = OWN_FIELDS["Account"]


class Accounts:
    """Changes of accounts, logged; call them inside `store.transaction()`. Values are canonical texts by internal name."""

    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._clock = eloqua, eloqua.store, eloqua.clock

    def row(self, number: int) -> dict[str, Any]:
        """The account's row. Raises KeyError."""
        found = self._store.dicts("SELECT * FROM eloqua.account WHERE Id = ?", [number])
        if not found:
            raise KeyError(number)
        return found[0]

    def create(self, values: Mapping[str, str], created_at: Any = None) -> int:
        number, born = self._eloqua.people.reserve_ids("eloqua.account"), created_at or self._clock.naive
        given = {name: value for name, value in values.items() if name not in OWN}
        row = {"Id": number, "CreatedAt": born, "UpdatedAt": born, **given, **OWN.values(number, born)}
        self._store.execute(
            f"INSERT INTO eloqua.account ({', '.join(map(quoted, row))}) VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )
        self._store.log_change("eloqua", "Account", str(number), "create", {}, {n: v for n, v in given.items() if v})
        return number

    def update(self, number: int, values: Mapping[str, str]) -> bool:
        """False when all was so already: then UpdatedAt stays. Raises KeyError."""
        old = self.row(number)
        changed = {n: v for n, v in values.items() if n not in OWN and (old.get(n) or "") != v}
        if not changed:
            return False
        sets = ", ".join(f"{quoted(name)} = ?" for name in changed)
        self._store.execute(f"UPDATE eloqua.account SET {sets} WHERE Id = ?", [*changed.values(), number])
        self.touch(number)
        self._store.log_change("eloqua", "Account", str(number), "update", {n: old[n] for n in changed}, changed)
        return True

    def touch(self, number: int) -> None:
        now = self._clock.naive
        self._store.execute(
            f"UPDATE eloqua.account SET UpdatedAt = ?, {OWN.touched} = ? WHERE Id = ?",
            [now, date_text(now), number],
        )

    def delete(self, number: int) -> None:
        """The account goes, its contacts stay without one. Raises KeyError."""
        old = self.row(number)
        self._eloqua.people.retire_id("eloqua.account", number)
        self._store.execute("UPDATE eloqua.contact SET AccountId = NULL WHERE AccountId = ?", [number])
        self._store.execute("DELETE FROM eloqua.account WHERE Id = ?", [number])
        names = {known.internal_name for known in self._eloqua.accounts.fields}
        self._store.log_change(
            "eloqua", "Account", str(number), "delete", {n: v for n, v in old.items() if n in names and v}, {}
        )
