"""Who calls Salesforce: OAuth client credentials, JWT bearer, tokens that expire (salesforce.md 1)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from scc.sandbox.http import Failed, Request, Response, Router, json_response
from scc.sandbox.salesforce import soap
from scc.sandbox.salesforce.answers import error
from scc.sandbox.salesforce.ids import ORG_ID
from scc.sandbox.salesforce.settings import USER_ID, USERNAME

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

CLIENT_ID = "3MVG9SandboxConsumerKey.SCC"
CLIENT_SECRET = "sandbox-salesforce-client-secret"
PASSWORD = "sandbox-salesforce-password"
SECURITY_TOKEN = "sandboxSecurityToken"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MOST_AHEAD = 300  # seconds: an assertion may not live longer


@dataclass
class Token:
    until: datetime
    calls: int = 0


class Auth:
    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce, self._clock = salesforce, salesforce.clock
        self._tokens: dict[str, Token] = {}
        self.jwt_keys: list[str] = []  # public keys in PEM

    def routes(self, router: Router) -> None:
        router.add("POST", "/services/oauth2/token", self.token)
        router.add("POST", "/services/oauth2/revoke", self.revoke)
        router.add("POST", "/services/Soap/u/{version}", self.soap)
        router.add("POST", "/services/Soap/u/{version}/{org}", self.soap)
        router.add("GET", "/services/oauth2/userinfo", self.userinfo)

    def require(self, request: Request) -> None:
        """Raises the 401 array unless the request carries a live token."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "oauth") or not self._use(token.strip()):
            raise error("INVALID_SESSION_ID", "Session expired or invalid", 401)

    def require_async(self, request: Request) -> None:
        """Bulk API v1 has its own header and its own refusal (salesforce.md 1.4, 3.5)."""
        version = re.match(r"/services/async/(\d+)\.\d", request.path, re.IGNORECASE)
        if version and 20 < int(version[1]) < 31:
            refusal = {"exceptionCode": "InvalidVersion", "exceptionMessage": "The API version is retired"}
            raise Failed(json_response(refusal, 400))
        if not self._use(request.headers.get("X-SFDC-Session", "").strip()):
            refusal = {"exceptionCode": "InvalidSessionId", "exceptionMessage": "Invalid session id"}
            raise Failed(json_response(refusal, 400))

    def _use(self, text: str) -> bool:
        """Whether this token lives; successful use extends its life (salesforce.md 1.4)."""
        token, now, most = self._tokens.get(text), self._clock.now, self._salesforce.limits.token_calls
        if token is None or now >= token.until or (most is not None and token.calls >= most):
            return False
        token.calls += 1
        token.until = now + self._life
        return True

    @property
    def _life(self) -> timedelta:
        return timedelta(seconds=self._salesforce.limits.token_seconds)

    def expire_tokens(self) -> None:
        self._tokens.clear()

    def userinfo(self, request: Request) -> Response:
        self.require(request)
        return json_response(
            {
                "sub": f"{self._salesforce.base_url}/id/{ORG_ID}/{USER_ID}",
                "user_id": USER_ID,
                "organization_id": ORG_ID,
                "preferred_username": USERNAME,
                "nickname": "integration",
                "email_verified": True,
                "active": True,
                "name": "Integration User",
                "email": USERNAME,
            }
        )

    def token(self, request: Request) -> Response:
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        grant = form.get("grant_type")
        if grant == "client_credentials":
            return self._client_credentials(request, form)
        if grant == JWT_GRANT:
            return self._jwt(form.get("assertion", ""))
        if grant == "password":
            return self._password(form)
        return refused("unsupported_grant_type", "grant type not supported")

    def _client_credentials(self, request: Request, form: dict[str, str]) -> Response:
        key, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                key, _, secret = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                key = ""
        if key != CLIENT_ID:
            return refused("invalid_client_id", "client identifier invalid")
        if secret != CLIENT_SECRET:
            return refused("invalid_client", "invalid client credentials")
        return self._issue()

    def _password(self, form: dict[str, str]) -> Response:
        """The legacy grant: the security token may hang on the password (salesforce.md 1.1, 1.2)."""
        if form.get("client_id") != CLIENT_ID:
            return refused("invalid_client_id", "client identifier invalid")
        if form.get("client_secret") != CLIENT_SECRET:
            return refused("invalid_client", "invalid client credentials")
        if not self._salesforce.limits.password_grant or not knows(form.get("username"), form.get("password")):
            return refused("invalid_grant", "authentication failure")
        return self._issue()

    def revoke(self, request: Request) -> Response:
        """The token dies; a token that is none is an error."""
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        if self._tokens.pop(form.get("token", ""), None) is None:
            return refused("invalid_token", "invalid token")
        return Response(200, b"", None)

    def soap(self, request: Request, version: str, org: str = "") -> Response:
        return soap.login(request, version, self._salesforce, self)

    def _jwt(self, assertion: str) -> Response:
        """RS256, iss = consumer key, sub = user name, exp at most minutes ahead of the real clock.

        The real clock, because the client signs with it while the sandbox's may stand in another year.
        """
        import jwt  # late: it brings cryptography, which nobody else needs

        claims = None
        for key in self.jwt_keys:
            try:
                claims = jwt.decode(
                    assertion,
                    key,
                    algorithms=["RS256"],
                    options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
                )
                break
            except jwt.InvalidTokenError:
                continue
        if claims is None:
            return refused("invalid_grant", "invalid assertion")
        try:
            expires = int(claims.get("exp", 0))  # simple-salesforce sends it as a text (salesforce.md 5.2)
        except (TypeError, ValueError):
            expires = 0
        if claims.get("iss") != CLIENT_ID:
            return refused("invalid_client_id", "client identifier invalid")
        if not time.time() < expires <= time.time() + MOST_AHEAD:
            return refused("invalid_grant", "expired authorization code")
        if str(claims.get("sub", "")).lower() != USERNAME:
            return refused("invalid_grant", "user hasn't approved this consumer")
        return self._issue()

    def new_token(self) -> str:
        number = self._salesforce.store.next_number("salesforce token")
        secret = hashlib.sha256(f"{self._salesforce.seed} salesforce {number}".encode()).digest()
        token = f"{ORG_ID[:15]}!" + base64.urlsafe_b64encode(secret * 2).decode().rstrip("=").replace("-", ".")
        self._tokens[token] = Token(self._clock.now + self._life)
        return token

    def _issue(self) -> Response:
        token = self.new_token()
        base, issued = self._salesforce.base_url, str(int(self._clock.now.timestamp() * 1000))
        identity = f"{base}/id/{ORG_ID}/{USER_ID}"
        signature = base64.b64encode(
            hmac.new(CLIENT_SECRET.encode(), (identity + issued).encode(), "sha256").digest()
        ).decode()
        return json_response(
            {
                "access_token": token,
                "signature": signature,
                "scope": "api",
                "instance_url": base,
                "id": identity,
                "token_type": "Bearer",
                "issued_at": issued,
            }
        )


def knows(username: str | None, password: str | None) -> bool:
    """Whether these are the user's name and password, with or without the security token behind it."""
    return (username or "").lower() == USERNAME and password in (PASSWORD, PASSWORD + SECURITY_TOKEN)


def refused(error: str, description: str) -> Response:
    return json_response({"error": error, "error_description": description}, 400)
