"""Sync actions: lists, subscription, bounce state, steps of a canvas, for the records of an export, an import or a
stand-alone definition (eloqua.md 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.entities import Entity

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

MOST = 10
ACTIONS = ("add", "remove", "setStatus")
STATUSES = (
    "active",
    "bounced",
    "complete",
    "errored",
    "invalid",
    "no",
    "pending",
    "permission",
    "subscribed",
    "unsubscribed",
    "yes",
)
GLOBAL = "{{GlobalSubscribe}}"
GROUP_STATUSES = ("subscribed", "unsubscribed")
# What may be set globally: of addresses without contact only what takes away (eloqua.md 3.5).
GLOBAL_STATUSES = {"Contact": ("subscribed", "unsubscribed", "bounced"), "EmailAddress": ("unsubscribed", "bounced")}


def check_sync_actions(body: dict[str, Any], kind: str, entity: Entity, eloqua: Eloqua, wrong: Callable) -> None:
    """Name what is wrong with the `syncActions` of a definition."""
    actions = body.get("syncActions")
    if not actions:
        return
    if not isinstance(actions, list) or not all(isinstance(action, dict) for action in actions):
        wrong("syncActions", "Must be a list of sync actions.")
        return
    if len(actions) > MOST:
        wrong("syncActions", f"Must have at most {MOST} elements.", str(len(actions)))
        return
    for action in actions:
        if constraint := broken(action, entity, eloqua):
            wrong("syncActions", constraint, str(action.get("destination")))
    if entity.kind == "EmailAddress" and len({str(action.get("status")) for action in actions}) > 1:
        wrong("syncActions", "An address is set to unsubscribed or to bounced, not both.")


def broken(action: dict[str, Any], entity: Entity, eloqua: Eloqua) -> str | None:
    """The rule that an action breaks, None when it is good."""
    word, destination, status = action.get("action"), action.get("destination"), action.get("status")
    if word not in ACTIONS:
        return f"action must be one of {', '.join(ACTIONS)}."
    if word != "setStatus":
        found = eloqua.containers.find(destination)
        fits = {"Contact": "ContactList", "Account": "AccountList"}.get(entity.kind)
        if found is None or found[0] != fits:
            return "The destination of the sync action does not exist or does not fit the entity."
        return None
    if status not in STATUSES:
        return f"status must be one of {', '.join(STATUSES)}."
    if eloqua.containers.instance(destination):
        return None
    if destination == GLOBAL or (destination is None and status == "bounced"):
        allowed = GLOBAL_STATUSES.get(entity.kind, ())
    elif (found := eloqua.containers.find(destination)) and found[0] == "EmailGroup" and entity.kind == "Contact":
        allowed = GROUP_STATUSES
    else:
        return "The destination of the sync action does not exist or does not fit the entity."
    return None if status in allowed else f"status must be one of {', '.join(allowed) or 'none'} here."


def apply_sync_actions(
    eloqua: Eloqua, entity: Entity, actions: list[dict[str, Any]], ids: str, addresses: str
) -> list[tuple[str, int]]:
    """Carry out the actions; call inside a transaction. Returns the log lines: code and count of records.

    ids, addresses: SELECT of one column, the records' ids and their e-mail addresses.
    """
    lines = []
    for action in actions:
        destination, status = action.get("destination"), action.get("status")
        count = eloqua.store.value(f"SELECT count(*) FROM ({addresses if entity.kind == 'EmailAddress' else ids})")
        if action["action"] != "setStatus":
            lines.append((change_list(eloqua, destination, ids, action["action"] == "add"), count))
        elif instance := eloqua.containers.instance(destination):
            eloqua.store.execute(
                f"DELETE FROM eloqua.step_status WHERE instance = ? AND record_id IN ({ids})", [instance]
            )
            eloqua.store.execute(f"INSERT INTO eloqua.step_status SELECT ?, *, ? FROM ({ids})", [instance, status])
            lines.append(("ELQ-00128", count))
        elif status == "bounced":
            eloqua.people.set_bounced(addresses, True)
            lines.append(("ELQ-00016", count))
        elif destination == GLOBAL:
            eloqua.people.set_subscribed(addresses, status == "subscribed")
            lines.append(("ELQ-00138" if status == "subscribed" else "ELQ-00017", count))
        elif found := eloqua.containers.find(destination):
            eloqua.people.set_group_subscribed(found[1], addresses, status == "subscribed")
            lines.append(("ELQ-00115" if status == "subscribed" else "ELQ-00116", count))
    return lines


def change_list(eloqua: Eloqua, destination: Any, ids: str, add: bool) -> str:
    """Add records to a list or remove them; the code of the log line. A list that is gone by now changes nothing."""
    found = eloqua.containers.find(destination)
    if found and found[0] == "AccountList":
        eloqua.containers.change_account_list(found[1], ids, add)
        return "ELQ-00114" if add else "ELQ-00117"
    if found and add:
        eloqua.people.add_members(found[1], ids)
    elif found:
        eloqua.people.remove_members(found[1], ids)
    return "ELQ-00119" if add else "ELQ-00118"
