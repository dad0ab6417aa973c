"""What a run leaves behind for bin/run-job, which refines Luigi's exit code by it.

Luigi knows that a task failed, not why. The file that SCC_VERDICT_FILE names gets one line each: `exit_code=65` for the
failure that matters most, `outcome=partly` when records were rejected within the limit, `dry_run=yes` for a rehearsal, and
`slack=settled` when the run itself saw to what Slack hears of it. Without that variable (a plain `luigi --module`) nothing
is written.
"""

import os
from pathlib import Path

from scc.errors import (
    ConfigError,
    LeaseHeld,
    LeaseLost,
    QuotaReached,
    SafetyStop,
    SccError,
    Superseded,
    Unavailable,
    VolumeUnavailable,
)

# most in need of a person first; an error that is not listed keeps Luigi's own code, and outranks "run again later"
ORDER: list[type[SccError] | None] = [
    ConfigError,
    SafetyStop,
    None,
    Unavailable,
    VolumeUnavailable,
    LeaseLost,
    Superseded,
    QuotaReached,
    LeaseHeld,
]

failures: list[BaseException] = []
partial: list[str] = []
settled: list[str] = []
rehearsals: list[str] = []


def failed(error: BaseException) -> None:
    """Remember a failure of this run."""
    failures.append(error)
    _write()


def partly(process: str) -> None:
    """Remember that a process ended well but for rejected records."""
    partial.append(process)
    _write()


def rehearsed(process: str) -> None:
    """Remember that this run changes nothing, however it was asked to: it must not count as a success."""
    if not rehearsals:
        rehearsals.append(process)
        _write()


def slack_settled() -> None:
    """Remember that nobody else needs to tell Slack how this run ended."""
    settled.append("slack")
    _write()


def exit_code(errors: list[BaseException]) -> int | None:
    """The code for a run with these errors; None keeps Luigi's own."""
    worst = min((_rank(error) for error in errors), default=ORDER.index(None))
    kind = ORDER[worst]
    return kind.exit_code if kind else None


def _rank(error: BaseException) -> int:
    for rank, kind in enumerate(ORDER):
        if kind is not None and isinstance(error, kind):
            return rank
    return ORDER.index(None)


def _write() -> None:
    path = os.environ.get("SCC_VERDICT_FILE")
    if not path:
        return
    code = exit_code(failures)
    lines = [f"exit_code={code}"] if code is not None else []
    lines += ["outcome=partly"] if partial else []
    lines += ["dry_run=yes"] if rehearsals else []
    lines += ["slack=settled"] if settled else []
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
