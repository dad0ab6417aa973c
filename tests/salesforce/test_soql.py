"""SOQL that nobody can break out of, and record ids in all their forms."""

from urllib.parse import quote_plus

import pytest

from scc.salesforce.soql import chunks, one_of, parenthesised, record_id, select
from tests.salesforce.conftest import literals

SHORT, LONG = "7013A000000AbCd", "7013A000000AbCdQAK"


# statements


def test_a_statement_names_fields_object_conditions_and_limit() -> None:
    assert select(["Id", "Owner.Name"], "Campaign") == "SELECT Id, Owner.Name FROM Campaign"
    assert (
        select(["Id"], "Campaign", "Id IN ('a')", "", "(IsDeleted = false)", limit=0)
        == "SELECT Id FROM Campaign WHERE Id IN ('a') AND (IsDeleted = false) LIMIT 0"
    )


@pytest.mark.parametrize("name", ["Id FROM Lead WHERE (Id", "Name,Id", "", "1st", "Owner.", "Na me", "Name\n"])
def test_only_names_are_names(name: str) -> None:
    with pytest.raises(ValueError, match="is not a Salesforce field or object name"):
        select([name], "Campaign")
    with pytest.raises(ValueError, match="is not a Salesforce field or object name"):
        select(["Id"], name)


@pytest.mark.parametrize("value", ["O'Hara", "\\", "\\' OR Name != '", "a\nb", '"', "100%", "größe", "')"])
def test_a_value_stays_in_its_quotes(value: str) -> None:
    statement = one_of("Name", [value, "last"])

    assert literals(statement) == [value, "last"]
    assert statement.startswith("Name IN ('")
    assert statement.endswith(",'last')")


def test_a_list_of_no_values_is_not_asked_for() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        one_of("Id", [])


# conditions


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ("", ""),
        ("   ", ""),
        ("IsDeleted = false", "(IsDeleted = false)"),
        (" Type = 'a' OR Type = 'b' ", "(Type = 'a' OR Type = 'b')"),
        ("Name = ')' AND (Type = '(' OR Type = 'O\\'Hara')", "(Name = ')' AND (Type = '(' OR Type = 'O\\'Hara'))"),
    ],
)
def test_a_condition_stands_in_parentheses(condition: str, text: str) -> None:
    assert parenthesised(condition) == text


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("Name = 'x') OR (Name != 'x'", "closed that was not opened"),
        (") OR Id != null", "closed that was not opened"),
        ("(Name = 'x'", "parenthesis is not closed"),
        ("Name = 'x", "quote is not closed"),
        ("Name = 'x\\') OR (Id != null", "quote is not closed"),
        ("Name = 'x\\\\') OR (Id != null", "closed that was not opened"),
        ("Name = 'a\n') OR (Id != null", "closed that was not opened"),
    ],
)
def test_a_condition_cannot_leave_its_parentheses(condition: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parenthesised(condition)


# chunks


@pytest.mark.parametrize("room", [1, 40, 1000, 100_000])
def test_chunks_hold_every_value_once_in_order(room: int) -> None:
    values = [f"{number:018}" for number in range(100)]

    cut = list(chunks(values, room))

    assert [value for chunk in cut for value in chunk] == values
    assert all(cut)


@pytest.mark.parametrize(
    "value",
    ["7013A000000AbCdQAK", "ö'\\\n", "'" * 50, "\\" * 50, "a b"],
    ids=["id", "mixed", "quotes", "backslashes", "blank"],
)
def test_chunks_fit_into_their_room_as_they_will_be_sent(value: str) -> None:
    cut = list(chunks([value] * 200, 2000))

    assert max(len(quote_plus(one_of("", chunk))) for chunk in cut) <= 2000 + len(quote_plus(" IN ()"))
    assert len(cut[0]) > 1


def test_a_value_larger_than_the_room_goes_alone() -> None:
    assert list(chunks(["a", "b" * 50, "c"], 20)) == [["a"], ["b" * 50], ["c"]]


def test_no_values_make_no_chunk() -> None:
    assert list(chunks([], 1000)) == []


# ids


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SHORT, LONG),
        (LONG, LONG),
        (LONG.lower(), LONG),
        (LONG.upper(), LONG),
        (SHORT + "qak", LONG),
        ("701000000000001", "701000000000001AAA"),
        ("701000000000001aaa", "701000000000001AAA"),
        ("001D000000IRFmaIAH", "001D000000IRFmaIAH"),
        ("001d000000irfmaiah", "001D000000IRFmaIAH"),
        ("001D000000IRFma", "001D000000IRFmaIAH"),
    ],
)
def test_all_forms_of_an_id_are_one_id(text: str, expected: str) -> None:
    assert record_id(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "n/a",
        SHORT[:-1],
        SHORT + "Q",
        SHORT + "QAJ",
        LONG + "X",
        LONG + "\n",
        "7013A00000-AbCd",
        "7013a000000AbCdQAK",
        "７０13A000000AbCd",
        "701x' OR Id != '",
    ],
)
def test_what_is_no_id_has_none(text: str) -> None:
    assert record_id(text) is None
