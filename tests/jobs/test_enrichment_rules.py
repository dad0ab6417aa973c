"""The rules of Enrichment as plain functions, on a handful of rows."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.enrichment import (
    Left,
    Tally,
    age,
    brought,
    check_limits,
    counted,
    decide,
    enrichment,
    exported,
    ids,
    left_waiting,
    reached,
    rejected,
    written,
)
from jobs.enrichment_file import Definition, Mapped
from scc.errors import SafetyStop
from scc.receipts import REJECTS
from scc.salesforce import soql
from scc.tables import Engine, Schema, Table, arrow_schema

SLOT = dt.datetime(2026, 11, 22, 6, 15)
FAIR, OTHER = "7013A000000AbCdQAK", "701000000000002AAA"
DEFINITION = Definition(
    name="event_registration",
    custom_object="Event Registration",
    identifier="Key1",
    key="Campaign_Id1",
    status="Status1",
    waiting="Waiting",
    done="Done",
    error="Error",
    reason="Reason1",
    fields={"Name1": Mapped("Name", width=12), "Budget1": Mapped("BudgetedCost"), "Start1": Mapped("StartDate")},
)
KINDS = {"Name1": "string", "Budget1": "number", "Start1": "date"}
OLD = {"old_Name1": "", "old_Budget1": "", "old_Start1": ""}
NEW = {"new_Name1": "Autumn Fair", "new_Budget1": "1500", "new_Start1": "2026-10-01 00:00:00"}
COLUMNS = ["record_id", "created_at", "salesforce_id", "outcome", "reason", "Key1", *written(DEFINITION)]
PLAN: Schema = {**dict.fromkeys(COLUMNS, "string"), "clears": "boolean"}

Row = dict[str, Any]


def record(key: str = FAIR, **values: str) -> Row:
    """A waiting record."""
    return {"created_at": "2026-11-22 05:15:00", "key": key, "status": "Waiting", **OLD, **values}


def source(salesforce_id: str = FAIR, problem: str | None = None, **values: str) -> Row:
    """What was found in Salesforce."""
    return {"salesforce_id": salesforce_id, "problem": problem, **NEW, **values}


def table(path: Path, schema: Schema, rows: list[Row]) -> Table:
    made = Table(path, schema)
    with made.writer() as write:
        write(pa.RecordBatch.from_pylist(rows, schema=arrow_schema(schema)))
    return made


def content(table: Table) -> list[Row]:
    return [row for batch in table.batches() for row in batch.to_pylist()]


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Table]:
    """plan(record, …, sources=[…]): the table that Decide makes of them; records are numbered from 1."""

    def make(*records: Row, sources: list[Row] | None = None, definition: Definition = DEFINITION) -> Table:
        rows = [
            {"record_id": str(number), "identifier": f"R{number}", **row} for number, row in enumerate(records, start=1)
        ]
        keys = [{"key": key, "salesforce_id": soql.record_id(key.strip())} for key in {row["key"] for row in rows}]
        found = [source()] if sources is None else sources
        inputs = (
            table(tmp_path / "records.parquet", dict.fromkeys(exported(definition), "string"), rows),
            table(tmp_path / "keys.parquet", {"key": "string", "salesforce_id": "string"}, keys),
            table(tmp_path / "sources.parquet", dict.fromkeys(source(), "string"), found),
        )
        result = Table(tmp_path / "plan.parquet", PLAN)
        with Engine() as engine:
            records_, keys_, sources_ = (engine.read(one) for one in inputs)
            engine.write(decide(records_, keys_, sources_, definition, KINDS, SLOT), result)
        return result

    return make


@pytest.fixture
def decided(plan: Callable[..., Table]) -> Callable[..., list[Row]]:
    """decided(record, …): the rows of the plan, in the records' order."""
    return lambda *records, **more: sorted(content(plan(*records, **more)), key=lambda row: int(row["record_id"]))


Decided = Callable[..., list[Row]]


# decide


def test_a_waiting_record_gets_what_salesforce_has(decided: Decided) -> None:
    (row,) = decided(record())

    assert row == {
        "record_id": "1",
        "created_at": "2026-11-22 05:15:00",
        "salesforce_id": FAIR,
        "outcome": "filled",
        "reason": "",
        "Key1": "R1",
        "Status1": "Done",
        "Reason1": "",
        "Name1": "Autumn Fair",
        "Budget1": "1500",
        "Start1": "2026-10-01 00:00:00",
        "clears": False,
    }


def test_only_waiting_records_are_looked_at(decided: Decided) -> None:
    rows = decided(record(), *(record(status=status) for status in ("Done", "Error", "", "Waiting for review")))

    assert [row["record_id"] for row in rows] == ["1"]


def test_all_forms_of_an_id_find_its_campaign(decided: Decided) -> None:
    rows = decided(record(FAIR), record(FAIR[:15]), record(FAIR.lower()), record(f" {FAIR} "))

    assert {(row["outcome"], row["salesforce_id"], row["Name1"]) for row in rows} == {("filled", FAIR, "Autumn Fair")}


@pytest.mark.parametrize(
    ("key", "reason", "sentence"),
    [
        ("", "empty key", "No Salesforce Campaign id"),
        ("  ", "empty key", "No Salesforce Campaign id"),
        ("n/a", "malformed key", "Not a Salesforce Campaign id"),
        (FAIR[:-1] + "X", "malformed key", "Not a Salesforce Campaign id"),
    ],
)
def test_a_key_that_is_no_id_ends_in_error_with_its_reason(
    decided: Decided, key: str, reason: str, sentence: str
) -> None:
    (row,) = decided(record(key, old_Name1="from before"))

    assert (row["outcome"], row["reason"]) == ("error", reason)
    assert (row["Status1"], row["Reason1"]) == ("Error", sentence)
    assert (row["Name1"], row["clears"]) == ("", False)  # which leaves the field alone


@pytest.mark.parametrize(
    ("created_at", "outcome"),
    [
        ("2026-11-22 06:00:00", "deferred"),
        ("2026-11-08 06:15:01", "deferred"),
        ("2026-11-08 06:15:00", "error"),
        ("2026-11-08 06:15:00.500", "error"),
        ("2020-01-01 00:00:00", "error"),
    ],
)
def test_an_unknown_key_waits_for_fourteen_days(decided: Decided, created_at: str, outcome: str) -> None:
    (row,) = decided(record(OTHER, created_at=created_at))

    assert (row["outcome"], row["reason"]) == (outcome, "unknown key")


def test_a_record_that_goes_on_waiting_is_not_written(decided: Decided) -> None:
    (row,) = decided(record(OTHER))

    assert {row[name] for name in written(DEFINITION)} == {None}


def test_a_key_given_up_says_so(decided: Decided) -> None:
    lead = Definition(**{**vars(DEFINITION), "source": "Lead", "give_up_after": 0.5})

    (row,) = decided(record(OTHER, created_at="2026-11-21 06:15:00"), definition=lead)

    assert row["Reason1"] == "Salesforce has no such Lead; gave up after 0.5 days"


@pytest.mark.parametrize("identifier", ["", "   "])
def test_a_record_without_identifier_is_rejected(decided: Decided, identifier: str) -> None:
    rows = decided(record(identifier=identifier), record(identifier=identifier))

    assert {(row["outcome"], row["reason"], row["Status1"]) for row in rows} == {("rejected", "no identifier", None)}


def test_records_that_share_an_identifier_are_rejected_and_no_others(decided: Decided) -> None:
    rows = decided(*(record(identifier=identifier) for identifier in ("R1", "r1 ", "R10", "R2")))

    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("rejected", "double identifier"),
        ("rejected", "double identifier"),
        ("filled", ""),
        ("filled", ""),
    ]


def test_a_value_that_does_not_fit_is_rejected_with_its_reason(decided: Decided) -> None:
    (row,) = decided(record(), sources=[source(problem="too long: Name1")])

    assert (row["outcome"], row["reason"], row["Status1"]) == ("rejected", "too long: Name1", None)


@pytest.mark.parametrize(
    ("first", "then", "reason"),
    [
        ({"identifier": ""}, {"key": ""}, "no identifier"),
        ({"identifier": "R2"}, {"key": "n/a"}, "double identifier"),
        ({"key": " "}, {"created_at": "2020-01-01 00:00:00"}, "empty key"),
        ({"key": "n/a"}, {"created_at": "2020-01-01 00:00:00"}, "malformed key"),
    ],
)
def test_the_first_rule_that_applies_decides(decided: Decided, first: Row, then: Row, reason: str) -> None:
    row, _ = decided(record(**{**then, **first}), record())

    assert row["reason"] == reason


def test_a_value_that_is_the_same_is_sent_as_it_is(decided: Decided) -> None:
    (row,) = decided(record(old_Budget1="1500.00", old_Start1="2026-10-01 00:00:00.000", old_Name1="autumn fair"))

    assert (row["Budget1"], row["Start1"]) == ("1500.00", "2026-10-01 00:00:00.000")
    assert row["Name1"] == "Autumn Fair"


@pytest.mark.parametrize(
    ("old", "new", "clears"), [("Spring Fair", "", True), ("", "", False), ("Spring Fair", "Autumn Fair", False)]
)
def test_a_record_that_loses_a_value_is_marked(decided: Decided, old: str, new: str, clears: bool) -> None:
    (row,) = decided(record(old_Name1=old), sources=[source(new_Name1=new)])

    assert (row["Name1"], row["clears"], row["outcome"]) == (new, clears, "filled")


def test_nothing_waits_and_nothing_is_planned(decided: Decided) -> None:
    assert decided(sources=[]) == []


def test_an_unknown_key_among_known_ones_is_told_apart(decided: Decided) -> None:
    rows = decided(record(FAIR), record(OTHER), record(FAIR))

    assert [row["outcome"] for row in rows] == ["filled", "deferred", "filled"]


# what Salesforce has, as Eloqua would hold it

FOUND = {"Id": FAIR, "Name": "Autumn Fair", "BudgetedCost": 1500.0, "StartDate": "2026-10-01"}


def test_a_campaign_is_brought_into_the_form_of_its_fields() -> None:
    assert brought(FOUND, DEFINITION, KINDS) == {"salesforce_id": FAIR, "problem": None, **NEW}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"Name": "Autumn Fairs"}, None),
        ({"Name": "Autumn Fairs!"}, "too long: Name1"),
        ({"Name": None}, None),
        ({"BudgetedCost": "many"}, "not a number: Budget1"),
        ({"StartDate": "soon"}, "not a date: Start1"),
    ],
)
def test_a_value_that_its_field_cannot_take_is_a_problem(changes: Row, problem: str | None) -> None:
    assert brought(FOUND | changes, DEFINITION, KINDS)["problem"] == problem


def test_a_value_is_never_cut() -> None:
    long = "Autumn Fair of the Year"

    assert brought(FOUND | {"Name": long}, DEFINITION, KINDS)["new_Name1"] == long


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Name", "Fair"),
        ("name", "Fair"),
        ("Owner.Name", "Ada"),
        ("owner.Manager.Name", "Bo"),
        ("Parent.Name", None),
        ("Nmae", None),
    ],
)
def test_a_field_is_reached_over_its_parents(path: str, value: str | None) -> None:
    found = {"Name": "Fair", "Parent": None, "Owner": {"Name": "Ada", "Manager": {"Name": "Bo"}}}

    assert reached(found, path) == value


def test_each_id_is_asked_for_once(tmp_path: Path) -> None:
    keys = [
        {"key": FAIR, "salesforce_id": FAIR},
        {"key": FAIR[:15], "salesforce_id": FAIR},
        {"key": "n/a", "salesforce_id": None},
    ]
    made = table(tmp_path / "keys.parquet", {"key": "string", "salesforce_id": "string"}, keys)

    with Engine() as engine:
        assert list(ids(engine, made)) == [FAIR]


# counts and limits


def test_a_plan_is_counted_by_outcome_and_reason(plan: Callable[..., Table]) -> None:
    old = "2026-11-01 00:00:00"
    made = plan(
        record(),
        record(),
        record(OTHER),
        record(OTHER, created_at=old),
        record("701000000000003AAA"),
        record("n/a"),
        record(identifier=""),
    )

    with Engine() as engine:
        tally = counted(engine, made)

    assert tally == Tally(
        total=7,
        filled=2,
        in_error=2,
        deferred=2,
        rejected=1,
        keys=3,
        unknown_keys=2,
        oldest=old,
        reasons={
            "error: malformed key": 1,
            "error: unknown key": 1,
            "deferred: unknown key": 2,
            "rejected: no identifier": 1,
        },
    )


def test_an_empty_plan_counts_nothing(plan: Callable[..., Table]) -> None:
    with Engine() as engine:
        assert counted(engine, plan(sources=[])) == Tally()


@pytest.fixture
def limits(settings: Callable[[str, str, object], None]) -> enrichment:
    """20 % and 10 unknown keys, 50 % and 5 errors."""
    for name, value in {
        "max_unknown_share": 0.2,
        "max_unknown_count": 10,
        "max_error_share": 0.5,
        "max_error_count": 5,
    }.items():
        settings("enrichment", name, value)
    return enrichment()


@pytest.mark.parametrize(
    "tally",
    [
        Tally(),
        Tally(total=10, keys=10, unknown_keys=10),
        Tally(total=100, keys=100, unknown_keys=20),
        Tally(total=6, in_error=5),
        Tally(total=12, in_error=6),
    ],
    ids=["nothing", "few keys", "a small share", "few errors", "half"],
)
def test_within_either_limit_a_run_goes_on(limits: enrichment, tally: Tally) -> None:
    check_limits("event_registration", tally, limits)


@pytest.mark.parametrize(
    ("tally", "sentence"),
    [
        (Tally(total=100, keys=50, unknown_keys=11), r"11 of 50 keys are unknown to Salesforce, limit 20% and 10"),
        (Tally(total=11, in_error=6), r"6 of 11 records would end in error, limit 50% and 5"),
    ],
)
def test_above_both_limits_a_run_stops_with_the_numbers(limits: enrichment, tally: Tally, sentence: str) -> None:
    with pytest.raises(SafetyStop, match=f"event_registration stopped: {sentence}; this step changed nothing"):
        check_limits("event_registration", tally, limits)


# what was not written


def test_rejects_are_those_of_the_rules_and_those_of_eloqua(plan: Callable[..., Table], tmp_path: Path) -> None:
    made = plan(record(), record(identifier=""), record())
    refused = table(
        tmp_path / "refused.parquet",
        {"identifier": "string", "code": "string"},
        [{"identifier": "R3", "code": "ELQ-00040"}],
    )
    result = Table(tmp_path / "rejects.parquet", REJECTS)

    with Engine() as engine:
        engine.write(rejected(engine, made, DEFINITION, [refused]), result)

    assert sorted(content(result), key=lambda row: row["record_id"]) == [
        {"record_id": "2", "identifier": "", "reason": "no identifier"},
        {"record_id": "3", "identifier": "R3", "reason": "ELQ-00040"},
    ]


def test_a_run_without_rejects_has_an_empty_table_of_them(plan: Callable[..., Table], tmp_path: Path) -> None:
    result = Table(tmp_path / "rejects.parquet", REJECTS)

    with Engine() as engine:
        engine.write(rejected(engine, plan(record()), DEFINITION, []), result)

    assert content(result) == []


def test_what_still_waits_is_what_was_deferred_or_refused(plan: Callable[..., Table], tmp_path: Path) -> None:
    made = plan(
        record(created_at="2026-11-20 00:00:00"),
        record(OTHER, created_at="2026-11-18 00:00:00"),
        record("n/a", created_at="2026-11-19 00:00:00"),
        record(created_at="2026-11-01 00:00:00"),
    )
    refused = [{"record_id": number, "identifier": f"R{number}", "reason": "ELQ-00040"} for number in ("1", "3")]
    rejects = table(tmp_path / "rejects.parquet", REJECTS, refused)

    with Engine() as engine:
        left = left_waiting(engine, made, rejects)

    assert left == Left(refused_fills=1, refused_errors=1, oldest="2026-11-18 00:00:00")


def test_what_eloqua_refused_still_waits(plan: Callable[..., Table], tmp_path: Path) -> None:
    made = plan(record(created_at="2026-11-20 00:00:00"), record(created_at="2026-11-01 00:00:00"))
    refused = [{"record_id": "1", "identifier": "R1", "reason": "ELQ-00040"}]

    with Engine() as engine:
        left = left_waiting(engine, made, table(tmp_path / "rejects.parquet", REJECTS, refused))

    assert left == Left(refused_fills=1, oldest="2026-11-20 00:00:00")


def test_nothing_waits_after_all_was_written(plan: Callable[..., Table], tmp_path: Path) -> None:
    rejects = table(tmp_path / "rejects.parquet", REJECTS, [])

    with Engine() as engine:
        assert left_waiting(engine, plan(record()), rejects) == Left()


@pytest.mark.parametrize(
    ("created_at", "seconds"),
    [("2026-11-22 05:15:00", 3600), ("2026-11-22 06:14:59.900", 1), ("", None)],
)
def test_age_is_told_in_seconds_before_the_slot(created_at: str, seconds: int | None) -> None:
    assert age(created_at, SLOT) == seconds
