"""Contact lists (shared lists) over REST (eloqua.md 2.5, 5.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.people import DEFAULT_FOLDER
from scc.sandbox.eloqua.rest.errors import not_found, object_error
from scc.sandbox.eloqua.rest.records import (
    NOT_TEXT,
    depth_of,
    document,
    ids_of,
    number_of,
    same_id,
    text_of,
    text_or_none,
    tidy,
    unix,
)
from scc.sandbox.eloqua.rest.search import Listed, Property, listing
from scc.sandbox.http import Request, Response, Router, json_response

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

LONGEST_NAME = 100
SOURCE = """(SELECT l.*, (SELECT count(*) FROM eloqua.list_member m WHERE m.list_id = l.Id) AS members
             FROM eloqua.list l) r"""
# With lastUpdatedAt a list of assets brings the deleted ones too (eloqua.md 2.1).
WITH_DELETED = """(SELECT l.*, (SELECT count(*) FROM eloqua.list_member m WHERE m.list_id = l.Id) AS members
                   FROM (FROM eloqua.list UNION ALL FROM eloqua.deleted_list) l) r"""
PROPERTIES = {
    "id": Property("r.Id", "id"),
    "name": Property("r.name"),
    "description": Property("r.description"),
    "folderid": Property("r.folder_id", "id"),
    "count": Property("r.members", "id"),
    "createdat": Property("r.created_at", "time"),
    "updatedat": Property("r.updated_at", "time"),
    "createdby": Property("r.created_by"),
    "updatedby": Property("r.updated_by"),
    "datalookupid": Property("r.data_lookup_id"),
}


class Lists:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._people = eloqua, eloqua.store, eloqua.people

    def routes(self, router: Router) -> None:
        router.add("GET", "/assets/contact/lists", self.find)
        router.add("POST", "/assets/contact/list", self.create)
        router.add("GET", "/assets/contact/list/{number}", self.get)
        router.add("PUT", "/assets/contact/list/{number}", self.update)
        router.add("DELETE", "/assets/contact/list/{number}", self.delete)
        router.add("GET", "/assets/contact/list/{number}/dependencies", self.dependencies)

    def find(self, request: Request, user: User, version: str) -> Response:
        depth = depth_of(request, "minimal")
        since = any(name.lower() == "lastupdatedat" for name in request.query)
        listed = Listed(f"{WITH_DELETED if since else SOURCE} WHERE true", PROPERTIES)
        return listing(self._store, request, listed, lambda rows: [shown(row, depth, version) for row in rows])

    def get(self, request: Request, user: User, version: str, number: str) -> Response:
        return self._answer(request, version, self._row(number))

    def create(self, request: Request, user: User, version: str) -> Response:
        body = document(request)
        name = self._name(body, None)
        description = self._text(body, "description", None) or ""
        folder = number_of(body["folderId"], "folderId") if body.get("folderId") else DEFAULT_FOLDER
        number = self._people.create_list(name, description, folder, str(user.id))
        self._change_members(body, number)
        return self._answer(request, version, self._row(str(number)), 201)

    def update(self, request: Request, user: User, version: str, number: str) -> Response:
        """Name, description and members; updatedAt moves even when nothing changed. What is not sent stays."""
        old, body = self._row(number), document(request)
        same_id(body, old["Id"], "ContactList")
        values: dict[str, Any] = {}
        if "name" in body:
            values["name"] = self._name(body, old["Id"])
        if "description" in body:
            values["description"] = self._text(body, "description", old["Id"])
        if body.get("folderId"):
            values["folder_id"] = number_of(body["folderId"], "folderId")
        self._change_members(body, old["Id"])
        self._people.update_list(old["Id"], values, str(user.id))
        return self._answer(request, version, self._row(number))

    def delete(self, request: Request, user: User, version: str, number: str) -> Response:
        """The list goes, its members stay contacts."""
        self._people.delete_list(self._row(number)["Id"])
        return Response(200, b"", None)

    def dependencies(self, request: Request, user: User, version: str, number: str) -> Response:
        self._row(number)
        return json_response([])

    def _change_members(self, body: dict[str, Any], number: int) -> None:
        """A present member that is added, an absent one that is removed, an unknown contact: silently passed over."""
        for name, change in (
            ("membershipAdditions", self._people.add_members),
            ("membershipDeletions", self._people.remove_members),
        ):
            if ids := ids_of(body, name):
                change(number, f"SELECT unnest([{', '.join(map(str, ids))}]::BIGINT[])")

    def _name(self, body: dict[str, Any], number: int | None) -> str:
        name = self._text(body, "name", number).strip()
        if not name:
            raise object_error("ContactList", number, "name", "NotNullRequirement", None)
        if len(name) > LONGEST_NAME:
            raise object_error(
                "ContactList", number, "name", "ValidTextLengthRequirement", name[:LONGEST_NAME], maximum=LONGEST_NAME
            )
        taken = self._store.value("SELECT min(Id) FROM eloqua.list WHERE lower(name) = lower(?)", [name])
        if taken is not None and taken != number:  # 409 name collision: eloqua.md 2.2
            raise object_error("ContactList", number or taken, "name", "UniquenessRequirement", name, 409)
        return name

    def _text(self, body: dict[str, Any], name: str, number: int | None) -> str:
        text = text_of(body.get(name))
        if text is NOT_TEXT:
            raise object_error("ContactList", number, name, "ContentRequirement", text_or_none(body.get(name)))
        return text

    def _row(self, number: str) -> dict[str, Any]:
        found = self._store.dicts(f"SELECT * FROM {SOURCE} WHERE r.Id = ?", [number_of(number)])
        if not found:
            raise not_found()
        return found[0]

    def _answer(self, request: Request, version: str, row: dict[str, Any], status: int = 200) -> Response:
        return json_response(shown(row, depth_of(request, "complete"), version), status)


def shown(row: dict[str, Any], depth: str, version: str) -> dict[str, Any]:
    """A list as JSON. permissions: a text in 1.0, an array in 2.0 (eloqua.md 2.5)."""
    result: dict[str, Any] = {
        "type": "ContactList",
        "id": str(row["Id"]),
        "createdAt": unix(row["created_at"]),
        "createdBy": row["created_by"],
        "depth": depth,
        "folderId": str(row["folder_id"]) if row["folder_id"] is not None else None,
        "name": row["name"],
        "permissions": "fullControl" if version == "1.0" else ["Retrieve", "SetSecurity", "Delete", "Update"],
        "updatedAt": unix(row["updated_at"]),
        "updatedBy": row["updated_by"],
        "count": str(row["members"]),
    }
    if depth != "minimal":
        result |= {"dataLookupId": row["data_lookup_id"], "description": row["description"], "scope": "global"}
    return tidy(result)
