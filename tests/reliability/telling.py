"""Telling many points of one story, several at a time: what `bin/test reliability` does."""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.reliability.kills import NotRecovered, bench
from tests.reliability.stories import STORIES


def told(process: str, numbers: Sequence[int], jobs: int) -> int:
    """Kill one process at its points, so many at a time; how many were not recovered."""
    print(f"{process}: {len(numbers)} points, {jobs} at a time", flush=True)
    began = time.monotonic()
    shares = [numbers[first::jobs] for first in range(min(jobs, len(numbers)))]
    # fresh interpreters: a fork would inherit the threads of the sandbox that numbered the points
    with ProcessPoolExecutor(len(shares), multiprocessing.get_context("spawn")) as pool:
        recovered = sum(pool.map(partial(recovered_of, process), shares))
    seconds = time.monotonic() - began
    print(f"{process}: killed at {len(numbers)} points, {recovered} recovered ({seconds:.0f} s)", flush=True)
    return len(numbers) - recovered


def recovered_of(process: str, numbers: Sequence[int]) -> int:
    """Kill one process at its points, one after the other, on a bench of their own; how many were recovered."""
    recovered = 0
    with bench(STORIES[process]) as it:
        for number in numbers:
            try:
                it.kill_and_continue(it.points[number - 1])
                recovered += 1
            except NotRecovered as problem:
                print(f"{process}: point {number} not recovered: {problem}", flush=True)
    return recovered
