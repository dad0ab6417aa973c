"""Where settings and secrets come from, and which of them are refused."""

from pathlib import Path

import pytest

from scc.config import eloqua_credentials, outputs_folder, salesforce_credentials, variable
from scc.errors import ConfigError


@pytest.fixture
def environment(credentials: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return credentials


def test_credentials_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    eloqua, salesforce = eloqua_credentials(), salesforce_credentials()

    assert (eloqua.site, eloqua.user, eloqua.password) == ("Acme", "Batch", "pa55-word")
    assert (salesforce.url, salesforce.client_secret) == ("https://acme.example.com", "s3cret")


def test_a_secret_comes_from_a_mounted_file_as_well(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("größer\n", encoding="utf-8")
    environment.delenv("ELOQUA_PASSWORD")
    environment.setenv("ELOQUA_PASSWORD_FILE", str(tmp_path / "password"))

    assert eloqua_credentials().password == "größer"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "no text"])
def test_a_secret_that_cannot_be_read_is_named(
    environment: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    if content:
        (tmp_path / "password").write_bytes(content)
    environment.delenv("ELOQUA_PASSWORD")
    environment.setenv("ELOQUA_PASSWORD_FILE", str(tmp_path / "password"))

    with pytest.raises(ConfigError, match="ELOQUA_PASSWORD_FILE"):
        eloqua_credentials()


@pytest.mark.parametrize("name", ["ELOQUA_SITE", "ELOQUA_USER", "ELOQUA_PASSWORD"])
def test_what_is_not_set_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(name)

    with pytest.raises(ConfigError, match=f"{name} is not set"):
        eloqua_credentials()


def test_what_is_empty_is_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SCC_OUTPUTS", "")

    with pytest.raises(ConfigError, match="SCC_OUTPUTS is not set"):
        outputs_folder()
    assert variable("SCC_OUTPUTS", "a default") == "a default"


def test_salesforce_needs_a_secret_or_a_user_with_a_key(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SALESFORCE_CLIENT_SECRET")
    environment.setenv("SALESFORCE_PRIVATE_KEY", "a key")

    with pytest.raises(ConfigError, match="SALESFORCE_CLIENT_SECRET, or SALESFORCE_USERNAME"):
        salesforce_credentials()
    environment.setenv("SALESFORCE_USERNAME", "batch@example.com")
    assert salesforce_credentials().private_key == "a key"


def test_oracles_login_host_is_the_default(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("ELOQUA_LOGIN_URL")

    assert eloqua_credentials().login_url == "https://login.eloqua.com"


@pytest.mark.parametrize(
    "url",
    ["https://acme.example.com", "https://acme.example.com/", "http://127.0.0.1:8080", "http://localhost/sandbox"],
)
def test_credentials_go_over_https_or_to_this_machine(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("SALESFORCE_URL", url)

    assert salesforce_credentials().url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.example.com",
        "http://127.0.0.1.example.com",
        "acme.example.com",
        "ftp://acme.example.com",
        "https://",
        "https://user:s3cret@acme.example.com",
        "https://[::1",
    ],
)
def test_another_url_is_refused_without_being_told(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("SALESFORCE_URL", url)

    with pytest.raises(ConfigError, match="SALESFORCE_URL") as raised:
        salesforce_credentials()
    assert "s3cret" not in str(raised.value)


def test_secrets_do_not_show_when_printed(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ELOQUA_CLIENT_SECRET", "app-s3cret")
    environment.setenv("SALESFORCE_PRIVATE_KEY", "-----BEGIN")
    printed = f"{eloqua_credentials()} {salesforce_credentials()!r}"

    for secret in ("pa55-word", "app-s3cret", "s3cret", "BEGIN"):
        assert secret not in printed
