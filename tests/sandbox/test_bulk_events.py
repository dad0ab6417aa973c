"""Events in Bulk: like custom objects, below /events and with counters of their own (eloqua.md 3.2, 3.14)."""

import pytest

from scc.sandbox.state import State
from tests.sandbox.conftest import EloquaCaller

FIELDS = [{"name": "Email", "dataType": "emailAddress"}, {"name": "Seat"}]


@pytest.fixture
def fair(sandbox):
    """The path of an event, and the statements of its fields."""
    number = sandbox.eloqua.add_event("Fair", FIELDS, unique="Email")
    return f"/events/{number}", {
        "Email": f"{{{{Event[{number}].Field[5000]}}}}",
        "Seat": f"{{{{Event[{number}].Field[5001]}}}}",
    }


def test_an_event_is_listed_with_its_fields(eloqua, fair):
    path, fields = fair

    [listed] = eloqua.get("/events").json()["items"]
    items = eloqua.get(path + "/fields").json()["items"]

    assert (listed["name"], listed["uri"], eloqua.get(path).json()) == ("Fair", path, listed)
    assert [item["statement"] for item in items] == list(fields.values())
    assert eloqua.get(items[1]["uri"]).json() == items[1]
    assert "Fair" not in [item["name"] for item in eloqua.get("/customObjects").json()["items"]]


def test_registrations_are_imported_linked_and_exported(sandbox, eloqua, fair):
    path, fields = fair
    ana = sandbox.eloqua.add_contact("ana@example.com", {"C_Country": "France"})
    sandbox.eloqua.add_record("Fair", {"Email": "ana@example.com", "Seat": "1"})
    rows = [{"Email": "Ana@example.com", "Seat": "7"}, {"Email": "bo@example.com", "Seat": "8"}]
    link = {"mapDataCards": True, "mapDataCardsEntityType": "Contact", "mapDataCardsSourceField": "Email"}

    sync = eloqua.import_rows(path, fields, "Email", rows, **link)

    counters = {code: sync["codes"][code] for code in ("ELQ-00077", "ELQ-00078", "ELQ-00079", "ELQ-00034")}
    assert counters == {"ELQ-00077": 1, "ELQ-00078": 1, "ELQ-00079": 1, "ELQ-00034": 1}
    assert [(r["Seat1"], r["ContactId"]) for r in sandbox.eloqua.records("Fair")] == [("7", ana), ("8", None)]
    root = fields["Seat"].split(".")[0]
    wanted = {"Seat": fields["Seat"], "Country": root + ".Contact.Field(C_Country)}}"}
    assert eloqua.export(path, wanted, filter=f"'{fields['Seat']}' = '7'") == [{"Seat": "7", "Country": "France"}]


def test_a_registration_stays_without_its_contact(sandbox, eloqua, fair):
    ana = sandbox.eloqua.add_contact("ana@example.com")
    sandbox.eloqua.add_record("Fair", {"Email": "ana@example.com"}, contact_id=ana)

    sandbox.eloqua.delete_record("Contact", ana)

    assert [r["ContactId"] for r in sandbox.eloqua.records("Fair")] == [None]


def test_an_event_takes_no_sync_actions_and_is_no_custom_object(eloqua, fair):
    path, fields = fair
    other = {"name": "x", "fields": {"K": fields["Seat"].replace("Event", "CustomObject")}}

    assert eloqua.post(path + "/syncActions", {"name": "x"}).status_code == 404
    assert eloqua.post(path + "/exports", other).status_code == 400
    assert eloqua.get("/events/99/fields").status_code == eloqua.get("/events/99").status_code == 404
    assert eloqua.post("/events/99/exports", {"name": "x", "fields": fields}).status_code == 404


def test_events_are_in_a_saved_state(sandbox, eloqua, fair, tmp_path):
    path, fields = fair
    sandbox.eloqua.add_record("Fair", {"Email": "ana@example.com", "Seat": "1"})
    sandbox.save(tmp_path / "state")

    with State.load(tmp_path / "state").start() as copy:
        assert EloquaCaller(copy).export(path, {"Seat": fields["Seat"]}) == [{"Seat": "1"}]
