"""python -m scc.sandbox serve | env

Exit codes of serve: 0 after SIGTERM or SIGINT, also in the middle of the start or of requests; 2 for a wrong option; 78
(EX_CONFIG) for a port that is taken or a faults file that makes no sense, each with one sentence on standard error.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

DEFAULT_PORT = 8085
EX_CONFIG = 78  # sysexits.h


def main() -> int:
    arguments = parser().parse_args()
    if arguments.command == "env":
        return show_environment(arguments.port)
    return serve(arguments)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m scc.sandbox", description="Eloqua and Salesforce on 127.0.0.1.")
    commands = result.add_subparsers(dest="command", required=True)
    serve_ = commands.add_parser("serve", help="serve until SIGTERM or SIGINT")
    env = commands.add_parser("env", help="print the variables that point a client at the sandbox")
    for command in (serve_, env):
        command.add_argument("--port", type=int, default=DEFAULT_PORT, help="0: any free one (serve only)")
    serve_.add_argument("--contacts", type=int, default=20_000, help="size of the made-up company")
    serve_.add_argument("--seed", type=int, default=1, help="one seed and one --now: the same company")
    serve_.add_argument("--now", help="ISO 8601: the clock stands there until advanced (default: the real clock)")
    serve_.add_argument("--waiting", type=int, help="custom-object records that wait (default: 5 %% of the records)")
    serve_.add_argument("--activities", type=int, help="about so many activities (default: 3 a contact)")
    serve_.add_argument("--state", metavar="FILE", help="start in a saved state; no company is made")
    serve_.add_argument("--sync-polls", type=int, default=2, help="a sync is final at this GET of it (0: at once)")
    serve_.add_argument(
        "--sync-seconds", type=positive, help="a sync is final so long after its start, however often asked"
    )
    serve_.add_argument("--latency", type=positive, default=0.0, help="seconds that every request waits")
    serve_.add_argument(
        "--faults", type=Path, metavar="FILE", help="fault rules: JSON, or one a line (docs/sandbox.md)"
    )
    serve_.add_argument(
        "--chaos", type=share, metavar="SHARE", help="hit this share of all requests with a mix of faults"
    )
    serve_.add_argument("--page-size", type=int, default=2000, help="rows of a Salesforce query page")
    return result


def show_environment(port: int) -> int:
    from scc.sandbox.sandbox import environment

    for name, value in environment(port).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def positive(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 3600:
        raise ValueError
    return value


def share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def serve(arguments: argparse.Namespace) -> int:
    from scc.sandbox.sandbox import Sandbox
    from scc.sandbox.state import BadState, State

    stop = Stop()
    rules, problem = read_faults(arguments)
    if problem:
        print(problem, file=sys.stderr)
        return EX_CONFIG
    # DuckDB makes the company while Python reads modules: each of its statements would wait 5 ms for the other thread.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        sandbox = Sandbox(
            arguments.contacts,
            arguments.seed,
            arguments.now,
            arguments.sync_polls,
            arguments.waiting,
            arguments.page_size,
            arguments.port,
            arguments.sync_seconds,
            arguments.activities,
            state=State.load(arguments.state) if arguments.state else None,
        )
    except BadState as error:
        print(f"--state: {error}", file=sys.stderr)
        return EX_CONFIG
    except OSError as error:
        print(f"--state: {arguments.state}: {error.strerror}", file=sys.stderr)
        return EX_CONFIG
    except ValueError as error:
        print(f"--now: {error}", file=sys.stderr)
        return 2
    sys.setswitchinterval(usual)
    sandbox.faults.latency = arguments.latency
    sandbox.faults.add_document(rules)
    try:
        sandbox.start()
    except OSError as error:
        print(f"cannot listen on port {arguments.port}: {error.strerror}", file=sys.stderr)
        return EX_CONFIG
    print(f"sandbox ready on {sandbox.url}", flush=True)
    stop.wait()
    sandbox.stop()
    sys.stderr.flush()
    os._exit(0)  # handlers may still be busy in their threads, and nobody waits for what they would answer


class Stop:
    """SIGTERM and SIGINT: end the process with 0 while it starts, wake `wait` afterwards.

    By a pipe, not an Event: Ctrl-C and the SIGTERM right behind it would meet in its lock, one handler within the other.
    """

    def __init__(self) -> None:
        self._waiting = False
        self._asked, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for signal_ in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_, self._heed)

    def _heed(self, *_: object) -> None:
        if not self._waiting:
            os._exit(0)  # nothing is served yet, and a big company takes a minute to be made

    def wait(self) -> None:
        self._waiting = True
        os.read(self._asked, 1)


def read_faults(arguments: argparse.Namespace) -> tuple[list[Any], str | None]:
    """The rules of --faults and --chaos, and the sentence that says what is wrong with them, if anything."""
    from scc.sandbox.faults import BadFault, Faults, read_rules

    rules: list[Any] = [{"mix": arguments.chaos}] if arguments.chaos else []
    if not arguments.faults:
        return rules, None
    try:
        rules += read_rules(arguments.faults.read_text(encoding="utf-8"))
        Faults(0).add_document(rules)
    except OSError as error:
        return [], f"--faults: cannot read {arguments.faults}: {error.strerror}"
    except BadFault as error:
        return [], f"--faults: {arguments.faults}: {error}"
    except ValueError:
        return [], f"--faults: {arguments.faults} is neither JSON nor one JSON document a line"
    return rules, None


if __name__ == "__main__":
    sys.exit(main())
