"""What the rules of BounceCleanup say, on a few rows each."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest

from jobs import bounce_file, bounce_rules
from jobs.bounce_file import Streak
from jobs.bounce_rules import DAY
from scc.tables import Engine, arrow_schema

RULES = dataclasses.replace(
    bounce_file.read(bounce_file.SHIPPED),
    soft=Streak(bounces=3, days=10),
    hard=Streak(bounces=1, days=30),
    opened_within=5,
)
BOUNCE = {
    **dict.fromkeys(("activity_id", "address", "contact_id", "contact_address", "status", "reply", "kind"), "string"),
    "moment": "integer",
}
ANA = "ana@example.com"


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def frame(engine: Engine, rows: list[dict[str, Any]], schema: dict[str, str] = BOUNCE) -> Any:
    return nw.from_native(engine._connection.from_arrow(pa.Table.from_pylist(rows, schema=arrow_schema(schema)))).lazy()


def bounce(number: int, day: float, address: str = ANA, kind: str = "soft", **more: str) -> dict[str, Any]:
    defaults = {"contact_id": "1", "contact_address": address, "status": "", "reply": ""}
    return {
        "activity_id": str(number),
        "address": address,
        "kind": kind,
        "moment": round(day * DAY),
        **defaults,
        **more,
    }


# RFC 3463, RFC 5321: status, reply, what it means
CODES = [
    ("5.1.1", "550", "hard"),
    ("5.1.10", "556", "hard"),
    ("5.4.1", "540", "hard"),
    ("5.0.0", "554", "hard"),
    ("5.2.1", "", "hard"),  # mailbox disabled
    ("", "550", "hard"),
    ("", "551", "hard"),
    ("", "553", "hard"),
    ("4.2.2", "452", "soft"),
    ("4.4.7", "", "soft"),
    ("", "421", "soft"),
    ("", "450", "soft"),
    ("5.2.2", "552", "soft"),  # mailbox full, in the permanent class
    ("5.2.2", "", "soft"),
    ("5.2.3", "550", "soft"),  # message too long
    ("5.3.4", "552", "soft"),  # message too big
    ("", "552", "soft"),
    ("5.7.1", "550", "policy"),
    ("5.7.26", "550", "policy"),
    ("4.7.1", "451", "policy"),
    ("5.7.1", "451", "policy"),  # whatever the class, the subject is policy
    ("", "530", "policy"),
    ("", "571", "policy"),
    ("5.5.2", "502", "unknown"),  # our commands
    ("5.6.0", "554", "unknown"),  # the mail's form
    ("", "501", "unknown"),
    ("5.1.1", "450", "unknown"),  # they contradict each other
    ("4.2.2", "550", "unknown"),
    ("2.0.0", "550", "unknown"),
    ("2.1.5", "", "unknown"),
    ("", "250", "unknown"),
    ("", "", "unknown"),
    ("5.71.0", "", "hard"),  # not 5.7
    ("5.2.20", "", "hard"),  # not 5.2.2
]


@pytest.mark.parametrize(("status", "reply", "kind"), CODES)
def test_codes_mean(engine: Engine, status: str, reply: str, kind: str) -> None:
    rows = frame(engine, [bounce(1, 0, status=status, reply=reply)]).drop("kind")

    assert [row["kind"] for row in engine.rows(bounce_rules.with_kind(rows, RULES))] == [kind]


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        (("5.1.1", "550"), ("5.1.1", "550")),
        ((" 5.1.1 (bad destination)", "550 mailbox unavailable"), ("5.1.1", "550")),
        (("", "550 5.1.1 <somebody> user unknown"), ("5.1.1", "550")),
        (("550 5.1.1", ""), ("5.1.1", "550")),
        (("smtp;550-5.7.1", ""), ("5.7.1", "550")),
        (("", ""), ("", "")),
        (("unknown", "none"), ("", "")),
        (("192.0.2.1", "1550"), ("", "")),  # an address of a host and a count are no codes
        (("5.1", "5"), ("", "")),
        (("3.1.1", "354"), ("", "")),  # no bounce answers so
    ],
)
def test_codes_are_found_in_either_field(fields: tuple[str, str], codes: tuple[str, str]) -> None:
    assert bounce_rules.smtp_codes(*fields) == codes


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" Ana@Example.COM ", ANA),
        (ANA, ANA),
        ("", ""),
        ("ana", ""),
        ("ana@", ""),
        ("a b@example.com", ""),
        ("a@b@example.com", ""),
    ],
)
def test_an_address_is_written_in_one_way(text: str, address: str) -> None:
    assert bounce_rules.address(text) == address


def dead(engine: Engine, bounces: list[dict[str, Any]], handled: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    evidence = bounce_rules.evidence(frame(engine, bounces), RULES)
    known = frame(engine, [{"activity_id": str(number)} for number in handled], {"activity_id": "string"})
    return sorted(engine.rows(bounce_rules.dead(evidence, known)), key=lambda row: row["address"])


def test_one_hard_bounce_makes_an_address_dead(engine: Engine) -> None:
    (found,) = dead(engine, [bounce(1, 3, kind="hard", status="5.1.1", reply="550")])

    assert (found["address"], found["kind"], found["status"], found["moment"]) == (ANA, "hard", "5.1.1", 3 * DAY)


@pytest.mark.parametrize("kind", ["policy", "unknown"])
def test_policy_blocks_and_unknown_ones_never_do(engine: Engine, kind: str) -> None:
    assert dead(engine, [bounce(number, 0, kind=kind) for number in range(10)]) == []


@pytest.mark.parametrize(
    ("days", "moment"),
    [
        ([0, 1], None),  # two of three
        ([0, 1, 10], 10),  # the third on the last moment
        ([0, 1, 10.01], None),  # a little too late
        ([0, 9, 11, 12], 12),  # 9, 11, 12
        ([0, 20, 40, 60], None),
        ([5, 5, 5], 5),
    ],
)
def test_soft_bounces_in_a_row_count_as_hard(engine: Engine, days: list[float], moment: float | None) -> None:
    found = dead(engine, [bounce(number, day) for number, day in enumerate(days)])

    assert [(row["kind"], row["moment"]) for row in found] == ([] if moment is None else [("soft", moment * DAY)])


def test_soft_bounces_of_different_addresses_do_not_add_up(engine: Engine) -> None:
    assert dead(engine, [bounce(number, 0, address=f"p{number}@example.com") for number in range(5)]) == []


def test_a_bounce_that_was_handled_is_evidence_but_no_reason_to_act(engine: Engine) -> None:
    bounces = [bounce(1, 0), bounce(2, 1), bounce(3, 2)]

    assert dead(engine, bounces, handled=(1, 2, 3)) == []
    assert [row["address"] for row in dead(engine, bounces, handled=(1, 2))] == [ANA]
    assert [row["address"] for row in dead(engine, bounces, handled=(2, 3))] == [ANA]


def test_what_is_not_part_of_the_evidence_is_no_reason_to_act(engine: Engine) -> None:
    old = [bounce(1, 0), bounce(2, 1), bounce(3, 2)]
    lone, policy = bounce(4, 25), bounce(5, 3, kind="policy")

    assert dead(engine, [*old, lone, policy], handled=(1, 2, 3)) == []


def test_the_first_proof_is_told_whatever_came_later(engine: Engine) -> None:
    bounces = [bounce(1, 5, kind="hard", status="5.1.1"), bounce(2, 2, kind="hard", status="5.4.1"), bounce(3, 1)]

    (found,) = dead(engine, bounces)
    assert (found["status"], found["moment"], found["last_at"]) == ("5.4.1", 2 * DAY, 5 * DAY)


def test_the_first_proof_speaks_whatever_its_kind(engine: Engine) -> None:
    soft = [bounce(number, number) for number in range(3)]

    (found,) = dead(engine, [*soft, bounce(9, 8, kind="hard")])
    assert (found["kind"], found["moment"], found["last_at"]) == ("soft", 2 * DAY, 8 * DAY)


def test_a_bounceback_without_an_address_proves_nothing(engine: Engine) -> None:
    assert dead(engine, [bounce(1, 0, address="", kind="hard")]) == []


def decided(
    engine: Engine, bounces: list[dict[str, Any]], opened: Sequence[float] = (), address: str = ANA
) -> list[dict[str, Any]]:
    evidence = bounce_rules.evidence(frame(engine, bounces), RULES)
    dead = bounce_rules.dead(evidence, frame(engine, [], {"activity_id": "string"}))
    opens = [{"address": address, "moment": round(day * DAY)} for day in opened]
    schema = {"address": "string", "moment": "integer"}
    carriers = frame(engine, bounces).select("address", "contact_id", "contact_address")
    return engine.rows(bounce_rules.decide(dead, frame(engine, opens, schema), carriers, RULES))


@pytest.mark.parametrize(
    ("opened", "outcome"),
    [
        ([], "mark"),
        ([9], "mark"),  # before the bounce
        ([10], "mark"),  # in the same second
        ([10.5], "opened"),
        ([15], "opened"),  # on the last moment of the window
        ([15.1], "mark"),
        ([9, 16, 12], "opened"),
    ],
)
def test_who_opens_mail_after_the_bounce_lives(engine: Engine, opened: list[float], outcome: str) -> None:
    (found,) = decided(engine, [bounce(1, 10, kind="hard")], opened)

    assert found["outcome"] == outcome


def test_an_open_between_two_bounces_does_not_count(engine: Engine) -> None:
    (found,) = decided(engine, [bounce(1, 1, kind="hard"), bounce(2, 3, kind="hard")], opened=[2])

    assert found["outcome"] == "mark"


def test_somebody_elses_open_does_not_count(engine: Engine) -> None:
    (found,) = decided(engine, [bounce(1, 1, kind="hard")], opened=[2], address="bo@example.com")

    assert found["outcome"] == "mark"


@pytest.mark.parametrize(
    ("contacts", "word"),
    [
        ([("1", ANA)], "carried"),
        ([("1", "new@example.com")], "renamed"),
        ([("1", "")], "deleted"),
        ([("", "")], "unknown"),
        ([("1", ""), ("2", ANA)], "carried"),  # deleted, and back under a new id
        ([("1", "new@example.com"), ("2", "")], "renamed"),
        ([("1", "new@example.com"), ("", "")], "unknown"),
    ],
)
def test_what_the_contact_is_called_today(engine: Engine, contacts: list[tuple[str, str]], word: str) -> None:
    bounces = [
        bounce(number, number, kind="hard", contact_id=contact, contact_address=address)
        for number, (contact, address) in enumerate(contacts)
    ]

    (found,) = decided(engine, bounces)
    assert found["in_eloqua"] == word


@pytest.mark.parametrize(
    ("domain", "provider"),
    [
        ("exmaple.com", "example.com"),  # swapped
        ("exampl.com", "example.com"),
        ("examplle.com", "example.com"),
        ("exanple.com", "example.com"),
        ("example.co", "example.com"),
        ("xample.com", "example.com"),
        ("example.com", None),
        ("exmapl.com", None),  # two edits
        ("eaxmpel.com", None),
        ("other.org", None),
        ("", None),
    ],
)
def test_a_domain_one_edit_away_is_repairable(domain: str, provider: str | None) -> None:
    assert bounce_rules.repairable(domain, ["example.com"]) == provider


def test_a_pattern_says_what_and_not_whom() -> None:
    message = (
        '550 5.1.1 <jane.doe@example.com>: "Jane" user unknown in table at mx1.example.com [192.0.2.1] id=a8f3c2d19b'
    )

    told = bounce_rules.pattern(message)

    assert "user unknown in table" in told
    assert not any(part in told for part in ("jane", "doe", "example", "192", "a8f3", "550"))


@pytest.mark.parametrize(
    ("kind", "gets", "text"),
    [
        ("hard", "status", "Bounced"),
        ("hard", "code", "5.1.1"),
        ("hard", "reason", "Hard bounce, SMTP 5.1.1 / 550"),
        ("soft", "reason", "Repeated soft bounces, SMTP 5.1.1 / 550"),
    ],
)
def test_what_a_field_gets(kind: str, gets: str, text: str) -> None:
    assert bounce_rules.written(gets, kind, "5.1.1", "550") == text
