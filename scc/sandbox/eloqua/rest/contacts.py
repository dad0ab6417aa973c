"""Contacts over REST (eloqua.md 2.3, 5.3, 5.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.import_rows import EMAIL
from scc.sandbox.eloqua.people import ADDRESS
from scc.sandbox.eloqua.rest.errors import not_found, object_error, parameter_error, refused
from scc.sandbox.eloqua.rest.records import (
    depth_of,
    document,
    flag,
    number_of,
    same_id,
    tidy,
    unix,
)
from scc.sandbox.eloqua.rest.search import Listed, Property, envelope, listing
from scc.sandbox.eloqua.rest.standard import StandardRecords
from scc.sandbox.http import Request, Response, Router, json_response

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

MOST_IDS = 200  # of a SEARCH, eloqua.md 2.3

PROPERTIES = {
    "accountName": "C_Company",
    "address1": "C_Address1",
    "address2": "C_Address2",
    "address3": "C_Address3",
    "businessPhone": "C_BusPhone",
    "city": "C_City",
    "country": "C_Country",
    "emailAddress": "C_EmailAddress",
    "fax": "C_Fax",
    "firstName": "C_FirstName",
    "lastName": "C_LastName",
    "mobilePhone": "C_MobilePhone",
    "postalCode": "C_Zip_Postal",
    "province": "C_State_Prov",
    "salesPerson": "C_Salesperson",
    "title": "C_Title",
}
FORMATS = ("unspecified", "html", "text")
STATUS = "Awaiting action"


class Contacts(StandardRecords):
    properties, key = PROPERTIES, "C_EmailAddress"

    def __init__(self, eloqua: Eloqua) -> None:
        super().__init__(eloqua, eloqua.contacts)
        self._people = eloqua.people

    def routes(self, router: Router) -> None:
        super().routes(router)
        router.add("SEARCH", "/data/contacts", self.search)
        router.add("GET", "/data/contacts/list/{number}", self.list_members)
        router.add("GET", "/data/contacts/(?P<kind>segment|filter)/{number}", self.list_chosen)
        router.add("GET", "/data/contact/{number}/membership", self.membership)
        router.add("GET", "/data/contact/{number}/email/groups/subscription", self.subscriptions)
        router.add("GET", "/data/contact/{number}/email/group/{group}/subscription", self.subscription)
        router.add("PUT", "/data/contact/{number}/email/group/{group}/subscription", self.set_subscription)

    # -- reading ----------------------------------------------------------------------------------------------------

    def find(self, request: Request, user: User, version: str) -> Response:
        return self._listing(request, "eloqua.contact r WHERE true")

    def list_members(self, request: Request, user: User, version: str, number: str) -> Response:
        """The contacts on a list."""
        list_id = number_of(number)
        if not self._store.rows("SELECT 1 FROM eloqua.list WHERE Id = ?", [list_id]):
            raise not_found()
        members = f"SELECT contact_id FROM eloqua.list_member WHERE list_id = {list_id}"
        return self._listing(request, f"eloqua.contact r WHERE r.Id IN ({members})")

    def list_chosen(self, request: Request, user: User, version: str, kind: str, number: str) -> Response:
        """The contacts in a segment or a filter: whoever fits its condition now."""
        name = "ContactSegment" if kind.lower() == "segment" else "ContactFilter"
        statement = f"{{{{{name}[{number_of(number)}]}}}}"
        members = self._eloqua.containers.members(statement, self._eloqua.contacts)
        if members is None:
            raise not_found()
        return self._listing(request, f"eloqua.contact r WHERE r.Id IN ({members.sql})", tuple(members.values))

    def _listing(self, request: Request, source: str, parameters: tuple[Any, ...] = ()) -> Response:
        depth = depth_of(request, "minimal")
        listed = Listed(source, self._searchable(), "emailAddress", parameters)
        return listing(self._store, request, listed, lambda rows: self._shown(rows, depth))

    def search(self, request: Request, user: User, version: str) -> Response:
        """POST with X-HTTP-Method-Override: SEARCH: contacts by id, at most 200, none named twice."""
        body = document(request)
        given = body.get("ids")
        if not isinstance(given, list):
            raise parameter_error("ids", "NotNullRequirement", None)
        ids = [number_of(entry, "ids") for entry in given]
        if len(ids) > MOST_IDS:
            raise parameter_error("ids", "ContentRequirement", str(len(ids)), maximum=MOST_IDS)
        if len(set(ids)) < len(ids):
            raise parameter_error("ids", "NoDuplicatesRequirement", None)
        asked = body.get("depth")
        depth = asked if asked in ("partial", "complete") else "minimal"
        rows = self._store.dicts("SELECT * FROM eloqua.contact WHERE Id IN (SELECT unnest(?::BIGINT[]))", [ids])
        place = {number: i for i, number in enumerate(ids)}
        rows.sort(key=lambda row: place[row["Id"]])
        return envelope(self._shown(rows, depth), 1, len(ids), len(rows))

    def membership(self, request: Request, user: User, version: str, number: str) -> Response:
        if version == "1.0":
            raise not_found()  # recorded for 2.0 only
        lists = self._people.membership(self._row(number)["Id"])
        return json_response([{"type": "ContactList", "id": str(id_), "name": name} for id_, name in lists])

    # -- writing ----------------------------------------------------------------------------------------------------

    def create(self, request: Request, user: User, version: str) -> Response:
        body = document(request)
        self._check_limit()
        values = self._sent(body)
        values["C_EmailAddress"] = self._address(values.get("C_EmailAddress"), None)
        number = self._people.create_contact(values, by=str(user.id))
        self._write_states(body, number)
        return self._answer(request, self._people.contact(number), 201)

    def update(self, request: Request, user: User, version: str, number: str) -> Response:
        """Full replace of the standard properties; of the other fields only those that fieldValues name change.

        A PUT without emailAddress keeps it: no contact is without.
        """
        old, body = self._row(number), document(request)
        same_id(body, old["Id"], "Contact")
        values = self._sent(body, old)
        if values["C_EmailAddress"] != old["C_EmailAddress"]:
            values["C_EmailAddress"] = self._address(values["C_EmailAddress"], old["Id"])
        changed = self._people.update_contact(old["Id"], values, by=str(user.id))
        changed = self._write_states(body, old["Id"]) or changed
        if not changed and self._eloqua.limits.rest_put_always_touches:
            self._people.touch_contact(old["Id"], str(user.id))
        return self._answer(request, self._people.contact(old["Id"]))

    def _check_limit(self) -> None:
        """Eloqua's own sandbox instances hold 10,000 contacts (eloqua.md 2.3): off unless a test sets it."""
        most = self._eloqua.limits.contacts
        if most is not None and self._store.value("SELECT count(*) FROM eloqua.contact") >= most:
            raise refused("Sandbox Limit Exceeded", 409)

    def _address(self, text: str | None, number: int | None) -> str:
        """The address as it will be kept; refuses what is none, and that of another contact."""
        address = (text or "").strip()
        if not self._store.value(f"SELECT regexp_matches(?, '{EMAIL}')", [address]):
            raise object_error("Contact", number, "emailAddress", "EmailAddressRequirement", text)
        holder = self._people.contact_by_address(address)
        if holder is not None and holder != number:
            status = self._eloqua.limits.rest_duplicate_status
            raise object_error("Contact", number or holder, "emailAddress", "UniquenessRequirement", address, status)
        return address

    def _write_states(self, body: Mapping[str, Any], number: int) -> bool:
        """emailFormatPreference; subscription and bounce state only where the switch says that Eloqua takes them.

        Their effect is not verified (eloqua.md 6, point 23).
        """
        changed = False
        format_ = body.get("emailFormatPreference")
        if format_ not in (None, ""):
            if format_ not in FORMATS:
                raise object_error(
                    "Contact", number, "emailFormatPreference", "EnumRequirement", str(format_), values=FORMATS
                )
            before = self._people.contact(number)["Format"]
            if before != format_:
                changed = True
                self._store.execute(
                    "UPDATE eloqua.contact SET Format = ?, UpdatedAt = ? WHERE Id = ?",
                    [format_, self._store.clock.naive, number],
                )
                self._store.log_change(
                    "eloqua", "Contact", str(number), "update", {"Format": before}, {"Format": format_}
                )
        for name, change in (
            ("isSubscribed", self._people.set_subscribed),
            ("isBounceback", self._people.set_bounced),
        ):
            wanted = flag(body, name, "Contact", number)
            if wanted is not None and self._eloqua.limits.rest_writes_address_state:
                change(f"SELECT C_EmailAddress FROM eloqua.contact WHERE Id = {number}", wanted)
        return changed

    # -- e-mail groups ----------------------------------------------------------------------------------------------

    def subscriptions(self, request: Request, user: User, version: str, number: str) -> Response:
        row = self._row(number)
        groups = self._store.rows("SELECT Id, name FROM eloqua.email_group ORDER BY Id")
        elements = [self._subscription(row, group, name) for group, name in groups]
        return envelope(elements, 1, 1000, len(elements))

    def subscription(self, request: Request, user: User, version: str, number: str, group: str) -> Response:
        return json_response(self._subscription(self._row(number), *self._group(group)))

    def set_subscription(self, request: Request, user: User, version: str, number: str, group: str) -> Response:
        row, (group_id, name) = self._row(number), self._group(group)
        wanted = flag(document(request), "isSubscribed", "ContactEmailSubscription", row["Id"])
        if wanted is None:
            raise object_error("ContactEmailSubscription", row["Id"], "isSubscribed", "NotNullRequirement", None)
        address = f"SELECT C_EmailAddress FROM eloqua.contact WHERE Id = {row['Id']}"
        self._people.set_group_subscribed(group_id, address, wanted)
        return json_response(self._subscription(row, group_id, name))

    def _subscription(self, row: Mapping[str, Any], group: int, name: str) -> dict[str, Any]:
        subscribed = self._people.group_subscribed(group, row["C_EmailAddress"])
        return {
            "type": "ContactEmailSubscription",
            "contactId": str(row["Id"]),
            "emailGroup": {"type": "EmailGroup", "id": str(group), "name": name},
            "isSubscribed": "true" if subscribed else "false",
        }

    def _group(self, text: str) -> tuple[int, str]:
        found = self._store.rows("SELECT Id, name FROM eloqua.email_group WHERE Id = ?", [number_of(text)])
        if not found:
            raise not_found()
        return found[0]

    # -- shapes -----------------------------------------------------------------------------------------------------

    def _fetch(self, number: int) -> dict[str, Any]:
        return self._people.contact(number)

    def _remove(self, number: int) -> None:
        self._people.delete_contact(number)

    def _shown(self, rows: Sequence[dict[str, Any]], depth: str) -> list[dict[str, Any]]:
        keys = [(row["C_EmailAddress"] or "").strip().lower() for row in rows]
        states: dict[str, dict[str, Any]] = {}
        if depth != "minimal":
            found = self._store.dicts("SELECT * FROM eloqua.address WHERE address IN (SELECT unnest(?))", [keys])
            states = {state["address"]: state for state in found}
        return [self._shown_contact(row, states.get(key), depth) for row, key in zip(rows, keys, strict=True)]

    def _shown_contact(self, row: dict[str, Any], state: dict[str, Any] | None, depth: str) -> dict[str, Any]:
        address = row["C_EmailAddress"]
        shown: dict[str, Any] = {
            "type": "Contact",
            "id": str(row["Id"]),
            "createdAt": unix(row["CreatedAt"]),
            "depth": depth,
            "name": address,
            "updatedAt": unix(row["UpdatedAt"]),
            "emailAddress": address,
        }
        if depth == "minimal":
            return tidy(shown)
        shown |= {name: row[internal] for name, internal in PROPERTIES.items()}
        shown |= {
            "currentStatus": STATUS,
            "accountId": str(row["AccountId"]) if row["AccountId"] else None,
            "emailFormatPreference": row["Format"],
            "isBounceback": str(row["IsBounced"] == "True").lower(),
            "isSubscribed": str(row["IsSubscribed"] != "False").lower(),
            # It belongs to the address and may be older than the contact.
            "subscriptionDate": unix(state["subscription_date"] if state else row["CreatedAt"]),
            "unsubscriptionDate": unix(state["unsubscription_date"]) if state else None,
            "bouncebackDate": unix(state["bounceback_date"]) if state else None,
        }
        if depth == "complete":
            entries = self._field_values(row)
            if not self._eloqua.limits.rest_all_field_values:
                standard = {str(f.id) for f in self._eloqua.contacts.fields if f.internal_name in PROPERTIES.values()}
                entries = [entry for entry in entries if entry["id"] not in standard]
            shown |= {
                "createdBy": row["CreatedBy"] or "77",
                "updatedBy": row["UpdatedBy"] or "77",
                "fieldValues": entries,
            }
        return tidy(shown)

    def _searchable(self) -> dict[str, Property]:
        state = f"(SELECT {{}} FROM eloqua.address a WHERE a.address = {ADDRESS.format('r.C_EmailAddress')})"
        return super()._searchable() | {
            "name": Property("r.C_EmailAddress"),
            "createdby": Property("coalesce(r.CreatedBy, '77')"),
            "updatedby": Property("coalesce(r.UpdatedBy, '77')"),
            "accountid": Property("r.AccountId", "id"),
            "currentstatus": Property(f"'{STATUS}'"),
            "emailformatpreference": Property("r.Format"),
            "issubscribed": Property("r.IsSubscribed"),
            "isbounceback": Property("r.IsBounced"),
            "subscriptiondate": Property(f"coalesce({state.format('a.subscription_date')}, r.CreatedAt)", "time"),
            "unsubscriptiondate": Property(state.format("a.unsubscription_date"), "time"),
            "bouncebackdate": Property(state.format("a.bounceback_date"), "time"),
        }
