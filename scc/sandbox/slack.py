"""Slack's Web API, as far as a bot that posts messages meets it.

An answer is 200 with {"ok": true, ...} or {"ok": false, "error": code}, but 429 with Retry-After where it posts too fast.
Arguments come as query, form or JSON; a token as Bearer, or as the argument `token` of a form. Sources: Slack's pages on
"Using the Slack Web API", chat.postMessage, auth.test and "Rate limits".
"""

from __future__ import annotations

import re
import threading
from typing import Any
from urllib.parse import parse_qsl

from scc.sandbox.clock import Clock, iso
from scc.sandbox.http import Request, Response, json_response, load_json

TOKEN = "xoxb-sandbox-0000"  # documented, of the sandbox alone
CHANNEL = "#scc-alerts"
CHANNELS = {"C0SCCALERTS": "scc-alerts", "C0SCCQUIET": "scc-quiet"}  # by id; the bot was invited to these
OTHERS = {"C0RANDOM": "random"}  # it was not
# a method's name; Eloqua's paths below /api go deeper
PATH = re.compile(r"/api/([a-z][a-z0-9]*(?:\.[a-z0-9]+)+)/*", re.IGNORECASE)
SHOWN = ("text", "attachments", "blocks", "username")  # of a message, to those who read it
LONGEST_TEXT = 40_000  # characters
MOST_ATTACHMENTS = 100
ENDED = ("channels.", "groups.", "im.", "mpim.")  # since February 2021: conversations.* instead


class Slack:
    """Slack for one bot. `messages`: what was posted, oldest first."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.auth, self.base_url = clock, self, ""
        self.messages: list[dict[str, Any]] = []
        self._revoked = False
        self._slow = (0, 0)  # so many posts more are refused, with this Retry-After in seconds
        self._lock = threading.Lock()

    def expire_tokens(self) -> None:
        """Nothing: a bot's token does not expire."""

    def revoke_token(self) -> None:
        """The bot's token dies, as when somebody takes the app from the workspace."""
        self._revoked = True

    def slow_down(self, times: int = 1, retry_after: int = 1) -> None:
        """Refuse the next posts with 429 and Retry-After."""
        self._slow = (times, retry_after)

    def answer(self, request: Request) -> Response:
        name = PATH.fullmatch(request.path)[1].lower()  # type: ignore[index]  # no other path comes here
        arguments = arguments_of(request)
        if arguments is None:
            return failed("invalid_json")
        token = bearer(request) or arguments.get("token", "")
        if not token:
            return failed("not_authed")
        if token != TOKEN or self._revoked:
            return failed("token_revoked" if token == TOKEN else "invalid_auth")
        if name == "chat.postmessage":
            return self._post(arguments)
        if name == "auth.test":
            url, who = "https://acmetest.slack.com/", {"user": "scc", "user_id": "U0SCC", "bot_id": "B0SCC"}
            return json_response({"ok": True, "url": url, "team": "Acme Test", "team_id": "T0ACME", **who})
        return failed("method_deprecated" if name.startswith(ENDED) else "unknown_method")

    def _post(self, arguments: dict[str, Any]) -> Response:
        with self._lock:
            left, retry_after = self._slow
            if left:
                self._slow = (left - 1, retry_after)
                return json_response({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(retry_after)})
            problem = wrong(arguments)
            if problem:
                return failed(problem)
            stamp = f"{self.clock.now.timestamp():.0f}.{len(self.messages):06}"
            channel = channel_id(arguments["channel"], CHANNELS)
            message: dict[str, Any] = {name: arguments[name] for name in SHOWN if name in arguments}
            place = {"channel": channel, "channel_name": CHANNELS[channel], "time": iso(self.clock.now)}
            self.messages.append({"ts": stamp, **place, **message})
        shown = {"type": "message", "subtype": "bot_message", "ts": stamp, **message}
        return json_response({"ok": True, "channel": channel, "ts": stamp, "message": shown})


def wrong(arguments: dict[str, Any]) -> str:
    """Slack's code for what is wrong with a message, "" for nothing."""
    wanted, text = arguments.get("channel"), arguments.get("text", "")
    if not isinstance(wanted, str) or not channel_id(wanted, {**CHANNELS, **OTHERS}):
        return "channel_not_found"
    if not channel_id(wanted, CHANNELS):
        return "not_in_channel"
    if not isinstance(text, str) or not (text or arguments.get("attachments") or arguments.get("blocks")):
        return "no_text"
    if len(text) > LONGEST_TEXT:
        return "msg_too_long"
    return "too_many_attachments" if len(arguments.get("attachments") or ()) > MOST_ATTACHMENTS else ""


def channel_id(wanted: str, channels: dict[str, str]) -> str:
    """The id of a channel that is given by id or name, with or without #; "" if there is none."""
    return next((id_ for id_, name in channels.items() if wanted in (id_, name, f"#{name}")), "")


def arguments_of(request: Request) -> dict[str, Any] | None:
    """The arguments of a call; None for a body that should be JSON and is not."""
    if request.body and "json" in request.headers.get("Content-Type", ""):
        try:
            document = load_json(request.body)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None
    sent = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    arguments: dict[str, Any] = {**request.query, **sent}
    for name in ("attachments", "blocks"):  # JSON within the form; what cannot be read is passed over
        try:
            found = load_json(arguments.pop(name, "[]"))
        except ValueError:
            continue
        if isinstance(found, list) and found:
            arguments[name] = found
    return arguments


def bearer(request: Request) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def failed(code: str) -> Response:
    return json_response({"ok": False, "error": code})
