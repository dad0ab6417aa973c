"""The sandbox's own clock: a month passes in a minute, and everything that ages does."""

import requests

from scc.sandbox import Sandbox
from tests.sandbox.conftest import NOW, EloquaCaller, SalesforceCaller

HOUR, DAY = 3600, 86_400
OBJECT = "Event Registration"


def advance(sandbox, seconds):
    assert requests.post(sandbox.url + "/_sandbox/clock", json={"advance": seconds}).status_code == 200


def test_staged_rows_are_gone_after_their_retention_and_the_definition_later(sandbox, eloqua):
    path = eloqua.path_of(OBJECT)
    definition = eloqua.define_export(
        path,
        {"K": eloqua.statements(path)["Record_Key1"]},
        dataRetentionDuration="PT24H",
        autoDeleteDuration="P7D",
    )
    sync = eloqua.sync(definition)["uri"]

    seen = []
    for wait in (0, 23 * HOUR, HOUR, 6 * DAY):
        advance(sandbox, wait)
        seen.append((eloqua.get(sync + "/data").status_code, eloqua.get(definition).status_code))

    assert seen == [(200, 200), (200, 200), (410, 200), (404, 404)]


def test_tokens_of_both_systems_die_with_time(sandbox, eloqua, salesforce):
    env = sandbox.env
    grant = requests.post(
        sandbox.url + "/auth/oauth2/token",
        json={
            "grant_type": "password",
            "username": f"{env['ELOQUA_SITE']}\\{env['ELOQUA_USER']}",
            "password": env["ELOQUA_PASSWORD"],
        },
        auth=(env["ELOQUA_CLIENT_ID"], env["ELOQUA_CLIENT_SECRET"]),
    ).json()

    def works():
        bearer = {"Authorization": "Bearer " + grant["access_token"]}
        return (
            requests.get(eloqua.base + "/customObjects", headers=bearer).status_code,
            salesforce.query("SELECT Id FROM Campaign LIMIT 1").status_code,
        )

    before = works()
    advance(sandbox, 30 * DAY)

    assert (before, works()) == ((200, 200), (401, 401))


def test_late_bouncebacks_show_one_by_one_and_mark_their_addresses():
    """An export of the same window finds more a few days later: whoever asked too early has missed them."""
    with Sandbox(contacts=400, seed=1, now=NOW, sync_polls=1) as sandbox:
        eloqua = EloquaCaller(sandbox)

        def bouncebacks():
            return {
                row["Id"]: row["Address"]
                for row in eloqua.export(
                    "/activities",
                    {"Id": "{{Activity.Id}}", "Address": "{{Activity.Field(EmailAddress)}}"},
                    filter="'{{Activity.Type}}' = 'Bounceback' AND '{{Activity.CreatedAt}}' < '2026-11-22 06:15:00'",
                )
            }

        def bounced():
            rows = sandbox.eloqua.records("Contact")
            return {row["C_EmailAddress"] for row in rows if row["IsBounced"] == "True"}

        early, marked = bouncebacks(), bounced()
        advance(sandbox, 4 * DAY)
        late = bouncebacks()
        new = {address for number, address in late.items() if number not in early}

        assert early.keys() < late.keys() and new and not new & marked
        assert bounced() == marked | new
        logged = [m for m in sandbox.mutations if m["request"] == "late bounceback"]
        assert {m["id"] for m in logged} == {address.lower() for address in new}


def test_a_sync_that_nobody_asks_about_ends_by_the_clock():
    with Sandbox(contacts=40, now=NOW, sync_polls=50) as sandbox:
        eloqua = EloquaCaller(sandbox)
        path = eloqua.path_of(OBJECT)
        definition = eloqua.define_export(path, {"K": eloqua.statements(path)["Record_Key1"]})
        sync = eloqua.post("/syncs", {"syncedInstanceUri": definition}).json()["uri"]
        first = eloqua.get(sync).json()["status"]
        advance(sandbox, HOUR)

        assert (first, eloqua.get(sync).json()["status"]) == ("active", "success")


def test_a_locator_of_salesforce_dies_after_days():
    with Sandbox(contacts=40, now=NOW, page_size=25) as sandbox:
        salesforce = SalesforceCaller(sandbox)
        locator = salesforce.query("SELECT Id FROM Campaign").json()["nextRecordsUrl"]
        advance(sandbox, 3 * DAY)
        salesforce.login()

        assert salesforce.http.get(sandbox.url + locator).status_code in (400, 404)


def test_time_stamps_follow_the_clock(sandbox):
    advance(sandbox, 30 * DAY)
    number = sandbox.eloqua.add_record(OBJECT, {"Record Key": "k"})

    assert sandbox.eloqua.record(OBJECT, number)["CreatedAt"].isoformat() == "2026-12-22T06:15:00+00:00"
    assert sandbox.mutations[0]["time"] == "2026-12-22T06:15:00.000Z"
