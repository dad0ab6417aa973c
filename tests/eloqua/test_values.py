"""Values of Salesforce as texts of Eloqua, and when two texts are the same value."""

from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest

from scc.eloqua.values import same, text_of
from scc.tables import Engine, Table


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "string", ""),
        ("", "date", ""),
        (None, "number", ""),
        ("Autumn Fair", "string", "Autumn Fair"),
        (" Größe ", "string", " Größe "),
        (True, "string", "true"),
        (False, "string", "false"),
        (3, "string", "3"),
        (1500.50, "string", "1500.5"),
        (True, "number", "1"),
        (False, "number", "0"),
        (0, "number", "0"),
        (100, "number", "100"),
        (1500.0, "number", "1500"),
        (0.1, "number", "0.1"),
        (-12.340, "number", "-12.34"),
        (1e16, "number", "10000000000000000"),
        (1e-7, "number", "0.0000001"),
        ("0010.50", "number", "10.5"),
        ("2026-10-01", "date", "2026-10-01 00:00:00"),
        ("2026-01-02T03:04:05.000+0000", "date", "2026-01-02 03:04:05"),
        ("2026-01-02T03:04:05.000Z", "date", "2026-01-02 03:04:05"),
        ("2026-01-02T01:04:05.000+0200", "date", "2026-01-01 23:04:05"),
        ("jane@example.com", "emailAddress", "jane@example.com"),
    ],
)
def test_a_value_becomes_the_text_that_its_field_holds(value: Any, kind: str, text: str) -> None:
    assert text_of(value, kind) == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("soon", "date"),
        ("2026-13-01", "date"),
        (True, "date"),
        ("many", "number"),
        ("1,5", "number"),
        (float("nan"), "number"),
        (float("inf"), "number"),
        ("2026-10-01", "number"),
        ({"city": "Berlin"}, "string"),
        ([1, 2], "string"),
        ({"city": "Berlin"}, "number"),
    ],
)
def test_a_value_that_its_field_cannot_hold_has_no_text(value: Any, kind: str) -> None:
    assert text_of(value, kind) is None


@pytest.mark.parametrize(
    ("old", "new", "kind", "equal"),
    [
        ("Autumn", "Autumn", "string", True),
        ("autumn", "Autumn", "string", False),
        ("10.0", "10", "string", False),
        ("10.0", "10", "number", True),
        ("010", "10", "number", True),
        ("+10", "10", "number", True),
        ("-0.50", "-0.5", "number", True),
        ("10", "11", "number", False),
        ("", "", "number", True),
        ("", "0", "number", False),
        ("n/a", "10", "number", False),
        ("n/a", "n/a", "number", True),
        ("9007199254740992", "9007199254740993", "number", False),
        ("2026-10-01 00:00:00.000", "2026-10-01 00:00:00", "date", True),
        ("2026-10-01 00:00:00", "2026-10-01 00:00:01", "date", False),
        ("", "", "date", True),
        ("", "2026-10-01 00:00:00", "date", False),
    ],
)
def test_values_are_the_same_however_they_are_written(
    tmp_path: Path, old: str, new: str, kind: str, equal: bool
) -> None:
    table = Table(tmp_path / "values.parquet", {"old": "string", "new": "string"})
    with table.writer() as write:
        write(pa.RecordBatch.from_pylist([{"old": old, "new": new}]))

    with Engine() as engine:
        assert engine.rows(engine.read(table).select(equal=same("old", "new", kind))) == [{"equal": equal}]


def test_texts_that_are_no_numbers_do_not_stop_the_comparison_of_others(tmp_path: Path) -> None:
    table = Table(tmp_path / "values.parquet", {"old": "string", "new": "string"})
    pairs = [("n/a", "1"), ("1e5", "100000"), ("--1", "1"), ("1.", "1"), (".5", "0.5"), ("2.0", "2")]
    with table.writer() as write:
        write(pa.RecordBatch.from_pylist([{"old": old, "new": new} for old, new in pairs]))

    with Engine() as engine:
        frame = engine.read(table).filter(same("old", "new", "number"))
        assert [row["old"] for row in engine.rows(frame.select(nw.col("old")))] == ["2.0"]
