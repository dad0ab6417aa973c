"""What there is to export, import and name: fields, custom objects, lists, segments, groups, models (eloqua.md 3.2, 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.activities import TYPES
from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.containers import PATHS
from scc.sandbox.eloqua.definitions import PRIORITIES
from scc.sandbox.eloqua.entities import SCORES, Entity, Field
from scc.sandbox.eloqua.listing import invalid, listing, not_found
from scc.sandbox.http import Request, Response, Router, json_response

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

EPOCH = "1900-01-01T05:00:00.0000000Z"
CAMPAIGN_FIELDS = (("Campaign Name", "CampaignName"), ("CRM Campaign Id", "CRMCampaignId"))


class Catalogue:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua = eloqua

    def routes(self, router: Router) -> None:
        self._pair(router, "/customObjects", lambda: [declared(e) for e in self._eloqua.custom_objects()])
        self._pair(router, "/events", lambda: [declared(e) for e in self._eloqua.events.values()])
        for path, entity in (
            ("/contacts", self._eloqua.contacts),
            ("/accounts", self._eloqua.accounts),
            ("/opportunities", self._eloqua.opportunities),
        ):
            self._pair(router, path + "/fields", lambda e=entity: [field_item(e, known) for known in e.fields])
        for path, find in (
            ("/customObjects", self._eloqua.custom_object_by_id),
            ("/events", self._eloqua.event_by_id),
        ):
            self._fields(router, path, find)
        router.add("GET", "/activities/fields", self.list_activity_fields)
        self._pair(router, "/campaigns/fields", campaign_fields)
        for kind, path in PATHS.items():
            self._pair(router, path, lambda k=kind: self._eloqua.containers.items(k))
        self._pair(router, "/contacts/scoring/models", scoring_models)
        self._pair(router, "/imports/priorities", priorities)

    def _pair(self, router: Router, path: str, items: Any) -> None:
        """GET of a list, and of one of its items by the last part of its uri."""

        def show(request: Request, user: User) -> Response:
            return listing(request, items(), self._eloqua.limits.list_rows)

        def one(request: Request, user: User, number: str) -> Response:
            return the_one(items(), number)

        router.add("GET", path, show)
        router.add("GET", path + "/{number}", one)

    def _fields(self, router: Router, path: str, find: Callable[[str], Entity | None]) -> None:
        """The fields of a custom object or event, and one of them."""

        def items(parent: str) -> list[dict[str, Any]]:
            entity = find(parent)
            if entity is None:
                raise not_found()
            return [field_item(entity, known) for known in entity.fields]

        def show(request: Request, user: User, parent: str) -> Response:
            return listing(request, items(parent), self._eloqua.limits.list_rows)

        def one(request: Request, user: User, parent: str, number: str) -> Response:
            return the_one(items(parent), number)

        router.add("GET", path + "/{parent}/fields", show)
        router.add("GET", path + "/{parent}/fields/{number}", one)

    def list_activity_fields(self, request: Request, user: User) -> Response:
        wanted = request.query.get("activityType")
        if wanted and wanted.lower() not in (name.lower() for name in TYPES):
            constraint = f"Must be one of {', '.join(TYPES)}."
            raise invalid([{"field": "activityType", "value": wanted, "constraint": constraint}])
        return listing(request, self._eloqua.activities.fields(wanted), self._eloqua.limits.list_rows)


def the_one(items: list[dict[str, Any]], number: str) -> Response:
    """The item whose uri ends in this number."""
    for item in items:
        if item["uri"].rsplit("/", 1)[1] == number:
            return json_response(item)
    raise not_found()


def declared(entity: Entity) -> dict[str, Any]:
    item: dict[str, Any] = {"name": entity.name}
    for key, name in (
        ("displayNameFieldUri", entity.display_field),
        ("emailAddressFieldUri", entity.email_field),
        ("uniqueFieldUri", entity.unique_field),
    ):
        known = entity.field_by(name) if name else None
        if known:
            item[key] = f"{entity.path}/fields/{known.id}"
    return {
        **item,
        "uri": entity.path,
        "createdBy": "API.User",
        "createdAt": entity.created_at,
        "updatedBy": "API.User",
        "updatedAt": entity.created_at,
    }


def field_item(entity: Entity, known: Field) -> dict[str, Any]:
    item: dict[str, Any] = {
        "name": known.name,
        "internalName": known.internal_name,
        "dataType": known.data_type,
        "hasReadOnlyConstraint": known.read_only,
        "hasNotNullConstraint": known.not_null,
        "hasUniquenessConstraint": known.unique,
        "statement": entity.field_statement(known),
        "uri": f"{entity.path}/fields/{known.id}",
    }
    if known.default is not None:
        item["defaultValue"] = known.default
    if not known.created_at.startswith("1900"):
        item.update(createdBy="API.User", updatedBy="API.User")
    return {**item, "createdAt": known.created_at, "updatedAt": known.created_at}


def campaign_fields() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "internalName": internal,
            "dataType": "string",
            "hasReadOnlyConstraint": True,
            "hasNotNullConstraint": False,
            "hasUniquenessConstraint": False,
            "statement": f"{{{{Campaign.Field({internal})}}}}",
            "uri": f"/campaigns/fields/{number}",
            "createdAt": EPOCH,
            "updatedAt": EPOCH,
        }
        for number, (name, internal) in enumerate(CAMPAIGN_FIELDS, 1)
    ]


def scoring_models() -> list[dict[str, Any]]:
    """The one model that entities.py can show."""
    fields = [
        {"name": name, "statement": f"{{{{Contact.LeadScore.Model[1].{name}}}}}", "dataType": "string"}
        for name in SCORES
    ]
    model = {
        "name": "Default Model",
        "status": "active",
        "id": 1,
        "fields": fields,
        "uri": "/contacts/scoring/models/1",
    }
    return [{**model, "createdBy": "API.User", "createdAt": EPOCH, "updatedBy": "API.User", "updatedAt": EPOCH}]


def priorities() -> list[dict[str, Any]]:
    return [
        {"name": name, "uri": f"/imports/priorities/{number}", "createdAt": EPOCH, "updatedAt": EPOCH}
        for name, number in PRIORITIES
    ]
