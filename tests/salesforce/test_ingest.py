"""An ingest job driven step by step: made, filled, closed, watched and read, each step surviving its answer's loss."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scc.errors import Refused, Unavailable
from scc.outputs import JsonTarget
from scc.salesforce import ingest
from scc.salesforce.client import Salesforce, Verdict
from tests.canned import RequestsMock, bodies, sent
from tests.salesforce.conftest import DATA

JOBS = f"{DATA}/jobs/ingest"
ROWS = [{"Id": f"00Q{number}", "Company": 'Acme, "Ltd"'} for number in range(3)]
HEADER = '"sf__Id","sf__Error","Id","Company"\n'
LOCKED = [f'"{row["Id"]}","UNABLE_TO_LOCK_ROW:busy:--","{row["Id"]}","Acme"\n' for row in ROWS]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Callable[..., None]) -> Path:
    monkeypatch.setenv("SCC_OUTPUTS", str(tmp_path / "outputs"))
    settings("salesforce", "first_poll", 0)
    settings("salesforce", "longest_poll", 0)
    return tmp_path


def job(state: str, processed: int = 3, failed: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": "750A", "state": state, "numberRecordsProcessed": processed, "numberRecordsFailed": failed, **more}


def opened(org: RequestsMock) -> None:
    """A job can be made, filled and closed."""
    org.post(JOBS, json=job("Open"))
    org.put(f"{JOBS}/750A/batches", status=201)
    org.patch(f"{JOBS}/750A", json=job("UploadComplete"))


def update(salesforce: Salesforce, folder: Path) -> list[Verdict]:
    pointer = JsonTarget(folder / "jobs" / "part.json")
    return ingest.update(salesforce, "Lead", ROWS, JsonTarget(folder / "part.json"), pointer, lambda text: None)


def test_rows_travel_as_csv_and_all_are_written(org: RequestsMock, salesforce: Salesforce, folder: Path) -> None:
    opened(org)
    org.get(f"{JOBS}/750A", json=job("InProgress"))
    org.get(f"{JOBS}/750A", json=job("JobComplete"))

    assert update(salesforce, folder) == [Verdict(row["Id"]) for row in ROWS]

    (filled,) = sent(org, "PUT")
    assert filled.body.decode().splitlines() == ["Id,Company", *(f'00Q{number},"Acme, ""Ltd"""' for number in range(3))]
    assert bodies(sent(org, "PATCH")) == [{"state": "UploadComplete"}]
    assert list((folder / "jobs").iterdir()) == []


def test_a_finished_job_is_not_made_again(org: RequestsMock, salesforce: Salesforce, folder: Path) -> None:
    opened(org)
    org.get(f"{JOBS}/750A", json=job("JobComplete"))
    first = update(salesforce, folder)
    calls = len(org.calls)

    assert update(salesforce, folder) == first
    assert len(org.calls) == calls


def test_a_result_file_without_its_end_is_asked_for_again(
    org: RequestsMock, salesforce: Salesforce, folder: Path
) -> None:
    opened(org)
    org.get(f"{JOBS}/750A", json=job("JobComplete", failed=2))
    org.get(f"{JOBS}/750A/failedResults", body=HEADER + LOCKED[0], content_type="text/csv")
    org.get(f"{JOBS}/750A/failedResults", body=HEADER + "".join(LOCKED[:2]), content_type="text/csv")

    assert [verdict.code for verdict in update(salesforce, folder)] == ["UNABLE_TO_LOCK_ROW", "UNABLE_TO_LOCK_ROW", ""]


def test_rows_that_are_missing_for_good_fail_the_run_and_not_the_job(
    org: RequestsMock, salesforce: Salesforce, folder: Path
) -> None:
    opened(org)
    org.get(f"{JOBS}/750A", json=job("JobComplete", failed=2))
    org.get(f"{JOBS}/750A/failedResults", body=HEADER + LOCKED[0], content_type="text/csv")

    with pytest.raises(Unavailable, match="1 rows came instead of 2"):
        update(salesforce, folder)

    org.replace("GET", f"{JOBS}/750A/failedResults", body=HEADER + "".join(LOCKED[:2]), content_type="text/csv")
    assert update(salesforce, folder)[2].code == ""
    assert len(sent(org, "PUT")) == 1


def test_rows_that_the_job_did_not_get_to_are_not_taken_for_written(
    org: RequestsMock, salesforce: Salesforce, folder: Path
) -> None:
    opened(org)
    org.get(f"{JOBS}/750A", json=job("JobComplete", processed=2))
    org.get(f"{JOBS}/750A/unprocessedrecords", body="Id,Company\n00Q2,Acme\n", content_type="text/csv")

    assert [verdict.code for verdict in update(salesforce, folder)] == ["", "", "UNPROCESSED"]


@pytest.mark.parametrize("state", ["Failed", "Aborted"])
def test_a_job_that_ended_otherwise_fails_the_run_without_its_words(
    org: RequestsMock, salesforce: Salesforce, folder: Path, state: str
) -> None:
    opened(org)
    org.get(f"{JOBS}/750A", json=job(state, errorMessage="InvalidBatch : jane@example.com"))

    with pytest.raises(Refused, match=f"ended as {state}") as caught:
        update(salesforce, folder)

    assert "jane" not in str(caught.value)
    assert not (folder / "part.json").exists()


def test_a_job_that_was_never_closed_is_given_up(org: RequestsMock, salesforce: Salesforce, folder: Path) -> None:
    JsonTarget(folder / "part.json").write({"job": "750Z"})  # killed while it was filled
    org.patch(f"{JOBS}/750Z", json=job("Aborted"))
    opened(org)
    org.get(f"{JOBS}/750A", json=job("JobComplete"))

    update(salesforce, folder)

    assert bodies(sent(org, "PATCH", "750Z")) == [{"state": "Aborted"}]


@pytest.mark.parametrize("states", [["InProgress", "JobComplete"], ["Failed"]])
def test_another_slot_waits_for_the_job_that_was_left(
    org: RequestsMock, salesforce: Salesforce, folder: Path, states: list[str]
) -> None:
    JsonTarget(folder / "jobs" / "part.json").write({"job": "750A"})
    for state in states:
        org.get(f"{JOBS}/750A", json=job(state))

    ingest.settle(salesforce, folder / "jobs", lambda text: None)

    assert org.calls[-1].response.json()["state"] == states[-1]
    assert sent(org, "PATCH") == []
    assert list((folder / "jobs").iterdir()) == []


def test_another_slot_gives_up_the_job_that_was_never_closed(
    org: RequestsMock, salesforce: Salesforce, folder: Path
) -> None:
    JsonTarget(folder / "jobs" / "part.json").write({"job": "750A"})
    org.get(f"{JOBS}/750A", json=job("Open"))
    org.patch(f"{JOBS}/750A", json=job("Aborted"))

    ingest.settle(salesforce, folder / "jobs", lambda text: None)

    assert bodies(sent(org, "PATCH")) == [{"state": "Aborted"}]


@pytest.mark.parametrize(("rows", "pays"), [(1, False), (1600, False), (1601, True), (100_000, True)])
def test_a_job_is_made_where_it_costs_fewer_calls(settings: object, rows: int, pays: bool) -> None:
    assert ingest.pays(rows) is pays
