"""When Slack hears of a process: one message when it turns bad, one a day while it stays so, one when it is well again."""

from tests.slack.conftest import LUIGI, SLOT, Channel


def test_a_good_run_is_no_news(channel: Channel) -> None:
    run = channel.luigi("well")

    assert run.returncode == 0, run.stderr
    assert channel.messages == []


def test_a_process_that_turns_bad_is_told_with_all_that_a_reader_needs(channel: Channel) -> None:
    run = channel.run_job("failing", "Chore", "--slot", SLOT, "--local-scheduler")

    (message,) = channel.messages
    assert run.returncode == 65, run.stderr
    assert message.text == f"*Chore failed*, slot {SLOT} UTC"
    assert message.colour == "danger"
    assert "Work(part=0)" in message.fields["Failure"]
    assert (
        "chore stopped: 7 of 9 records would go, limit 5 <!channel>; this step changed nothing"
        in message.fields["Failure"]
    )
    assert "<https://docs.example.com/runbook#chore|runbook>" in message.fields["See"]
    assert message.fields["Log"] == "`oc logs job/scc-chore-29922135`"


def test_what_stays_bad_is_told_once_a_day(channel: Channel) -> None:
    for _ in range(3):
        channel.luigi("failing")
    assert len(channel.messages) == 1
    began = channel.ledger["since"]

    channel.last_told("2026-11-20")
    for _ in range(2):
        channel.luigi("failing")

    _, second = channel.messages
    assert second.text.startswith(
        f"*Chore still fails*, slot {SLOT} UTC; not well since {began[:10]} {began[11:16]} UTC"
    )


def test_a_process_that_is_well_again_is_told_once(channel: Channel) -> None:
    channel.luigi("failing")

    for _ in range(2):
        channel.luigi("well")

    _, second = channel.messages
    assert second.text.startswith(f"*Chore is well again*, slot {SLOT} UTC")
    assert second.colour == "good"
    assert second.fields["Records"].startswith("planned 5 · created 0 · updated 5")


def test_rejected_records_are_told_as_partly(channel: Channel) -> None:
    run = channel.luigi("partly")

    (message,) = channel.messages
    assert run.returncode == 0, run.stderr
    assert message.text == f"*Chore was only partly successful*, slot {SLOT} UTC"
    assert message.colour == "warning"
    assert message.fields["Records"] == "planned 5 · created 0 · updated 4 · unchanged 0 · rejected 1 · deferred 0"


def test_a_partly_finished_slot_that_is_run_again_is_not_well_again(channel: Channel) -> None:
    channel.luigi("partly")

    channel.luigi("partly")

    assert len(channel.messages) == 1


def test_partly_that_becomes_a_failure_is_told_the_same_day_and_the_way_back_is_not(channel: Channel) -> None:
    channel.luigi("partly")
    channel.luigi("failing", "--local-scheduler", "--slot", "2026-11-22T0715")
    channel.luigi("partly", "--local-scheduler", "--slot", "2026-11-22T0815")

    assert [message.text.split("*")[1] for message in channel.messages] == [
        "Chore was only partly successful",
        "Chore failed",
    ]


def test_a_message_that_could_not_be_sent_is_sent_after_the_next_run(channel: Channel) -> None:
    channel.luigi("failing", SLACK_TOKEN="xoxb-wrong")
    channel.luigi("failing")

    assert [message.text.split("*")[1] for message in channel.messages] == ["Chore failed"]


def test_a_rehearsal_is_nobodys_news(channel: Channel) -> None:
    plain = channel.luigi("failing", "--local-scheduler", "--dry-run")
    job = channel.run_job("failing", "Chore", "--slot", SLOT, "--local-scheduler", "--dry-run")

    assert (plain.returncode, job.returncode) == (30, 65), plain.stderr + job.stderr
    assert channel.messages == []


def test_a_run_that_finds_another_at_work_says_nothing_of_its_process(channel: Channel) -> None:
    run = channel.run_job("held")

    assert run.returncode == 10, run.stderr
    assert channel.messages == []
    assert not (channel.outputs / "chore/slack.json").exists()


def test_a_single_step_that_ends_well_does_not_make_its_process_well(channel: Channel) -> None:
    channel.luigi("failing")
    step = channel.run([*LUIGI[:3], "Work", "--slot", SLOT, "--part", "0", "--local-scheduler"], CHORE="well")

    assert step.returncode == 0, step.stderr
    assert len(channel.messages) == 1
    assert channel.ledger["outcome"] == "failed"


def test_a_note_that_somebody_edited_costs_a_message_and_no_run(channel: Channel) -> None:
    channel.luigi("failing")
    (channel.outputs / "chore/slack.json").write_text("{half")

    run = channel.luigi("failing")

    assert run.returncode == 30
    assert len(channel.messages) == 2


def test_a_volume_that_is_away_is_told_too(channel: Channel) -> None:
    run = channel.run_job("well", SCC_OUTPUTS="/dev/null/outputs")

    (message,) = channel.messages
    assert run.returncode == 78, run.stderr
    assert "/dev/null/outputs" in message.all
