"""How fast BounceCleanup is, and how much memory and how many calls it takes: python -m benchmarks.bounces [--quick]

Runs the real `luigi` command against the sandbox with its syncs at no delay, and prints a table. The sandbox is a process of
its own; its time on the processor competes with the job's, its memory is not counted. --quick: a tenth of everything.
"""

import argparse
import json
import signal
import sys
import tempfile
import urllib.request
from pathlib import Path

from benchmarks.measuring import NOW, Row, run, served, table

SLOT = "2026-11-22T0615"
# unlimited: the share that this benchmark marks would be a broken gateway in life
LIMITS = {
    "bounce_cleanup": {"max_share": "1", "max_count": "1000000", "max_records": "1000000"},
    "salesforce": {"first_poll": "0.1"},
}


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
    with (
        tempfile.TemporaryDirectory() as name,
        served(["benchmarks.bounces", "--serve", str(contacts)]) as (_, line),
    ):
        environment, folder = json.loads(line), Path(name)
        it = run("bounce_cleanup.BounceCleanup", SLOT, folder, environment, LIMITS)
        report = json.loads((folder / "outputs" / "bounce_cleanup" / SLOT / "Report.json").read_text())
        calls = json.load(urllib.request.urlopen(environment["ELOQUA_LOGIN_URL"] + "/_sandbox/summary"))["calls"]
    size, written = f"{contacts:,} contacts", report["salesforce"]["updated"]
    opened = report["eloqua"]["reasons"].get("unchanged: opened mail after the bounce", 0)
    rows: list[Row] = [
        (f"{size}: seconds", [it.seconds], "<= 90" if contacts >= 1_000_000 else ""),
        (f"{size}: processor seconds", [it.processor], ""),
        (f"{size}: peak memory, MiB", [it.mebibytes], "<= 400"),
        (f"{size}: requests to Salesforce", [calls["salesforce"]], f"<= {written // 200 + 10:,}"),
        (f"{size}: requests to Eloqua", [calls["eloqua"]], ""),
        ("new bouncebacks", [report["new_bouncebacks"]], ""),
        ("contacts marked in Eloqua", [report["eloqua"]["updated"]], ""),
        ("left alone: opened mail", [opened], ""),
        ("Leads and Contacts marked", [written], ""),
    ]
    return table(rows)


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
