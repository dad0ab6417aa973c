"""The enrichments' file: read as a whole, and every mistake in it named before anything is read from anybody."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.enrichment_file import SHIPPED, Mapped, read
from scc.errors import ConfigError

GOOD = """
[event_registration]
custom_object = "Event Registration"
identifier = "Key1"
key = "Campaign_Id1"
{more}

[event_registration.status]
field = "Status1"
waiting = "Waiting"
done = "Done"
error = "Error"
reason = "Reason1"

[event_registration.fields]
Name1 = "Name"
{fields}
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(more=…, fields=…, replacing={…}): the path of the file, good but for that."""

    def make(more: str = "", fields: str = "", replacing: dict[str, str] | None = None) -> Path:
        text = GOOD.format(more=more, fields=fields)
        for old, new in (replacing or {}).items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "enrichment.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def refused(path: Path) -> str:
    """What the operator is told."""
    with pytest.raises(ConfigError) as raised:
        read(path)
    assert str(path) in str(raised.value)
    return str(raised.value)


# good ones


def test_the_shipped_file_is_good() -> None:
    definitions = read(SHIPPED)

    assert set(definitions) == set(tomllib.loads(SHIPPED.read_text()))
    assert all(definition.source == "Campaign" for definition in definitions.values())


def test_what_is_not_said_has_its_default(write: Write) -> None:
    definition = read(write())["event_registration"]

    assert (definition.source, definition.condition, definition.give_up_after) == ("Campaign", "", 14)
    assert definition.fields == {"Name1": Mapped("Name", 250)}


def test_what_is_said_is_taken(write: Write) -> None:
    more = 'source = "Lead"\ncondition = "IsConverted = false"\ngive_up_after = 0.5'
    fields = 'Owner1 = { source = "Owner.Name", width = 80 }'

    definition = read(write(more, fields))["event_registration"]

    assert (definition.source, definition.condition, definition.give_up_after) == ("Lead", "IsConverted = false", 0.5)
    assert definition.fields["Owner1"] == Mapped("Owner.Name", 80)
    assert (definition.status, definition.waiting, definition.done, definition.error) == (
        "Status1",
        "Waiting",
        "Done",
        "Error",
    )


def test_every_field_in_use_is_listed(write: Write) -> None:
    definition = read(write(fields='Title1 = "Title"\nCode1 = "Id"\nOther1 = "Name"'))["event_registration"]

    assert definition.eloqua_fields == [
        *("Key1", "Campaign_Id1", "Status1", "Reason1"),
        *("Name1", "Title1", "Code1", "Other1"),
    ]
    assert definition.source_fields == ["Id", "Name", "Title"]


def test_a_salesforce_field_is_asked_for_once_however_it_is_written(write: Write) -> None:
    definition = read(write(fields='Other1 = "name"\nCode1 = "ID"'))["event_registration"]

    assert [name.lower() for name in definition.source_fields] == ["id", "name"]


# bad ones


def test_a_missing_file_is_named_with_its_setting(tmp_path: Path) -> None:
    assert "set `definitions` in [enrichment] of luigi.cfg" in refused(tmp_path / "none.toml")


def test_a_syntax_error_is_named_with_its_line(write: Write) -> None:
    assert "line 3" in refused(write(replacing={'custom_object = "': "custom_object = "}))


@pytest.mark.parametrize("content", [b"", b"# nothing yet\n"])
def test_a_file_without_enrichments_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "enrichment.toml"
    path.write_bytes(content)

    assert "it names no enrichment" in refused(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "enrichment.toml"
    path.write_bytes(b"\xff\xfe")

    assert "is not valid TOML" in refused(path)


@pytest.mark.parametrize("name", ["Event", "event-registration", "x/../../y", "1st", "e" * 42, "ä"])
def test_a_name_that_cannot_be_a_folder_is_refused(write: Write, name: str) -> None:
    path = write(replacing={"[event_registration": f'["{name}"'})

    assert "it becomes a folder's name" in refused(path)


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"more": 'sorce = "Lead"'}, "`sorce` is unknown"),
        ({"replacing": {'custom_object = "Event Registration"': ""}}, "`custom_object` must be a text"),
        ({"replacing": {'identifier = "Key1"': "identifier = 1"}}, "`identifier` must be a text"),
        ({"replacing": {'key = "Campaign_Id1"': 'key = " "'}}, "`key` must be a text"),
        (
            {"replacing": {'reason = "Reason1"': ""}},
            "`status` must give these texts: done, error, field, reason, waiting",
        ),
        ({"replacing": {'done = "Done"': 'done = "Done"\nmore = "x"'}}, "`status` must give these texts"),
        ({"replacing": {'error = "Error"': "error = 1"}}, "`status` must give these texts"),
        (
            {"replacing": {'done = "Done"': 'done = "waiting"'}},
            "the waiting, done and error values of `status` must differ",
        ),
        ({"replacing": {'"Waiting"': '"Won\'t"'}}, "a value of `status` holds a single quote"),
        ({"replacing": {'Name1 = "Name"': ""}}, "`fields` must map at least one Eloqua field"),
        ({"replacing": {"[event_registration.fields]": "[event_registration.field]"}}, "`field` is unknown"),
        ({"fields": "Title1 = 1"}, "field Title1 must name its Salesforce field"),
        ({"fields": 'Title1 = { source = "Title", widht = 5 }'}, "field Title1 must name its Salesforce field"),
        ({"fields": "Title1 = { width = 5 }"}, "field Title1 must name its Salesforce field"),
        ({"fields": 'Title1 = "Title FROM Lead"'}, "field Title1: its source is not the name of a Salesforce field"),
        ({"fields": 'Title1 = { source = "Title", width = 0 }'}, "field Title1: `width` must be between 1 and 32000"),
        ({"fields": 'Title1 = { source = "Title", width = 32001 }'}, "field Title1: `width` must be between"),
        ({"fields": 'Title1 = { source = "Title", width = true }'}, "field Title1: `width` must be between"),
        ({"fields": 'Title1 = { source = "Title", width = "5" }'}, "field Title1: `width` must be between"),
        ({"more": 'source = "Campaign WHERE Id != null"'}, "`source` must be the name of a Salesforce object"),
        ({"more": "source = 1"}, "`source` must be the name of a Salesforce object"),
        ({"more": "give_up_after = 0"}, "`give_up_after` must be a number of days above 0"),
        ({"more": "give_up_after = true"}, "`give_up_after` must be a number"),
        ({"more": 'give_up_after = "14"'}, "`give_up_after` must be a number"),
        ({"more": "give_up_after = nan"}, "`give_up_after` must be a number"),
        ({"more": "give_up_after = inf"}, "`give_up_after` must be a number"),
        ({"more": "give_up_after = 1e12"}, "`give_up_after` must be a number"),
        ({"more": "condition = true"}, "`condition` must be a text"),
        ({"more": "condition = \"Name = 'x') OR (Id != null\""}, "`condition`: a parenthesis is closed"),
        ({"more": 'condition = "Name = \'x"'}, "`condition`: a quote is not closed"),
        ({"fields": 'Key1 = "Name"'}, "Key1 has more than one role"),
        ({"fields": 'Status1 = "Status"'}, "Status1 has more than one role"),
        ({"replacing": {'"Campaign_Id1"': '"Key1"'}}, "Key1 has more than one role"),
        ({"replacing": {'"Reason1"': '"Status1"'}}, "Status1 has more than one role"),
        ({"fields": 'key1 = "Name"'}, "has more than one role"),
    ],
)
def test_a_mistake_is_named(write: Write, changes: dict[str, Any], mistake: str) -> None:
    told = refused(write(**changes))

    assert mistake in told
    assert "[event_registration] " in told


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ('"Key1"', "Record_ID"),
        ('"Status1"', "Outcome"),
        ('"Reason1"', "reason"),
        ("Name1", "Clears"),
        ("Name1", "Created_At"),
    ],
)
def test_a_field_named_like_a_column_of_ours_is_refused(write: Write, role: str, name: str) -> None:
    """DuckDB takes "Record_ID" and "record_id" for one column: the import would be keyed by the wrong one."""
    path = write(replacing={role: role.replace(role.strip('"'), name)})

    assert name in refused(path)


def test_all_mistakes_are_named_at_once(write: Write) -> None:
    path = write(
        "give_up_after = 0\nsource = 1",
        "Title1 = 1",
        {"[event_registration.fields]": "[other]\nx = 1\n[event_registration.fields]"},
    )

    told = refused(path)

    for mistake in (
        "[event_registration] `give_up_after`",
        "[event_registration] `source`",
        "field Title1",
        "[other] `",
    ):
        assert mistake in told


@pytest.mark.parametrize("text", ["event_registration = 1", "[event_registration]\nstatus = 1\nfields = []"])
def test_tables_of_another_form_are_mistakes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "enrichment.toml"
    path.write_text(text)

    assert "[event_registration] " in refused(path)
