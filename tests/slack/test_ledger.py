"""What is news: a process that turns, one that stays bad once a day (UTC), one that recovers."""

import datetime as dt

import pytest

from scc.slack.ledger import Entry, news

NOW = dt.datetime(2026, 11, 22, 6, 15, tzinfo=dt.UTC)
TODAY, YESTERDAY, TOMORROW = "2026-11-22T00:00:00Z", "2026-11-21T23:59:59Z", "2026-11-23T00:00:00Z"
BEGAN = "2026-11-01T05:00:00Z"


def entry(outcome: str, told_at: str) -> Entry:
    return {"outcome": outcome, "since": BEGAN, "told_at": told_at}


@pytest.mark.parametrize(
    ("before", "outcome", "kind"),
    [
        (None, "good", None),
        (None, "partly", "turned"),
        (None, "failed", "turned"),
        (entry("good", TODAY), "good", None),
        (entry("good", TODAY), "failed", "turned"),
        (entry("good", YESTERDAY), "partly", "turned"),
        (entry("failed", TODAY), "failed", None),
        (entry("failed", YESTERDAY), "failed", "still"),
        (entry("failed", TOMORROW), "failed", "still"),
        (entry("failed", TODAY), "partly", None),
        (entry("failed", YESTERDAY), "partly", "still"),
        (entry("partly", TODAY), "partly", None),
        (entry("partly", TODAY), "failed", "turned"),
        (entry("failed", TODAY), "good", "recovered"),
        (entry("partly", YESTERDAY), "good", "recovered"),
    ],
)
def test_what_is_told(before: Entry | None, outcome: str, kind: str | None) -> None:
    found = news(before, outcome, NOW)

    assert (found.kind if found else None) == kind
    if found:
        assert found.entry["outcome"] == outcome
        assert found.entry["told_at"] == "2026-11-22T06:15:00Z"


def test_a_bad_time_begins_with_its_first_message_and_ends_with_the_recovery() -> None:
    still = news(entry("failed", YESTERDAY), "partly", NOW)
    well = news(entry("failed", TODAY), "good", NOW)
    again = news(entry("good", TODAY), "failed", NOW)

    assert still and (still.since, still.entry["since"]) == (BEGAN, BEGAN)
    assert well and (well.since, well.entry["since"]) == (BEGAN, "2026-11-22T06:15:00Z")
    assert again and again.since == "2026-11-22T06:15:00Z"
