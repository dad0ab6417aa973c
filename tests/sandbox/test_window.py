"""The window: what a person sees in a browser, and that looking changes nothing."""

from __future__ import annotations

import html
import re
import subprocess

import pytest
import requests

from tests.components import require
from tests.sandbox.conftest import EloquaCaller

EVIL = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


def visit(sandbox, path="", **query):
    """The page as HTML."""
    answer = requests.get(f"{sandbox.url}/_sandbox/{path}", params=query)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), answer.text[:500]
    return answer.text


def words(page):
    """What of a page a person reads."""
    body = re.sub(r"(?s)<style>.*?</style>", "", page)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def browse(tmp_path, url):
    """The page as headless Chromium has it after loading."""
    command = [require("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={tmp_path}/profile", "--no-first-run", "--disable-background-networking"]
    run = subprocess.run([*command, "--dump-dom", url], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.fixture
def person(sandbox):
    """A contact with a twin in the CRM, a record, and evil in its name."""
    address = "Wanda.Window@example.com"
    contact = sandbox.eloqua.add_record("Contact", {"C_EmailAddress": address, "C_FirstName": EVIL})
    sandbox.eloqua.add_record(
        "Event Registration", {"Record Key": "seen-by-wanda", "Enrichment Status": "Waiting"}, contact_id=contact
    )
    campaign = sandbox.salesforce.add("Campaign", {"Name": "Window Week"})
    lead = sandbox.salesforce.add("Lead", {"LastName": EVIL, "Company": "Panes", "Email": address.lower()})
    sandbox.salesforce.add("CampaignMember", {"CampaignId": campaign, "LeadId": lead, "Status": "Sent"})
    return address, contact, lead


def test_the_overview_in_a_browser_shows_counts_clock_and_faults(sandbox, tmp_path):
    sandbox.faults.add("status", path="/syncs$", status=503)
    EloquaCaller(sandbox).get("/customObjects")

    seen = words(browse(tmp_path, sandbox.url + "/_sandbox/"))

    assert f"Contacts {sandbox.summary()['contacts']}" in seen
    assert "2026-11-22 06:15:00 UTC" in seen
    assert "/syncs$" in seen and "status 503" in seen
    assert "/api/bulk/2.0/customObjects" in seen


def test_a_person_in_a_browser_is_whole_and_runs_no_script(sandbox, person, tmp_path):
    address, contact, lead = person

    dom = browse(tmp_path, f"{sandbox.url}/_sandbox/person?address={address.upper()}")

    seen = words(dom)
    assert f"Eloqua contact {contact}" in seen and f"Salesforce Lead {lead}" in seen
    assert "seen-by-wanda" in seen and "Window Week" in seen
    assert "broken" not in re.search("<title>(.*?)</title>", dom)[1] and EVIL in seen


def test_lists_and_activities_of_a_contact_are_shown(sandbox):
    store = sandbox.store
    contact = store.value("SELECT min(ContactId) FROM eloqua.activity")
    name = store.value(
        "SELECT l.name FROM eloqua.list_member m JOIN eloqua.list l ON l.Id = m.list_id WHERE m.contact_id = ?",
        [contact],
    )
    kind = store.value("SELECT Type FROM eloqua.activity WHERE ContactId = ?", [contact])
    address = store.value("SELECT trim(C_EmailAddress) FROM eloqua.contact WHERE Id = ?", [contact])

    seen = words(visit(sandbox, "person", address=address))

    assert kind in seen and (name is None or name in seen)


def test_a_search_that_fits_several_people_lists_them(sandbox):
    for number in (1, 2):
        sandbox.eloqua.add_record("Contact", {"C_EmailAddress": f"pair.{number}@example.com"})

    seen = words(visit(sandbox, "person", address="pair."))

    assert "Several people" in seen and "pair.1@example.com" in seen and "pair.2@example.com" in seen


def test_a_search_for_nobody_says_so(sandbox):
    assert "Nobody has “nobody@example.com”" in words(visit(sandbox, "person", address="nobody@example.com"))


def test_the_log_shows_what_changed_and_by_which_request(sandbox, eloqua):
    path = eloqua.path_of("Event Registration")
    key = eloqua.statements(path)["Record_Key1"]
    eloqua.import_rows(path, {"K": key}, "K", [{"K": "from-http"}])

    seen = words(visit(sandbox, "log", object="Event Registration", kind="create"))

    assert re.search(r"create Record_Key1 from-http .*POST /api/bulk/2.0/syncs", seen)


def test_the_log_is_filtered_and_paged(sandbox):
    ids = [sandbox.eloqua.add_record("Event Registration", {"Record Key": f"key-{i}"}) for i in range(60)]
    sandbox.salesforce.add("Campaign", {"Name": "Elsewhere"})

    first, second = (visit(sandbox, "log", object="Event Registration", page=page) for page in (1, 2))

    shown = [re.findall(r"<ins>(key-\d+)</ins>", page) for page in (first, second)]
    assert shown == [[f"key-{i}" for i in range(59, 9, -1)], [f"key-{i}" for i in range(9, -1, -1)]]
    assert "Elsewhere" not in first and "Elsewhere" in visit(sandbox, "log", system="salesforce")
    assert re.findall(r"<ins>(key-\d+)</ins>", visit(sandbox, "log", object="Event Registration", id=ids[7])) == [
        "key-7"
    ]


def test_requests_are_filtered_by_status(sandbox, eloqua):
    eloqua.get("/customObjects")
    eloqua.get("/nothing-here")

    seen = words(visit(sandbox, "traffic", status="4"))

    assert "/nothing-here" in seen and "/customObjects" not in seen


def test_syncs_and_definitions_are_shown(sandbox, eloqua):
    path = eloqua.path_of("Event Registration")
    sync = eloqua.sync(eloqua.define_export(path, {"Key": eloqua.statements(path)["Record_Key1"]}))

    seen = words(visit(sandbox, "work"))

    assert sync["uri"] in seen and sync["syncedInstanceUri"] in seen and "success" in seen and "ELQ-00101" in seen


def test_every_page_escapes_what_came_from_outside(sandbox, person, eloqua):
    eloqua.get("/" + EVIL, q=EVIL)
    eloqua.define_export("/contacts", {"E": "{{Contact.Field(C_EmailAddress)}}"})
    pages = [visit(sandbox, path) for path in ("", "log", "traffic", "work")]
    pages.append(visit(sandbox, "person", address=person[0]))
    pages.append(visit(sandbox, "person", address=EVIL))
    pages.append(visit(sandbox, "log", object=EVIL, id=EVIL, request=EVIL))

    assert [page for page in pages if "<script" in page or "<img" in page] == []


def test_pages_load_nothing_from_elsewhere_and_forbid_scripts(sandbox):
    answer = requests.get(sandbox.url + "/_sandbox/")

    assert re.findall(r'(?:src|href)="(?!/_sandbox/)[^"]*"', answer.text) == []
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_looking_changes_nothing_and_counts_as_no_call(sandbox, person):
    before = (sandbox.mutations, len(sandbox.requests))

    for path in ("", "log", "traffic", "work"):
        visit(sandbox, path)
        assert requests.post(f"{sandbox.url}/_sandbox/{path}").status_code == 405
    visit(sandbox, "person", address=person[0])

    assert (sandbox.mutations, len(sandbox.requests)) == before
