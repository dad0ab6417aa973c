"""From a heartbeat that does not come to a person's phone, and back: bin/run-job, Pushgateway, Prometheus, Alertmanager."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import pytest

from scc import alerts, catalogue
from tests import stack
from tests.bin.conftest import Root, ended, kill_all, root  # noqa: F401 (a fixture)
from tests.components import require

# each minute has a run
CATALOGUE = """
[{module}]
name = "{name}"
schedule = "* * * * *"
expected = "1s"
longest = "{longest}"
late = "1s"
quota_share = 0
runbook = "{module}"
"""
SLOT = ("--slot", "2026-11-22T0615", "--local-scheduler")


@dataclass
class Phone:
    """What Alertmanager's webhook was told, in order: alert, process and "firing" or "resolved"."""

    told: list[tuple[str, str, str]] = field(default_factory=list)
    annotations: dict[str, dict[str, str]] = field(default_factory=dict)

    def heard(self, alert: str, process: str, state: str) -> None:
        """Wait for a message."""
        stack.until(
            lambda: (alert, process, state) in self.told, f"{alert} of {process} to be {state}; heard {self.told}"
        )


@dataclass
class Monitoring:
    gateway: str
    phone: Phone


@pytest.fixture(scope="module")
def monitoring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """All of it, with the rules of a catalogue that has Chore and LongChore, looking every second."""
    for command in ("prometheus", "prometheus-alertmanager", "prometheus-pushgateway", "curl"):
        require(command)
    folder = tmp_path_factory.mktemp("monitoring")
    entries = CATALOGUE.format(module="chore", name="Chore", longest="2m")
    entries += CATALOGUE.format(module="long_chore", name="LongChore", longest="2s")
    (folder / "processes.toml").write_text(entries)
    rules = folder / "alerts.yaml"
    rules.write_text(alerts.rendered(catalogue.read(folder / "processes.toml").values()))
    phone = Phone()
    server = ThreadingHTTPServer(("127.0.0.1", 0), webhook(phone))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with (
            stack.pushgateway() as gateway,
            stack.alertmanager(stack.to_webhook(f"http://127.0.0.1:{server.server_port}/")) as alertmanager,
            stack.prometheus(stack.scraping({"pushgateway": gateway.url}, [rules], alertmanager.url)),
        ):
            yield Monitoring(gateway.url, phone)
    finally:
        server.shutdown()
        server.server_close()


def webhook(phone: Phone) -> type[BaseHTTPRequestHandler]:
    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in message["alerts"]:
                name, process = alert["labels"]["alertname"], alert["labels"].get("process", "")
                phone.annotations[name] = alert["annotations"]
                phone.told.append((name, process, alert["status"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Webhook


def test_a_run_that_was_killed_is_told_and_the_next_good_run_ends_that(monitoring: Monitoring, root: Root) -> None:  # noqa: F811
    run = root.start("LongChore", *SLOT, PUSHGATEWAY_URL=monitoring.gateway)
    stack.until((root.outputs / "running").exists, "the first step")
    kill_all(run)
    ended(run)

    monitoring.phone.heard("SccDidNotFinish", "LongChore", "firing")

    (root.outputs / "go").touch()
    assert root.run("LongChore", *SLOT, PUSHGATEWAY_URL=monitoring.gateway).returncode == 0
    monitoring.phone.heard("SccDidNotFinish", "LongChore", "resolved")
    assert monitoring.phone.annotations["SccDidNotFinish"]["runbook_url"] == "docs/runbook.md#sccdidnotfinish"


def test_a_start_that_is_missed_is_told_and_the_next_start_ends_that(monitoring: Monitoring, root: Root) -> None:  # noqa: F811
    an_hour_ago = int(time.time()) - 3600
    lines = [
        f"# TYPE {name} gauge\n{name} {an_hour_ago}\n"
        for name in (f"scc_process_last_{moment}_timestamp_seconds" for moment in ("start", "end", "success"))
    ]
    request = Request(f"{monitoring.gateway}/metrics/job/scc/process/Chore", "".join(lines).encode(), method="POST")
    urlopen(request, timeout=5).close()

    monitoring.phone.heard("SccDidNotStart", "Chore", "firing")
    monitoring.phone.heard("SccNoSuccess", "Chore", "firing")

    assert root.run("Chore", *SLOT, PUSHGATEWAY_URL=monitoring.gateway).returncode == 0
    monitoring.phone.heard("SccDidNotStart", "Chore", "resolved")
    monitoring.phone.heard("SccNoSuccess", "Chore", "resolved")
    assert ("SccDidNotFinish", "Chore", "firing") not in monitoring.phone.told
    assert ("SccFailed", "Chore", "firing") not in monitoring.phone.told


def test_the_dead_mans_switch_is_held_down(monitoring: Monitoring) -> None:
    monitoring.phone.heard("SccWatchdog", "", "firing")
