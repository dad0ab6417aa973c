"""Kills every process, or PROCESS, at each of its points, and lets the next run finish.

Exits 1 when a point was not recovered, and names it: `--point` tells it again.
"""

import argparse
import sys
import time
from collections.abc import Iterable

from tests.reliability.kills import Bench, NotRecovered, bench
from tests.reliability.stories import STORIES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("process", nargs="?", choices=sorted(STORIES))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th point only")
    parser.add_argument("--point", type=int, action="append", metavar="N", help="this point only; more than once")
    parser.add_argument("--list", action="store_true", help="only number the points")
    arguments = parser.parse_args()
    failed = 0
    for name in [arguments.process] if arguments.process else sorted(STORIES):
        with bench(STORIES[name]) as it:
            wanted = arguments.point or range(1, len(it.points) + 1, arguments.every)
            if arguments.list:
                print("\n".join(f"{name} {number}: {it.points[number - 1]}" for number in wanted))
            else:
                failed += told(name, it, wanted)
    return 1 if failed else 0


def told(process: str, it: Bench, numbers: Iterable[int]) -> int:
    """Kill one process at its points; how many were not recovered."""
    began, recovered, tried = time.monotonic(), 0, 0
    for number in numbers:
        point = it.points[number - 1]
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
