"""Sections of luigi.cfg, and the secrets, which are never in it.

A secret is read from the environment or from the mounted file that NAME_FILE names, at the moment it is used, and never
becomes a Luigi parameter: those show in logs, in luigid and in its database (luigi.md 4, "Secrets").
"""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import luigi

from scc.errors import ConfigError

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class transport(luigi.Config):
    """[transport] in luigi.cfg: how long one call may take, in seconds."""

    connect_timeout = luigi.FloatParameter(default=10.0, description="seconds to reach a host")
    read_timeout = luigi.FloatParameter(default=120.0, description="seconds between two pieces of an answer")
    deadline = luigi.FloatParameter(default=300.0, description="seconds that one call may take with all its retries")
    first_pause = luigi.FloatParameter(default=0.5, description="seconds before the first retry; doubles each time")
    longest_pause = luigi.FloatParameter(default=30.0, description="seconds between two retries at most")


class tables(luigi.Config):
    """[tables] in luigi.cfg: what the engine may use of the machine."""

    memory_limit = luigi.Parameter(default="128MB", description="DuckDB's memory limit")
    threads = luigi.IntParameter(default=1, description="DuckDB's threads; each needs its share of the memory")
    spill_folder = luigi.Parameter(default="/tmp", description="where DuckDB spills what does not fit")  # noqa: S108
    spill_limit = luigi.Parameter(default="1GB", description="how much it may spill")


class eloqua(luigi.Config):
    """[eloqua] in luigi.cfg: syncs and how uploads are cut (limits: eloqua.md 4.1)."""

    first_poll = luigi.FloatParameter(default=0.1, description="seconds before a sync is asked for the first time")
    longest_poll = luigi.FloatParameter(default=30.0, description="seconds between two questions at most")
    sync_deadline = luigi.FloatParameter(default=21600.0, description="seconds one sync may take; exports take hours")
    page_size = luigi.IntParameter(default=50_000, description="rows per page of an export, at most 50,000")
    post_bytes = luigi.IntParameter(default=8_000_000, description="bytes per upload; Eloqua answers 404 above 32 MB")
    posts_per_sync = luigi.IntParameter(default=500, description="uploads per sync, at most 500")
    sync_bytes = luigi.IntParameter(default=250_000_000, description="bytes per sync; Oracle advises about 250 MB")
    quota_wait = luigi.FloatParameter(default=600.0, description="seconds to wait for the process's share of the quota")


class salesforce(luigi.Config):
    """[salesforce] in luigi.cfg."""

    api_version = luigi.Parameter(default="62.0", description="REST API version, below the newest of the org")
    first_poll = luigi.FloatParameter(default=1.0, description="seconds before a job is asked for the first time")
    longest_poll = luigi.FloatParameter(default=30.0, description="seconds between two questions at most")
    job_deadline = luigi.FloatParameter(default=7200.0, description="seconds one job may take")
    records_per_call = luigi.IntParameter(default=200, description="records of one collections call, at most 200")
    job_rows = luigi.IntParameter(default=50_000, description="rows of one job; at most 100 MB of CSV")


class lease(luigi.Config):
    """[lease] in luigi.cfg."""

    lifetime = luigi.FloatParameter(default=150.0, description="seconds a run may be silent before another takes over")


class slack(luigi.Config):
    """[slack] in luigi.cfg."""

    seconds = luigi.FloatParameter(
        default=10.0, description="seconds that a message may take in all; then it is given up"
    )


class catalogue(luigi.Config):
    """[catalogue] in luigi.cfg: where the catalogue of processes lies."""

    file = luigi.OptionalParameter(default="", description="the TOML file; empty: openshift/processes.toml")


def outputs_folder() -> Path:
    """The folder that SCC_OUTPUTS names: the shared volume in a cluster, any folder on a laptop."""
    return Path(variable("SCC_OUTPUTS"))


def variable(name: str, default: str | None = None) -> str:
    """The value of an environment variable, or of the file that NAME_FILE names.

    Raises ConfigError when neither is set and there is no default, or when the file cannot be read.
    """
    value = os.environ.get(name, "")
    if value:
        return value
    path = os.environ.get(f"{name}_FILE", "")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"{name}_FILE names a file that cannot be read: mount the secret there") from None
    if default is None:
        raise ConfigError(f"{name} is not set: give it, or {name}_FILE, in the environment")
    return default


@dataclass(frozen=True)
class EloquaCredentials:
    """Who we are at Eloqua. With a client id the OAuth password grant is used, without one Basic (eloqua.md 1.2, 1.3)."""

    login_url: str
    site: str
    user: str
    password: str = field(repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class SalesforceCredentials:
    """Who we are at Salesforce. With a private key the JWT bearer flow is used, else client credentials (salesforce.md 1.2).

    url: the org's My Domain. audience: the login host a JWT is made out to.
    """

    url: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    username: str = ""
    private_key: str = field(default="", repr=False)
    audience: str = "https://login.salesforce.com"


def eloqua_credentials() -> EloquaCredentials:
    """From ELOQUA_LOGIN_URL (Oracle's by default), ELOQUA_SITE, _USER, _PASSWORD, and _CLIENT_ID, _CLIENT_SECRET for OAuth."""
    return EloquaCredentials(
        login_url=base_url("ELOQUA_LOGIN_URL", "https://login.eloqua.com"),
        site=variable("ELOQUA_SITE"),
        user=variable("ELOQUA_USER"),
        password=variable("ELOQUA_PASSWORD"),
        client_id=variable("ELOQUA_CLIENT_ID", ""),
        client_secret=variable("ELOQUA_CLIENT_SECRET", ""),
    )


def salesforce_credentials() -> SalesforceCredentials:
    """From SALESFORCE_URL, _CLIENT_ID, and either _CLIENT_SECRET or _USERNAME with _PRIVATE_KEY (and _AUDIENCE)."""
    credentials = SalesforceCredentials(
        url=base_url("SALESFORCE_URL"),
        client_id=variable("SALESFORCE_CLIENT_ID"),
        client_secret=variable("SALESFORCE_CLIENT_SECRET", ""),
        username=variable("SALESFORCE_USERNAME", ""),
        private_key=variable("SALESFORCE_PRIVATE_KEY", ""),
        audience=variable("SALESFORCE_AUDIENCE", "https://login.salesforce.com"),
    )
    if not credentials.client_secret and not (credentials.private_key and credentials.username):
        raise ConfigError(
            "Salesforce needs SALESFORCE_CLIENT_SECRET, or SALESFORCE_USERNAME and SALESFORCE_PRIVATE_KEY"
        )
    return credentials


@dataclass(frozen=True)
class SlackAccess:
    """Where messages go, and as whom. channel: id or name. url: the base of Slack's methods."""

    channel: str
    token: str = field(repr=False)
    url: str = "https://slack.com/api"


def slack_access() -> SlackAccess | None:
    """From SLACK_TOKEN, SLACK_CHANNEL and SLACK_API_URL (Slack's by default). None when no message is wanted."""
    channel, token = variable("SLACK_CHANNEL", ""), variable("SLACK_TOKEN", "")
    if not channel and not token:
        return None
    if not channel or not token:
        raise ConfigError("Slack needs both SLACK_TOKEN and SLACK_CHANNEL, or neither")
    return SlackAccess(channel, token, base_url("SLACK_API_URL", SlackAccess.url))


def base_url(name: str, default: str | None = None) -> str:
    """A base URL without a trailing slash; plain http only to this machine, because credentials travel on it."""
    return checked_url(variable(name, default), name)


def read_toml(path: Path, setting: str) -> tuple[dict[str, Any], str]:
    """A TOML file's document and its text. setting: which one names the file, "`rules` in [bounce_cleanup]".

    Raises ConfigError, with the line of a syntax error.
    """
    try:
        text = path.read_bytes().decode()
        return tomllib.loads(text), text
    except OSError:
        raise ConfigError(f"{path} cannot be read: set {setting} of luigi.cfg") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def checked_url(url: str, name: str) -> str:
    """url without its trailing slash. Raises ConfigError unless it is https, or http to loopback; name says whose it is."""
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
    except ValueError:  # an IPv6 address without its bracket
        parts = urlsplit("")
    if not parts.hostname or parts.scheme not in ("https", "http") or parts.username:
        raise ConfigError(f"{name} is not a base URL like https://host")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ConfigError(f"{name} is plain http to another machine: credentials would travel unprotected; use https")
    return url
