"""The search, order and paging of REST lists (eloqua.md 2.1)."""

from __future__ import annotations

import pytest

LIST = "/data/contacts"


@pytest.fixture(scope="module")
def people(shared):
    """Three contacts of a company of 203, by first name."""
    made = {}
    for first, last, city, born in (
        ("Ana", "Lima", "Porto", "2031-01-01T00:00:00Z"),
        ("Bo", "O'Hara", "New Town", "2031-02-01T00:00:00Z"),
        ("Cyd", "100%_x", "", "2031-03-01T00:00:00Z"),
    ):
        values = {"C_FirstName": first, "C_LastName": last, "C_City": city, "C_Fax": "team"}
        made[first] = str(shared.eloqua.add_contact(f"{first.lower()}+x@example.com", values, created_at=born))
    return made


@pytest.fixture(scope="module")
def reader(shared):
    from tests.sandbox.conftest import RestCaller

    return RestCaller(shared)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("emailAddress='ana+x@example.com'", ["Ana"]),
        ("emailAddress=ana+x@example.com", ["Ana"]),
        ("C_EmailAddress='ANA+X@EXAMPLE.COM'", ["Ana"]),
        ("ana+x@example.com", ["Ana"]),  # the default property
        ("'ana+x@example.com'", ["Ana"]),
        ("ana*", ["Ana"]),
        ("*+x@example.com", ["Ana", "Bo", "Cyd"]),
        ("nobody", []),
        ("fax=team city='new town'", ["Bo"]),
        ("C_City='New Town'", ["Bo"]),
        ("fax=team C_City=''", ["Cyd"]),  # blank test
        ("fax=team city!=''", ["Ana", "Bo"]),
        ("fax=team firstName!=ana", ["Bo", "Cyd"]),
        ("lastName='O''Hara'", ["Bo"]),
        ("lastName='100%_x'", ["Cyd"]),
        ("fax='team' lastName='1*_x'", ["Cyd"]),
        ("fax='team' lastName='%*'", []),  # not a wildcard of ours
        ("emailAddress='ana+x@example.com'emailAddress='bo+x@example.com'", ["Ana", "Bo"]),  # repeated: OR
        ("firstName='Ana'lastName='Lima'fax='team'", ["Ana"]),  # different: AND
        ("firstName='Ana'fax='none'", []),
        ("createdAt>='2031-02-01 00:00:00'", ["Bo", "Cyd"]),
        ("createdAt>'2031-02-01 00:00:00'createdAt<'2031-03-02'", ["Cyd"]),  # a range stays a range
        ("createdAt<=1927584000 fax=team", ["Ana"]),
        ("C_DateCreated='2031-01-01'", ["Ana"]),
        ("FIRSTNAME = 'Ana' fax = 'team'", ["Ana"]),
    ],
)
def test_search(reader, people, search, found):
    assert reader.found(LIST, search) == [people[name] for name in found]


def test_51_terms_are_fine(reader, people):
    search = "".join(f"emailAddress='nobody{i}@example.com'" for i in range(50)) + "emailAddress='cyd+x@example.com'"

    assert reader.found(LIST, search) == [people["Cyd"]]


def test_an_unencoded_plus_is_a_blank(reader, shared, people):
    answer = reader.http.get(f"{reader.base}{LIST}?search=emailAddress='ana+x@example.com'")

    assert answer.json()["total"] == 0


def test_a_search_may_name_what_the_depth_does_not_show(reader, people):
    element = reader.get(LIST, search="firstName=Ana fax=team").json()["elements"][0]

    assert "firstName" not in element


def test_pages_hold_what_was_asked_for_and_the_envelope_counts_in_integers(reader, people):
    page = reader.get(LIST, search="fax=team", count=2, page=2, orderBy="id").json()

    assert [e["id"] for e in page["elements"]] == [people["Cyd"]]
    assert (page["page"], page["pageSize"], page["total"]) == (2, 2, 3)
    assert reader.get(LIST).json()["pageSize"] == 1000
    beyond = reader.get(LIST, search="fax=team", page=5).json()
    assert (beyond["elements"], beyond["total"]) == ([], 3)


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ({"orderBy": "createdAt DESC"}, ["Cyd", "Bo", "Ana"]),
        ({"orderBy": "createdAt"}, ["Ana", "Bo", "Cyd"]),
        ({"orderBy": "lastName asc"}, ["Cyd", "Ana", "Bo"]),
        ({"sort": "C_FirstName", "dir": "desc"}, ["Cyd", "Bo", "Ana"]),
        ({"sort": "id"}, ["Ana", "Bo", "Cyd"]),
    ],
)
def test_order(reader, people, query, order):
    assert reader.found(LIST, "fax=team", **query) == [people[name] for name in order]


def test_last_updated_at_is_a_lower_bound(reader, people):
    found = reader.get(LIST, lastUpdatedAt="1927584000").json()

    assert [e["id"] for e in found["elements"]] == [people["Bo"], people["Cyd"]]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"count": "1001"}, "count"),
        ({"count": "0"}, "count"),
        ({"count": "many"}, "count"),
        ({"page": "-1"}, "page"),
        ({"search": "nope='x'"}, "search"),
        ({"search": "createdAt>'yesterday'"}, "search"),
        ({"search": "firstName='Ana' ="}, "search"),
        ({"search": "='x'"}, "search"),
        ({"search": "firstName='x"}, "search"),
        ({"orderBy": "nope"}, "orderBy"),
        ({"orderBy": "id SIDEWAYS"}, "orderBy"),
        ({"lastUpdatedAt": "today"}, "lastUpdatedAt"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(reader, query, parameter):
    answer = reader.get(LIST, **query)

    assert answer.status_code == 400
    [error] = answer.json()
    assert (error["type"], error["parameter"]) == ("EndpointParameterError", parameter)


@pytest.mark.parametrize(
    "search", ["firstName='\x00'", "id='9999999999999999999'", "id>x", "\ud7ff*", "createdAt='99999999999'"]
)
def test_odd_searches_never_fail(reader, search):
    assert reader.get(LIST, search=search).status_code in (200, 400)
