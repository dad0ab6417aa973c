"""The activities of one contact over REST (eloqua.md 2.3): 1.0 a bare array, 2.0 one type a call in an envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.rest.errors import not_found, parameter_error
from scc.sandbox.eloqua.rest.records import number_of, unix
from scc.sandbox.eloqua.rest.search import envelope, instant, whole
from scc.sandbox.http import Request, Response, Router, json_response

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

# Type in the table -> type as REST names it.
NAMES = {
    "EmailSend": "emailSend",
    "EmailOpen": "emailOpen",
    "EmailClickthrough": "emailClickThrough",
    "Subscribe": "emailSubscribe",
    "Unsubscribe": "emailUnsubscribe",
    "Bounceback": "bounceback",
    "FormSubmit": "formSubmit",
    "PageView": "pageView",
    "WebVisit": "webVisit",
    "External": "external",
}
KNOWN = {name.lower(): table for table, shown in NAMES.items() for name in (table, shown)}
# What of an activity is not among its details.
TOP = ("Id", "Type", "CreatedAt", "VisibleAt", "ContactId", "AssetType", "AssetId")


class Activities:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._clock = eloqua, eloqua.store, eloqua.clock

    def routes(self, router: Router) -> None:
        router.add("GET", "/data/activities/contact/{number}", self.list_all)
        router.add("GET", "/data/activities/contact/{number}/{type_}", self.list_type)

    def list_all(self, request: Request, user: User, version: str, number: str) -> Response:
        if version == "2.0":
            raise not_found()
        elements, _, _, _ = self._found(request, number, request.query.get("type"))
        return json_response(elements)

    def list_type(self, request: Request, user: User, version: str, number: str, type_: str) -> Response:
        if version == "1.0":
            raise not_found()
        return envelope(*self._found(request, number, type_))

    def _found(self, request: Request, number: str, type_: str | None) -> tuple[list[Any], int, int, int]:
        contact = number_of(number)
        if not self._store.rows("SELECT 1 FROM eloqua.contact WHERE Id = ?", [contact]):
            raise not_found()
        query = {name.lower(): value for name, value in request.query.items()}
        conditions, parameters = ["ContactId = ?", "VisibleAt <= ?"], [contact, self._clock.naive]
        if type_:
            known = KNOWN.get(type_.strip().lower())
            if known is None:
                raise parameter_error("type", "EnumRequirement", type_, values=list(NAMES.values()))
            conditions.append("Type = ?")
            parameters.append(known)
        for name, operator in (("startDate", ">="), ("endDate", "<=")):
            if text := query.get(name.lower(), "").strip():
                moment = instant(text)
                if moment is None:
                    raise parameter_error(name, "DateRequirement", text)
                conditions.append(f"CreatedAt {operator} ?")
                parameters.append(moment)
        count, page = whole(query, "count", 1000, 1000), whole(query, "page", 1, 10**9)
        source = f"eloqua.activity WHERE {' AND '.join(conditions)}"
        total = self._store.value(f"SELECT count(*) FROM {source}", parameters)
        rows = self._store.dicts(
            f"SELECT * FROM {source} ORDER BY CreatedAt DESC, Id DESC LIMIT ? OFFSET ?",
            [*parameters, count, (page - 1) * count],
        )
        return [shown(row) for row in rows], page, count, total


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """One activity; all that its type has besides goes into `details`."""
    result: dict[str, Any] = {
        "type": "Activity",
        "id": str(row["Id"]),
        "activityDate": unix(row["CreatedAt"]),
        "activityType": NAMES.get(row["Type"], row["Type"]),
        "contact": str(row["ContactId"]),
        "details": [{"Key": name, "Value": str(value)} for name, value in row.items() if name not in TOP and value],
    }
    if row["AssetId"]:
        result["asset"] = str(row["AssetId"])
    if row["AssetType"]:
        result["assetType"] = row["AssetType"].lower()
    return result
