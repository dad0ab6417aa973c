"""Imports of contacts: an address belongs to one of them, and remembers its state without them (eloqua.md 2.3, 3.4)."""

from __future__ import annotations

from scc.sandbox.eloqua.entities import Statement
from scc.sandbox.eloqua.import_rows import Outcome
from scc.sandbox.eloqua.imports import Importer
from scc.sandbox.store import quoted


class ContactImporter(Importer):
    def _check_records(self, own: int) -> None:
        self._check_addresses(own)
        self._check_room(own)

    def _check_addresses(self, own: int) -> None:
        mail = next(
            (i for i, s in enumerate(self.statements) if s.field and s.field.internal_name == "C_EmailAddress"), -1
        )
        if mail == own and self.identifier:
            return
        if mail < 0:
            # A contact needs an address: what cannot be matched cannot be created either.
            if self.body.get("importRule") != "updateOnly" and self._creatable():
                self._reject(
                    f"ELQ-00061|{own}", f"row_number IN (SELECT row_number FROM {self.target} WHERE record IS NULL)"
                )
            return
        new = f"lower(t.n{mail})"
        self._reject(
            f"ELQ-00011|{mail}",
            f"""row_number IN (SELECT t.row_number FROM {self.target} t JOIN {self.entity.table} c
                ON lower(trim(c.C_EmailAddress)) = {new} AND c.Id IS DISTINCT FROM t.record)""",
        )
        self._reject(
            f"ELQ-00011|{mail}",
            f"""row_number IN (SELECT row_number FROM {self.target}
                QUALIFY row_number < max(row_number) OVER (PARTITION BY lower(n{mail})))""",
        )

    def _check_room(self, own: int) -> None:
        """The new contacts beyond what the instance may hold are rejects (eloqua.md 6, point 27)."""
        most = self.limits.contacts
        if most is None or self.body.get("importRule") == "updateOnly" or not self._creatable():
            return
        room = max(0, most - self.store.value(f"SELECT count(*) FROM {self.entity.table}"))
        self._reject(
            f"ELQ-00125|{own}",
            f"""row_number IN (SELECT t.row_number FROM {self.target} t JOIN {self.work} w USING (row_number)
                WHERE t.record IS NULL AND w.verdict IS NULL ORDER BY t.row_number OFFSET {room})""",
        )

    def _update(self) -> int:
        if not any(s.field and s.field.internal_name == "C_EmailAddress" for s in self._written()):
            return super()._update()
        # The state of the address that a person leaves stays with it.
        changed = f"SELECT record FROM {self.target} WHERE record IS NOT NULL AND {self._differs()}"
        self.store.execute(f"""INSERT INTO eloqua.address
            SELECT DISTINCT lower(trim(C_EmailAddress)), true, CreatedAt, CAST(NULL AS TIMESTAMP), false,
                CAST(NULL AS TIMESTAMP) FROM eloqua.contact
            WHERE Id IN ({changed}) AND trim(C_EmailAddress) <> '' ON CONFLICT DO NOTHING""")
        matched = super()._update()
        self.eloqua.people.take_states(changed)
        return matched

    def _written(self) -> list[Statement]:
        """What the rows may change in a contact that they find: not what they find it by."""
        return [s for i, s in enumerate(self.statements) if i in self.columns and self.names[i] != self.identifier]

    def _join(self, row: dict[str, str]) -> str:
        """The address remembers what its person wanted, also of a contact that was deleted since (eloqua.md 2.3)."""
        mail = row['"C_EmailAddress"']
        row |= {
            "IsSubscribed": "CASE WHEN coalesce(a.subscribed, true) THEN 'True' ELSE 'False' END",
            "IsBounced": "CASE WHEN coalesce(a.bounced, false) THEN 'True' ELSE 'False' END",
        }
        form = row.pop(quoted("Format"), "''")
        row["Format"] = f"coalesce(nullif({form}, ''), 'unspecified')"
        return f"LEFT JOIN eloqua.address a ON a.address = lower(trim({mail}))"

    def _finish(self, outcome: Outcome) -> None:
        """{{Contact.Email.IsBounced}} and IsSubscribed: the state of the address (eloqua.md 3.4, 3.12)."""
        for i, statement in enumerate(self.statements):
            codes = {"IsBounced": ("ELQ-00016", ""), "IsSubscribed": ("ELQ-00138", "ELQ-00017")}.get(
                statement.special or ""
            )
            if not codes:
                continue
            for value, code in zip(("True", "False"), codes, strict=True):
                addresses = f"""SELECT c.C_EmailAddress FROM {self.target} t JOIN eloqua.contact c ON c.Id = t.record
                                WHERE t.n{i} = '{value}'"""
                count = self.store.value(f"SELECT count(*) FROM ({addresses})")
                if not count:
                    continue
                if statement.special == "IsBounced":
                    self.eloqua.people.set_bounced(addresses, value == "True")
                else:
                    self.eloqua.people.set_subscribed(addresses, value == "True")
                if code:
                    outcome.note(code, count)
