"""Prometheus' alert rules, from the catalogue of processes. bin/render-alerts writes them to openshift/alerts.yaml.

What a process should do stands in the rules as recorded data (`scc:longest_seconds{process="Enrichment"}`), and most alerts
compare it with what was pushed; those that need a time of their own process are made for each (luigi.md 7). Everything goes
by the label `process`: on OpenShift the other labels are not ours (openshift.md 7.1). Each alert's name is a section of
docs/runbook.md.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scc.catalogue import RUNBOOK, Process

GATEWAY = 'up{job="pushgateway"}'
START = "max by (process) (scc_process_last_start_timestamp_seconds)"
END = "max by (process) (scc_process_last_end_timestamp_seconds)"
SUCCESS = "max by (process) (scc_process_last_success_timestamp_seconds)"
RECORDS = "max by (process, outcome) (scc_process_records)"
# "partly" is judged over so many runs, looked at so often
RUNS, LOOKS = 8, 48


@dataclass(frozen=True)
class Record:
    """A figure of the catalogue as a time series."""

    name: str
    process: str
    value: float


@dataclass(frozen=True)
class Alert:
    """One alert. lasting: seconds that it must hold before somebody is told. process: the only one that it watches."""

    name: str
    severity: str
    expression: str
    summary: str
    description: str
    lasting: float = 0
    process: str = ""


def records(processes: Iterable[Process]) -> Iterator[Record]:
    """What the catalogue says of each process; what is None is not watched."""
    for process in processes:
        figures = {
            "scc:expected_interval_seconds": process.interval,
            "scc:late_seconds": process.late,
            "scc:longest_seconds": process.longest,
            "scc:oldest_waiting_limit_seconds": process.oldest_waiting,
            "scc:rejected_limit_ratio": process.rejected_share,
        }
        for name, value in figures.items():
            if value is not None:
                yield Record(name, process.name, value)


def alerts(processes: Iterable[Process]) -> Iterator[Alert]:
    """All alerts: those of each process, those that serve all, and those about the monitoring itself."""
    for process in processes:
        yield from _of(process)
    yield from SHARED


def success_due(process: Process) -> float:
    """Seconds since the last success that are too long: two runs in a row came to nothing."""
    return 2 * process.interval + process.late + process.longest


def _of(process: Process) -> Iterator[Alert]:
    mine = f'{{process="{process.name}"}}'
    yield Alert(
        "SccNeverReported",
        "critical",
        f"scc:expected_interval_seconds{mine} unless on (process) {START} and on () max({GATEWAY}) == 1",
        "{{ $labels.process }} has never sent a heartbeat",
        f"It should start at {process.schedule} (UTC), every {{{{ $value | humanizeDuration }}}} at least, but the "
        "Pushgateway knows nothing of it.",
        lasting=process.interval + process.late,
        process=process.name,
    )
    yield Alert(
        "SccNeverSucceeded",
        "critical",
        f"time() - {_narrowed(START, mine)} unless on (process) {SUCCESS}",
        "{{ $labels.process }} has started, and never succeeded",
        "It started {{ $value | humanizeDuration }} ago for the last time; no run ever ended well.",
        lasting=success_due(process),
        process=process.name,
    )
    if process.partly_share is not None:
        window = RUNS * process.interval
        partly = _narrowed("max by (process) (scc_process_partly)", mine)
        yield Alert(
            "SccPartlyTooOften",
            "warning",
            f"sum_over_time({partly}[{duration(window)}:{duration(window / LOOKS)}]) / {LOOKS} > {process.partly_share}",
            "{{ $labels.process }} rejects records again and again",
            f"{{{{ $value | humanizePercentage }}}} of the last {duration(window)} its last run had ended partly; "
            f"limit {process.partly_share:.0%}.",
            process=process.name,
        )


def _narrowed(expression: str, matcher: str) -> str:
    """The expression for one process only."""
    return expression.removesuffix(")") + matcher + ")"


SHARED = [
    Alert(
        "SccDidNotStart",
        "critical",
        f"time() - {START} > on (process) (scc:expected_interval_seconds + on (process) scc:late_seconds)",
        "{{ $labels.process }} did not start when it should have",
        "Its last start was {{ $value | humanizeDuration }} ago.",
    ),
    Alert(
        "SccDidNotFinish",
        "warning",
        f"time() - {START} > on (process) scc:longest_seconds unless on (process) {END} >= on (process) {START}",
        "{{ $labels.process }} started and did not end",
        "It started {{ $value | humanizeDuration }} ago and has not ended: it hangs, or was killed.",
    ),
    Alert(
        "SccFailed",
        "warning",
        "max by (process) (scc_process_last_exit_code) > 0",
        "{{ $labels.process }} failed",
        "Its last run ended with exit code {{ $value }}.",
        lasting=300,  # Kubernetes runs it again 10, 20 and 40 s later (openshift.md 3.3)
    ),
    Alert(
        "SccNoSuccess",
        "critical",
        f"time() - {SUCCESS} > on (process) "
        "(2 * scc:expected_interval_seconds + on (process) scc:late_seconds + on (process) scc:longest_seconds)",
        "{{ $labels.process }} has not succeeded for too long",
        "Its last success was {{ $value | humanizeDuration }} ago: at least two runs in a row came to nothing.",
    ),
    Alert(
        "SccWaitingTooOld",
        "warning",
        "max by (process) (scc_process_oldest_waiting_seconds) > on (process) scc:oldest_waiting_limit_seconds",
        "{{ $labels.process }} leaves records waiting for too long",
        "After its last run a record still waited that is {{ $value | humanizeDuration }} old.",
    ),
    Alert(
        "SccRejectsAboveShare",
        "warning",
        f'sum by (process) ({RECORDS[:-1]}{{outcome="rejected"}})) / on (process) sum by (process) ({RECORDS})'
        " > on (process) scc:rejected_limit_ratio",
        "{{ $labels.process }} rejects too many records",
        "{{ $value | humanizePercentage }} of the records of its last run were rejected.",
    ),
    Alert(
        "SccUnfinishedSlots",
        "warning",
        "max by (process) (scc_output_cleanup_unfinished_slots) > 0",
        "Old slots never finished",
        "{{ $value }} slots past their retention stay on the outputs volume, because their process has not ended.",
    ),
    Alert(
        "SccLuigidUnreachable",
        "warning",
        "max by (process) (scc_process_luigid_unreachable) > 0",
        "{{ $labels.process }} ran without luigid",
        "luigid did not answer when its last run started (value {{ $value }}): that run is neither on the web page nor in "
        "the history, and no queue held its syncs back.",
    ),
    Alert(
        "SccPushgatewayDown",
        "critical",
        f"max({GATEWAY}) == 0 or absent({GATEWAY})",
        "Prometheus cannot reach the Pushgateway",
        "No heartbeat can be seen: the alerts about processes are blind.",
        lasting=300,
    ),
    Alert(
        "SccWatchdog",
        "none",
        "vector(1)",
        "Alerting works",
        "Always fires. When it stops arriving, Prometheus, Alertmanager or the way between them is broken.",
    ),
]


def rendered(processes: Iterable[Process], runbook: str = RUNBOOK) -> str:
    """The rule file. runbook: the address of docs/runbook.md."""
    processes = list(processes)
    lines = [*HEAD, *(line for record in records(processes) for line in _record(record))]
    lines += [line for alert in alerts(processes) for line in _alert(alert, runbook)]
    return "\n".join(lines) + "\n"


HEAD = [
    "# Prometheus' alert rules. Rendered by bin/render-alerts from openshift/processes.toml: change that, and render again.",
    "# Prometheus must scrape the Pushgateway as job `pushgateway` with honor_labels, and keep eight intervals of the",
    "# slowest process, for SccPartlyTooOften (15d is its default; OpenShift's for user workloads is 24h).",
    "groups:",
    "- name: scc",
    "  rules:",
]


def _record(record: Record) -> list[str]:
    return [
        f"  - record: {record.name}",
        f"    expr: vector({record.value:.12g})",
        f"    labels: {{process: {record.process}}}",
    ]


def _alert(alert: Alert, runbook: str) -> list[str]:
    # one that watches a single process would else be the same rule as its sisters, which promtool refuses
    process = f"process: {alert.process}, " if alert.process else ""
    return [
        f"  - alert: {alert.name}",
        "    expr: |",
        *(
            f"      {line}"
            for line in re.sub(r" (?=(unless|and|>) on | or absent)", "\n", alert.expression).split("\n")
        ),
        *([f"    for: {duration(alert.lasting)}"] if alert.lasting else []),
        f"    labels: {{{process}severity: {alert.severity}}}",
        "    annotations:",
        f"      summary: {json.dumps(alert.summary)}",
        f"      description: {json.dumps(alert.description)}",
        f"      runbook_url: {runbook}#{alert.name.lower()}",
    ]


def duration(seconds: float) -> str:
    """Seconds as Prometheus writes them: 4800 is 1h20m."""
    text, left = "", round(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            text += f"{left // size}{unit}"
            left %= size
    return text
