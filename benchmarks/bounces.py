"""How fast BounceCleanup is, and how much memory and how many calls it takes: python -m benchmarks.bounces [--quick]

Runs the real `luigi` command against the sandbox with its syncs at no delay, and prints a table. The sandbox is a process of
its own; its time on the processor competes with the job's, its memory is not counted. --quick: a tenth of everything.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
SLOT = "2026-11-22T0615"
NOW = "2026-11-22T06:15:00Z"
# unlimited: the share that this benchmark marks would be a broken gateway in life
LIMITS = "[bounce_cleanup]\nmax_share = 1\nmax_count = 1000000\nmax_records = 1000000\n[salesforce]\nfirst_poll = 0.1\n"


def main() -> int:
    """Print the table; 1 when a figure misses its target."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="a tenth of everything")
    arguments.add_argument("--serve", metavar="CONTACTS", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    return measure(100_000 if options.quick else 1_000_000)


def measure(contacts: int) -> int:
    """One run of a company of so many contacts, a tenth of whom have bounced lately."""
    with tempfile.TemporaryDirectory() as folder, sandbox(contacts) as environment:
        outputs, config = Path(folder) / "outputs", Path(folder) / "luigi.cfg"
        config.write_text((ROOT / "luigi.cfg").read_text().split("\n[bounce_cleanup]")[0] + "\n" + LIMITS)
        variables = {
            **os.environ,
            **environment,
            "SCC_OUTPUTS": str(outputs),
            "LUIGI_CONFIG_PATH": str(config),
            "PYTHONPATH": str(ROOT),
        }
        command = [
            "-m",
            "luigi",
            "--module",
            "jobs.bounce_cleanup",
            "BounceCleanup",
            "--slot",
            SLOT,
            "--local-scheduler",
        ]
        with (Path(folder) / "log").open("wb") as log:
            began = time.monotonic()
            process = subprocess.Popen([sys.executable, *command], cwd=folder, env=variables, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
        if os.waitstatus_to_exitcode(status):
            sys.exit((Path(folder) / "log").read_text())
        report = json.loads((outputs / "bounce_cleanup" / SLOT / "Report.json").read_text())
        calls = json.load(urllib.request.urlopen(environment["ELOQUA_LOGIN_URL"] + "/_sandbox/summary"))["calls"]
        if os.environ.get("BENCHMARK_LOG"):
            print((Path(folder) / "log").read_text(), file=sys.stderr)
    written = report["salesforce"]["updated"]
    rows = [
        ("seconds", seconds, 90 if contacts >= 1_000_000 else None),
        ("peak memory, MiB", usage.ru_maxrss / 1024, 400),
        ("requests to Salesforce", calls["salesforce"], written / 200 + 10),
        ("requests to Eloqua", calls["eloqua"], None),
        ("new bouncebacks", report["new_bouncebacks"], None),
        ("contacts marked in Eloqua", report["eloqua"]["updated"], None),
        (
            "left alone: opened mail",
            report["eloqua"]["reasons"].get("unchanged: opened mail after the bounce", 0),
            None,
        ),
        ("Leads and Contacts marked", written, None),
    ]
    print(f"{f'{contacts:,} contacts':34}{'':>14}{'target':>14}")
    missed = False
    for name, figure, target in rows:
        miss = target is not None and figure > target
        missed |= miss
        limit = "" if target is None else f"<= {target:,.0f}"
        print(f"{name:34}{figure:>14,.1f}{limit:>14}{'  MISSED' if miss else ''}")
    return int(missed)


@contextmanager
def sandbox(contacts: int) -> Iterator[dict[str, str]]:
    """A sandbox process with that many bouncebacks; the variables that point at it."""
    command = [sys.executable, "-m", "benchmarks.bounces", "--serve", str(contacts)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())
    finally:
        server.terminate()
        server.wait()


def serve(contacts: int) -> None:
    """Serve a company a tenth of which bounced in the last days, and one in fifty of those opened mail since."""
    from scc.sandbox import Sandbox

    with Sandbox(contacts=contacts, waiting=0, seed=1, now=NOW, sync_polls=0) as running:
        store = running.systems["eloqua"].store
        first = running.systems["eloqua"].people.reserve_ids("eloqua.activity")
        insert = """INSERT INTO eloqua.activity (Id, Type, CreatedAt, VisibleAt, ContactId, EmailAddress, {codes}) SELECT
            {first} + row_number() OVER (), '{type}', born, born, Id, C_EmailAddress, {values} FROM (SELECT *,
            TIMESTAMP '2026-11-21 00:00:00' + INTERVAL (Id % 80000) SECOND {later} AS born
            FROM eloqua.contact WHERE {which})"""
        store.execute(
            insert.format(
                codes="SmtpStatusCode, SmtpErrorCode, SmtpMessage",
                values="'5.1.1', '550', '550 5.1.1 user unknown'",
                type="Bounceback",
                first=first,
                later="",
                which="Id % 10 = 0",
            )
        )
        store.execute(
            insert.format(
                codes="IpAddress",
                values="'192.0.2.1'",
                type="EmailOpen",
                first=first + contacts,
                later="+ INTERVAL 1 HOUR",
                which="Id % 500 = 0",
            )
        )
        print(json.dumps(running.env), flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    sys.exit(main())
