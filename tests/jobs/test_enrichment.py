"""What Enrichment promises, through Luigi against the sandbox over real HTTP."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.enrichment import Enrichment
from scc.errors import ConfigError, Refused, SafetyStop, Unaccounted, Unavailable
from scc.sandbox import Sandbox
from tests.conftest import Runner

SLOT = dt.datetime(2026, 11, 22, 6, 15)
OBJECT = "Event Registration"
FILE = """
[event_registration]
custom_object = "Event Registration"
identifier = "Record_Key1"
key = "Salesforce_Campaign_ID1"
{extra}
[event_registration.status]
field = "Enrichment_Status1"
waiting = "Waiting"
done = "Done"
error = "Error"
reason = "Enrichment_Reason1"
[event_registration.fields]
Campaign_Name1 = "Name"
Campaign_Start_Date1 = "StartDate"
Campaign_Budget1 = "BudgetedCost"
{fields}
"""
Add = Callable[..., int]


@pytest.fixture
def configure(tmp_path: Path, settings: Callable[..., None]) -> Callable[..., None]:
    """Write the enrichments' file: configure(extra="source = …", fields="…")."""

    def write(extra: str = "", fields: str = "", text: str = "") -> None:
        path = tmp_path / "enrichment.toml"
        path.write_text(text or FILE.format(extra=extra, fields=fields))
        settings("enrichment", "definitions", path)

    write()
    return write


@pytest.fixture
def add(sandbox: Sandbox, configure: object) -> Add:
    """add(key, …) a record that waits, to an object that holds no others; its id."""
    sandbox.eloqua.clear_records(OBJECT)
    numbers = iter(range(1, 10_000))

    def add_record(key: str, identifier: str | None = None, hours: float = 1, **fields: str) -> int:
        values = {
            "Record_Key1": f"R{next(numbers)}" if identifier is None else identifier,
            "Salesforce_Campaign_ID1": key,
            "Enrichment_Status1": "Waiting",
            **fields,
        }
        return sandbox.eloqua.add_record(OBJECT, values, created_at=sandbox.clock.now - dt.timedelta(hours=hours))

    return add_record


@pytest.fixture
def campaign(sandbox: Sandbox) -> str:
    """The 18-character id of a campaign."""
    return sandbox.salesforce.add(
        "Campaign", {"Name": "Autumn Fair", "StartDate": "2026-10-01", "BudgetedCost": 1500.5}
    )


def record(sandbox: Sandbox, number: int) -> dict[str, Any]:
    return sandbox.eloqua.record(OBJECT, number)


def status(sandbox: Sandbox, number: int) -> tuple[str, str]:
    found = record(sandbox, number)
    return found["Enrichment_Status1"], found["Enrichment_Reason1"]


def receipt(outputs: Path, name: str = "Fill.json", slot: str = "2026-11-22T0615") -> dict[str, Any]:
    return json.loads((outputs / "enrichment" / slot / "event_registration" / name).read_text())


def test_a_waiting_record_gets_its_campaigns_data(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> None:
    waiting = add(campaign)

    run(Enrichment(slot=SLOT))

    found = record(sandbox, waiting)
    assert found["Campaign_Name1"] == "Autumn Fair"
    assert found["Campaign_Start_Date1"] == "2026-10-01 00:00:00"
    assert found["Campaign_Budget1"] == "1500.5"
    assert status(sandbox, waiting) == ("Done", "")


def test_short_and_long_ids_are_the_same_campaign(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> None:
    numbers = [add(campaign), add(campaign[:15]), add(f" {campaign} "), add(campaign.lower())]

    run(Enrichment(slot=SLOT))

    assert [record(sandbox, number)["Campaign_Name1"] for number in numbers] == ["Autumn Fair"] * 4


def test_done_and_error_records_are_left_alone(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> None:
    for state in ("Done", "Error", "", "waiting for review"):
        add(campaign, Enrichment_Status1=state)

    run(Enrichment(slot=SLOT))

    assert sandbox_changes(sandbox) == []


def sandbox_changes(sandbox: Sandbox) -> list[dict[str, Any]]:
    """What requests changed; what tests set up through the doors is not meant."""
    return [change for change in sandbox.mutations if change["request"] != "python"]


def test_only_mapped_fields_of_matching_records_change(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> None:
    waiting = add(campaign, Campaign_Type1="kept", Campaign_Budget1="1500.50")

    run(Enrichment(slot=SLOT))

    (change,) = sandbox_changes(sandbox)
    assert change["id"] == str(waiting)
    assert set(change["changed"]) == {"Campaign_Name1", "Campaign_Start_Date1", "Enrichment_Status1"}


@pytest.mark.parametrize("key", ["", "   ", "n/a", "701-broken", "701x' OR Name != '"])
def test_a_key_that_is_no_id_ends_in_error_and_never_reaches_salesforce(
    sandbox: Sandbox, run: Runner, add: Add, key: str
) -> None:
    waiting = add(key, Campaign_Name1="from before")

    run(Enrichment(slot=SLOT))

    assert status(sandbox, waiting)[0] == "Error"
    assert "Salesforce Campaign id" in status(sandbox, waiting)[1]
    assert record(sandbox, waiting)["Campaign_Name1"] == "from before"
    assert not [sent for sent in sandbox.requests if sent.path.endswith("/composite")]


def test_an_unknown_key_waits_then_ends_in_error(sandbox: Sandbox, run: Runner, add: Add) -> None:
    young, old = add("701000000000001AAA"), add("701000000000002AAA", hours=15 * 24)

    run(Enrichment(slot=SLOT))

    assert status(sandbox, young)[0] == "Waiting"
    assert status(sandbox, old) == ("Error", "Salesforce has no such Campaign; gave up after 14 days")


def test_a_campaign_outside_of_the_condition_is_unknown(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, configure: Callable[..., None]
) -> None:
    configure(extra="condition = \"Name = 'x' OR Name = 'Winter Fair'\"")
    waiting = add(campaign)

    run(Enrichment(slot=SLOT))

    assert status(sandbox, waiting)[0] == "Waiting"


def test_a_failing_salesforce_decides_nothing(sandbox: Sandbox, run: Runner, add: Add) -> None:
    waiting = add("701000000000002AAA", hours=15 * 24)
    sandbox.faults.add(what="status", path="/composite", status=503)

    assert isinstance(run.fails(Enrichment(slot=SLOT)), Unavailable)
    assert status(sandbox, waiting)[0] == "Waiting"


def test_lost_permissions_stop_the_run(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, settings: Callable[..., None]
) -> None:
    settings("enrichment", "max_unknown_count", 2)
    other = sandbox.salesforce.add("Campaign", {"Name": "Winter Fair"})
    numbers = [add(campaign), add(other), add("701000000000002AAA", hours=15 * 24)]
    sandbox.salesforce.hide_rows("Campaign")

    error = run.fails(Enrichment(slot=SLOT))

    assert isinstance(error, SafetyStop)
    assert "3 of 3 keys are unknown to Salesforce" in str(error)
    assert [status(sandbox, number)[0] for number in numbers] == ["Waiting"] * 3
    assert sandbox_changes(sandbox) == []


def test_a_wrong_key_field_stops_the_run(
    sandbox: Sandbox, run: Runner, add: Add, settings: Callable[..., None]
) -> None:
    settings("enrichment", "max_error_count", 2)
    for name in ("Ada", "Bo", "Cy"):
        add(name)

    assert isinstance(run.fails(Enrichment(slot=SLOT)), SafetyStop)
    assert sandbox_changes(sandbox) == []


def test_a_value_too_long_for_its_field_is_reported_and_never_cut(
    sandbox: Sandbox,
    run: Runner,
    add: Add,
    outputs_folder: Path,
    configure: Callable[..., None],
    settings: Callable[..., None],
) -> None:
    settings("enrichment", "max_rejected_share", 0.6)
    configure(fields='Campaign_Type1 = { source = "Type", width = 5 }')
    fits = add(sandbox.salesforce.add("Campaign", {"Name": "Fits", "Type": "Email"}))
    long = add(sandbox.salesforce.add("Campaign", {"Name": "Does not fit", "Type": "Webinar"}))

    run(Enrichment(slot=SLOT))

    assert (status(sandbox, fits)[0], status(sandbox, long)[0]) == ("Done", "Waiting")
    assert record(sandbox, long)["Campaign_Name1"] == ""
    assert receipt(outputs_folder)["outcome"] == "partly"
    assert receipt(outputs_folder)["reasons"] == {"rejected: too long: Campaign_Type1": 1}


def test_a_value_that_salesforce_lacks_empties_the_field(sandbox: Sandbox, run: Runner, add: Add) -> None:
    bare = sandbox.salesforce.add("Campaign", {"Name": "No date yet"})
    waiting = add(bare, Campaign_Start_Date1="2025-01-01 00:00:00", Campaign_Budget1="7")

    run(Enrichment(slot=SLOT))

    assert record(sandbox, waiting)["Campaign_Start_Date1"] == ""
    assert record(sandbox, waiting)["Campaign_Budget1"] == ""
    assert record(sandbox, waiting)["Campaign_Name1"] == "No date yet"


def test_double_identifiers_are_rejected_by_id(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, outputs_folder: Path, settings: Callable[..., None]
) -> None:
    settings("enrichment", "max_rejected_share", 0.9)
    twins = [add(campaign, identifier="same"), add(campaign, identifier="SAME ")]
    alone = add(campaign)

    run(Enrichment(slot=SLOT))

    assert [status(sandbox, number)[0] for number in twins] == ["Waiting"] * 2
    assert status(sandbox, alone)[0] == "Done"
    table = outputs_folder / "enrichment/2026-11-22T0615/event_registration/Fill.rejects.parquet"
    assert {(row["record_id"], row["reason"]) for row in pq.read_table(table).to_pylist()} == {
        (str(number), "double identifier") for number in twins
    }


def test_too_many_rejects_fail_the_run_and_leave_their_evidence(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, outputs_folder: Path
) -> None:
    add(campaign, identifier="bad")
    good = add(campaign)
    sandbox.eloqua.reject(OBJECT, "bad", "ELQ-00125")

    error = run.fails(Enrichment(slot=SLOT))

    assert isinstance(error, Unaccounted)
    assert "1 of 2 records were rejected" in str(error)
    assert status(sandbox, good)[0] == "Done"
    failed = receipt(outputs_folder, "Fill.failed.json")
    assert failed["reasons"] == {"rejected by Eloqua": 1}
    assert (failed["filled"], failed["oldest_waiting_after_seconds"]) == (1, 3600)
    table = outputs_folder / "enrichment/2026-11-22T0615/event_registration/Fill.rejects.parquet"
    assert [row["reason"] for row in pq.read_table(table).to_pylist()] == ["ELQ-00125"]


def test_a_record_created_by_the_import_fails_the_run_with_its_id(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str
) -> None:
    vanishing, staying = add(campaign), add(campaign)
    sandbox.on("POST", r"/imports$", lambda request: sandbox.eloqua.delete_record(OBJECT, vanishing))

    error = run.fails(Enrichment(slot=SLOT))

    (created,) = {found["Id"] for found in sandbox.eloqua.records(OBJECT)} - {staying}
    assert isinstance(error, Unaccounted)
    assert f"Event Registration: {created}" in str(error)


def test_a_second_run_changes_nothing(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> None:
    for key in (campaign, "broken", "701000000000001AAA"):
        add(key)
    run(Enrichment(slot=SLOT))
    before = len(sandbox.mutations)

    run(Enrichment(slot=SLOT))
    run(Enrichment(slot=SLOT + dt.timedelta(hours=1)))

    assert len(sandbox.mutations) == before


def test_a_dry_run_changes_nothing_and_does_not_count_as_done(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, outputs_folder: Path
) -> None:
    waiting = add(campaign)

    run(Enrichment(slot=SLOT, dry_run=True))

    rehearsal = json.loads(
        (outputs_folder / "enrichment/2026-11-22T0615/dry-run/event_registration/Fill.json").read_text()
    )
    assert (rehearsal["outcome"], rehearsal["updated"]) == ("rehearsed", 1)
    assert sandbox_changes(sandbox) == []
    assert not [one for one in sandbox.eloqua.definitions() if "/imports/" in one["uri"]]

    run(Enrichment(slot=SLOT))
    assert status(sandbox, waiting)[0] == "Done"


def test_the_receipt_adds_up_and_tells_the_oldest_waiting(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, outputs_folder: Path
) -> None:
    add(campaign, hours=48)
    add("broken")
    add("701000000000001AAA", hours=24)

    run(Enrichment(slot=SLOT))

    found = receipt(outputs_folder)
    assert found["planned"] == 3
    assert (found["filled"], found["in_error"], found["deferred"]) == (1, 1, 1)
    assert found["created"] + found["updated"] + found["unchanged"] + found["rejected"] + found["deferred"] == 3
    assert found["oldest_waiting_before_seconds"] == 48 * 3600
    assert found["oldest_waiting_after_seconds"] == 24 * 3600
    assert found["reasons"] == {"error: malformed key": 1, "deferred: unknown key": 1}


def test_no_definition_is_left_behind(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> None:
    add(campaign)

    run(Enrichment(slot=SLOT))

    assert sandbox.eloqua.definitions() == []


def test_many_waiting_records_go_in_several_syncs(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, settings: Callable[..., None], outputs_folder: Path
) -> None:
    settings("eloqua", "post_bytes", 600)
    settings("eloqua", "posts_per_sync", 2)
    numbers = [add(campaign) for _ in range(20)]

    run(Enrichment(slot=SLOT))

    assert {status(sandbox, number)[0] for number in numbers} == {"Done"}
    assert len(receipt(outputs_folder)["syncs"]) > 2
    uploads = [sent for sent in sandbox.requests if sent.method == "POST" and sent.path.endswith("/data")]
    assert max(sent.request_bytes for sent in uploads) <= 600


@pytest.mark.parametrize("what", ["reset_before", "reset_after"])
@pytest.mark.parametrize(
    "path", ["/exports$", "/syncs$", "/imports$", "/imports/[0-9]+/data$", "/composite$", "/token$"]
)
def test_a_lost_connection_is_survived_without_doing_anything_twice(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, what: str, path: str
) -> None:
    waiting = add(campaign)
    sandbox.faults.add(what=what, path=path, method="POST", nth=1)

    run(Enrichment(slot=SLOT))

    assert status(sandbox, waiting)[0] == "Done"
    assert len(sandbox_changes(sandbox)) == 1
    assert len(sandbox.eloqua.syncs()) == 2


def test_a_broken_run_goes_on_with_its_sync(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> None:
    waiting = add(campaign)
    sandbox.faults.add(what="status", path="/syncs/[0-9]+/data", status=500, nth=1)
    run.fails(Enrichment(slot=SLOT))

    run(Enrichment(slot=SLOT))

    assert status(sandbox, waiting)[0] == "Done"
    assert len(sandbox.eloqua.syncs()) == 2, "the export's sync was resumed, not asked for again"


def test_an_import_whose_sync_was_lost_from_sight_is_settled_not_repeated(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str
) -> None:
    waiting = add(campaign)
    sandbox.faults.add(what="status", path="/syncs/[0-9]+$", status=500, nth=2)  # the import's first poll
    run.fails(Enrichment(slot=SLOT))

    run(Enrichment(slot=SLOT))

    assert status(sandbox, waiting)[0] == "Done"
    assert len(sandbox.eloqua.syncs()) == 2


def test_a_sync_that_ends_in_error_is_asked_for_anew_by_the_next_run(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str
) -> None:
    waiting = add(campaign)
    sandbox.faults.add(what="sync_error", path="/syncs$", method="POST", nth=1)
    error = run.fails(Enrichment(slot=SLOT))
    assert isinstance(error, Refused | Unavailable)
    assert "ended in error" in str(error)

    run(Enrichment(slot=SLOT))

    assert status(sandbox, waiting)[0] == "Done"


@pytest.mark.parametrize("what", ["truncate", "drop_field", "missing_row", "wrong_type"])
def test_a_bad_page_fails_in_one_sentence_and_writes_nothing(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, outputs_folder: Path, what: str
) -> None:
    for _ in range(3):
        add(campaign)
    sandbox.faults.add(what=what, path="/syncs/[0-9]+/data", field="key")

    error = run.fails(Enrichment(slot=SLOT))

    assert isinstance(error, Refused | Unavailable)
    assert "/syncs/{id}/data" in str(error)
    assert not (outputs_folder / "enrichment/2026-11-22T0615/event_registration/ExportWaiting.parquet").exists()
    assert sandbox_changes(sandbox) == []


def test_expired_sessions_are_renewed(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> None:
    waiting = add(campaign)
    sandbox.on("POST", "/exports$", lambda request: sandbox.eloqua.expire_tokens())
    sandbox.on("POST", "/composite$", lambda request: sandbox.salesforce.expire_tokens())

    run(Enrichment(slot=SLOT))

    assert status(sandbox, waiting)[0] == "Done"


@pytest.mark.parametrize(
    ("extra", "fields", "meaning"),
    [
        ('source = "Champaign"', "", "check the object, the fields, the condition"),
        ('condition = "Nme = 1"', "", "check the object, the fields, the condition"),
        ('condition = "Name = 1) OR (Name != 2"', "", "a parenthesis is closed that was not opened"),
        ("", 'Campaign_Type1 = "Tpe"', "check the object, the fields, the condition"),
        ("", 'Campaign_Typo1 = "Type"', "has no field Campaign_Typo1"),
        ("give_up_after = 0", "", "`give_up_after` must be a number of days above 0"),
        ("colour = 1", "", "`colour` is unknown"),
    ],
)
def test_a_mistake_in_the_file_is_named_before_anything_is_read(
    sandbox: Sandbox, run: Runner, add: Add, configure: Callable[..., None], extra: str, fields: str, meaning: str
) -> None:
    add("broken")
    configure(extra=extra, fields=fields)

    error = run.fails(Enrichment(slot=SLOT))

    assert isinstance(error, ConfigError)
    assert meaning in str(error)
    assert sandbox.eloqua.syncs() == []
    assert sandbox_changes(sandbox) == []


def test_an_unknown_custom_object_is_named(
    sandbox: Sandbox, run: Runner, add: Add, configure: Callable[..., None]
) -> None:
    configure(text=FILE.format(extra="", fields="").replace('"Event Registration"', '"Event Registrations"'))

    error = run.fails(Enrichment(slot=SLOT))

    assert isinstance(error, ConfigError)
    assert 'no custom object is named "Event Registrations"' in str(error)


@pytest.mark.parametrize(
    ("variable", "meaning"),
    [("ELOQUA_PASSWORD", "check ELOQUA_CLIENT_ID"), ("SALESFORCE_CLIENT_SECRET", "check SALESFORCE_URL")],
)
def test_wrong_credentials_are_named(
    sandbox: Sandbox, run: Runner, add: Add, monkeypatch: pytest.MonkeyPatch, variable: str, meaning: str
) -> None:
    monkeypatch.setenv(variable, "wrong-secret-value")

    error = run.fails(Enrichment(slot=SLOT))

    assert isinstance(error, ConfigError)
    assert meaning in str(error)
    assert "wrong-secret-value" not in str(error)


def test_basic_authentication_serves_as_well(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ELOQUA_CLIENT_ID")
    monkeypatch.delenv("ELOQUA_CLIENT_SECRET")
    waiting = add(campaign)

    run(Enrichment(slot=SLOT))

    assert status(sandbox, waiting)[0] == "Done"


def test_an_unreachable_host_is_unavailable(
    sandbox: Sandbox, run: Runner, add: Add, monkeypatch: pytest.MonkeyPatch, settings: Callable[..., None]
) -> None:
    settings("transport", "deadline", "0.2")
    monkeypatch.setenv("ELOQUA_LOGIN_URL", "http://127.0.0.1:1")

    error = run.fails(Enrichment(slot=SLOT))

    assert isinstance(error, Unavailable)
    assert "could not be reached" in str(error)


def test_another_pair_of_systems_may_not_use_the_outputs_folder(
    sandbox: Sandbox, run: Runner, add: Add, campaign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Enrichment(slot=SLOT))
    monkeypatch.setenv("ELOQUA_SITE", "Production")

    error = run.fails(Enrichment(slot=SLOT))

    assert isinstance(error, ConfigError)
    assert "belongs to Eloqua site AcmeTest" in str(error)
