"""Users over REST (eloqua.md 2.7): those that can log in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.auth import USERS, User
from scc.sandbox.eloqua.rest.errors import not_found
from scc.sandbox.eloqua.rest.records import depth_of, number_of
from scc.sandbox.eloqua.rest.search import Listed, Property, listing
from scc.sandbox.http import Request, Response, Router, json_response
from scc.sandbox.store import literal

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

CREATED = "1577836800"  # users are older than any company


class Users:
    def __init__(self, eloqua: Eloqua) -> None:
        self._store = eloqua.store

    def routes(self, router: Router) -> None:
        router.add("GET", "/system/users", self.find)
        router.add("GET", "/system/user/{number}", self.get)

    def find(self, request: Request, user: User, version: str) -> Response:
        rows = ", ".join(
            f"({u.id}, {literal(display(u))}, {literal(u.name)}, {literal(address(u))})" for u in USERS.values()
        )
        created = f"make_timestamp({CREATED}000000)"
        properties = {
            "id": Property("r.Id", "id"),
            "name": Property("r.name"),
            "loginname": Property("r.login"),
            "emailaddress": Property("r.email"),
            "createdat": Property(created, "time"),
            "updatedat": Property(created, "time"),
        }
        depth, by_id = depth_of(request, "minimal"), {u.id: u for u in USERS.values()}
        listed = Listed(f"(VALUES {rows}) r(Id, name, login, email) WHERE true", properties)
        return listing(self._store, request, listed, lambda found: [shown(by_id[r["Id"]], depth) for r in found])

    def get(self, request: Request, user: User, version: str, number: str) -> Response:
        wanted = number_of(number)
        for known in USERS.values():
            if known.id == wanted:
                return json_response(shown(known, depth_of(request, "complete")))
        raise not_found()


def display(user: User) -> str:
    return f"{user.first_name} {user.last_name}"


def address(user: User) -> str:
    return f"{user.name.lower().replace('.user', '')}@example.com"


def shown(user: User, depth: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "type": "User",
        "id": str(user.id),
        "createdAt": CREATED,
        "depth": depth,
        "name": display(user),
        "updatedAt": CREATED,
        "loginName": user.name,
        "emailAddress": address(user),
    }
    if depth != "minimal":
        result |= {"firstName": user.first_name, "lastName": user.last_name, "isDisabled": "false"}
    if depth == "complete":
        result |= {
            "typePermissions": [],
            "securityGroups": [{"type": "SecurityGroup", "id": "8", "name": "API Users", "depth": "minimal"}],
        }
    return result
