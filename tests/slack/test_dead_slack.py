"""Slack may be wrong, slow or dead: one warning in the log, and the run ends as it would have ended."""

import pytest

from tests import loopback
from tests.slack.conftest import Channel


def warnings(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if "Slack" in line and "WARNING" in line]


def test_without_a_token_and_a_channel_nobody_is_told_and_the_log_says_so_once(channel: Channel) -> None:
    run = channel.run_job("failing", SLACK_TOKEN=None, SLACK_CHANNEL=None)

    assert run.returncode == 65
    assert run.stderr.count("Slack") == 1
    assert "SLACK_TOKEN and SLACK_CHANNEL are not set" in run.stderr
    assert channel.sandbox.server.calls["slack"] == 0


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"SLACK_TOKEN": "xoxb-wrong"}, "refused (invalid_auth): check SLACK_TOKEN"),
        ({"SLACK_CHANNEL": "#nowhere"}, "refused (channel_not_found): check SLACK_CHANNEL"),
        ({"SLACK_CHANNEL": "#random"}, "refused (not_in_channel): check that the bot was invited"),
        ({"SLACK_CHANNEL": None}, "Slack needs both SLACK_TOKEN and SLACK_CHANNEL"),
        ({"SLACK_API_URL": "http://slack.example.com/api/"}, "SLACK_API_URL is plain http to another machine"),
        ({"SLACK_TOKEN": None, "SLACK_TOKEN_FILE": "/nowhere/token"}, "SLACK_TOKEN_FILE names a file that cannot"),
        ({"SLACK_API_URL": "http://127.0.0.1:9/api/"}, "could not be reached"),
    ],
)
def test_a_wrong_setting_is_one_clear_warning(channel: Channel, variables: dict[str, str | None], advice: str) -> None:
    run = channel.run_job("failing", **variables)

    assert run.returncode == 65, run.stderr
    (warning,) = warnings(run.stderr)
    assert advice in warning
    assert "xoxb" not in run.stderr
    assert channel.messages == []


@pytest.fixture
def hurried(channel: Channel) -> Channel:
    channel.configure(seconds="1")
    return channel


@pytest.mark.parametrize("act", [loopback.silence, loopback.dripping, loopback.reset, loopback.answer(500, b"oops")])
def test_a_slack_that_does_not_answer_in_time_does_not_hold_up_the_end(hurried: Channel, act: loopback.Act) -> None:
    with loopback.Loopback(act) as server:
        run = hurried.luigi("failing", SLACK_API_URL=f"{server.url}/api/")

    assert run.returncode == 30, run.stderr
    assert len(warnings(run.stderr)) == 1
    assert server.received


def test_a_slack_that_asks_for_patience_is_asked_again(channel: Channel) -> None:
    channel.sandbox.slack.slow_down(times=1, retry_after=1)

    channel.luigi("failing")

    assert len(channel.messages) == 1


def test_an_answer_that_got_lost_costs_a_message_told_twice_at_most(channel: Channel) -> None:
    channel.sandbox.faults.add("reset_after", system="slack", nth=1)

    run = channel.luigi("failing")

    assert run.returncode == 30
    assert warnings(run.stderr) == []
    assert len(channel.messages) in (1, 2)


@pytest.mark.parametrize("absent", ["pkg_resources", "luigi_slack"])
def test_a_package_that_is_missing_costs_a_warning_and_no_run(channel: Channel, absent: str) -> None:
    (channel.root / "sitecustomize.py").write_text(
        "import importlib.machinery as m, sys\n"
        "find = m.PathFinder.find_spec\n"
        f"m.PathFinder.find_spec = lambda name, *more: None if name == {absent!r} else find(name, *more)\n"
    )

    run = channel.luigi("well")

    assert run.returncode == 0, run.stderr
    (warning,) = warnings(run.stderr)
    assert f"not installed: {absent}" in warning


def test_what_no_proxy_names_is_not_looked_for_behind_the_proxy(channel: Channel) -> None:
    proxy = f"http://127.0.0.1:{loopback.free_port()}"

    channel.luigi("failing", HTTP_PROXY=proxy, HTTPS_PROXY=proxy, NO_PROXY="127.0.0.1")

    assert len(channel.messages) == 1
