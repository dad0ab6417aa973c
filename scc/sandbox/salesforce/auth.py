"""Who calls Salesforce: OAuth client credentials, JWT bearer, tokens that expire (salesforce.md 1)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from scc.sandbox.http import Failed, Request, Response, Router, json_response
from scc.sandbox.salesforce.ids import ORG_ID, make_id

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

CLIENT_ID = "3MVG9SandboxConsumerKey.SCC"
CLIENT_SECRET = "sandbox-salesforce-client-secret"
USERNAME = "integration@example.com"
USER_ID = make_id("005", 1)
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MOST_AHEAD = 300  # seconds: an assertion may not live longer


class Auth:
    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce, self._clock = salesforce, salesforce.clock
        self._tokens: dict[str, datetime] = {}
        self.jwt_keys: list[str] = []  # public keys in PEM
        self.token_seconds = 7200  # of idleness: successful use extends it (salesforce.md 1.4)

    def routes(self, router: Router) -> None:
        router.add("POST", "/services/oauth2/token", self.token)
        router.add("GET", "/services/oauth2/userinfo", self.userinfo)

    def require(self, request: Request) -> None:
        """Raises the 401 array unless the request carries a live token."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        now = self._clock.now
        if scheme.lower() not in ("bearer", "oauth") or now >= self._tokens.get(token, now):
            raise Failed(
                json_response([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}], 401)
            )
        self._tokens[token] = now + timedelta(seconds=self.token_seconds)

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

    def _issue(self) -> Response:
        number = self._salesforce.store.next_number("salesforce token")
        secret = hashlib.sha256(f"{self._salesforce.seed} salesforce {number}".encode()).digest()
        token = f"{ORG_ID[:15]}!" + base64.urlsafe_b64encode(secret * 2).decode().rstrip("=").replace("-", ".")
        self._tokens[token] = self._clock.now + timedelta(seconds=self.token_seconds)
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


def refused(error: str, description: str) -> Response:
    return json_response({"error": error, "error_description": description}, 400)
