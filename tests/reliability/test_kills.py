"""A spread of the points at which each process is killed; `bin/test reliability` tries them all."""

from collections.abc import Iterator

import pytest

from tests.components import require
from tests.reliability.kills import Bench, NotRecovered, Point, bench
from tests.reliability.stories import ENRICHMENT, STORIES

SPREAD = 6


@pytest.fixture(scope="module", params=sorted(STORIES))
def told(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A story, told once undisturbed."""
    require("strace")
    with bench(STORIES[request.param]) as it:
        yield it


@pytest.mark.parametrize("share", [at / SPREAD for at in range(SPREAD)])
def test_what_a_killed_run_left_is_made_good_by_either_continuation(told: Bench, share: float) -> None:
    told.kill_and_continue(told.points[int(share * len(told.points))])


def test_a_continuation_that_forgets_is_noticed() -> None:
    """The harness itself: without what a killed import left behind, its rows would be sent a second time."""

    class Forgetful(Bench):
        def _run_until(self, sandbox: object, point: Point) -> None:
            super()._run_until(sandbox, point)  # type: ignore[arg-type]
            for path in self.outputs.rglob("*.part-*.json"):
                path.unlink()

    require("strace")
    with bench(ENRICHMENT, Forgetful) as it:
        polls = [point for point in it.points if point.moment == "after" and "/syncs/" in point.at]
        with pytest.raises(NotRecovered, match=r"syncs (differ|, not)|written"):
            it.kill_and_continue(polls[-1])
