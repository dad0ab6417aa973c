"""What BounceCleanup promises, through Luigi against the sandbox over real HTTP."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.bounce_cleanup import BounceCleanup
from scc import finished
from scc.errors import ConfigError, SafetyStop, Unaccounted
from tests.conftest import Runner
from tests.jobs.bounces import ANA, DAY, SLOT, Company, receipts

NEXT = SLOT + DAY


def test_a_hard_bounce_is_known_in_both_systems(company: Company, run: Runner) -> None:
    company.bounce()
    lead, person, other = company.lead(), company.person("Ana@Example.com"), company.lead("bo@example.com")

    run(BounceCleanup(slot=SLOT))

    assert company.bounced() == {ANA}
    found = company.contact()
    assert found["C_Bounce_Status1"] == "Bounced"
    assert found["C_Bounce_Reason1"] == "Hard bounce, SMTP 5.1.1 / 550"
    assert found["C_Bounce_Date1"] == "2026-11-22 01:15:00"
    assert found["C_Bounce_Code1"] == "5.1.1"
    assert company.marked() == {lead, person}
    assert company.record(lead)["EmailBouncedDate"] == dt.datetime(2026, 11, 22, 1, 15, tzinfo=dt.UTC)
    assert not company.record(other)["EmailBouncedReason"]


@pytest.mark.parametrize(("status", "reply"), [("4.2.2", "452"), ("5.7.1", "550"), ("5.1.1", "421"), ("", "")])
def test_other_bounces_keep_their_mail(company: Company, run: Runner, status: str, reply: str) -> None:
    company.bounce(status=status, reply=reply)
    company.lead()

    run(BounceCleanup(slot=SLOT))

    assert company.changes() == []


def test_soft_bounces_in_a_row_count_as_hard(company: Company, run: Runner) -> None:
    company.rules(bounces="bounces = 1", **{"bounces = 5": "bounces = 3"})
    for day in range(3):
        company.bounce(ago=5 + 24 * day, status="4.2.2", reply="452")
    lead = company.lead()

    run(BounceCleanup(slot=SLOT))

    assert company.bounced() == {ANA}
    assert company.record(lead)["EmailBouncedReason"] == "Repeated soft bounces, SMTP 4.2.2 / 452"


def test_only_the_configured_fields_change(company: Company, run: Runner) -> None:
    company.bounce()
    company.sandbox.salesforce.set_assignment_rule(True)
    company.lead(HasOptedOutOfEmail=True)

    run(BounceCleanup(slot=SLOT))

    changed = {name for change in company.changes() for name in change["changed"]}
    fields = {"C_Bounce_Status1", "C_Bounce_Reason1", "C_Bounce_Date1", "C_Bounce_Code1", "IsBounced"}
    assert changed - {"bounced", "bounceback_date", "C_DateModified"} <= fields | {
        *("EmailBouncedReason", "EmailBouncedDate", "IsEmailBounced")
    }


def test_converted_leads_are_left_alone(company: Company, run: Runner, outputs_folder: Path) -> None:
    company.bounce()
    lead = company.lead()
    contact = company.sandbox.salesforce.convert_lead(lead)

    run(BounceCleanup(slot=SLOT))

    assert company.marked() == {contact}
    assert receipts(outputs_folder)["salesforce"]["planned"] == 1  # the lead is not even tried


def test_a_record_that_is_marked_is_not_written_again(company: Company, run: Runner, outputs_folder: Path) -> None:
    company.bounce()
    company.lead(EmailBouncedReason="known", EmailBouncedDate="2026-01-01T00:00:00Z")

    run(BounceCleanup(slot=SLOT))

    assert not any("/composite/sobjects" in write for write in company.writes())
    receipt = receipts(outputs_folder)["salesforce"]
    assert (receipt["planned"], receipt["unchanged"]) == (1, 1)


def test_running_a_slot_twice_changes_nothing(company: Company, run: Runner, outputs_folder: Path) -> None:
    company.bounce()
    company.lead()
    run(BounceCleanup(slot=SLOT))
    assert finished.is_finished(outputs_folder / "bounce_cleanup" / "2026-11-22T0615")
    requests = len(company.sandbox.requests)

    run(BounceCleanup(slot=SLOT))

    assert len(company.sandbox.requests) == requests


def test_the_next_slot_does_not_act_again(company: Company, run: Runner, outputs_folder: Path) -> None:
    company.bounce()
    company.lead()
    run(BounceCleanup(slot=SLOT))
    writes = company.writes()

    run(BounceCleanup(slot=NEXT))

    assert company.writes() == writes
    assert receipts(outputs_folder, NEXT)["eloqua"]["planned"] == 0
    assert receipts(outputs_folder, NEXT)["report"]["new_bouncebacks"] == 0


def test_a_late_bounceback_is_found_by_the_next_slot(company: Company, run: Runner) -> None:
    company.sandbox.eloqua.add_contact(ANA)
    company.bounce(visible_at=SLOT + dt.timedelta(hours=20), ago=30)
    run(BounceCleanup(slot=SLOT))
    assert company.bounced() == set()
    company.sandbox.clock.advance(DAY.total_seconds())

    run(BounceCleanup(slot=NEXT))

    assert company.bounced() == {ANA}


def test_a_bounceback_of_the_last_hour_is_left_to_the_next_slot(company: Company, run: Runner) -> None:
    company.bounce(ago=0.9)
    run(BounceCleanup(slot=SLOT))
    assert company.bounced() == set()

    run(BounceCleanup(slot=NEXT))

    assert company.bounced() == {ANA}


def test_a_soft_bounce_that_completes_a_row_acts_on_handled_ones(company: Company, run: Runner) -> None:
    company.rules(**{"bounces = 5": "bounces = 3"})
    for hours in (5, 29):
        company.bounce(ago=hours, status="4.2.2", reply="452")
    run(BounceCleanup(slot=SLOT))
    assert company.bounced() == set()
    company.bounce(ago=-10, status="4.2.2", reply="452")
    company.sandbox.clock.advance(DAY.total_seconds())

    run(BounceCleanup(slot=NEXT))

    assert company.bounced() == {ANA}


def test_missed_slots_are_covered(company: Company, run: Runner) -> None:
    company.bounce("early@example.com", ago=3)
    run(BounceCleanup(slot=SLOT - 40 * DAY))

    run(BounceCleanup(slot=SLOT + 31 * DAY))  # more than the longest span later

    assert company.bounced() == {"early@example.com"}


def test_who_opened_mail_after_the_bounce_is_left_alone(company: Company, run: Runner, outputs_folder: Path) -> None:
    company.bounce()
    company.opened()
    company.lead()

    run(BounceCleanup(slot=SLOT))

    assert company.changes() == []
    found = receipts(outputs_folder)
    assert found["report"]["opened_after_the_bounce"] == [str(company.contact()["Id"])]
    assert found["eloqua"]["reasons"] == {"unchanged: opened mail after the bounce": 1}


def test_only_who_has_the_address_today_is_marked(company: Company, run: Runner, outputs_folder: Path) -> None:
    company.bounce("moved@example.com")
    company.bounce("gone@example.com")
    eloqua = company.sandbox.eloqua
    eloqua.update_record("Contact", company.contact("moved@example.com")["Id"], {"C_EmailAddress": "new@example.com"})
    eloqua.delete_record("Contact", company.contact("gone@example.com")["Id"])
    lead = company.lead("moved@example.com")

    run(BounceCleanup(slot=SLOT))

    assert company.bounced() == set()
    assert company.contact("gone@example.com") is None
    assert company.marked() == {lead}  # Salesforce still has the dead address
    reasons = receipts(outputs_folder)["eloqua"]["reasons"]
    assert reasons == {"unchanged: contact renamed": 1, "unchanged: contact deleted": 1}


def test_a_person_erased_while_the_run_works_is_not_created_again(
    company: Company, run: Runner, outputs_folder: Path
) -> None:
    company.bounce()
    number = company.contact()["Id"]
    company.sandbox.on(
        "POST", "/contacts/imports$", lambda request: company.sandbox.eloqua.delete_record("Contact", number)
    )

    run(BounceCleanup(slot=SLOT))

    assert company.contact() is None
    assert receipts(outputs_folder)["eloqua"]["reasons"] == {"unchanged: no contact has the address": 1}


def test_bouncebacks_without_contact_or_address_are_accounted_for(
    company: Company, run: Runner, outputs_folder: Path
) -> None:
    stranger = {"created_at": SLOT - dt.timedelta(hours=5), "SmtpStatusCode": "5.1.1"}
    company.sandbox.eloqua.add_activity("Bounceback", EmailAddress="stranger@example.com", **stranger)
    company.sandbox.eloqua.add_activity("Bounceback", **stranger)
    lead = company.lead("stranger@example.com")

    run(BounceCleanup(slot=SLOT))

    found = receipts(outputs_folder)
    report = found["report"]
    assert (report["new_bouncebacks"], report["without_contact"], report["without_address"]) == (2, 2, 1)
    assert (found["eloqua"]["planned"], found["eloqua"]["unchanged"]) == (1, 1)
    assert company.marked() == {lead}


def test_an_address_of_many_leads_is_marked_on_all_of_them(company: Company, run: Runner, outputs_folder: Path) -> None:
    company.bounce()
    leads = {company.lead() for _ in range(500)}

    run(BounceCleanup(slot=SLOT))

    assert company.marked() == leads
    assert receipts(outputs_folder)["salesforce"]["updated"] == 500


def test_a_field_that_may_not_be_written_is_left_out_and_said_so(
    company: Company, run: Runner, outputs_folder: Path
) -> None:
    company.sandbox.salesforce.hide_field("Lead", "EmailBouncedDate")
    company.sandbox.salesforce.protect_field("Contact", "EmailBouncedReason")
    company.bounce()
    lead, person = company.lead(), company.person()

    run(BounceCleanup(slot=SLOT))

    assert company.record(lead)["EmailBouncedReason"]
    assert company.record(person)["EmailBouncedDate"]
    assert not company.record(person)["EmailBouncedReason"]
    receipt = receipts(outputs_folder)["salesforce"]
    assert receipt["left_out"] == {"Lead": ["EmailBouncedDate"], "Contact": ["EmailBouncedReason"]}


def test_without_any_field_to_write_nothing_is_read(company: Company, run: Runner) -> None:
    for name in ("Lead", "Contact"):
        for field in ("EmailBouncedDate", "EmailBouncedReason"):
            company.sandbox.salesforce.protect_field(name, field)
    company.bounce()

    error = run.fails(BounceCleanup(slot=SLOT))

    assert isinstance(error, ConfigError)
    assert "may write none of them" in str(error)
    assert company.bounced() == set()


@pytest.mark.parametrize("days", [30, 31])
def test_what_is_done_is_kept_for_as_long_as_the_rules_look_back(
    company: Company, run: Runner, settings: Callable[..., None], days: int
) -> None:
    settings("output_cleanup", "retention", f'{{"bounce_cleanup": {days}}}')
    company.bounce()

    if days > 30:
        run(BounceCleanup(slot=SLOT))
    else:
        error = run.fails(BounceCleanup(slot=SLOT))
        assert isinstance(error, ConfigError)
        assert "for 30 days" in str(error)
        assert company.writes() == []


def test_an_unknown_contact_field_is_named_before_anything_is_read(company: Company, run: Runner) -> None:
    company.rules(**{"fields = {": 'fields = { C_Nope1 = "status" }'})

    error = run.fails(BounceCleanup(slot=SLOT))

    assert isinstance(error, ConfigError)
    assert "C_Nope1 does not exist" in str(error)
    assert company.writes() == []


@pytest.mark.parametrize(("limit", "value"), [("max_share", 0.02), ("max_count", 1)])
def test_too_many_dead_addresses_stop_the_run(
    company: Company, run: Runner, settings: Callable[..., None], limit: str, value: float
) -> None:
    settings("bounce_cleanup", limit, value)
    for number in range(2):
        company.bounce(f"p{number}@example.com")

    error = run.fails(BounceCleanup(slot=SLOT))

    assert isinstance(error, SafetyStop)
    assert error.count == 2
    assert company.writes() == []


def test_too_many_records_in_salesforce_stop_the_run(
    company: Company, run: Runner, settings: Callable[..., None]
) -> None:
    settings("bounce_cleanup", "max_records", 2)
    company.bounce()
    for _ in range(3):
        company.lead()

    assert isinstance(run.fails(BounceCleanup(slot=SLOT)), SafetyStop)

    assert company.marked() == set()


def test_a_rehearsal_changes_nothing_and_says_what_it_would(
    company: Company, run: Runner, outputs_folder: Path
) -> None:
    company.bounce()
    lead = company.lead()

    run(BounceCleanup(slot=SLOT, dry_run=True))

    assert company.changes() == []
    assert company.writes() == []
    found = receipts(outputs_folder, dry_run=True)
    assert (found["eloqua"]["outcome"], found["eloqua"]["updated"]) == ("rehearsed", 1)
    assert (found["salesforce"]["outcome"], found["salesforce"]["updated"]) == ("rehearsed", 1)

    run(BounceCleanup(slot=SLOT))  # and the real run is not taken for done

    assert company.marked() == {lead}


def test_a_full_window_is_read_in_halves(company: Company, run: Runner, settings: Callable[..., None]) -> None:
    settings("bounce_cleanup", "activity_rows", 4)
    company.sandbox.eloqua.limits.activity_rows = 4
    addresses = {f"p{number}@example.com" for number in range(9)}
    for number, address in enumerate(sorted(addresses)):
        company.bounce(address, ago=2 + number)

    run(BounceCleanup(slot=SLOT))

    assert company.bounced() == addresses


def test_a_second_that_is_too_full_is_never_taken_for_read(
    company: Company, run: Runner, settings: Callable[..., None]
) -> None:
    settings("bounce_cleanup", "activity_rows", 2)
    company.sandbox.eloqua.limits.activity_rows = 2
    for number in range(3):
        company.bounce(f"p{number}@example.com", ago=5)

    assert isinstance(run.fails(BounceCleanup(slot=SLOT)), Unaccounted)

    assert company.bounced() == set()


def test_counts_add_up_and_no_address_leaves_the_process(
    company: Company, run: Runner, outputs_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(12):
        company.bounce(f"p{number}@example.com", SmtpMessage=f"<p{number}@example.com> unknown user")
        company.bounce(f"q{number}@example.com", status="", reply="", SmtpMessage=f"q{number}@example.com is odd today")
    company.bounce("typo@exmaple.com")
    company.rules(providers='providers = ["example.com"]')
    for number in range(3):
        company.lead(f"p{number}@example.com")

    run(BounceCleanup(slot=SLOT))

    report = receipts(outputs_folder)["report"]
    assert {row["kind"]: row["addresses"] for row in report["by_kind"]} == {"hard": 13, "unknown": 12}
    assert [(row["domain"], row["addresses"]) for row in report["by_domain"]] == [("example.com", 24), ("other", 1)]
    assert [(row["pattern"], row["addresses"]) for row in report["unknown_patterns"]] == [("… is odd today", 12)]
    (slip,) = report["repairable"]
    assert (slip["domain"], slip["provider"]) == ("exmaple.com", "example.com")
    for receipt in (report["eloqua"], report["salesforce"]):
        outcomes = ("created", "updated", "unchanged", "rejected", "deferred")
        assert receipt["planned"] == sum(receipt[name] for name in outcomes)
    folder = outputs_folder / "bounce_cleanup" / "2026-11-22T0615"
    texts = [path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".html")]
    assert not any("@" in text.replace("@media", "") for text in [*texts, caplog.text])
