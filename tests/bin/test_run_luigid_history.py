"""The SQL that docs/operations.md gives operators, on a history that luigid itself wrote."""

import re
import subprocess

import psycopg2
import pytest

from tests.bin.test_run_luigid import chore  # noqa: F401 (a fixture)
from tests.components import database  # noqa: F401 (a fixture)
from tests.stack import CHECKOUT, PASSWORD, get, luigid

OLD = "UPDATE task_events SET ts = ts - interval '91 days'"


@pytest.fixture
def cursor(database, chore):  # noqa: F811
    """A cursor on a history of an old Chore, and of a Fill that failed just now."""
    with luigid(database.environment) as running:
        chore(running)
        connection = psycopg2.connect(database.url.replace("+psycopg2", ""), password=PASSWORD)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(OLD)
        cursor.execute("INSERT INTO tasks (task_id, name, host) VALUES ('Fill_1', 'Fill', 'pod-1') RETURNING id")
        (task,) = cursor.fetchone()
        cursor.execute("INSERT INTO task_parameters VALUES (%s, 'slot', '2026-11-22T0615')", [task])
        cursor.execute(
            "INSERT INTO task_events (task_id, event_name, ts) VALUES (%s, 'FAILED', now() AT TIME ZONE 'UTC')", [task]
        )
        yield cursor
        assert get(f"{running.url}/history"), "luigid should still read its history"
        connection.close()


def test_the_failures_of_the_last_days_are_found(cursor):
    cursor.execute(statements()[0])

    assert [row[1:] for row in cursor.fetchall()] == [("Fill", "pod-1", "slot=2026-11-22T0615")]


def test_the_purge_takes_what_is_old_and_leaves_the_rest(cursor, database):  # noqa: F811
    environment = {"PGPASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"}
    where = ["-h", "127.0.0.1", "-p", str(database.port), "-U", "luigi", "luigi"]

    subprocess.run(
        ["psql", "-v", "ON_ERROR_STOP=1", *where], input=statements()[1], env=environment, text=True, check=True
    )

    cursor.execute("SELECT DISTINCT t.name FROM tasks t JOIN task_events e ON e.task_id = t.id")
    assert cursor.fetchall() == [("Fill",)]
    cursor.execute("SELECT count(*) FROM tasks")
    assert cursor.fetchone() == (1,)


def statements() -> list[str]:
    return re.findall(r"```sql\n(.*?)```", (CHECKOUT / "docs/operations.md").read_text(), re.DOTALL)
