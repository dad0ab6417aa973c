"""The sandbox's Slack answers as Slack does: 200 with an error code, whatever is wrong, but for posting too fast."""

import json
import warnings
from typing import Any

import pytest
import requests
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from scc.sandbox import Sandbox
from scc.sandbox.state import State
from tests.sandbox.conftest import NOW


@pytest.fixture
def slack(sandbox: Sandbox) -> WebClient:
    return WebClient(sandbox.env["SLACK_TOKEN"], base_url=sandbox.env["SLACK_API_URL"])


def error(client: WebClient, method: str = "chat.postMessage", **arguments: Any) -> str:
    with pytest.raises(SlackApiError) as failure, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # slack_sdk knows which methods have ended
        client.api_call(method, json=arguments)
    assert failure.value.response.status_code == 200
    return failure.value.response["error"]


def test_a_message_lands_in_the_channel(sandbox: Sandbox, slack: WebClient) -> None:
    fields = [{"title": "Failure", "value": "none", "short": False}]
    answer = slack.chat_postMessage(channel="#scc-alerts", text="it works", attachments=[{"fields": fields}])

    (message,) = sandbox.slack.messages
    assert (answer["ok"], answer["channel"], answer["ts"]) == (True, "C0SCCALERTS", message["ts"])
    assert answer["message"]["text"] == message["text"] == "it works"
    assert message["attachments"] == [{"fields": fields}]
    assert (message["channel_name"], message["time"]) == ("scc-alerts", NOW)


def test_a_form_does_as_well_as_json(sandbox: Sandbox) -> None:
    form = {
        "token": sandbox.env["SLACK_TOKEN"],
        "channel": "C0SCCQUIET",
        "text": "by form",
        "attachments": json.dumps([{"text": "more"}]),
    }
    answer = requests.post(sandbox.url + "/api/chat.postMessage", data=form, timeout=10)

    assert answer.json()["ok"]
    (message,) = sandbox.slack.messages
    assert (message["text"], message["attachments"]) == ("by form", [{"text": "more"}])


def test_the_bot_is_told_who_it_is(slack: WebClient) -> None:
    assert slack.auth_test()["user"] == "scc"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"channel": "#nowhere", "text": "x"}, "channel_not_found"),
        ({"text": "x"}, "channel_not_found"),
        ({"channel": "#random", "text": "x"}, "not_in_channel"),
        ({"channel": "#scc-alerts"}, "no_text"),
        ({"channel": "#scc-alerts", "text": "x" * 40_001}, "msg_too_long"),
        ({"channel": "#scc-alerts", "text": "x", "attachments": [{}] * 101}, "too_many_attachments"),
    ],
)
def test_a_message_that_cannot_be_posted_is_refused(
    sandbox: Sandbox, slack: WebClient, arguments: dict[str, Any], code: str
) -> None:
    assert error(slack, **arguments) == code
    assert sandbox.slack.messages == []


@pytest.mark.parametrize(
    ("method", "code"),
    [("channels.list", "method_deprecated"), ("groups.list", "method_deprecated"), ("no.such", "unknown_method")],
)
def test_methods_that_slack_ended_or_never_had_are_named_so(slack: WebClient, method: str, code: str) -> None:
    assert error(slack, method) == code


def test_only_the_bots_token_is_taken(sandbox: Sandbox, slack: WebClient) -> None:
    base = sandbox.env["SLACK_API_URL"]
    assert error(WebClient("xoxb-other", base_url=base), "auth.test") == "invalid_auth"
    assert requests.post(base + "auth.test", timeout=10).json() == {"ok": False, "error": "not_authed"}

    sandbox.slack.revoke_token()
    assert error(slack, "auth.test") == "token_revoked"


def test_a_body_that_should_be_json_and_is_not_is_refused(sandbox: Sandbox) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {sandbox.env['SLACK_TOKEN']}"}
    answer = requests.post(sandbox.url + "/api/chat.postMessage", data="{", headers=headers, timeout=10)

    assert answer.json() == {"ok": False, "error": "invalid_json"}


def test_who_posts_too_fast_is_told_how_long_to_wait(sandbox: Sandbox, slack: WebClient) -> None:
    sandbox.slack.slow_down(times=1, retry_after=7)

    with pytest.raises(SlackApiError) as failure:
        slack.chat_postMessage(channel="#scc-alerts", text="x")
    assert failure.value.response.status_code == 429
    assert failure.value.response["error"] == "ratelimited"
    assert failure.value.response.headers["Retry-After"] == "7"

    assert slack.chat_postMessage(channel="#scc-alerts", text="x")["ok"]


def test_faults_hit_slack_alone_when_told_to(sandbox: Sandbox, slack: WebClient) -> None:
    sandbox.faults.add("status", system="slack", status=503)

    with pytest.raises(SlackApiError):
        slack.chat_postMessage(channel="#scc-alerts", text="x")
    requests.get(sandbox.url + "/id", timeout=10)
    assert [(r.system, r.status) for r in sandbox.requests] == [("slack", 503), ("eloqua", 200)]


def test_messages_are_shown_and_saved(sandbox: Sandbox, slack: WebClient) -> None:
    fields = [{"title": "Failure", "value": "<b>bold</b>"}]
    slack.chat_postMessage(channel="#scc-alerts", text="a & b", attachments=[{"fields": fields}])

    window = requests.get(sandbox.url + "/_sandbox/", timeout=10).text
    lines = requests.get(sandbox.url + "/_sandbox/slack", timeout=10).text.splitlines()
    assert "a &amp; b" in window
    assert "&lt;b&gt;bold&lt;/b&gt;" in window
    assert [json.loads(line)["text"] for line in lines] == ["a & b"]
    with State.of(sandbox).start() as copy:
        assert copy.slack.messages == sandbox.slack.messages
