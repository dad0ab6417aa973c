import pytest

TYPE, BORN, PERSON = "{{Activity.Type}}", "{{Activity.CreatedAt}}", "{{Activity.Contact.Id}}"
# eloqua.md 5.10, the example of a bounceback export
BOUNCEBACK = {
    "ActivityId": "{{Activity.Id}}",
    "ActivityType": TYPE,
    "ActivityDate": BORN,
    "ContactId": PERSON,
    "EmailAddress": "{{Activity.Field(EmailAddress)}}",
    "AssetType": "{{Activity.Asset.Type}}",
    "AssetName": "{{Activity.Asset.Name}}",
    "AssetId": "{{Activity.Asset.Id}}",
    "CampaignId": "{{Activity.Campaign.Id}}",
    "SmtpErrorCode": "{{Activity.Field(SmtpErrorCode)}}",
    "SmtpStatusCode": "{{Activity.Field(SmtpStatusCode)}}",
    "SmtpMessage": "{{Activity.Field(SmtpMessage)}}",
}
TYPES = ["EmailSend", "EmailOpen", "EmailClickthrough", "Subscribe", "Unsubscribe", "Bounceback", "FormSubmit"]
TYPES += ["PageView", "WebVisit", "External"]


def of(kind, *more):
    return " AND ".join([f"'{TYPE}' = '{kind}'", *more])


@pytest.fixture
def quiet(sandbox):
    """A sandbox in which nothing has happened yet."""
    sandbox.eloqua.clear_activities()
    return sandbox


def test_a_bounceback_is_shown_with_all_that_is_known_of_it(quiet, eloqua):
    ana = quiet.eloqua.add_contact("ana@example.com")
    number = quiet.eloqua.add_bounceback(
        "ana@example.com",
        smtp_status="5.1.1",
        smtp_code="550",
        message="mailbox unknown",
        created_at="2026-11-01T08:15:30Z",
        AssetName="Jan Newsletter",
        AssetId="310",
    )

    rows = eloqua.export("/activities", BOUNCEBACK, filter=of("Bounceback"))

    assert rows == [
        {
            "ActivityId": str(number),
            "ActivityType": "Bounceback",
            "ActivityDate": "2026-11-01 08:15:30",
            "ContactId": str(ana),
            "EmailAddress": "ana@example.com",
            "AssetType": "Email",
            "AssetName": "Jan Newsletter",
            "AssetId": "310",
            "CampaignId": "",
            "SmtpErrorCode": "550",
            "SmtpStatusCode": "5.1.1",
            "SmtpMessage": "mailbox unknown",
        }
    ]
    assert "ana@example.com" not in quiet.eloqua.bounced()


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_exported_by_itself_with_the_fields_that_it_has(quiet, eloqua, kind):
    ana = quiet.eloqua.add_contact("ana@example.com")
    for one in TYPES:
        quiet.eloqua.add_activity(one, "ana@example.com", AssetName="here")
    listed = eloqua.get("/activities/fields", activityType=kind).json()["items"]

    rows = eloqua.export("/activities", {i["name"]: i["statement"] for i in listed}, filter=of(kind))

    assert [r["ActivityType"] for r in rows] == [kind]
    assert rows[0].get("ContactId", str(ana)) == str(ana)


def test_the_fields_of_a_type_are_those_of_the_reference(shared_eloqua):
    def names(kind):
        return {i["name"] for i in shared_eloqua.get("/activities/fields", activityType=kind).json()["items"]}

    assert {"SmtpErrorCode", "SmtpStatusCode", "SmtpMessage", "CRMCampaignId", "CampaignName"} <= names("Bounceback")
    assert "SubjectLine" in names("EmailOpen") and "SubjectLine" not in names("Bounceback")
    assert {"NumberOfPages", "FirstPageViewUrl", "Duration"} <= names("WebVisit")
    assert "ContactId" not in names("Subscribe") and "RawData" in names("FormSubmit")
    assert shared_eloqua.get("/activities/fields", activityType="Dance").status_code == 400


WEB = {"Linked": "{{Activity.Field(LinkedToContactDate)}}", "At": BORN, "Id": "{{Activity.Id}}"}
RESPONSE = {
    "Date": "{{Activity.CampaignResponse.CreatedAt}}",
    "Status": "{{Activity.CampaignResponse.Field(MemberStatus)}}",
}


@pytest.mark.parametrize("kind", ["PageView", "WebVisit"])
def test_a_visit_says_when_its_contact_was_known_and_which_saved_one_it_is(shared_eloqua, kind):
    fields = {**WEB, "Saved": f"{{{{Activity.Field({kind}SavedId)}}}}"}

    rows = shared_eloqua.export("/activities", fields, filter=of(kind))

    assert rows and all(row["Linked"] == row["At"] and row["Saved"] == row["Id"] for row in rows)


def test_the_date_of_the_link_follows_the_zone_of_the_export_as_the_activity_itself(quiet, eloqua):
    quiet.eloqua.add_contact("ana@example.com")
    quiet.eloqua.add_activity("PageView", "ana@example.com", "2026-11-02T08:00:00Z")

    rows = eloqua.export("/activities", WEB, filter=of("PageView"), areSystemTimestampsInUTC=False)

    assert [(row["At"], row["Linked"]) for row in rows] == [("2026-11-02 03:00:00", "2026-11-02 03:00:00")]


@pytest.mark.parametrize("kind", ["EmailSend", "EmailOpen", "EmailClickthrough", "FormSubmit", "PageView"])
def test_the_campaign_response_of_an_activity_is_empty_unless_a_test_says_so(quiet, eloqua, kind):
    quiet.eloqua.add_contact("ana@example.com")
    quiet.eloqua.add_activity(kind, "ana@example.com")
    told = {"CampaignResponseDate": "2026-11-03 10:00:00", "CampaignResponseMemberStatus": "Responded"}
    quiet.eloqua.add_activity(kind, "ana@example.com", **told)

    rows = eloqua.export("/activities", RESPONSE, filter=of(kind))

    assert [tuple(row.values()) for row in rows] == [("", ""), ("2026-11-03 10:00:00", "Responded")]
    listed = {i["name"]: i["dataType"] for i in eloqua.get("/activities/fields", activityType=kind).json()["items"]}
    assert (listed["CampaignResponseDate"], listed["CampaignResponseMemberStatus"]) == ("date", "string")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "'{{Activity.CreatedAt}}' >= '2026-01-01'",
        "'{{Activity.Type}}' = 'Dance'",
        "'{{Activity.Type}}' != 'EmailOpen'",
        "'{{Activity.Type}}' = 'EmailOpen' AND '{{Activity.Contact.Field(C_Country)}}' = 'France'",
    ],
)
def test_a_filter_must_name_one_type_and_no_contact_field(shared_eloqua, text):
    answer = shared_eloqua.post("/activities/exports", {"name": "x", "fields": BOUNCEBACK, "filter": text})

    assert answer.status_code == 400 and answer.json()["failures"][0]["field"] == "filter"


def test_a_filter_may_ask_for_the_window_the_contact_the_asset_and_the_campaign(quiet, eloqua):
    ana, bo = (quiet.eloqua.add_contact(f"{n}@example.com") for n in ("ana", "bo"))
    early = quiet.eloqua.add_activity("EmailOpen", ana, "2026-11-01T00:00:00Z", AssetId="1", CampaignId="7")
    quiet.eloqua.add_activity("EmailOpen", ana, "2026-11-02T00:00:00Z", AssetId="2", CampaignId="7")
    quiet.eloqua.add_activity("EmailOpen", bo, "2026-11-01T00:00:00Z", AssetId="1", CampaignId="8")

    def found(*more):
        rows = eloqua.export("/activities", {"Id": "{{Activity.Id}}"}, filter=of("EmailOpen", *more))
        return {int(r["Id"]) for r in rows}

    assert len(found(f"'{BORN}' < '2026-11-02 00:00:00'")) == 2
    assert found(f"'{BORN}' < '2026-11-02'", f"'{PERSON}' = '{ana}'") == {early}
    assert found("'{{Activity.Asset.Id}}' = '1'", "'{{Activity.Campaign.Id}}' = '7'") == {early}


def test_contact_fields_may_be_exported_with_activities_but_ten_at_most(quiet, eloqua):
    quiet.eloqua.add_contact("ana@example.com", {"C_Country": "France"})
    quiet.eloqua.add_activity("EmailOpen", "ana@example.com")
    names = [i["internalName"] for i in eloqua.get("/contacts/fields").json()["items"]][:11]
    fields = {name: f"{{{{Activity.Contact.Field({name})}}}}" for name in names}

    many = eloqua.post("/activities/exports", {"name": "x", "fields": fields, "filter": of("EmailOpen")})
    rows = eloqua.export("/activities", {"Country": "{{Activity.Contact.Field(C_Country)}}"}, filter=of("EmailOpen"))

    assert many.status_code == 400 and many.json()["failures"][0]["field"] == "fields"
    assert rows == [{"Country": "France"}]


def test_rows_beyond_the_ceiling_are_cut_without_a_word(quiet, eloqua):
    quiet.eloqua.limits.activity_rows = 3
    quiet.eloqua.add_contact("ana@example.com")
    for _ in range(5):
        quiet.eloqua.add_activity("EmailOpen", "ana@example.com")

    sync = eloqua.sync(eloqua.define_export("/activities", {"Id": "{{Activity.Id}}"}, filter=of("EmailOpen")))

    logs = eloqua.get(sync["uri"] + "/logs").json()["items"]
    assert sync["status"] == "success" and {line["severity"] for line in logs} == {"information"}
    assert eloqua.get(sync["uri"] + "/data").json()["totalResults"] == 3


def test_a_late_bounceback_is_not_there_until_it_has_arrived(quiet, eloqua):
    quiet.eloqua.add_bounceback(
        "ana@example.com", smtp_status="5.1.1", created_at="2026-11-22T05:00:00Z", visible_at="2026-11-22T07:00:00Z"
    )
    window = of("Bounceback", f"'{BORN}' < '2026-11-22 06:00:00'")

    before = eloqua.export("/activities", BOUNCEBACK, filter=window)
    quiet.clock.advance(3600)
    after = eloqua.export("/activities", BOUNCEBACK, filter=window)

    assert (len(before), [r["ActivityDate"] for r in after]) == (0, ["2026-11-22 05:00:00"])


def test_a_field_that_a_type_lacks_is_empty_or_refused_by_switch(quiet, eloqua):
    quiet.eloqua.add_contact("ana@example.com")
    quiet.eloqua.add_activity("FormSubmit", "ana@example.com")
    fields = {"Subject": "{{Activity.Field(SubjectLine)}}"}

    rows = eloqua.export("/activities", fields, filter=of("FormSubmit"))
    quiet.eloqua.limits.activity_fields_by_type = True
    answer = eloqua.post("/activities/exports", {"name": "x", "fields": fields, "filter": of("FormSubmit")})

    assert rows == [{"Subject": ""}] and answer.status_code == 400


def test_external_activities_are_imported_row_by_row(quiet, eloqua):
    ana = quiet.eloqua.add_contact("ana@example.com")
    fields = {
        "Email": "{{Activity.Contact.Field(C_EmailAddress)}}",
        "Campaign": "{{Activity.Campaign.Id}}",
        "Name": "{{Activity.Asset.Name}}",
        "Asset": "{{Activity.Asset.Type}}",
        "At": BORN,
        "Type": TYPE,
    }
    good = {
        "Email": "Ana@example.com",
        "Campaign": "7",
        "Name": "Fair",
        "Asset": "Event",
        "At": "2026-11-01 10:00:00",
        "Type": "Attended",
    }

    sync = eloqua.import_rows(
        "/activities",
        fields,
        "Email",
        [
            good,
            good,
            {**good, "Type": "Danced"},
            {**good, "Asset": "Moon"},
            {**good, "Email": "stranger@example.com"},
            {**good, "At": "soon"},
            {**good, "Name": "F" * 101},
        ],
    )

    codes = ["ELQ-00070", "ELQ-00072", "ELQ-00085", "ELQ-00125", "ELQ-00125"]
    assert [r["statusCode"] for r in sync["rejects"]] == codes
    assert (sync["codes"]["ELQ-00069"], sync["codes"]["ELQ-00068"]) == (2, 1) and "ELQ-00123" in sync["codes"]
    made = quiet.eloqua.activities("External")
    assert [(a["ContactId"], a["AssetName"], a["CampaignId"]) for a in made] == [(ana, "Fair", "7")] * 2
    assert str(made[0]["CreatedAt"]) == "2026-11-01 10:00:00+00:00"


def test_other_activities_cannot_be_imported(shared_eloqua):
    fields = {"Address": "{{Activity.Field(EmailAddress)}}"}

    assert shared_eloqua.post("/activities/imports", {"name": "x", "fields": fields}).status_code == 400


def test_an_external_activity_keeps_the_name_that_its_system_gave_it(quiet, eloqua):
    quiet.eloqua.add_contact("ana@example.com")
    fields = {"Email": "{{Activity.Contact.Field(C_EmailAddress)}}", "Type": TYPE, "Asset": "{{Activity.Asset.Type}}"}
    eloqua.import_rows(
        "/activities", fields, None, [{"Email": "ana@example.com", "Type": "Attended", "Asset": "Event"}]
    )

    [made] = quiet.eloqua.activities("External")
    assert made["ExternalType"] == "Attended"
    created = [m for m in quiet.mutations if m["object"] == "Activity"][-1]
    assert created["changed"]["ExternalType"] == {"old": None, "new": "Attended"}
    export = {"Type": TYPE}
    usual = eloqua.export("/activities", export, filter=f"'{TYPE}' = 'External'")
    quiet.eloqua.limits.external_type_names = True
    assert (usual, eloqua.export("/activities", export, filter=f"'{TYPE}' = 'External'")) == (
        [{"Type": "External"}],
        [{"Type": "Attended"}],
    )
