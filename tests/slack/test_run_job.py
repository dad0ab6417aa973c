"""bin/run-job tells Slack what a run cannot: it never came as far as to import its process, or it was killed. Never twice."""

import pytest

from tests.slack.conftest import SLOT, Channel

USUAL = ("Chore", "--slot", SLOT, "--local-scheduler")


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "text"),
    [
        ((*USUAL, "--colour", "red"), {}, 2, "mend the command line"),
        (("Choir", "--slot", SLOT), {}, 78, "unknown process 'Choir'"),
        (("Chore", "--local-scheduler"), {"JOB_NAME": "by-hand"}, 78, "does not end in a scheduled minute"),
        (USUAL, {"ELOQUA_PASSWORD": None}, 78, "missing, also as NAME_FILE: ELOQUA_PASSWORD"),
        (USUAL, {"LUIGI_CONFIG_PATH": "/nowhere/luigi.cfg"}, 78, "luigi.cfg cannot be read"),
        (("Chore", "--slot", "yesterday", "--local-scheduler"), {}, 40, "a value of the wrong form"),
    ],
)
def test_what_happens_before_the_run_can_speak_is_told(
    channel: Channel, arguments: tuple[str, ...], variables: dict[str, str | None], code: int, text: str
) -> None:
    run = channel.run_job("well", *arguments, **variables)

    (message,) = channel.messages
    assert run.returncode == code, run.stderr
    assert f"*{arguments[0]} failed*" in message.text
    assert text in message.fields["Why"]
    assert f"(exit code {code})" in message.fields["Why"]


def test_a_module_that_cannot_be_imported_is_told(channel: Channel) -> None:
    (channel.root / "jobs/chore.py").write_text("class Chore(Undefined): pass\n")

    run = channel.run_job("well")

    (message,) = channel.messages
    assert run.returncode == 1
    assert "mend the image or the module (exit code 1)" in message.fields["Why"]


def test_a_run_that_is_killed_is_told(channel: Channel) -> None:
    """As when the machine has no memory left: with one worker the step runs in Luigi's own process."""
    run = channel.run_job("killed")

    (message,) = channel.messages
    assert run.returncode == 137, run.stderr
    assert "killed, perhaps out of memory (exit code 137)" in message.fields["Why"]
    assert message.fields["Log"] == "`oc logs job/scc-chore-29922135`"


def test_it_is_told_once_a_day_too_and_well_again_by_the_run(channel: Channel) -> None:
    channel.run_job("killed")
    channel.run_job("killed")
    channel.run_job("well", ELOQUA_PASSWORD=None)
    channel.run_job("well")

    assert [message.text.split("*")[1] for message in channel.messages] == ["Chore failed", "Chore is well again"]


@pytest.mark.parametrize("how", ["failing", "absent", "unplannable"])
def test_what_the_run_told_is_not_told_again(channel: Channel, how: str) -> None:
    channel.run_job(how)

    assert len(channel.messages) == 1
    assert channel.sandbox.server.calls["slack"] == 1


def test_a_rehearsal_that_cannot_start_is_nobodys_news(channel: Channel) -> None:
    run = channel.run_job("well", *USUAL, "--dry-run", ELOQUA_PASSWORD=None)

    assert run.returncode == 78
    assert channel.messages == []


def test_a_missing_credential_is_told_once_a_day_where_the_volume_is_there(channel: Channel) -> None:
    channel.run_job("well")

    for _ in range(2):
        channel.run_job("well", SALESFORCE_URL=None)

    assert len(channel.messages) == 1


def test_the_mistyped_name_of_a_process_leaves_no_folder_elsewhere(channel: Channel) -> None:
    channel.run_job("well")

    around = sorted(channel.root.iterdir())

    run = channel.run_job("well", "../Chore", "--slot", SLOT)

    assert run.returncode == 78
    assert len(channel.messages) == 1
    assert sorted(path.name for path in channel.outputs.iterdir()) == ["chore", "systems.json"]
    assert sorted(channel.root.iterdir()) == around
