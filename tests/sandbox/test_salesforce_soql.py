"""SOQL beyond plain comparisons: semi-joins, date literals, aggregates, FIELDS() (salesforce.md 2.2, 9)."""

from datetime import date

import pytest

from scc.sandbox import Sandbox
from scc.sandbox.salesforce.dates import period
from tests.sandbox.conftest import NOW, SalesforceCaller


@pytest.fixture(scope="module")
def org():
    """Leads by name; the clock stands at Sunday, 22 November 2026."""
    with Sandbox(contacts=40, seed=1, now=NOW) as running:
        door = running.salesforce
        for name in ("Lead", "Contact", "Campaign", "CampaignMember"):
            door.clear(name)
        campaign = door.add("Campaign", {"Name": "Spring", "StartDate": "2026-11-01"})
        other = door.add("Campaign", {"Name": "Autumn", "StartDate": "2025-09-01", "ParentId": campaign})
        for name, born, status, size in (
            ("Ann", "2026-11-22T06:00:00Z", "Open - Not Contacted", 5),
            ("Bob", "2026-11-21T23:59:59Z", "Open - Not Contacted", 7),
            ("Cy_d", "2026-10-31T12:00:00Z", "Working - Contacted", None),
            ("D%v", "2025-12-31T12:00:00Z", "Working - Contacted", 3),
        ):
            lead = door.add(
                "Lead",
                {"LastName": name, "Company": "x", "Status": status, "NumberOfEmployees": size, "CreatedDate": born},
            )
            if name in ("Ann", "Cy_d"):
                door.add("CampaignMember", {"CampaignId": campaign if name == "Ann" else other, "LeadId": lead})
        yield running


@pytest.fixture(scope="module")
def api(org):
    return SalesforceCaller(org)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Id IN (SELECT LeadId FROM CampaignMember)", "Ann Cy_d"),
        ("Id NOT IN (SELECT LeadId FROM CampaignMember)", "Bob D%v"),
        ("Id IN (SELECT LeadId FROM CampaignMember WHERE Campaign.Name = 'Spring')", "Ann"),
        ("Id IN (SELECT LeadId FROM CampaignMember WHERE Status = 'Sent') AND LastName LIKE 'C%'", "Cy_d"),
        ("CreatedDate = TODAY", "Ann"),
        ("CreatedDate = YESTERDAY", "Bob"),
        ("CreatedDate >= YESTERDAY", "Ann Bob"),
        ("CreatedDate < TODAY", "Bob Cy_d D%v"),
        ("CreatedDate > YESTERDAY", "Ann"),
        ("CreatedDate <= YESTERDAY", "Bob Cy_d D%v"),
        ("CreatedDate != TODAY", "Bob Cy_d D%v"),
        ("CreatedDate = LAST_N_DAYS:1", "Ann Bob"),
        ("CreatedDate = LAST_N_DAYS:30", "Ann Bob Cy_d"),
        ("CreatedDate = THIS_MONTH", "Ann Bob"),
        ("CreatedDate = LAST_MONTH", "Cy_d"),
        ("CreatedDate = THIS_WEEK", "Ann"),
        ("CreatedDate = LAST_YEAR", "D%v"),
        ("CreatedDate = LAST_N_MONTHS:1", "Cy_d"),
        ("CreatedDate > NEXT_N_DAYS:3", ""),
        ("LastName LIKE 'Cy\\_%'", "Cy_d"),
        ("LastName LIKE 'D\\%v'", "D%v"),
        ("LastName LIKE '__b'", "Bob"),
        ("NOT (LastName = 'Ann' OR (LastName = 'Bob' AND (NOT NumberOfEmployees = 3)))", "Cy_d D%v"),
        ("NumberOfEmployees = 5 OR (NumberOfEmployees > 5 AND NumberOfEmployees <= 7)", "Ann Bob"),
    ],
)
def test_a_condition_finds_what_it_says(api, condition, expected):
    found = api.records(f"SELECT LastName FROM Lead WHERE {condition} ORDER BY LastName")  # noqa: S608

    assert [r["LastName"] for r in found] == expected.split()


@pytest.mark.parametrize(
    ("literal", "count", "first", "after"),
    [
        ("TOMORROW", None, date(2026, 11, 23), date(2026, 11, 24)),
        ("LAST_WEEK", None, date(2026, 11, 15), date(2026, 11, 22)),
        ("LAST_90_DAYS", None, date(2026, 8, 24), date(2026, 11, 23)),
        ("NEXT_N_DAYS", 2, date(2026, 11, 23), date(2026, 11, 25)),
        ("NEXT_MONTH", None, date(2026, 12, 1), date(2027, 1, 1)),
        ("THIS_QUARTER", None, date(2026, 10, 1), date(2027, 1, 1)),
        ("LAST_N_QUARTERS", 2, date(2026, 4, 1), date(2026, 10, 1)),
        ("NEXT_N_YEARS", 1, date(2027, 1, 1), date(2028, 1, 1)),
        ("N_DAYS_AGO", 3, date(2026, 11, 19), date(2026, 11, 20)),
        ("LAST_FISCAL_YEAR", None, date(2025, 1, 1), date(2026, 1, 1)),
    ],
)
def test_a_date_literal_is_a_stretch_of_days(literal, count, first, after):
    assert period(literal, count, date(2026, 11, 22)) == (first, after)


def test_date_literals_follow_the_sandboxs_clock():
    with Sandbox(contacts=40, now=NOW) as sandbox:
        api = SalesforceCaller(sandbox)
        sandbox.salesforce.add("Lead", {"LastName": "New", "Company": "x"})
        sandbox.clock.advance(86400)
        api.login()

        assert api.records("SELECT LastName FROM Lead WHERE CreatedDate = YESTERDAY") == [{"LastName": "New"}]


def test_order_puts_nulls_where_it_is_told(api):
    def names(order):
        return [r["LastName"][0] for r in api.records(f"SELECT LastName FROM Lead ORDER BY {order}")]  # noqa: S608

    assert names("NumberOfEmployees") == ["C", "D", "A", "B"]
    assert names("NumberOfEmployees DESC NULLS LAST") == ["B", "A", "D", "C"]
    assert names("Status DESC, LastName DESC LIMIT 2 OFFSET 1") == ["C", "B"]


def test_aggregates_group_and_name_their_values(api):
    soql = (
        "SELECT Status, COUNT(Id) many, COUNT(NumberOfEmployees), SUM(NumberOfEmployees), MIN(LastName) first "
        "FROM Lead GROUP BY Status ORDER BY COUNT(NumberOfEmployees) DESC"
    )

    rows = api.query(soql).json()["records"]

    assert rows[0] == {
        "attributes": {"type": "AggregateResult"},
        "Status": "Open - Not Contacted",
        "many": 2,
        "expr0": 2,
        "expr1": 12.0,
        "first": "Ann",
    }
    assert [(r["Status"], r["expr0"]) for r in rows] == [("Open - Not Contacted", 2), ("Working - Contacted", 1)]
    assert api.records("SELECT COUNT_DISTINCT(Status) n FROM Lead") == [{"n": 2}]


def test_aliases_parents_and_field_sets(api):
    assert api.records("SELECT l.LastName FROM Lead l WHERE l.LastName = 'ann'") == [{"LastName": "Ann"}]
    deep = api.records("SELECT Campaign.Parent.Name FROM CampaignMember WHERE Campaign.Parent.Name != null")
    assert deep == [{"Campaign": {"Parent": {"Name": "Spring"}}}]
    everything = api.records("SELECT FIELDS(ALL) FROM Lead LIMIT 1")[0]
    assert {"Id", "Marketing_Key__c", "CreatedDate"} <= set(everything)
    assert "Marketing_Key__c" not in api.records("SELECT FIELDS(STANDARD) FROM Lead")[0]


def test_the_described_query_names_its_columns(api):
    answer = api.http.get(
        api.base + "/query", params={"q": "SELECT Id, Owner.Name FROM Lead", "columns": "true"}
    ).json()

    assert answer["entityName"] == "Lead"
    assert [c["columnName"] for c in answer["columnMetadata"]] == ["Id", "Owner"]


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id FROM Lead WHERE Email IN (SELECT Email FROM Contact)", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Id IN (SELECT LastName FROM Contact)", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Id IN (SELECT LeadId, ContactId FROM CampaignMember)", "MALFORMED_QUERY"),
        (
            "SELECT Id FROM Lead WHERE Id IN "
            "(SELECT LeadId FROM CampaignMember WHERE CampaignId IN (SELECT Id FROM Campaign))",
            "MALFORMED_QUERY",
        ),
        ("SELECT Id FROM Lead WHERE Id IN (SELECT Nope FROM CampaignMember)", "INVALID_FIELD"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "MALFORMED_QUERY"),
        ("SELECT FIELDS(ALL) FROM Lead", "MALFORMED_QUERY"),
        ("SELECT FIELDS(NOPE) FROM Lead LIMIT 1", "MALFORMED_QUERY"),
        ("SELECT LastName, COUNT(Id) FROM Lead", "MALFORMED_QUERY"),
        ("SELECT SUM(LastName) FROM Lead", "MALFORMED_QUERY"),
        ("SELECT LastName who FROM Lead", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE LastName = TODAY", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE CreatedDate = LAST_N_DAYS", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE CreatedDate = LAST_N_DAYS:999999999", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE CreatedDate = LAST_N_YEARS:99999", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE CreatedDate > 0001-01-01T00:00:00+14:00", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE NumberOfEmployees LIKE 'x'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Lead WHERE NumberOfEmployees > " + "9" * 5000, "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead LIMIT 1 OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("SELECT Id FROM Lead WHERE " + "(" * 200 + "Id = null" + ")" * 200, "QUERY_TOO_COMPLICATED"),
    ],
)
def test_a_bad_query_is_a_400_with_its_code(api, soql, code):
    assert api.refusal(soql) == (400, code)


def test_long_chains_of_conditions_are_taken(org, api):
    org.salesforce.limits.uri_bytes = 10**6
    chain = " OR ".join(f"LastName='{i}'" for i in range(1200))

    assert api.records(f"SELECT LastName FROM Lead WHERE {chain} OR LastName = 'Ann'") == [{"LastName": "Ann"}]  # noqa: S608
    org.salesforce.limits.uri_bytes = 16_384
