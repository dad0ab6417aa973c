"""The rules' file: what it says, and what it says of mistakes."""

from pathlib import Path

import pytest

from jobs import bounce_file
from scc.errors import ConfigError

TEXT = bounce_file.SHIPPED.read_text()


def write(folder: Path, *changes: tuple[str, str]) -> Path:
    """The shipped file with texts replaced."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "rules.toml"
    path.write_text(text)
    return path


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(TEXT.splitlines(), 1) if line.startswith(text))


def test_the_shipped_file_is_sound_and_says_why_on_every_line() -> None:
    rules = bounce_file.read(bounce_file.SHIPPED)

    assert rules.span == 30
    assert rules.salesforce_fields == {"EmailBouncedReason": "reason", "EmailBouncedDate": "date"}
    lines = [line for line in TEXT.splitlines() if "=" in line and not line.startswith(("#", "fields", "providers"))]
    assert all("#" in line for line in lines)


def test_the_longest_span_is_read(tmp_path: Path) -> None:
    assert bounce_file.read(write(tmp_path, ("look_back = 7", "look_back = 90"))).span == 90


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    shipped = bounce_file.read(bounce_file.SHIPPED).fingerprint

    assert bounce_file.read(write(tmp_path)).fingerprint == shipped
    assert bounce_file.read(write(tmp_path, ("retry = 14", "retry = 15"))).fingerprint != shipped


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("look_back = 7", "look_back = 0", "look_back", r"\[reading\] look_back must be a whole number from 1 to 365"),
        ("look_back = 7", 'look_back = "7"', "look_back", "look_back must be a whole number"),
        ("look_back = 7", "look_back = true", "look_back", "look_back must be a whole number"),
        ("retry = 14", "retri = 14", "retry", r"\[reading\] retri is unknown"),
        ("retry = 14", "retri = 14", "[reading]", r"\[reading\] retry is missing"),
        ("[hard]", "[hart]", "[hard]", "hart is unknown"),
        ("[hard]", "[hart]", None, r"the table \[hard\] is missing"),
        ("bounces = 5", "bounces = 31", "bounces = 5", r"\[soft\] bounces must be a whole number from 1 to 30"),
        ('["5.7", "4.7"]', '["5.7", "4.x"]', 'policy = ["5.7', r"\[status\] policy must be a list of statuses"),
        ('["552"]', "[552]", 'soft = ["552', r"\[reply\] soft must be a list of reply codes"),
        ('["5.5", "5.6"]', '["5.5", "5.7"]', "[status]", r"\[status\] lists 5.7 under two meanings"),
        ("EmailBouncedReason =", "HasOptedOutOfEmail =", "fields = { Email", "about consent"),
        ("EmailBouncedReason =", "DoNotCall =", "fields = { Email", "about consent"),
        ("EmailBouncedReason =", "Email =", "fields = { Email", "never written"),
        ("EmailBouncedReason =", '"x y" =', "fields = { Email", "not the name of a field"),
        ('= "reason", EmailBouncedDate', '= "why", EmailBouncedDate', "fields = { Email", "must get one of status"),
        ("fields = {}", 'fields = { C_SFDC_EmailOptOut1 = "status" }', "fields = {}", "about consent"),
        ("pattern_addresses = 5", "pattern_addresses = 4", "pattern_addresses", "from 5"),
        ('"gmail.com"', '"Gmail"', "providers", "domains in small letters"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: str | None, reason: str) -> None:
    number = line_of(line) if line else r"\d+"

    with pytest.raises(ConfigError, match=f"line {number}: [^;]*{reason}"):
        bounce_file.read(write(tmp_path, (old, new)))


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        bounce_file.read(write(tmp_path, ("look_back = 7", "look_back = 0"), ("retry = 14", "retry = -1")))

    assert "look_back" in str(caught.value)
    assert "retry" in str(caught.value)


@pytest.mark.parametrize("content", [b"look_back = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match="not valid TOML"):
        bounce_file.read(path)


def test_a_file_that_is_not_there_says_where_it_is_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set `rules` in \[bounce_cleanup\]"):
        bounce_file.read(tmp_path / "none.toml")
