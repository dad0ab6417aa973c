"""Accounts over REST (eloqua.md 2.7): as contacts, with the name in place of the address; names may repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua import accounts
from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.rest.errors import not_found, object_error
from scc.sandbox.eloqua.rest.records import (
    Values,
    depth_of,
    document,
    field_properties,
    field_values,
    merged,
    number_of,
    same_id,
    tidy,
    unix,
)
from scc.sandbox.eloqua.rest.search import Listed, Property, listing
from scc.sandbox.http import Request, Response, Router, json_response

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

# Standard property -> internal field name. A PUT blanks those of them that it does not send, but for the name.
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


class Accounts:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._accounts = eloqua, eloqua.store, accounts.Accounts(eloqua)

    def routes(self, router: Router) -> None:
        router.add("GET", "/data/accounts", self.find)
        router.add("POST", "/data/account", self.create)
        router.add("GET", "/data/account/{number}", self.get)
        router.add("PUT", "/data/account/{number}", self.update)
        router.add("DELETE", "/data/account/{number}", self.delete)

    def find(self, request: Request, user: User, version: str) -> Response:
        depth, known = depth_of(request, "minimal"), field_properties(self._eloqua.accounts)
        known |= {name.lower(): known[internal.lower()] for name, internal in PROPERTIES.items()}
        known |= {
            "id": Property("r.Id", "id"),
            "createdat": Property("r.CreatedAt", "time"),
            "updatedat": Property("r.UpdatedAt", "time"),
            "m_datecreated": Property("r.CreatedAt", "time"),
            "m_datemodified": Property("r.UpdatedAt", "time"),
        }
        listed = Listed("eloqua.account r WHERE true", known)
        return listing(self._store, request, listed, lambda rows: [self._shown(row, depth) for row in rows])

    def get(self, request: Request, user: User, version: str, number: str) -> Response:
        return self._answer(request, self._row(number))

    def create(self, request: Request, user: User, version: str) -> Response:
        body = document(request)
        reader = Values(self._store, self._eloqua.accounts, "Account", None)
        values = merged(reader.of_properties(body, PROPERTIES), reader.of_field_values(body), {})
        self._check_name(values, None)
        number = self._accounts.create(values)
        return self._answer(request, self._accounts.row(number), 201)

    def update(self, request: Request, user: User, version: str, number: str) -> Response:
        old, body = self._row(number), document(request)
        same_id(body, old["Id"], "Account")
        reader = Values(self._store, self._eloqua.accounts, "Account", old["Id"])
        values = merged(reader.of_properties(body, PROPERTIES), reader.of_field_values(body), old)
        for internal in PROPERTIES.values():
            values.setdefault(internal, old[internal] if internal == "M_CompanyName" else "")
        self._check_name(values, old["Id"])
        changed = self._accounts.update(old["Id"], values)
        if not changed and self._eloqua.limits.rest_put_always_touches:
            self._accounts.touch(old["Id"])
        return self._answer(request, self._row(number))

    def delete(self, request: Request, user: User, version: str, number: str) -> Response:
        self._accounts.delete(self._row(number)["Id"])
        return Response(200, b"", None)

    def _check_name(self, values: dict[str, str], number: int | None) -> None:
        if not values.get("M_CompanyName", "").strip():
            raise object_error("Account", number, "name", "NotNullRequirement", None)

    def _row(self, number: str) -> dict[str, Any]:
        try:
            return self._accounts.row(number_of(number))
        except KeyError:
            raise not_found() from None

    def _answer(self, request: Request, row: dict[str, Any], status: int = 200) -> Response:
        return json_response(self._shown(row, depth_of(request, "complete")), status)

    def _shown(self, row: dict[str, Any], depth: str) -> dict[str, Any]:
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
            own = {"M_DateCreated": row["CreatedAt"], "M_DateModified": row["UpdatedAt"]}
            shown |= {
                "createdBy": "77",
                "updatedBy": "77",
                "fieldValues": field_values(self._eloqua.accounts, {**row, **own}),
            }
        return tidy(shown)
