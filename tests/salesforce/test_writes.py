"""Writes with a verdict per record, and what this user may write."""

import json
from typing import Any

import pytest

from scc.errors import Refused, Unavailable
from scc.salesforce.client import Described, Salesforce, Verdict, error_code
from tests.canned import RequestsMock, bodies, sent
from tests.salesforce.conftest import DATA

RECORDS = [{"Id": "00Q1", "Company": "Acme"}, {"Id": "00Q2", "Company": "Acme"}]
DONE = {"id": "00Q1", "success": True, "errors": []}
LOCKED = {
    "success": False,
    "errors": [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": "jane@example.com", "fields": []}],
}


def test_every_record_gets_its_verdict(org: RequestsMock, salesforce: Salesforce) -> None:
    org.patch(f"{DATA}/composite/sobjects", json=[DONE, LOCKED])

    assert salesforce.update("Lead", RECORDS) == [Verdict("00Q1", ""), Verdict("00Q2", "UNABLE_TO_LOCK_ROW")]

    (request,) = sent(org, "PATCH")
    (body,) = bodies([request])
    assert body["allOrNone"] is False
    assert body["records"][0] == {"attributes": {"type": "Lead"}, "id": "00Q1", "Company": "Acme"}
    assert request.headers["Sforce-Auto-Assign"] == "FALSE"
    assert request.headers["Sforce-Duplicate-Rule-Header"] == "allowSave=true"


@pytest.mark.parametrize("answer", [[DONE], [], {}, [DONE, LOCKED, DONE]])
def test_missing_verdicts_are_not_taken_for_success(org: RequestsMock, salesforce: Salesforce, answer: Any) -> None:
    org.patch(f"{DATA}/composite/sobjects", json=answer)

    with pytest.raises(Unavailable, match="verdicts are missing"):
        salesforce.update("Lead", RECORDS)


@pytest.mark.parametrize("part", [{}, {"success": "true"}, {"success": False}, {"success": False, "errors": []}])
def test_a_verdict_that_says_nothing_is_no_success(org: RequestsMock, salesforce: Salesforce, part: Any) -> None:
    org.patch(f"{DATA}/composite/sobjects", json=[DONE, part])

    assert salesforce.update("Lead", RECORDS)[1] == Verdict("00Q2", "no code")


def test_an_update_whose_answer_was_lost_is_sent_again(org: RequestsMock, salesforce: Salesforce) -> None:
    org.patch(f"{DATA}/composite/sobjects", status=503)
    org.patch(f"{DATA}/composite/sobjects", json=[DONE, DONE])

    assert [verdict.code for verdict in salesforce.update("Lead", RECORDS)] == ["", ""]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access:Id --", "UNABLE_TO_LOCK_ROW"),
        ("INVALID_FIELD", "INVALID_FIELD"),
        ("jane@example.com is no code", "no code"),
        ("Jane", "no code"),
        ("", "no code"),
    ],
)
def test_only_codes_are_shown_of_an_error(text: str, code: str) -> None:
    assert error_code(text) == code


def test_an_object_says_what_this_user_may_write(org: RequestsMock, salesforce: Salesforce) -> None:
    fields = [
        {"name": "EmailBouncedReason", "type": "string", "length": 255, "updateable": True},
        {"name": "IsConverted", "type": "boolean", "length": 0, "updateable": False},
    ]
    org.get(f"{DATA}/sobjects/Lead/describe", json={"name": "Lead", "fields": fields})

    assert salesforce.describe("Lead") == {
        "emailbouncedreason": Described("EmailBouncedReason", "string", 255, True),
        "isconverted": Described("IsConverted", "boolean", 0, False),
    }


@pytest.mark.parametrize("answer", [{}, {"fields": None}, {"fields": [{"name": "Email"}]}, []])
def test_a_description_without_fields_is_refused(org: RequestsMock, salesforce: Salesforce, answer: Any) -> None:
    org.get(f"{DATA}/sobjects/Lead/describe", body=json.dumps(answer), content_type="application/json")

    with pytest.raises(Refused, match="describes no fields"):
        salesforce.describe("Lead")
