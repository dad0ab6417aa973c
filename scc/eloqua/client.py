"""Who we are at Eloqua, and where our instance lives: discovery and authentication."""

import base64
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from scc.config import EloquaCredentials, checked_url
from scc.errors import ConfigError, Refused
from scc.transport import ELOQUA, Response, Transport

log = logging.getLogger(__name__)

VERSION = "2.0"  # of both APIs
ONE_CONTACT = {"count": 1, "depth": "minimal"}


class Eloqua:
    """One user at one Eloqua instance.

    Logs in at the first call. After a 401 it looks once where the instance lives now, and for OAuth takes a new token: an
    expired token, a moved instance and a disabled user look the same (eloqua.md 1.1, 1.4).
    """

    def __init__(self, transport: Transport, credentials: EloquaCredentials):
        self.transport = transport
        self._credentials = credentials
        self._bulk_url = self._rest_url = ""
        self._authorization = ""
        transport.add_base(ELOQUA, credentials.login_url)

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The JSON object that a read of the Bulk API answers. path: as in Eloqua's uri values, "/syncs/12"."""
        return _object("GET", path, self._call("GET", path, params=params))

    def post(self, path: str, document: Mapping[str, Any], *, idempotent: bool = False) -> dict[str, Any]:
        """The JSON object that a POST of a definition or a sync answers. idempotent: a second one does no harm."""
        return _object("POST", path, self._call("POST", path, json=dict(document), idempotent=idempotent))

    def upload(self, path: str, body: bytes) -> None:
        """POST rows, JSON in UTF-8. Never repeated when it may have arrived: the rows would be staged twice."""
        self._call("POST", path, data=body, headers={"Content-Type": "application/json; charset=utf-8"})

    def delete(self, path: str) -> None:
        """DELETE a definition. One that is gone already is deleted."""
        try:
            self._call("DELETE", path, idempotent=True)
        except Refused as error:
            if error.status not in (404, 410):
                raise

    def contact_count(self) -> int:
        """How many contacts the database holds: the total of a REST search that asks for one of them (eloqua.md 2.1)."""
        page = _object("GET", "/data/contacts", self._call("GET", "/data/contacts", params=ONE_CONTACT, rest=True))
        try:
            return int(page["total"])
        except (KeyError, TypeError, ValueError):
            raise Refused(ELOQUA, "GET", "/data/contacts", 200, problem="the answer holds no total") from None

    def _call(self, method: str, path: str, **keywords: Any) -> Response:
        if not self._bulk_url:
            self._connect()
        try:
            return self._send(method, path, **keywords)
        except Refused as error:
            if error.status != 401:
                raise
        log.info("Eloqua answered 401; asking once more who we are and where the instance lives")
        self._connect()
        return self._send(method, path, **keywords)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, *, rest: bool = False, **keywords: Any
    ) -> Response:
        headers = {"Authorization": self._authorization, "Accept": "application/json", **(headers or {})}
        base = self._rest_url if rest else self._bulk_url
        if not base:
            raise Refused(ELOQUA, "GET", "/id", 200, problem="the answer names no REST API")
        return self.transport.request(method, base + path, headers=headers, **keywords)

    def _connect(self) -> None:
        self._authorization = f"Bearer {self._token()}" if self._credentials.client_id else self._basic()
        url = f"{self._credentials.login_url}/id"
        try:
            answer = self.transport.request("GET", url, headers={"Authorization": self._authorization}).json()
        except Refused as error:
            raise self._rejected() if error.status in (401, 403) else error from None
        if not isinstance(
            answer, dict
        ):  # wrong credentials get a 200 and the text "Not authenticated." (eloqua.md 1.1)
            raise self._rejected()
        try:
            templates = answer["urls"]["apis"]["rest"]
            bulk, rest = templates["bulk"], str(templates.get("standard") or "")
        except (KeyError, TypeError, AttributeError):
            raise Refused(ELOQUA, "GET", "/id", 200, problem="the answer names no Bulk API") from None
        self._bulk_url, self._rest_url = self._base(bulk), self._base(rest) if rest else ""

    def _base(self, template: str) -> str:
        url = checked_url(template.replace("{version}", VERSION), "Eloqua's answer to GET /id")
        self.transport.add_base(ELOQUA, url)
        return url

    def _rejected(self) -> ConfigError:
        return ConfigError(
            f"Eloqua refuses our user at site {self._credentials.site}: check ELOQUA_SITE, ELOQUA_USER and "
            "ELOQUA_PASSWORD, that the user is active, and that this address is on the allow list"
        )

    def _basic(self) -> str:
        pair = f"{self._credentials.site}\\{self._credentials.user}:{self._credentials.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def _token(self) -> str:
        """One access token by the password grant: the refresh token is single-use and never shared (eloqua.md 1.3)."""
        credentials = self._credentials
        client = base64.b64encode(f"{credentials.client_id}:{credentials.client_secret}".encode()).decode()
        grant = {
            "grant_type": "password",
            "scope": "full",
            "username": f"{credentials.site}\\{credentials.user}",
            "password": credentials.password,
        }
        try:
            answer = self.transport.request(
                "POST",
                f"{credentials.login_url}/auth/oauth2/token",
                data=json.dumps(grant),
                headers={"Authorization": f"Basic {client}", "Content-Type": "application/json"},
                idempotent=True,
            ).json()
            return str(answer["access_token"])
        except Refused as error:
            if error.status in (400, 401):
                raise ConfigError(
                    f"Eloqua refuses the OAuth login ({error.status} {error.code or ''}): check ELOQUA_CLIENT_ID, "
                    "ELOQUA_CLIENT_SECRET, ELOQUA_SITE, ELOQUA_USER and ELOQUA_PASSWORD"
                ) from None
            raise
        except (KeyError, TypeError):
            raise Refused(ELOQUA, "POST", "/auth/oauth2/token", 200, problem="the answer holds no token") from None


def _object(method: str, path: str, response: Response) -> dict[str, Any]:
    document = response.json()
    if not isinstance(document, dict):  # "Not authenticated." comes with 200 here too when a user is disabled (2.2)
        template = re.sub("[0-9]+", "{id}", path)
        raise Refused(ELOQUA, method, template, response.status_code, problem="the answer is not an object")
    return document
