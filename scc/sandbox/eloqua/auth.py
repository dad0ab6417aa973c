"""Who calls Eloqua: discovery, HTTP Basic and OAuth 2.0 (eloqua.md 1)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from scc.sandbox.http import Failed, Request, Response, Router, json_response, load_json, text_response

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

SITE = "AcmeTest"
SITE_ID = 123456789
CLIENT_ID = "6a1b2c3d-0000-4000-8000-5c0c5c0c5c0c"
CLIENT_SECRET = "sandbox-eloqua-client-secret"
REFRESH_LIFE = timedelta(days=365)
QUIET_PERIOD = 60  # seconds between two authorization starts of one user and app


@dataclass(frozen=True)
class User:
    id: int
    name: str
    password: str
    first_name: str
    last_name: str

    @property
    def login(self) -> str:
        return f"{SITE}\\{self.name}"


USERS = {
    user.name.lower(): user
    for user in (
        User(77, "API.User", "sandbox-eloqua-password", "API", "User"),
        # A second user, for the rule that only the creator of a sync reads its data.
        User(78, "Other.User", "sandbox-eloqua-password", "Other", "User"),
    )
}


@dataclass
class Token:
    user: User
    until: datetime


class Auth:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._clock = eloqua, eloqua.clock
        self._access: dict[str, Token] = {}
        self._refresh: dict[str, Token] = {}
        self._last_start: dict[tuple[str, str], datetime] = {}

    def routes(self, router: Router) -> None:
        router.add("GET", "/id", self.discover)
        router.add("POST", "/auth/oauth2/token", self.token)

    def caller(self, request: Request) -> User | None:
        """The user that the request's credentials prove, None without."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            token = self._access.get(credentials.strip())
            return token.user if token and self._clock.now < token.until else None
        if scheme.lower() == "basic":
            login, _, password = decoded(credentials).partition(":")
            return known_user(login, password)
        return None

    def require(self, request: Request) -> User:
        user = self.caller(request)
        if user is None:
            # Bodies of 401 are not described anywhere: short text (eloqua.md 6, point 5).
            raise Failed(text_response("Not authenticated.", 401))
        return user

    def expire_tokens(self) -> None:
        self._access.clear()

    # -- endpoints --------------------------------------------------------------------------------------------------

    def discover(self, request: Request) -> Response:
        """GET /id: host and templates, or status 200 with a bare JSON string (eloqua.md 1.1)."""
        user = self.caller(request)
        headers = {"Cache-Control": "no-store", "Pragma": "no-cache", "Expires": "-1"}
        body = identity(user, self._eloqua.base_url) if user else "Not authenticated."
        response = json_response(body, headers=headers)
        response.content_type = "application/json; charset=utf-8"
        return response

    def token(self, request: Request) -> Response:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic" or decoded(credentials) != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return oauth_error("invalid_client", "The client credentials are not valid.", 401)
        form = token_form(request)
        grant = form.get("grant_type")
        if grant == "password":
            return self._password_grant(form)
        if grant == "refresh_token":
            return self._refresh_grant(form)
        return oauth_error("unsupported_grant_type", "The grant type is not supported.")

    def _password_grant(self, form: dict[str, Any]) -> Response:
        user = known_user(str(form.get("username", "")), str(form.get("password", "")))
        if user is None:
            return oauth_error("invalid_grant", "The user name or password is not valid.")
        start = (user.name, CLIENT_ID)
        last = self._last_start.get(start)
        # Documented for authorization starts; whether the password grant is one is not (eloqua.md 1.3): a switch.
        if (
            self._eloqua.limits.password_grant_throttled
            and last
            and (self._clock.now - last).total_seconds() < QUIET_PERIOD
        ):
            return oauth_error("too_many_requests", "The user has authorized already within 60 seconds.", 429)
        self._last_start[start] = self._clock.now
        return self._issue(user)

    def _refresh_grant(self, form: dict[str, Any]) -> Response:
        token = self._refresh.pop(str(form.get("refresh_token", "")), None)  # single use
        if token is None or self._clock.now >= token.until:
            return oauth_error("invalid_grant", "The refresh token is not valid.")
        return self._issue(token.user)

    def _issue(self, user: User) -> Response:
        number = self._eloqua.store.next_number("eloqua token")
        access, refresh = (opaque(self._eloqua.seed, kind, number) for kind in ("access", "refresh"))
        life = self._eloqua.limits.token_seconds
        self._access[access] = Token(user, self._clock.now + timedelta(seconds=life))
        self._refresh[refresh] = Token(user, self._clock.now + REFRESH_LIFE)
        return json_response(
            {"access_token": access, "token_type": "bearer", "expires_in": life, "refresh_token": refresh}
        )


def identity(user: User, base: str) -> dict[str, Any]:
    """The answer of /id (eloqua.md 5.1)."""
    soap = {
        name: f"{base}/API/{{version}}/{service}.svc"
        for name, service in (
            ("standard", "Service"),
            ("dataTransfer", "DataTransferService"),
            ("email", "EmailService"),
            ("externalAction", "ExternalActionService"),
        )
    }
    return {
        "site": {"id": SITE_ID, "name": SITE},
        "user": {
            "id": user.id,
            "username": user.name,
            "displayName": f"{user.first_name} {user.last_name}",
            "firstName": user.first_name,
            "lastName": user.last_name,
            "emailAddress": "api@example.com",
        },
        "urls": {
            "base": base,
            "apis": {
                "soap": soap,
                "rest": {"standard": f"{base}/API/REST/{{version}}/", "bulk": f"{base}/API/Bulk/{{version}}/"},
            },
        },
    }


def known_user(login: str, password: str) -> User | None:
    site, _, name = login.partition("\\")
    user = USERS.get(name.lower())
    return user if user and site.lower() == SITE.lower() and password == user.password else None


def decoded(credentials: str) -> str:
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def token_form(request: Request) -> dict[str, Any]:
    """The body of the token call: JSON and form-encoded are both in use (eloqua.md 1.3)."""
    body = request.body.decode("utf-8", "replace")
    if body.lstrip().startswith("{"):
        try:
            return load_json(body)
        except ValueError:
            return {}
    return dict(parse_qsl(body, keep_blank_values=True))


def opaque(seed: int, kind: str, number: int) -> str:
    """A token nobody can read anything from, the same for the same seed."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{seed} {kind} {number}".encode()).digest()).decode().rstrip("=")


def oauth_error(error: str, description: str, status: int = 400) -> Response:
    return json_response({"error": error, "error_description": description}, status)
