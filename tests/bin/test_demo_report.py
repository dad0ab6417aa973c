"""bin/demo-report: when a run counts as having filled the records."""

import importlib.machinery
import importlib.util

import pytest

from tests.bin.conftest import CHECKOUT

loader = importlib.machinery.SourceFileLoader("demo_report", str(CHECKOUT / "bin/demo-report"))
demo_report = importlib.util.module_from_spec(importlib.util.spec_from_loader("demo_report", loader))
loader.exec_module(demo_report)

CAMPAIGNS = {"701000000000001AAA": "Webinar", "701000000000002AAA": "Fair"}


def record(status="Waiting", key="701000000000001", name="", reason="", email="a@example.com"):
    fields = {"Enrichment_Status1": status, "Salesforce_Campaign_ID1": key, "Campaign_Name1": name}
    return demo_report.shortened({**fields, "Enrichment_Reason1": reason, "Email_Address1": email})


def judged(before, after):
    return demo_report.judged(before, after, CAMPAIGNS)


def test_records_that_are_filled_given_up_or_still_unknown_are_as_they_should_be():
    before = {
        "1": record(),
        "2": record(key="701000000000002AAA"),
        "3": record(key=""),
        "4": record(key="701000000000009"),
        "5": record("Done", name="Old"),
    }
    after = {
        **before,
        "1": record("Done", name="Webinar"),
        "2": record("Done", key="701000000000002AAA", name="Fair"),
        "3": record("Error", key="", reason="no key"),
    }

    counts, reasons, faults = judged(before, after)

    assert counts == {"before": 4, "filled": 2, "error": 1, "after": 1}
    assert reasons == {"no key": 1}
    assert faults == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(record("Done"), record("Done"), id="nothing waited"),
        pytest.param(record(), record(), id="not filled"),
        pytest.param(record(), record("Done"), id="filled with nothing"),
        pytest.param(record(), record("Done", name="Fair"), id="filled with another campaign"),
        pytest.param(record(), record("Error", reason="unknown"), id="given up although it is there"),
        pytest.param(record(key=""), record("Error", key=""), id="given up without a reason"),
        pytest.param(record(key=""), record("Done", key="", name="Fair"), id="filled without a key"),
        pytest.param(record(), record("Done", name="Webinar", email="b@example.com"), id="wrote too much"),
        pytest.param(record(), record("Gone", name="Webinar"), id="unknown status"),
    ],
)
def test_anything_else_is_a_fault(before, after):
    assert judged({"1": before}, {"1": after})[2]


@pytest.mark.parametrize("change", [{"email": "b@example.com"}, {"name": "New"}, {"status": "Waiting"}])
def test_records_that_did_not_wait_must_stay_as_they_were(change):
    filled = record(), record("Done", name="Webinar")
    before, after = record("Done", name="Old"), record(**{"status": "Done", "name": "Old", **change})

    assert judged({"1": filled[0], "2": before}, {"1": filled[1], "2": before})[2] == []
    assert judged({"1": filled[0], "2": before}, {"1": filled[1], "2": after})[2]


def test_no_record_may_appear_or_vanish():
    before, after = {"1": record()}, {"1": record("Done", name="Webinar")}

    assert judged(before, {**after, "2": record("Done", name="Webinar")})[2]
    assert judged({**before, "2": record("Done")}, after)[2]


@pytest.mark.parametrize(("tasks", "code"), [({"Enrichment_1": "DONE"}, 0), ({}, 1), ({"Enrichment_1": "FAILED"}, 1)])
def test_the_run_must_have_gone_through_luigid(capsys, tasks, code):
    def state(status, name, calls):
        records = {name_: {"1": record(status, name=name)} for name_ in demo_report.OBJECTS}
        return {"calls": {"eloqua": calls, "salesforce": 0}, "campaigns": CAMPAIGNS, "records": records}

    assert demo_report.compare(state("Waiting", "", 2), state("Done", "Webinar", 22), tasks) == code

    assert "Eloqua 20, Salesforce 0" in capsys.readouterr().out
