"""usage: python -m tests.reliability [PROCESS] [--every N | --point N]

Kills every process, or PROCESS, at each of its points (at every N-th, or at the N-th alone) and lets the next run finish.
Exits 1 when a point was not recovered, and names it: `--point` tells it again.
"""

import argparse
import sys
import time

from tests.reliability.kills import NotRecovered, bench
from tests.reliability.stories import STORIES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("process", nargs="?", choices=sorted(STORIES))
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--point", type=int, metavar="N")
    arguments = parser.parse_args()
    failed = 0
    for name in [arguments.process] if arguments.process else sorted(STORIES):
        failed += told(name, arguments.every, arguments.point)
    return 1 if failed else 0


def told(process: str, every: int, only: int | None) -> int:
    """Kill one process at its points; how many were not recovered."""
    began, recovered, tried = time.monotonic(), 0, 0
    with bench(STORIES[process]) as it:
        for number, point in enumerate(it.points, 1):
            if number != only if only else (number - 1) % every:
                continue
            tried += 1
            try:
                it.kill_and_continue(point)
                recovered += 1
            except NotRecovered as problem:
                print(f"{process}: point {number} not recovered: {problem}", flush=True)
    print(f"{process}: killed at {tried} points, {recovered} recovered ({time.monotonic() - began:.0f} s)", flush=True)
    return tried - recovered


if __name__ == "__main__":
    sys.exit(main())
