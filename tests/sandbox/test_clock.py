"""The sandbox's own clock: a month passes in a minute, and everything that ages does."""

from datetime import UTC, timedelta

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


def late_company(**more):
    """A company with bouncebacks that Eloqua does not know yet: address -> when it will."""
    sandbox = Sandbox(contacts=400, seed=1, sync_polls=1, **{"now": NOW, **more})
    late = {
        a["EmailAddress"].lower(): a["VisibleAt"]
        for a in sandbox.eloqua.activities("Bounceback")
        if a["ExternalId"].endswith("h") and a["VisibleAt"] > sandbox.clock.now
    }
    assert late
    return sandbox, late


def test_an_advance_over_http_marks_late_bouncebacks_though_nobody_asks_eloqua():
    """The window, the mutation log and the Python door show them at once, with the date of the bounceback."""
    sandbox, late = late_company()
    with sandbox:
        address = min(late)
        person = f"{sandbox.url}/_sandbox/person?address={address}"
        before = requests.get(person).text
        advance(sandbox, 10 * DAY)
        stored = dict(sandbox.store.rows("SELECT address, bounceback_date FROM eloqua.address WHERE bounced"))

        assert {a: stored[a].replace(tzinfo=UTC) for a in late} == late
        assert str(late[address].replace(tzinfo=None))[:19] not in before
        assert str(late[address].replace(tzinfo=None))[:19] in requests.get(person).text
        assert late.keys() <= {
            m["id"] for m in sandbox.mutations if m["request"] == "late bounceback" and m["object"] == "Address"
        }


def test_an_advance_from_python_marks_late_bouncebacks_too():
    sandbox, late = late_company()
    with sandbox:
        assert not late.keys() & sandbox.eloqua.bounced()
        sandbox.clock.advance(10 * DAY)

        marked = sandbox.store.rows("SELECT lower(C_EmailAddress) FROM eloqua.contact WHERE IsBounced = 'True'")
        assert late.keys() <= {row[0] for row in marked}
        assert late.keys() <= sandbox.eloqua.bounced()


def test_with_the_real_clock_whoever_looks_sees_what_has_arrived_meanwhile():
    with Sandbox(contacts=40, seed=1, activities=0) as sandbox:
        soon = sandbox.clock.now + timedelta(hours=1)
        for name in ("ana", "bo"):
            sandbox.eloqua.add_bounceback(f"{name}@example.com", visible_at=soon, ExternalId=f"{name}h")
        assert "ana@example.com" not in sandbox.eloqua.bounced()
        sandbox.clock._advanced += timedelta(hours=2)  # as if they had passed: nobody called advance

        page = requests.get(f"{sandbox.url}/_sandbox/person?address=ana@example.com").text
        assert f"{soon:%Y-%m-%d %H:%M:%S}" in page
        assert {"ana@example.com", "bo@example.com"} <= sandbox.eloqua.bounced()


def test_a_sync_its_log_and_its_rejects_are_gone_after_a_year(sandbox, eloqua):
    path = eloqua.path_of(OBJECT)
    key = {"K": eloqua.statements(path)["Record_Key1"]}
    old = eloqua.import_rows(path, key, "K", [{"K": ""}, {"K": "a"}])
    advance(sandbox, 364 * DAY)
    new = eloqua.import_rows(path, key, "K", [{"K": ""}])
    seen = [eloqua.get(old["uri"] + "/rejects").json()["totalResults"]]
    advance(sandbox, DAY)

    seen += [eloqua.get(old["uri"] + tail).status_code for tail in ("", "/logs", "/rejects")]
    assert seen == [1, 404, 404, 404]
    assert eloqua.get(new["uri"] + "/rejects").json()["totalResults"] == 1
    assert sandbox.store.value("SELECT count(*) FROM staging.rejects") == 1


def test_imports_and_exports_leave_no_tables_behind(sandbox, eloqua):
    """Memory grows with what is kept, not with the requests: no table of its own for each sync's rejects or rows."""
    path = eloqua.path_of(OBJECT)
    key = {"K": eloqua.statements(path)["Record_Key1"]}

    def tables():
        return sandbox.store.value("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'staging'")

    def once():
        uri = eloqua.import_rows(path, key, "K", [{"K": ""}])["syncedInstanceUri"]
        assert eloqua.delete(uri).status_code == 204
        uri = eloqua.define_export(path, key)
        eloqua.sync(uri)
        assert eloqua.delete(uri).status_code == 204

    once()
    before = tables()
    for _ in range(3):
        once()

    assert tables() == before
    assert len(sandbox.eloqua.syncs()) == 8
    sandbox.eloqua.limits.kept_syncs = 2
    eloqua.get("/syncs")
    assert len(eloqua.get("/syncs").json()["items"]) == 2
    assert all(s.rows is None and s.definition.fields == {} for s in sandbox.systems["eloqua"].syncs.all.values())
