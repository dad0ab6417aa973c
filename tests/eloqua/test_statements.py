"""Eloqua's markup and filters, as text."""

import pytest

from scc.eloqua.statements import Field, at_least, by_internal_name, custom_object_statement, equals
from scc.errors import ConfigError

STATUS = "{{CustomObject[9].Field(Status1)}}"


def test_a_records_attribute_has_a_statement() -> None:
    assert custom_object_statement("9", "CreatedAt") == "{{CustomObject[9].CreatedAt}}"


def test_both_sides_of_a_filter_stand_in_single_quotes() -> None:
    assert equals(STATUS, "Waiting for data") == "'{{CustomObject[9].Field(Status1)}}' = 'Waiting for data'"
    assert (
        at_least("{{CustomObject[9].CreatedAt}}", "2026-11-22 06:15:00")
        == "'{{CustomObject[9].CreatedAt}}' >= '2026-11-22 06:15:00'"
    )


def test_a_value_cannot_leave_its_quotes() -> None:
    with pytest.raises(ConfigError, match="single quote"):
        equals(STATUS, "x' OR '1' = '1")


def test_a_filter_ends_where_eloqua_cuts_it_off() -> None:
    frame = len(equals(STATUS, ""))

    assert len(equals(STATUS, "x" * (1000 - frame))) == 1000
    with pytest.raises(ConfigError, match=r"1,001 characters long, limit 1,000"):
        equals(STATUS, "x" * (1001 - frame))


def test_fields_are_found_by_their_internal_name() -> None:
    field = Field("Status", "Status1", "string", STATUS)

    assert by_internal_name([field]) == {"Status1": field}
