"""The figures of a run, as a real Pushgateway holds them."""

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobs.bounce_cleanup import BounceCleanup
from jobs.enrichment import Enrichment
from scc import catalogue, metrics
from scc.errors import Unaccounted, Unavailable
from scc.metrics import Metrics
from scc.receipts import Counts
from scc.sandbox import Sandbox
from tests import stack
from tests.components import require
from tests.conftest import Runner
from tests.jobs.bounces import Company
from tests.jobs.test_enrichment import Add
from tests.loopback import Loopback, answer

SLOT = dt.datetime(2026, 11, 22, 6, 15)
NEXT = dt.datetime(2026, 11, 22, 7, 15)
HOUR = 3600
PASSWORD = "pw-that-nobody-may-see"
USERS = "basic_auth_users: {scc: $2b$04$abcdefghijklmnopqrstuustfK.39on5GB0fHUlTN8QK.9/QUS06.}\n"  # its bcrypt
CALLS = {("Eloqua", "sync", "ok"): 2, ("Eloqua", "poll", "ok"): 3, ("Salesforce", "query", "failed"): 1}
Figures = dict[tuple[str, ...], float]


class Gateway:
    """A Pushgateway, by what it tells Prometheus."""

    def __init__(self, daemon: stack.Daemon):
        self.daemon, self.url = daemon, daemon.url

    def figures(self, process: str = "Enrichment") -> Figures:
        """Value by name (without its prefix) and label values, of one process's group."""
        found = {}
        for family in text_string_to_metric_families(stack.get(f"{self.url}/metrics").decode()):
            for sample in family.samples:
                labels = dict(sample.labels)
                if labels.pop("process", "") == process and labels.pop("job") == "scc":
                    assert labels.pop("instance") == ""
                    assert not sample.name.startswith("scc") or family.type == "gauge"
                    found[(sample.name.removeprefix("scc_process_"), *sorted(labels.values()))] = sample.value
        return found

    def group(self, process: str = "Enrichment") -> Figures:
        """Without what the Pushgateway adds."""
        return {key: value for key, value in self.figures(process).items() if not key[0].startswith("push_")}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    require("prometheus-pushgateway")
    with stack.pushgateway() as running:
        monkeypatch.setenv("PUSHGATEWAY_URL", running.url)
        yield Gateway(running)


def records(figures: Figures) -> dict[str, float]:
    return {key[1]: value for key, value in figures.items() if key[0] == "records" and value}


def calls(figures: Figures) -> dict[tuple[str, ...], float]:
    return {key[1:]: value for key, value in figures.items() if key[0] == "api_calls"}


# through Luigi


def test_a_run_over_two_systems_tells_what_became_of_the_records_of_both(
    gateway: Gateway, company: Company, run: Runner
) -> None:
    company.bounce("ana@example.com")
    company.bounce("bo@example.com")
    company.sandbox.eloqua.reject("Contact", "bo@example.com", "ELQ-00125")
    company.lead("ana@example.com")
    company.sandbox.salesforce.lock_row(company.lead("ana@example.com"))
    run(BounceCleanup(slot=SLOT))

    figures = gateway.figures("BounceCleanup")

    assert records(figures) == {"updated": 2, "rejected": 1, "deferred": 1}
    assert figures["oldest_waiting_seconds",] == 0
    company.sandbox.clock.advance(HOUR)
    run(BounceCleanup(slot=NEXT))
    assert gateway.figures("BounceCleanup")["oldest_waiting_seconds",] == HOUR


def test_a_run_tells_what_became_of_the_records(
    sandbox: Sandbox, run: Runner, gateway: Gateway, add: Add, campaign: str, settings: Callable[..., None]
) -> None:
    settings("enrichment", "max_rejected_share", 1)
    for _ in range(3):
        add(campaign)
    add(campaign, identifier="", hours=5)
    add("701Kj00000AbCdEIAV", hours=2)

    run(Enrichment(slot=SLOT))

    told = gateway.group()
    assert records(told) == {"updated": 3, "rejected": 1, "deferred": 1}
    assert told["oldest_waiting_seconds",] == 5 * HOUR
    sent = sum(1 for request in sandbox.requests if not request.path.startswith("/_sandbox"))
    assert sum(calls(told).values()) == sent
    assert calls(told)["Eloqua", "refused"] == calls(told)["Salesforce", "failed"] == 0
    syncs = sum(1 for request in sandbox.requests if request.method == "POST" and request.path.endswith("/syncs"))
    hourly = 2000 * catalogue.processes()["enrichment"].quota_share
    assert told["remaining_syncs", "exports"] + told["remaining_syncs", "imports"] == 2 * hourly - syncs


def test_a_run_with_nothing_to_do_tells_that(run: Runner, gateway: Gateway, add: Add) -> None:
    run(Enrichment(slot=SLOT))

    told = gateway.group()
    assert told["records", "updated"] == told["records", "rejected"] == told["oldest_waiting_seconds",] == 0
    assert calls(told)["Eloqua", "ok"] > 0


def test_figures_join_the_heartbeats_and_leave_them_standing(run: Runner, gateway: Gateway, add: Add) -> None:
    heartbeat = b"# TYPE scc_process_last_start_timestamp_seconds gauge\nscc_process_last_start_timestamp_seconds 17\n"
    urlopen(Request(f"{gateway.url}/metrics/job/scc/process/Enrichment", heartbeat, method="POST")).close()

    run(Enrichment(slot=SLOT))

    told = gateway.group()
    assert told["last_start_timestamp_seconds",] == 17
    assert ("records", "updated") in told
    groups = json.loads(stack.get(f"{gateway.url}/api/v1/metrics"))["data"]
    assert [group["labels"] for group in groups] == [{"job": "scc", "process": "Enrichment"}]


def test_a_slot_that_is_done_already_leaves_the_figures_of_the_run_that_did_it(
    run: Runner, gateway: Gateway, add: Add, campaign: str
) -> None:
    add(campaign)
    run(Enrichment(slot=SLOT))
    before = gateway.figures()

    run(Enrichment(slot=SLOT))

    assert gateway.figures() == before
    assert records(before) == {"updated": 1}


def test_a_run_that_fails_tells_its_calls_and_leaves_the_records_of_the_last(
    sandbox: Sandbox, run: Runner, gateway: Gateway, add: Add, campaign: str
) -> None:
    add(campaign)
    run(Enrichment(slot=SLOT))
    add(campaign)
    sandbox.faults.add("status", system="salesforce", status=503)

    assert isinstance(run.fails(Enrichment(slot=NEXT)), Unavailable)

    told = gateway.group()
    assert records(told) == {"updated": 1}
    assert calls(told)["Salesforce", "failed"] > 0


def test_too_many_rejected_records_are_told_though_the_run_fails(
    run: Runner, gateway: Gateway, add: Add, campaign: str
) -> None:
    add(campaign, identifier="")

    assert isinstance(run.fails(Enrichment(slot=SLOT)), Unaccounted)

    assert records(gateway.group()) == {"rejected": 1}


def test_a_dry_run_tells_nothing(run: Runner, gateway: Gateway, add: Add, campaign: str) -> None:
    add(campaign)

    run(Enrichment(slot=SLOT, dry_run=True))

    assert gateway.figures() == {}


def test_a_gateway_that_hangs_costs_seconds_and_neither_the_run_nor_the_lease(
    run: Runner, gateway: Gateway, add: Add, campaign: str, outputs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "TIMEOUT", 0.3)
    add(campaign)
    gateway.daemon.pause()

    run(Enrichment(slot=SLOT))

    assert (outputs_folder / "enrichment/lease/00000001.released").exists()


# one push


def pushed(caplog: pytest.LogCaptureFixture, remaining: dict[str, int] | None = None) -> str:
    """Push some figures; what was logged of it."""
    run = Metrics("bounce_cleanup")
    run.account(Counts(planned=3, updated=3), {})
    with caplog.at_level(logging.INFO):
        run.push(CALLS, remaining or {})
    return caplog.text


def test_each_label_has_a_few_values_that_are_known_beforehand(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    assert pushed(caplog, {"exports": 400, "imports": 399}) == ""

    assert gateway.group("BounceCleanup") == {
        **{("records", name): 0 for name in ("created", "deleted", "unchanged", "rejected", "deferred")},
        ("records", "updated"): 3,
        ("api_calls", "Eloqua", "ok"): 5,
        ("api_calls", "Eloqua", "refused"): 0,
        ("api_calls", "Eloqua", "failed"): 0,
        ("api_calls", "Salesforce", "ok"): 0,
        ("api_calls", "Salesforce", "refused"): 0,
        ("api_calls", "Salesforce", "failed"): 1,
        ("remaining_syncs", "exports"): 400,
        ("remaining_syncs", "imports"): 399,
    }


def test_what_several_steps_did_is_added_up_and_the_oldest_of_all_counts(gateway: Gateway) -> None:
    run = Metrics("enrichment")
    run.account(Counts(planned=3, updated=2, rejected=1), {"oldest_waiting_after_seconds": 60})
    run.account(Counts(planned=5, updated=4, deferred=1), {"oldest_waiting_after_seconds": None})

    run.push({}, {})

    told = gateway.group()
    assert records(told) == {"updated": 6, "rejected": 1, "deferred": 1}
    assert told["oldest_waiting_seconds",] == 60


def test_a_process_that_knows_no_waiting_tells_no_age(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    pushed(caplog)

    assert not [key for key in gateway.group("BounceCleanup") if key[0] == "oldest_waiting_seconds"]


def test_the_proxy_that_leads_to_eloqua_is_not_asked(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{stack.free_port()}")

    assert pushed(caplog) == ""

    assert gateway.group("BounceCleanup")


@pytest.mark.parametrize("form", ["{url}/", "{host}"])
def test_the_address_may_be_written_as_for_the_heartbeats(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("PUSHGATEWAY_URL", form.format(url=gateway.url, host=gateway.url.removeprefix("http://")))

    assert pushed(caplog) == ""

    assert gateway.group("BounceCleanup")


def test_a_login_in_the_address_is_used_and_never_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("prometheus-pushgateway")
    (tmp_path / "web.yaml").write_text(USERS)
    with stack.pushgateway(f"--web.config.file={tmp_path / 'web.yaml'}") as running:
        monkeypatch.setenv("PUSHGATEWAY_URL", running.url.replace("//", f"//scc:{PASSWORD}@"))
        assert pushed(caplog) == ""
        monkeypatch.setenv("PUSHGATEWAY_URL", running.url.replace("//", f"//scc:{PASSWORD}-not@"))
        refused = pushed(caplog)

    assert "not delivered to the Pushgateway: HTTPError 401" in refused
    assert PASSWORD not in refused


@pytest.mark.parametrize(
    "address",
    [f"http://scc:{PASSWORD}@127.0.0.1:{{port}}", f"http://scc:{PASSWORD}@127.0.0.1:x1", f"ftp://scc:{PASSWORD}@[::1"],
    ids=["nobody there", "no port", "no address"],
)
def test_a_gateway_that_cannot_be_reached_is_one_warning_without_its_address(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("PUSHGATEWAY_URL", address.format(port=stack.free_port()))

    told = pushed(caplog)

    assert told.count("\n") == 1 and "not delivered" in told
    assert PASSWORD not in told and "127.0.0.1" not in told


def test_what_the_gateway_refuses_is_a_warning(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHGATEWAY_URL", f"{gateway.url}/nowhere")

    assert "HTTPError 404" in pushed(caplog)


def test_a_redirect_does_not_get_the_login(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(answer(200, b"")) as elsewhere, Loopback(answer(302, b"", Location=elsewhere.url)) as server:
        monkeypatch.setenv("PUSHGATEWAY_URL", server.url.replace("//", f"//scc:{PASSWORD}@"))
        assert "HTTPError 302" in pushed(caplog)

        assert server.received and not elsewhere.received


def test_without_an_address_nothing_is_pushed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PUSHGATEWAY_URL", raising=False)

    assert pushed(caplog) == ""
