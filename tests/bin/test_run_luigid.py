"""bin/run-luigid: what it refuses to start with, and what it then serves. luigid and PostgreSQL are the real ones."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from tests.components import database  # noqa: F401 (a fixture)
from tests.stack import CHECKOUT, PASSWORD, Daemon, free_port, get, luigid

HISTORY_PAGES = ["/history", "/history/by_name/Chore", "/metrics", "/static/visualiser/index.html"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What bin/run-luigid needs, and no more."""
    state = tmp_path / "state"
    state.mkdir()
    return {
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        "LUIGID_STATE": str(state),
        "LUIGID_PORT": str(free_port()),
        "LUIGID_DB_WAIT": "1",
    }


def start(environment: dict[str, str], *arguments: str, checkout: Path = CHECKOUT) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [checkout / "bin/run-luigid", *arguments], env=environment, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def refused(environment: dict[str, str]) -> tuple[int, str]:
    """The exit code, and the one sentence that it ends with."""
    run = start(environment)
    try:
        out, err = run.communicate(timeout=30)
    finally:
        run.kill()
    assert "Traceback" not in err
    assert PASSWORD not in out + err
    *_, last = err.splitlines()
    assert " ERROR " in last, err
    return run.returncode, last


BAD = [
    ({"LUIGID_STATE": ""}, "LUIGID_STATE is not set"),
    ({"LUIGID_STATE": "/nowhere/luigid"}, "names no folder"),
    ({"LUIGID_STATE": "/proc/self"}, "cannot be written"),
    ({"LUIGID_PORT": "http"}, "LUIGID_PORT must be a whole number"),
    ({"LUIGID_PORT": "70000"}, "LUIGID_PORT must be a whole number"),
    ({"LUIGID_ADDRESS": "203.0.113.7"}, "cannot listen on 203.0.113.7"),
    ({"LUIGID_DISCONNECT": "0"}, "LUIGID_DISCONNECT must be a whole number"),
    ({"LUIGID_RESOURCES": "eloqua_bulk=many"}, "LUIGID_RESOURCES must read like"),
    ({"LUIGID_RESOURCES": "x = 1\n[core]"}, "LUIGID_RESOURCES must read like"),
    ({"LUIGID_DB_FILE": "/nowhere/url"}, "LUIGID_DB_FILE names a file that cannot be read"),
    ({"LUIGID_DB": "postgres"}, "LUIGID_DB must read like postgresql+psycopg2://"),
    ({"LUIGID_DB": "postgresql+psycopg2://luigi@host:port/luigi"}, "LUIGID_DB must read like"),
    ({"LUIGID_DB": "postgresql://luigi@host/luigi"}, "LUIGID_DB must read like"),
    ({"LUIGID_DB": "postgresql+psycopg2://luigi@host"}, "LUIGID_DB must read like"),
    ({"LUIGID_DB": f"postgresql+psycopg2://luigi:{PASSWORD}@host/luigi"}, "LUIGID_DB must hold no password"),
]


@pytest.mark.parametrize(
    ("variables", "meaning"), BAD, ids=[" ".join(row[0].values()).strip() or "unset" for row in BAD]
)
def test_what_the_operator_can_mend_is_one_sentence_and_78(environment, variables, meaning):
    code, sentence = refused(environment | variables)

    assert (code, meaning in sentence) == (78, True), sentence


def test_an_occupied_port_is_named(environment):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        code, sentence = refused(environment | {"LUIGID_PORT": str(port)})

        assert (code, f"cannot listen on 127.0.0.1:{port}: Address already in use" in sentence) == (78, True), sentence


def test_the_outputs_volume_is_no_place_for_the_state(environment, tmp_path):
    """Every job can write there, and loading the state runs what is in it."""
    outputs = tmp_path / "outputs"
    (outputs / "luigid").mkdir(parents=True)
    (tmp_path / "link").symlink_to(outputs / "luigid")

    by_name = refused(environment | {"LUIGID_STATE": str(tmp_path / "link"), "SCC_OUTPUTS": str(outputs)})
    (outputs / "systems.json").write_text("{}")  # what makes a folder an outputs folder
    by_content = refused(environment | {"LUIGID_STATE": str(tmp_path / "link")})

    for code, sentence in (by_name, by_content):
        assert (code, "lies on the outputs volume" in sentence) == (78, True), sentence


@pytest.mark.parametrize("package", ["prometheus_client", "sqlalchemy", "psycopg2"])
def test_a_missing_package_is_named(environment, tmp_path, package):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
    url = "postgresql+psycopg2://luigi@host/luigi"

    code, sentence = refused(environment | {"PYTHONPATH": str(tmp_path), "LUIGID_DB": url})

    assert (code, f"not installed: {package}; luigid needs" in sentence) == (78, True), sentence


def test_a_python_without_luigi_is_named(environment, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (tmp_path / "bin").mkdir()
    shutil.copy(CHECKOUT / "bin/run-luigid", tmp_path / "bin")  # into a checkout without a .venv

    run = start(environment | {"PATH": f"{tmp_path}/bare/bin:/usr/bin:/bin"}, checkout=tmp_path)

    assert "luigid is not installed" in run.communicate(timeout=30)[1]
    assert run.returncode == 78


@pytest.mark.parametrize(
    ("variables", "meaning"),
    [
        ({"PGPASSWORD": "wrong"}, "password authentication failed"),
        ({"PGPASSWORD": ""}, "no password supplied"),
    ],
    ids=["wrong password", "no password"],
)
def test_a_database_that_refuses_is_not_waited_for(environment, database, variables, meaning):  # noqa: F811
    code, sentence = refused(environment | database.environment | variables | {"LUIGID_DB_WAIT": "600"})

    assert (code, meaning in sentence) == (78, True), sentence


def test_a_database_that_nobody_made_is_not_waited_for(environment, database):  # noqa: F811
    url = database.url.removesuffix("/luigi") + "/nobody_made_it"

    code, sentence = refused(environment | database.environment | {"LUIGID_DB": url, "LUIGID_DB_WAIT": "600"})

    assert (code, "does not exist" in sentence) == (78, True), sentence


def test_an_account_that_may_not_make_tables_is_told_so(environment, database):  # noqa: F811
    """PostgreSQL 15 lets nobody but its owner make tables in a database's public schema."""
    with psycopg2.connect(database.url.replace("+psycopg2", ""), password=PASSWORD) as connection:
        connection.cursor().execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    url = database.url.replace("luigi@", "guest@").removesuffix("/luigi") + "/postgres"

    code, sentence = refused(environment | database.environment | {"LUIGID_DB": url, "LUIGID_DB_WAIT": "600"})

    assert (code, "permission denied for schema public" in sentence) == (78, True), sentence


def test_a_database_that_is_not_there_in_time_ends_with_75(environment):
    url = f"postgresql+psycopg2://luigi@127.0.0.1:{free_port()}/luigi"

    code, sentence = refused(environment | {"LUIGID_DB": url, "PGPASSWORD": PASSWORD})

    assert (code, "did not answer within 1 s" in sentence) == (75, True), sentence


def test_a_database_that_hangs_at_the_start_ends_with_75(environment, database):  # noqa: F811
    database.pause()
    try:
        code, sentence = refused(environment | database.environment | {"LUIGID_DB_TIMEOUT": "1"})
    finally:
        database.resume()

    assert (code, "no answer within 1 s" in sentence) == (75, True), sentence


def test_a_database_that_comes_later_is_waited_for(environment, database):  # noqa: F811
    database.stop()
    run = start(environment | database.environment | {"LUIGID_DB_WAIT": "60"})
    try:
        assert run.stderr
        assert any("waiting up to 60 s" in line for line in run.stderr)
        database.start()
        assert any("the task history is kept in" in line for line in run.stderr)
    finally:
        run.terminate()
        run.communicate(timeout=30)
        database.stop()
        database.start()


def test_told_to_stop_while_it_waits_it_stops(environment):
    """As PID 1 it would ignore SIGTERM if nobody handled it."""
    url = f"postgresql+psycopg2://luigi@127.0.0.1:{free_port()}/luigi"
    run = start(environment | {"LUIGID_DB": url, "LUIGID_DB_WAIT": "600"})
    assert run.stderr and any("waiting up to" in line for line in run.stderr)

    run.send_signal(signal.SIGTERM)

    assert run.wait(timeout=30) == 143
    run.communicate()


def test_the_password_comes_from_a_mounted_file_and_stands_on_no_command_line(database, tmp_path):  # noqa: F811
    secret, url = tmp_path / "password", tmp_path / "url"
    secret.write_text(PASSWORD + "\n")
    url.write_text(database.url)

    with luigid({"LUIGID_DB_FILE": str(url), "PGPASSWORD_FILE": str(secret)}) as running:
        assert b"luigi" in get(f"{running.url}/history").lower()
        assert running.process
        assert PASSWORD not in Path(f"/proc/{running.process.pid}/cmdline").read_text()
        assert PASSWORD not in running.log()


def test_what_ran_stands_in_the_history_and_outlives_luigid(database, chore):  # noqa: F811
    with luigid(database.environment) as running:
        assert chore(running).returncode == 0
        for page in HISTORY_PAGES:
            assert get(running.url + page)

    with luigid(database.environment) as another:
        assert "Chore" in get(f"{another.url}/history").decode()
    assert events(database, "Chore") == ["PENDING", "RUNNING", "DONE"]


def test_without_a_database_all_but_the_history_works(chore):
    with luigid() as running:
        assert chore(running).returncode == 0
        assert b"luigi_task_done_total" in get(f"{running.url}/metrics")
        assert get(f"{running.url}/static/visualiser/index.html")
        with pytest.raises(OSError, match="500"):
            get(f"{running.url}/history")


def test_the_state_survives_a_stop_and_only_reaches_its_own_folder(chore):
    with luigid() as running:
        chore(running)
        assert running.stop() == 0
        assert (running.folder / "state/state.pickle").exists()

        running.start()

        assert known(running) == {"Chore": "DONE"}


def test_nobody_can_pause_the_scheduler_and_the_resources_are_those_given():
    with luigid({"LUIGID_RESOURCES": "eloqua_bulk=7, other=1"}) as running:
        get(f"{running.url}/api/pause")

        assert json.loads(get(f"{running.url}/api/is_paused"))["response"] == {"paused": False}
        listed = json.loads(get(f"{running.url}/api/resource_list"))["response"]
        assert {row["name"]: row["num_total"] for row in listed} == {"eloqua_bulk": 7, "other": 1}


def test_a_luigi_cfg_that_lies_around_is_not_read(tmp_path):
    """Luigi merges ./luigi.cfg and $LUIGI_CONFIG_PATH into its settings."""
    stray = tmp_path / "luigi.cfg"
    stray.write_text("[resources]\nstray = 9\n")
    with luigid({"LUIGI_CONFIG_PATH": str(stray)}) as running:
        (running.folder / "luigi.cfg").write_text(stray.read_text())
        running.stop()
        running.start()

        assert b"stray" not in get(f"{running.url}/api/resource_list")


def test_wrong_usage_is_said_and_help_needs_no_environment(environment):
    wrong, asked = start(environment, "--port=1"), start({"PATH": environment["PATH"]}, "--help")

    assert "usage: run-luigid" in wrong.communicate(timeout=30)[1]
    assert "LUIGID_DB_WAIT" in asked.communicate(timeout=30)[0]
    assert (wrong.returncode, asked.returncode) == (2, 0)


@pytest.fixture
def chore(tmp_path: Path):
    """Runs a task of one step with a luigid."""
    (tmp_path / "chores.py").write_text(
        "import luigi\n"
        "class Chore(luigi.Task):\n"
        "    def output(self): return luigi.LocalTarget('done')\n"
        "    def run(self): self.output().open('w').close()\n"
    )

    def run(running: Daemon) -> "subprocess.CompletedProcess[str]":
        command = ["luigi", "--module", "chores", "Chore", "--scheduler-url", running.url, "--no-lock"]
        environment = {"PATH": f"{sys.prefix}/bin:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def known(running: Daemon) -> dict[str, str]:
    """The state of each task, by family."""
    asked = "%7B%22status%22%3A%22%22%2C%22upstream_status%22%3A%22%22%7D"
    found = json.loads(get(f"{running.url}/api/task_list?data={asked}"))["response"]
    return {task["name"]: task["status"] for task in found.values()}


def events(database: Daemon, name: str) -> list[str]:  # noqa: F811
    """The history's events of the tasks of one name, in their order."""
    with psycopg2.connect(database.url.replace("+psycopg2", ""), password=PASSWORD) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT event_name FROM task_events e JOIN tasks t ON t.id = e.task_id WHERE t.name = %s ORDER BY e.id",
            [name],
        )
        return [row[0] for row in cursor.fetchall()]
