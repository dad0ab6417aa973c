"""The history's database fails; the jobs do not notice. PostgreSQL, luigid, bin/run-job and Enrichment are the real ones."""

import psycopg2

from tests.failures.conftest import NEXT, SLOT, filled
from tests.stack import PASSWORD, get, until


def test_a_database_that_is_stopped_while_a_job_runs_costs_history_alone(sandbox, jobs, waiting, recording, database):
    sandbox.on("POST", "/imports$", lambda request: database.stop())

    job = jobs.run(SLOT, **recording.environment)

    assert job.process.returncode == 0, job.log()
    assert filled(sandbox, waiting)
    assert "Error saving Task history" in recording.log()
    database.start()
    assert jobs.run(NEXT, **recording.environment).process.returncode == 0
    until(lambda: recorded(database, NEXT) == {"PENDING", "RUNNING", "DONE"}, "the history of the next run")


def test_a_database_that_was_restarted_while_nothing_ran_loses_no_event(sandbox, jobs, waiting, recording, database):
    """luigid's connections in its pool are dead then."""
    assert jobs.run(SLOT, **recording.environment).process.returncode == 0
    database.stop()
    database.start()

    assert jobs.run(NEXT, **recording.environment).process.returncode == 0

    assert recorded(database, NEXT) == {"PENDING", "RUNNING", "DONE"}
    assert "Error saving Task history" not in recording.log()


def test_a_database_that_hangs_holds_up_neither_luigid_nor_a_job(sandbox, jobs, waiting, recording, database):
    sandbox.on("POST", "/imports$", lambda request: database.pause())

    job = jobs.run(SLOT, **recording.environment)

    assert job.process.returncode == 0, job.log()
    assert not database.ready(), "it should hang still"
    assert filled(sandbox, waiting)
    assert get(f"{recording.url}/metrics")
    database.resume()
    until(
        lambda: jobs.run(NEXT, **recording.environment).process.returncode == 0 and recorded(database, NEXT), "history"
    )


def recorded(database, slot: str) -> set[str]:
    """The events that the history has of the process's task for a slot."""
    with psycopg2.connect(database.url.replace("+psycopg2", ""), password=PASSWORD) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT event_name FROM task_events e JOIN tasks t ON t.id = e.task_id "
            "JOIN task_parameters p ON p.task_id = t.id WHERE t.name = 'Enrichment' AND p.value = %s",
            [slot],
        )
        return {row[0] for row in cursor.fetchall()}
