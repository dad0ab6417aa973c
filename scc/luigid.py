"""luigid as SCC runs it: `python3 -m scc.luigid`, which is what bin/run-luigid becomes.

Settings come from the environment (bin/run-luigid --help names them). The task history must not be able to hold up the
scheduler, which answers all workers on one thread (luigi.md 2): no wait for the database lasts longer than
LUIGID_DB_TIMEOUT seconds, and after one that did the history keeps silent for LUIGID_DB_SILENCE seconds. What happens
meanwhile is missing from it.

Job containers import nothing of this; SQLAlchemy and psycopg2 are luigid's own (luigid-requirements.txt).
"""

import importlib.util
import logging
import os
import re
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scc.config import variable
from scc.errors import ConfigError, SccError

if TYPE_CHECKING:
    from luigi.db_task_history import DbTaskHistory
    from luigi.scheduler import Scheduler
    from sqlalchemy import URL

log = logging.getLogger(__name__)

# luigi.md 10, each tried there; `${...}` is put in by Luigi itself, so that no value can break out of its line
CONFIG = """
[core]
autoload_range = false
[scheduler]
# a dead worker's tasks and resources are free after {disconnect} s: more than 3 x rpc_retry_wait of luigi.cfg
worker_disconnect_delay = {disconnect}
prune_on_get_work = true
# a failed step ends its run, and is shown as failed until another run submits it (see submissions_count): luigid itself
# retries nothing. Workers that wait ask more often (luigi.cfg, wait_interval) than every disable_persist seconds, and so
# give up when the step that they wait for fails, or its worker dies
retry_count = 1
retry_delay = -1
disable_persist = 5
stable_done_cooldown_secs = 0
# seconds a finished run's graph can be looked at
remove_delay = 86400
# anybody who reaches luigid could stop all processes
pause_enabled = false
send_messages = false
metrics_collector = prometheus
record_task_history = {history}
[task_history]
db_connection = ${{LUIGID_DB}}
[resources]
{resources}
"""
DRIVER = "postgresql+psycopg2"
# what PostgreSQL says while it starts or stops, or is full; every other refusal is for a person to mend
PASSING = re.compile(r"FATAL: +(the database system|too many|sorry, too many|terminating|remaining connection)")
REFUSAL = re.compile(r"FATAL: |no password supplied|certificate")


class NotThere(SccError):
    """The database did not answer in time."""

    exit_code = 75


@dataclass(frozen=True)
class Settings:
    """What the environment says. state: luigid's file. database: None for no history. Times are seconds."""

    address: str
    port: int
    state: Path
    database: "URL | None"
    database_wait: float
    database_timeout: float
    database_silence: float
    disconnect: int
    resources: dict[str, int]

    @property
    def config(self) -> str:
        """luigi.cfg, as luigid reads it."""
        return CONFIG.format(
            disconnect=self.disconnect,
            history=str(self.database is not None).lower(),
            resources="\n".join(f"{name} = {amount}" for name, amount in self.resources.items()),
        )


def main() -> int:
    """Run luigid until it is told to stop; the exit code."""
    logging.basicConfig(
        format="%(asctime)sZ %(levelname)-7s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S", level=logging.INFO
    )
    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    os.environ["TZ"] = "UTC"  # the history's times are local ones
    time.tzset()
    signal.signal(signal.SIGTERM, _stopped_early)  # as PID 1 we would not heed it before luigid does
    try:
        settings = read_settings()
        free(settings.address, settings.port)
        configure(settings)
        serve(settings, opened_history(settings) if settings.database else None)
    except SccError as error:
        log.error("%s", error)
        return error.exit_code or 1
    return 0


def _stopped_early(number: int, frame: object) -> None:
    sys.exit(128 + number)


def read_settings() -> Settings:
    """The environment, checked. Raises ConfigError."""
    database = variable("LUIGID_DB", "")
    needed = ["luigi", "prometheus_client", *(["sqlalchemy", "psycopg2"] if database else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"not installed: {', '.join(missing)}; luigid needs the packages of luigid-requirements.txt")
    os.environ["LUIGID_DB"] = database  # Luigi reads it there
    if not os.environ.get("PGPASSWORD") and os.environ.get("PGPASSWORD_FILE"):
        os.environ["PGPASSWORD"] = variable("PGPASSWORD")  # libpq's variable: the password is in no URL
    return Settings(
        address=variable("LUIGID_ADDRESS", "127.0.0.1"),
        port=_whole("LUIGID_PORT", "8082", 65535),
        state=state_file(Path(variable("LUIGID_STATE"))),
        database=database_url(database) if database else None,
        database_wait=_whole("LUIGID_DB_WAIT", "60", 86400, least=0),
        database_timeout=_whole("LUIGID_DB_TIMEOUT", "2", 60),
        database_silence=_whole("LUIGID_DB_SILENCE", "30", 3600),
        disconnect=_whole("LUIGID_DISCONNECT", "30", 3600),
        resources=amounts(variable("LUIGID_RESOURCES", "eloqua_bulk=4")),
    )


def _whole(name: str, default: str, most: int, least: int = 1) -> int:
    value = variable(name, default)
    if not re.fullmatch(r"\d{1,6}", value) or not least <= int(value) <= most:
        raise ConfigError(f"{name} must be a whole number from {least} to {most:,}, not {value!r}")
    return int(value)


def amounts(text: str) -> dict[str, int]:
    """`eloqua_bulk=4 other=1`, on one line or several, as a dict. Raises ConfigError."""
    found = {}
    for word in text.replace(",", " ").split():
        name, _, amount = word.partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not re.fullmatch(r"[1-9]\d{0,4}", amount):
            raise ConfigError(f"LUIGID_RESOURCES must read like eloqua_bulk=4, not {word!r}")
        found[name] = int(amount)
    return found


def state_file(folder: Path) -> Path:
    """luigid's file in a folder that only luigid may write: it is a pickle, and loading one runs what is in it.

    Raises ConfigError for a folder that is not there or not writable, and for one on an outputs volume.
    """
    if not folder.is_dir():
        raise ConfigError(f"LUIGID_STATE names no folder: {folder}; mount luigid's own volume there")
    place = folder.resolve()
    outputs = os.environ.get("SCC_OUTPUTS")
    shared = [parent for parent in (place, *place.parents) if (parent / "systems.json").exists()]
    if shared or (outputs and place.is_relative_to(Path(outputs).resolve())):
        raise ConfigError(f"LUIGID_STATE lies on the outputs volume, where every job can write: {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"LUIGID_STATE cannot be written: {folder}")
    return place / "state.pickle"


def database_url(text: str) -> "URL":
    """LUIGID_DB, parsed. Raises ConfigError, which does not quote it, unless it reads as it should."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    form = f"LUIGID_DB must read like {DRIVER}://user@host:5432/database"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise ConfigError(form) from None
    if url.drivername != DRIVER or not url.username or not url.host or not url.database:
        raise ConfigError(form)
    if url.password is not None:
        raise ConfigError("LUIGID_DB must hold no password: give it as PGPASSWORD or PGPASSWORD_FILE")
    return url


def free(address: str, port: int) -> None:
    """Raise ConfigError unless luigid can listen there."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
    except OSError as error:
        raise ConfigError(f"luigid cannot listen on {address}:{port}: {error.strerror or error}") from None


def configure(settings: Settings) -> None:
    """Give Luigi this configuration alone, instead of the files that it looks for: one in the working folder counts."""
    from luigi.configuration import get_config

    config = get_config()
    for section in config.sections():
        config.remove_section(section)
    config.read_string(settings.config)
    config.set("scheduler", "state_path", str(settings.state).replace("%", "%%"))


def opened_history(settings: Settings) -> "DbTaskHistory":
    """The task history, its tables made, once the database answers.

    Raises NotThere when it does not within settings.database_wait, ConfigError when it refuses us.
    """
    import psycopg2
    import psycopg2.extensions
    from sqlalchemy import event
    from sqlalchemy.exc import DBAPIError

    assert settings.database
    # for the server, so that it gives up a question that we no longer wait for
    timeout = f"-c statement_timeout={settings.database_timeout:g}s"
    os.environ["PGOPTIONS"] = f"{os.environ.get('PGOPTIONS', '')} {timeout}".strip()
    os.environ.setdefault("PGAPPNAME", "luigid")
    bounds = Bounds(settings.database_timeout, settings.database_silence)
    psycopg2.extensions.set_wait_callback(bounds.wait)
    from luigi.db_task_history import DbTaskHistory

    where = f"the database {settings.database.host}:{settings.database.port or 5432}/{settings.database.database}"
    log.info("waiting up to %g s for %s", settings.database_wait, where)
    end = time.monotonic() + settings.database_wait
    while True:
        try:
            history = DbTaskHistory()
            break
        except DBAPIError as error:
            problem = " ".join(str(error.orig).split()) or type(error.orig).__name__
            refused = isinstance(error.orig, psycopg2.ProgrammingError) or REFUSAL.search(problem)
            if refused and not PASSING.search(problem):
                raise ConfigError(f"{where} refuses the task history: {problem}") from None
        if time.monotonic() + 1 > end:
            raise NotThere(f"{where} did not answer within {settings.database_wait:g} s: {problem}") from None
        time.sleep(1)
    event.listen(history.engine, "do_connect", bounds.before_connecting)
    event.listen(history.engine, "checkout", still_there)
    log.info("the task history is kept in %s", where)
    return history


class Bounds:
    """How long psycopg2 may wait for the database: timeout seconds for an answer; then no question for silence seconds."""

    def __init__(self, timeout: float, silence: float):
        self._timeout, self._silence = timeout, silence
        self._silent_until = 0.0

    def wait(self, connection: Any) -> None:
        """Psycopg2's wait callback. When it raises, psycopg2 closes the connection, and SQLAlchemy drops it."""
        import psycopg2
        from psycopg2.extensions import POLL_OK, POLL_READ

        end = time.monotonic() + self._timeout
        while (state := connection.poll()) != POLL_OK:
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                self._silent_until = time.monotonic() + self._silence
                raise psycopg2.OperationalError(f"no answer within {self._timeout:g} s")

    def before_connecting(self, *_: object) -> None:
        """SQLAlchemy's do_connect event: keeps silent for a while instead of making every worker wait."""
        import psycopg2

        if time.monotonic() < self._silent_until:
            raise psycopg2.OperationalError("the database hung a moment ago; the history keeps silent")


def still_there(connection: Any, *_: object) -> None:
    """SQLAlchemy's checkout event: a restarted database must not cost the first event (luigi.md 2)."""
    import psycopg2
    from sqlalchemy.exc import DisconnectionError

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg2.Error:
        raise DisconnectionError from None


def serve(settings: Settings, history: "DbTaskHistory | None") -> None:
    """Luigi's server, until SIGTERM: then it saves its state, and this process exits with 0."""
    import luigi.server
    from luigi.scheduler import Scheduler

    scheduler = Scheduler(task_history_impl=history)
    submissions_count(scheduler)
    log.info("luigid listens on %s:%s", settings.address, settings.port)
    luigi.server.run(settings.port, settings.address, scheduler=scheduler)


def submissions_count(scheduler: "Scheduler") -> None:
    """Let a run that submits a step which has just failed run it.

    Luigi disables the step for disable_persist seconds and passes over who submits it meanwhile: such a run would be
    refused, or, if it waits in the queue, wait in vain for SCC_BULK_WAIT seconds.
    """
    add_task = scheduler.add_task

    def add(**task: Any) -> Any:
        if task.get("status", "PENDING") == "PENDING":
            scheduler.re_enable_task(task["task_id"])
        return add_task(**task)

    scheduler.add_task = add


if __name__ == "__main__":
    sys.exit(main())
