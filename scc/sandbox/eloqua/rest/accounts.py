"""Accounts over REST (eloqua.md 2.7): as contacts, with the name in place of the address; names may repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua import accounts
from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.rest.errors import object_error
from scc.sandbox.eloqua.rest.records import depth_of, document, same_id, tidy, unix
from scc.sandbox.eloqua.rest.search import Listed, listing
from scc.sandbox.eloqua.rest.standard import StandardRecords
from scc.sandbox.http import Request, Response

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

PROPERTIES = {
    "address1": "M_Address1",
    "address2": "M_Address2",
    "address3": "M_Address3",
    "businessPhone": "M_BusPhone",
    "city": "M_City",
    "country": "M_Country",
    "name": "M_CompanyName",
    "postalCode": "M_Zip_Postal",
    "province": "M_State_Prov",
}


class Accounts(StandardRecords):
    properties, key = PROPERTIES, "M_CompanyName"

    def __init__(self, eloqua: Eloqua) -> None:
        super().__init__(eloqua, eloqua.accounts)
        self._accounts = accounts.Accounts(eloqua)

    def find(self, request: Request, user: User, version: str) -> Response:
        depth, listed = depth_of(request, "minimal"), Listed("eloqua.account r WHERE true", self._searchable())
        return listing(self._store, request, listed, lambda rows: self._shown(rows, depth))

    def create(self, request: Request, user: User, version: str) -> Response:
        values = self._sent(document(request))
        self._check_name(values, None)
        return self._answer(request, self._accounts.row(self._accounts.create(values)), 201)

    def update(self, request: Request, user: User, version: str, number: str) -> Response:
        old, body = self._row(number), document(request)
        same_id(body, old["Id"], "Account")
        values = self._sent(body, old)
        self._check_name(values, old["Id"])
        changed = self._accounts.update(old["Id"], values)
        if not changed and self._eloqua.limits.rest_put_always_touches:
            self._accounts.touch(old["Id"])
        return self._answer(request, self._row(number))

    def _check_name(self, values: dict[str, str], number: int | None) -> None:
        if not values.get("M_CompanyName", "").strip():
            raise object_error("Account", number, "name", "NotNullRequirement", None)

    def _fetch(self, number: int) -> dict[str, Any]:
        return self._accounts.row(number)

    def _remove(self, number: int) -> None:
        self._accounts.delete(number)

    def _shown(self, rows: Sequence[dict[str, Any]], depth: str) -> list[dict[str, Any]]:
        return [self._shown_account(row, depth) for row in rows]

    def _shown_account(self, row: dict[str, Any], depth: str) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "type": "Account",
            "id": str(row["Id"]),
            "createdAt": unix(row["CreatedAt"]),
            "depth": depth,
            "name": row["M_CompanyName"],
            "updatedAt": unix(row["UpdatedAt"]),
        }
        if depth != "minimal":
            shown |= {name: row[internal] for name, internal in PROPERTIES.items()}
        if depth == "complete":
            shown |= {"createdBy": "77", "updatedBy": "77", "fieldValues": self._field_values(row)}
        return tidy(shown)
