"""The made-up company, the control endpoints and the command line."""

import json
import re
import signal
import subprocess
import sys
from collections import Counter

import pytest
import requests

from scc.sandbox import Sandbox
from tests.sandbox.conftest import NOW

OBJECTS = ("Event Registration", "Content Download")


def everything(sandbox):
    crm = {
        name: sandbox.salesforce.rows(name)
        for name in ("Account", "Campaign", "CampaignMember", "Contact", "Lead", "Opportunity")
    }
    return {**crm, **{name: sandbox.eloqua.records(name) for name in ("Contact", *OBJECTS)}}


def test_one_seed_and_one_instant_are_one_company():
    companies = []
    for seed in (7, 7, 8):
        with Sandbox(contacts=120, seed=seed, now=NOW) as sandbox:
            companies.append(everything(sandbox))

    assert companies[0] == companies[1] != companies[2]


def test_the_company_is_the_same_on_every_machine_and_release(shared):
    """Fixed rows: whoever changes the seeding changes everybody's company, and must do so on purpose."""
    first = shared.eloqua.records("Event Registration")[0]
    campaign = shared.salesforce.rows("Campaign")[0]

    assert (first["Record_Key1"], first["Email_Address1"], first["Enrichment_Status1"], first["Campaign_Name1"]) == (
        "ER-00000001",
        "peter.mueller54@uni.example.net",
        "Done",
        "Conference Security 2026-03 #35",
    )
    assert (campaign["Id"], campaign["Name"], campaign["BudgetedCost"]) == (
        "7015j000000blJIAAY",
        "Other Data Platform 2025-10 #1",
        65000.0,
    )


def test_all_addresses_are_in_reserved_domains(shared):
    addresses = {row["C_EmailAddress"] for row in shared.eloqua.records("Contact")}
    addresses |= {row["Email"] for name in ("Lead", "Contact") for row in shared.salesforce.rows(name)}
    addresses |= {row[0] for row in shared.store.rows("SELECT EmailAddress FROM eloqua.activity")}
    addresses |= {row[0] for row in shared.store.rows("SELECT address FROM eloqua.address")}
    addresses -= {None}  # web visits have none, and some leads

    assert len(addresses) >= 200
    assert [a for a in addresses if not re.fullmatch(r"[^@\s]+@(\w+\.)?example\.(com|org|net)", a.lower())] == []


def test_contact_addresses_are_unique_without_case(shared):
    addresses = Counter(row["C_EmailAddress"].lower() for row in shared.eloqua.records("Contact"))

    assert addresses.most_common(1)[0][1] == 1


def test_waiting_records_have_the_promised_kinds_of_keys():
    with Sandbox(contacts=1000, waiting=1000, now=NOW) as sandbox:
        known = {row["Id"] for row in sandbox.salesforce.rows("Campaign")}
        kinds = Counter()
        for name in OBJECTS:
            for row in sandbox.eloqua.records(name):
                key = row["Salesforce_Campaign_ID1"]
                assert row["Enrichment_Status1"] == "Waiting" and row["Campaign_Name1"] == ""
                if not re.fullmatch(r"\w{15}|\w{18}", key):
                    kinds[name, "malformed"] += 1
                elif any(i[:15] == key[:15] for i in known):
                    kinds[name, len(key)] += 1
                else:
                    kinds[
                        name,
                        f"unknown for {'more' if (sandbox.clock.now - row['CreatedAt']).days > 30 else 'less'} than 30 days",
                    ] += 1

    assert kinds == {
        (OBJECTS[0], 15): 336,
        (OBJECTS[0], 18): 336,
        (OBJECTS[0], "malformed"): 14,
        (OBJECTS[0], "unknown for less than 30 days"): 7,
        (OBJECTS[0], "unknown for more than 30 days"): 7,
        (OBJECTS[1], 15): 144,
        (OBJECTS[1], 18): 144,
        (OBJECTS[1], "malformed"): 6,
        (OBJECTS[1], "unknown for less than 30 days"): 3,
        (OBJECTS[1], "unknown for more than 30 days"): 3,
    }


def test_done_records_carry_their_campaign_and_some_campaigns_lack_values(shared):
    names = {row["Name"] for row in shared.salesforce.rows("Campaign")}
    done = [row for name in OBJECTS for row in shared.eloqua.records(name) if row["Enrichment_Status1"] == "Done"]

    assert done and all(row["Campaign_Name1"] in names for row in done)
    for field in ("StartDate", "BudgetedCost"):
        missing = sum(row[field] is None for row in shared.salesforce.rows("Campaign"))
        assert 0 < missing < 8


def test_the_summary_counts_records_by_status_and_calls_by_system(sandbox, eloqua, salesforce):
    eloqua.get("/customObjects")

    summary = requests.get(sandbox.url + "/_sandbox/summary").json()

    assert summary["activities"] == Counter(a["Type"] for a in sandbox.eloqua.activities())
    assert summary["contacts"] == 40 and summary["seed"] == 1 and summary["now"] == NOW
    assert {name: sum(counts.values()) for name, counts in summary["custom_object_records"].items()} == {
        OBJECTS[0]: 28,
        OBJECTS[1]: 12,
    }
    assert sum(counts.get("Waiting", 0) for counts in summary["custom_object_records"].values()) == 2
    assert summary["crm"]["Campaign"] == 40 and summary["calls"] == {"eloqua": 1, "salesforce": 1, "slack": 0}


def test_a_mutation_says_what_changed_and_by_which_request(sandbox, eloqua):
    path = eloqua.path_of(OBJECTS[0])
    field = eloqua.statements(path)
    sandbox.eloqua.clear_records(OBJECTS[0])
    number = sandbox.eloqua.add_record(OBJECTS[0], {"Record Key": "k", "Campaign Name": "old"})
    eloqua.import_rows(path, {"K": field["Record_Key1"], "N": field["Campaign_Name1"]}, "K", [{"K": "k", "N": "new"}])

    created, updated = [
        json.loads(line) for line in requests.get(sandbox.url + "/_sandbox/mutations").text.splitlines()
    ]

    assert (created["kind"], created["request"]) == ("create", "python")
    assert updated == {
        "time": "2026-11-22T06:15:00.000Z",
        "system": "eloqua",
        "object": OBJECTS[0],
        "id": str(number),
        "kind": "update",
        "changed": {"Campaign_Name1": {"old": "old", "new": "new"}},
        "request": "POST /api/bulk/2.0/syncs",
    }


def test_the_records_of_a_custom_object_are_given_line_by_line(sandbox):
    lines = requests.get(f"{sandbox.url}/_sandbox/custom-objects/{OBJECTS[0]}").text.splitlines()

    assert len(lines) == 28 and json.loads(lines[0])["Record_Key1"] == "ER-00000001"


def test_the_clock_is_advanced_over_http(sandbox):
    assert requests.post(sandbox.url + "/_sandbox/clock", json={"advance": 90}).json() == {
        "now": "2026-11-22T06:16:30Z"
    }
    assert requests.post(sandbox.url + "/_sandbox/clock", json={"advance": "soon"}).status_code == 400


def test_sandboxes_in_one_process_do_not_see_each_other():
    with Sandbox(contacts=40, now=NOW) as one, Sandbox(contacts=60, now=NOW) as two:
        one.eloqua.clear_records(OBJECTS[0])

        assert one.url != two.url
        assert (len(one.eloqua.records(OBJECTS[0])), len(two.eloqua.records(OBJECTS[0]))) == (0, 42)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_stop(stop):
    command = [
        sys.executable,
        "-m",
        "scc.sandbox",
        "serve",
        "--port",
        "0",
        "--contacts",
        "40",
        "--now",
        NOW,
        "--waiting",
        "7",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = re.fullmatch(r"sandbox ready on (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())[1]
        summary = requests.get(url + "/_sandbox/summary").json()
        process.send_signal(stop)

        assert process.wait(timeout=10) == 0
        assert sum(c["Waiting"] for c in summary["custom_object_records"].values()) == 7
    finally:
        process.kill()
        process.wait()


def test_the_env_command_prints_what_a_client_needs():
    out = subprocess.run(
        [sys.executable, "-m", "scc.sandbox", "env", "--port", "1234"], capture_output=True, text=True, check=True
    ).stdout

    names = dict(re.fullmatch(r"export (\w+)=(.*)", line).groups() for line in out.splitlines())
    assert names["ELOQUA_LOGIN_URL"] == names["SALESFORCE_URL"] == "http://127.0.0.1:1234"
    assert {
        "ELOQUA_SITE",
        "ELOQUA_USER",
        "ELOQUA_PASSWORD",
        "SALESFORCE_CLIENT_ID",
        "SALESFORCE_CLIENT_SECRET",
    } <= names.keys()


def test_a_taken_port_is_said_in_one_sentence():
    with Sandbox(contacts=40, now=NOW) as sandbox:
        port = sandbox.url.rsplit(":", 1)[1]
        run = subprocess.run(
            [sys.executable, "-m", "scc.sandbox", "serve", "--port", port, "--contacts", "40"],
            capture_output=True,
            text=True,
        )

    assert (
        run.returncode == 78
        and run.stderr.startswith(f"cannot listen on port {port}: ")
        and "Traceback" not in run.stderr
    )


def test_two_clients_at_once_lose_nothing(sandbox, eloqua):
    """Eight imports from eight threads into one object: every record is there once."""
    import threading

    path = eloqua.path_of(OBJECTS[0])
    key = eloqua.statements(path)["Record_Key1"]
    sandbox.eloqua.clear_records(OBJECTS[0])

    from tests.sandbox.conftest import EloquaCaller

    def run(number):
        EloquaCaller(sandbox).import_rows(path, {"K": key}, "K", [{"K": f"{number}-{i}"} for i in range(50)])

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]

    rows = sandbox.eloqua.records(OBJECTS[0])
    assert len({r["Id"] for r in rows}) == len({r["Record_Key1"] for r in rows}) == len(rows) == 400
