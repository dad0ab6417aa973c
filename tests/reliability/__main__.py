"""Kills every process, or PROCESS, at each of its points, and lets the next run finish.

Exits 1 when a point was not recovered, and names it: `--point` tells it again.
"""

import argparse
import os
import sys

from tests.reliability.kills import bench
from tests.reliability.stories import STORIES
from tests.reliability.telling import told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("process", nargs="?", choices=sorted(STORIES))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th point only")
    parser.add_argument("--point", type=int, action="append", metavar="N", help="this point only; more than once")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="points at a time")
    parser.add_argument("--list", action="store_true", help="only number the points")
    arguments = parser.parse_args()
    failed = 0
    for name in [arguments.process] if arguments.process else sorted(STORIES):
        with bench(STORIES[name]) as it:
            points = it.points
        wanted = arguments.point or range(1, len(points) + 1, arguments.every)
        if arguments.list:
            print("\n".join(f"{name} {number}: {points[number - 1]}" for number in wanted))
        else:
            failed += told(name, wanted, arguments.jobs)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
