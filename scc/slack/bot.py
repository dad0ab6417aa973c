"""luigi-slack 0.1.7, which collects a run's events and words them, on a transport that works today.

Its own transport calls `channels.list`, which Slack ended in 2021, and has no timeout (luigi.md 3). Imported only when there
is something to tell: it needs pkg_resources, which comes with setuptools before 82.
"""

import logging
import re
import warnings
from collections.abc import Sequence
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, RateLimitErrorRetryHandler

from scc.config import SlackAccess
from scc.slack.ledger import News
from scc.slack.words import Ending, Problem, fields, safe, title

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pkg_resources says that it is deprecated
    import luigi_slack.api
    from luigi_slack.api import SlackBot, SlackMessage
    from luigi_slack.events import FAILURE, MISSING

log = logging.getLogger(__name__)

# both repeat, on their own level of logging, what is said here in one sentence
logging.getLogger("luigi_slack").setLevel(logging.CRITICAL)
logging.getLogger("slack_sdk").setLevel(logging.CRITICAL)

SHOWN = 5  # steps that a message names
COLOURS = {"good": "good", "partly": "warning", "failed": "danger"}
HINTS = {
    **dict.fromkeys(
        ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"), "SLACK_TOKEN"
    ),
    "channel_not_found": "SLACK_CHANNEL, and that the bot was invited to it",
    "not_in_channel": "that the bot was invited to SLACK_CHANNEL",
    "is_archived": "SLACK_CHANNEL: it is archived",
    "missing_scope": "the bot's scopes: it needs chat:write",
}


class Channel:
    """luigi-slack's SlackAPI, as far as its bot uses it, on Slack's own client."""

    def __init__(self, access: SlackAccess, seconds: float):
        retries = [ConnectionErrorRetryHandler(max_retry_count=1), RateLimitErrorRetryHandler(max_retry_count=1)]
        self._client = WebClient(
            access.token, base_url=f"{access.url}/", timeout=max(1, int(seconds)), retry_handlers=list(retries)
        )

    def bulk_message(self, message: SlackMessage, post_to: Sequence[str]) -> None:
        """Post one message. Raises SlackApiError, OSError."""
        shown = [{"title": name, "value": "\n".join(lines), "short": False} for name, lines in message.fields.items()]
        attached = {
            "color": COLOURS[message.success],
            "fallback": message.title,
            "fields": shown,
            "mrkdwn_in": ["fields"],
        }
        for channel in post_to:
            self._client.chat_postMessage(channel=channel, text=message.title, attachments=[attached])


class Bot(SlackBot):
    """luigi-slack's bot, fed with texts that may leave the process: it never sees a task or an exception."""

    def __init__(self, access: SlackAccess, seconds: float):
        luigi_slack.api.SlackAPI = lambda *_, **__: Channel(access, seconds)
        super().__init__(access.token, channels=[access.channel], events=[FAILURE, MISSING], max_events=SHOWN + 1)

    def post(self, ending: Ending, news: News) -> None:
        """Tell of a run. Raises SlackApiError, OSError."""
        kinds = {True: [p for p in ending.problems if p.missing], False: [p for p in ending.problems if not p.missing]}
        for missing, problems in kinds.items():
            for problem in problems[:SHOWN]:
                self._collect(problem)
            if len(problems) > SHOWN:
                self._collect(Problem(f"and {len(problems) - SHOWN:,} more", "see the log", missing))
        texts = {**self._event_messages(), **fields(ending)}
        self.client.bulk_message(SlackMessage(title(ending, news), texts, ending.outcome), self.channels)

    def _collect(self, problem: Problem) -> None:
        if problem.missing:
            self._missing(safe(problem.task))
        else:
            self._failure(safe(problem.task), safe(problem.text))


def why_not(error: Exception) -> str:
    """Why a post failed and what to check, without what the answer says in words."""
    if isinstance(error, SlackApiError):
        answer: Any = error.response
        found = answer.get("error") if hasattr(answer, "get") else None
        code = found if isinstance(found, str) and re.fullmatch(r"[a-z_]{1,60}", found) else "no answer of Slack's"
        return f"refused ({code})" + (f": check {HINTS[code]}" if code in HINTS else "")
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"could not be reached ({type(error).__name__}): check SLACK_API_URL and the network"
