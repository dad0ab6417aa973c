"""However a run ends badly, Slack hears of it: each blind spot of luigi-slack (luigi.md 3), in real runs."""

from pathlib import Path

import pytest

from tests.bin.conftest import luigid
from tests.loopback import free_port
from tests.slack.conftest import PRIVATE, SLOT, Channel

LOCAL = "--local-scheduler"
SENTENCE = "chore stopped: 7 of 9 records would go"
ENDINGS = [
    ("a step that fails", "failing", [LOCAL], 30, "Failure", SENTENCE),
    ("a step that fails in a forked worker", "failing", [LOCAL, "--workers", "2"], 30, "Failure", SENTENCE),
    ("a step that is always forked", "forked", [LOCAL], 30, "Failure", SENTENCE),
    ("a step that takes too long", "endless", [LOCAL], 30, "Failure", "took longer than its limit"),
    ("a killed worker", "killed", [LOCAL, "--workers", "2"], 30, "Failure", "died with exit code -9"),
    ("a step whose output cannot be looked at", "unknowable", [LOCAL], 35, "Failure", "RuntimeError: (address)"),
    ("a step whose output has no place", "nowhere", [LOCAL], 35, "Failure", "KeyError: '…'"),
    ("a step that cannot be planned", "unplannable", [LOCAL], 35, "Failure", "KeyError: '…'"),
    ("an input from outside that is missing", "absent", [LOCAL], 20, "Missing", "Absent"),
]


@pytest.mark.parametrize(
    ("how", "options", "code", "heading", "text"), [row[1:] for row in ENDINGS], ids=[row[0] for row in ENDINGS]
)
def test_a_run_that_ends_badly_is_told_with_its_reason(
    channel: Channel, how: str, options: list[str], code: int, heading: str, text: str
) -> None:
    run = channel.luigi(how, *options, PARTS="2" if "--workers" in options else "1")

    (message,) = channel.messages
    assert run.returncode == code, run.stderr
    assert message.text.startswith("*Chore failed*")
    assert text in message.fields[heading]
    assert "Work" in message.fields[heading] or how == "absent"
    assert "somebody@" not in message.all


def test_a_luigid_that_cannot_be_reached_is_told(channel: Channel) -> None:
    channel.configure(rpc_retry_attempts="1", rpc_retry_wait="1")

    run = channel.luigi("well", "--scheduler-url", f"http://127.0.0.1:{free_port()}")

    (message,) = channel.messages
    assert run.returncode == 40, run.stderr
    assert "luigid did not answer" in message.fields["Failure"]
    assert "<https://luigi.example.com/static/visualiser/index.html#tab=graph&taskId=Chore_" in message.fields["See"]
    assert "&visType=d3|graph>" in message.fields["See"]


def test_luigids_own_address_is_linked_without_its_password(channel: Channel) -> None:
    channel.configure(rpc_retry_attempts="1", rpc_retry_wait="1")
    port = free_port()

    channel.luigi("well", "--scheduler-url", f"http://scc:pw-0817@127.0.0.1:{port}/", LUIGID_PUBLIC_URL=None)

    (message,) = channel.messages
    assert f"<http://127.0.0.1:{port}/static/visualiser/index.html#tab=graph" in message.fields["See"]
    assert "pw-0817" not in message.all


def test_a_step_that_recovers_within_its_run_is_no_news(channel: Channel) -> None:
    channel.configure(retry_count="3", section="\n")
    text = (channel.root / "luigi.cfg").read_text().replace("[scheduler]", "[scheduler]\nretry_delay = 0")
    (channel.root / "luigi.cfg").write_text(text)

    run = channel.luigi("twice", LOCAL, "--worker-keep-alive")

    assert "the first try fails" in run.stderr
    assert run.returncode == 0, run.stderr
    assert channel.messages == []


def test_of_many_failures_the_first_are_named_and_the_others_counted(channel: Channel) -> None:
    channel.luigi("failing", PARTS="9")

    (message,) = channel.messages
    lines = message.fields["Failure"].splitlines()
    assert len(lines) == 6
    assert all("Work(part=" in line and SENTENCE in line for line in lines[:5])
    assert "and 4 more" in lines[5]


def test_one_fault_that_passes_through_many_steps_is_told_of_the_first(channel: Channel) -> None:
    channel.luigi("well")

    run = channel.luigi("nowhere")

    (message,) = channel.messages
    assert run.returncode == 35, run.stderr
    assert message.fields["Failure"].startswith("Task: Work(part=0); Exception: KeyError")
    assert len(message.fields["Failure"].splitlines()) == 1
    assert "Missing" not in message.fields


@pytest.mark.parametrize("options", [[LOCAL], [LOCAL, "--workers", "2"]])
def test_neither_private_parameters_nor_what_strangers_quote_leave_the_process(
    channel: Channel, options: list[str]
) -> None:
    run = channel.luigi("strange", *options, "--Work-note", PRIVATE, PARTS="2")

    assert run.returncode == 30, run.stderr
    posted = str(channel.sandbox.slack.messages)
    assert "ValueError: cannot send to (address) '…'." in posted
    for secret in (PRIVATE, "somebody", "secret-0816", "More on that", *channel.environment.values()):
        if secret not in (channel.environment["RUNBOOK_URL"], channel.environment["JOB_NAME"]) and len(secret) > 3:
            assert secret not in posted


def test_nothing_that_an_error_says_can_call_a_channel(channel: Channel) -> None:
    channel.luigi("failing")

    (posted,) = channel.sandbox.slack.messages
    assert "&lt;!channel&gt;" in str(posted)
    assert "<!channel>" not in str(posted)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_that_is_told_to_stop_is_told(channel: Channel, workers: str) -> None:
    with channel.running(LOCAL, "--workers", workers, PARTS=workers) as run:
        run.terminate()

    (message,) = channel.messages
    assert run.returncode == {"1": 30, "2": 143}[workers]
    assert "told to stop" in message.all


def test_a_run_whose_steps_another_worker_runs_is_no_news(channel: Channel, tmp_path: Path) -> None:
    port = free_port()
    channel.luigi("failing")

    with luigid(port, tmp_path) as url, channel.running("--scheduler-url", url):
        second = channel.run_job("well", "Chore", "--slot", SLOT, LUIGID_URL=url, SCC_LUIGID_WAIT="10")
        told = channel.messages

    assert second.returncode == 10, second.stderr
    assert [message.text.split("*")[1] for message in told] == ["Chore failed"]
    assert [message.text.split("*")[1] for message in channel.messages] == ["Chore failed", "Chore is well again"]


def test_a_question_for_help_is_no_run(channel: Channel) -> None:
    asked = channel.luigi("well", "--help")

    assert asked.returncode == 0
    assert channel.messages == []
