"""python -m scc.sandbox serve | env"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading

DEFAULT_PORT = 8085


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
    serve_.add_argument("--sync-polls", type=int, default=2, help="a sync is final at this GET of it (0: at once)")
    serve_.add_argument("--page-size", type=int, default=2000, help="rows of a Salesforce query page")
    return result


def show_environment(port: int) -> int:
    from scc.sandbox.sandbox import environment

    for name, value in environment(port).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def serve(arguments: argparse.Namespace) -> int:
    from scc.sandbox.sandbox import Sandbox

    stop = threading.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_, lambda *_: stop.set())
    try:
        sandbox = Sandbox(
            arguments.contacts,
            arguments.seed,
            arguments.now,
            arguments.sync_polls,
            arguments.waiting,
            arguments.page_size,
            arguments.port,
        ).start()
    except ValueError as error:
        print(f"--now: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot listen on port {arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"sandbox ready on {sandbox.url}", flush=True)
    stop.wait()
    sandbox.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
