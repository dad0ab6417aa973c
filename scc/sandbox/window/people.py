"""Everything about the people of an address: contacts, lists, records, activities in Eloqua; twins in Salesforce."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.salesforce.schema import OBJECTS
from scc.sandbox.store import literal, quoted
from scc.sandbox.window.html import Html, badge, code, facts, link, panel, table, text

if TYPE_CHECKING:
    from scc.sandbox.sandbox import Sandbox

MOST = 20  # contacts that one search shows
RECORDS = 25  # of each kind below a contact
ACTIVITY = (
    "CreatedAt",
    "Type",
    "AssetName",
    "CampaignName",
    "SubjectLine",
    "SmtpStatusCode",
    "Url",
    "EmailClickedThruLink",
)
BADGES = {"Bounceback": "bad", "Unsubscribe": "warn", "Subscribe": "good", "FormSubmit": "good"}


def people_panels(sandbox: Sandbox, address: str) -> list[Html]:
    """The panels of a search: one person in full, or a list to choose from."""
    contacts, crm_contacts, leads = search(sandbox, address)
    twins = {"contact": crm_contacts, "lead": leads}
    addresses = {str(row["C_EmailAddress"]).strip().lower() for row in contacts}
    addresses |= {str(row["Email"]).strip().lower() for rows in twins.values() for row in rows}
    if not addresses:
        return [*address_panel(sandbox, address.lower()), Html(f"<h1>Nobody has “{text(address)}”.</h1>")]
    if len(addresses) > 1:
        return [choice(contacts, twins, addresses)]
    found = addresses.pop()
    parts = [Html(f"<h1>{text(found)}</h1>"), *address_panel(sandbox, found)]
    for contact in contacts:
        parts += contact_panels(sandbox, contact)
    for name, rows in twins.items():
        parts += [twin_panel(sandbox, OBJECTS[name].name, row) for row in rows]
    return parts


def search(sandbox: Sandbox, address: str) -> list[list[dict[str, Any]]]:
    """Eloqua's contacts, the CRM's contacts, its leads: those with this address.

    If none has it, those whose address starts with it, or ends with it, where it starts with @.
    """
    places = (
        ("eloqua.contact", "C_EmailAddress"),
        (OBJECTS["contact"].table, "Email"),
        (OBJECTS["lead"].table, "Email"),
    )
    part = "ends_with" if address.startswith("@") else "starts_with"
    for test in ("lower(trim({0})) = lower($1)", part + "(lower(trim({0})), lower($1))"):
        # trim() is the dear one: it is asked only of those that contain the text at all.
        test = f"contains(lower({{0}}), lower($1)) AND {test}"
        found = [fitting(sandbox, table_, test.format(quoted(column)), address) for table_, column in places]
        if any(found):
            return found
    return [[], [], []]


def fitting(sandbox: Sandbox, table_: str, test: str, address: str) -> list[dict[str, Any]]:
    """First which, by two columns alone, and only then all the others of a few records."""
    store = sandbox.store
    rows = store.rows(f"SELECT Id FROM {table_} WHERE {test} ORDER BY Id LIMIT {MOST}", [address])
    numbers = ", ".join(literal(str(row[0])) for row in rows)
    return store.dicts(f"SELECT * FROM {table_} WHERE Id IN ({numbers}) ORDER BY Id") if rows else []


def choice(contacts: Sequence[Any], twins: dict[str, list[Any]], addresses: set[str]) -> Html:
    rows = []
    for address in sorted(addresses):
        places = [f"Eloqua {r['Id']}" for r in contacts if str(r["C_EmailAddress"]).strip().lower() == address]
        for name, found in twins.items():
            places += [f"{OBJECTS[name].name} {r['Id']}" for r in found if str(r["Email"]).strip().lower() == address]
        rows.append((link("/_sandbox/person", code(address), address=address), ", ".join(places)))
    return panel("Several people", table(("Address", "Where"), rows), note=f"the first {MOST} of each kind", wide=True)


def address_panel(sandbox: Sandbox, address: str) -> list[Html]:
    """What Eloqua keeps of the address for ever, with or without a contact."""
    if not has(sandbox, "eloqua", "address"):
        return []
    found = sandbox.store.dicts("SELECT * FROM eloqua.address WHERE address = ?", [address])
    if not found:
        return []
    row = found[0]
    groups = (
        sandbox.store.rows(
            "SELECT g.name, s.subscribed FROM eloqua.group_subscription s JOIN eloqua.email_group g ON g.Id = s.group_id "
            "WHERE s.address = ? ORDER BY 1 LIMIT 50",
            [address],
        )
        if has(sandbox, "eloqua", "group_subscription")
        else []
    )
    return [
        panel(
            "The address in Eloqua",
            facts(
                [
                    ("Subscribed", badge("yes", "good") if row["subscribed"] else badge("no", "bad")),
                    ("Since", row["subscription_date"]),
                    ("Unsubscribed", row["unsubscription_date"]),
                    ("Bounced", badge("yes", "bad") if row["bounced"] else badge("no", "good")),
                    ("Bounced at", row["bounceback_date"]),
                    *((f"Group {name}", "subscribed" if on else "unsubscribed") for name, on in groups),
                ]
            ),
            note="kept for ever, with or without a contact",
            wide=True,
        )
    ]


def contact_panels(sandbox: Sandbox, contact: dict[str, Any]) -> list[Html]:
    store, number = sandbox.store, contact["Id"]
    parts = [
        panel(
            f"Eloqua contact {number}",
            facts((name.removeprefix("C_"), shown(value)) for name, value in contact.items()),
            note=link("/_sandbox/log", "its changes", object="Contact", id=number),
            wide=True,
        )
    ]
    if has(sandbox, "eloqua", "list_member"):
        lists = store.rows(
            f"SELECT l.Id, l.name FROM eloqua.list_member m JOIN eloqua.list l ON l.Id = m.list_id "
            f"WHERE m.contact_id = ? ORDER BY l.name LIMIT {RECORDS}",
            [number],
        )
        parts.append(
            panel("Lists", table(("Id", "Name"), [(str(i), name) for i, name in lists], "On no list."), wide=True)
        )
    for entity in sandbox.systems["eloqua"].entities.values():
        records = store.dicts(
            f"SELECT * FROM {entity.table} WHERE ContactId = ? ORDER BY Id DESC LIMIT {RECORDS}", [number]
        )
        parts += [records_panel(entity.name, records)] if records else []
    if has(sandbox, "eloqua", "activity"):
        names = ", ".join(quoted(name) for name in ACTIVITY)
        found = store.rows(
            f"SELECT {names} FROM eloqua.activity WHERE ContactId = ? ORDER BY CreatedAt DESC LIMIT {RECORDS}", [number]
        )
        rows = [(time, badge(kind, BADGES.get(kind, "")), *rest) for time, kind, *rest in found]
        heads = ("Time", "Type", "Asset", "Campaign", "Subject", "SMTP", "URL", "Link")
        parts.append(
            panel(
                "Activities",
                used_columns(heads, rows, "None."),
                note=f"the last {RECORDS}" if len(rows) == RECORDS else "",
                wide=True,
            )
        )
    return parts


def records_panel(name: str, records: list[dict[str, Any]]) -> Html:
    heads = tuple(records[0])
    rows = [tuple(shown(value) for value in record.values()) for record in records]
    return panel(name, used_columns(heads, rows, ""), note="custom object", wide=True)


def twin_panel(sandbox: Sandbox, name: str, row: dict[str, Any]) -> Html:
    # Names that end in _ are the sandbox's own.
    parts = [facts((field, shown(value)) for field, value in row.items() if not field.endswith("_"))]
    link_ = "LeadId" if name == "Lead" else "ContactId"
    members = sandbox.store.rows(
        f'SELECT m.Id, c.Name, m.Status, m.HasResponded, m.CreatedDate FROM sf."CampaignMember" m '
        f'LEFT JOIN sf."Campaign" c ON c.Id = m.CampaignId WHERE m.{link_} = ? AND NOT m.IsDeleted '
        f"ORDER BY m.CreatedDate DESC LIMIT {RECORDS}",
        [row["Id"]],
    )
    if members:
        heads = ("Campaign member", "Campaign", "Status", "Responded", "Since")
        parts.append(table(heads, [(code(i), *rest) for i, *rest in members]))
    state = badge("deleted", "bad") if row.get("IsDeleted") else Html("")
    note = Html(f"{state} {link('/_sandbox/log', 'its changes', object=name, id=row['Id'])}")
    return panel(f"Salesforce {name} {row['Id']}", *parts, note=note, wide=True)


def used_columns(heads: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> Html:
    """A table without the columns in which nothing stands."""
    used = [i for i in range(len(heads)) if any(row[i] not in (None, "") for row in rows)]
    return table([heads[i] for i in used], [[row[i] for i in used] for row in rows], empty)


def shown(value: Any) -> Any:
    """Ids as they are, without the commas that counts have."""
    return value if value is None or isinstance(value, (bool, datetime)) else str(value)


def has(sandbox: Sandbox, schema: str, name: str) -> bool:
    return bool(
        sandbox.store.value(
            "SELECT count(*) FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?", [schema, name]
        )
    )
