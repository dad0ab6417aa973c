"""The real servers that SCC runs beside, on free ports of loopback: PostgreSQL, luigid, Pushgateway, Prometheus, Alertmanager.

    with postgresql() as database, luigid(database.environment) as scheduler:
        get(f"{scheduler.url}/history")
        database.pause()                # hangs, as a sick disk would make it
        scheduler.kill()                # SIGKILL; start() brings it back on the same port, with the same folder

Each is a Daemon: up and answering when the block begins, gone when it ends, whatever happened in between. Nothing here
needs pytest: bin/demo --stack starts its servers from here as well.
"""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

CHECKOUT = Path(__file__).parents[1]
PASSWORD = "pw-of-the-history-only"
# Debian keeps PostgreSQL's programs off the PATH
ELSEWHERE = "/usr/lib/postgresql/*/bin/"
PATIENCE = 30.0


class Missing(Exception):
    """A program that is not installed. package: the Debian package it comes in."""

    def __init__(self, command: str, package: str):
        super().__init__(f"needs {command}: install the Debian package {package}")


def program(command: str, package: str | None = None) -> str:
    """The path of a command. package: the Debian package it comes in, where that has another name. Raises Missing."""
    found = shutil.which(command) or max(map(str, Path("/").glob(f"{ELSEWHERE[1:]}{command}")), default=None)
    if not found:
        raise Missing(command, package or command)
    return found


def free_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def get(url: str, timeout: float = 10) -> bytes:
    """The body of an answer of 200 or the like; raises OSError otherwise."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as answer:
        return bytes(answer.read())


def answers(url: str) -> bool:
    try:
        get(url, timeout=2)
    except urllib.error.HTTPError as error:
        return error.code == 401  # it is up, and wants a login
    except OSError:
        return False
    return True


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true answer of condition(). Raises TimeoutError, naming `what`, after `patience` seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise TimeoutError(f"waited {patience:g} s in vain for {what}")


@dataclass
class Daemon:
    """A server of ours.

    ready: whether it answers. stop_signal: what ends it in good order. user: whom it runs as, if not us.
    environment: what a client of it needs; folder: what it keeps from one start to the next.
    """

    name: str
    command: list[str]
    folder: Path
    port: int
    ready: Callable[[], bool]
    url: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    surroundings: Mapping[str, str] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    user: str | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it answers; raises RuntimeError with its log if it ends instead."""
        self.launch()
        until(lambda: self.ready() or self.ended(), f"{self.name} to answer")
        if self.ended():
            raise RuntimeError(f"{self.name} did not start:\n{self.log()[-3000:]}")
        return self

    def launch(self) -> None:
        """Start it without waiting."""
        account = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.surroundings, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **account,
            )  # fmt: skip

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> int:
        """End it in good order, and by force after a while; its exit code."""
        self.resume()
        return self._end(self.stop_signal)

    def kill(self) -> int:
        """End it as a power failure would."""
        return self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: it keeps its connections and takes new ones, and answers nobody."""
        self._tell(signal.SIGSTOP)

    def resume(self) -> None:
        self._tell(signal.SIGCONT)

    def log(self) -> str:
        """What it said, all starts together."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._tell(signal.SIGKILL)
            return self.process.wait()

    def _tell(self, number: signal.Signals) -> None:
        """A signal to it and all its children: PostgreSQL has one for each connection."""
        if self.ended():
            return
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        for child in _children(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@contextlib.contextmanager
def _running(daemon: Daemon) -> Iterator[Daemon]:
    try:
        yield daemon.start()
    finally:
        daemon.stop()


@contextlib.contextmanager
def _folder(name: str, parent: str | None = None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"scc-{name}-", dir=parent) as folder:
        yield Path(folder)


@contextlib.contextmanager
def postgresql() -> Iterator[Daemon]:
    """PostgreSQL with an empty database `luigi`. environment: LUIGID_DB and PGPASSWORD, as bin/run-luigid wants them."""
    initdb, server = program("initdb", "postgresql"), program("postgres", "postgresql")
    isready, createdb = program("pg_isready", "postgresql-client"), program("createdb", "postgresql-client")
    # it refuses to run as root, and its own account must be able to reach the folder
    user, parent = ("postgres", "/tmp") if os.geteuid() == 0 else (None, None)
    account: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    with _folder("postgresql", parent) as folder:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if user:
            for path in (folder, secret):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        port, data = free_port(), folder / "data"
        subprocess.run(
            [initdb, "--no-sync", "--auth=scram-sha-256", "--username=luigi", f"--pwfile={secret}", "--encoding=UTF8",
             "--locale=C", f"--pgdata={data}"],
            cwd=folder, stdout=subprocess.DEVNULL, check=True, **account,
        )  # fmt: skip
        command = [server, "-D", str(data), "-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
        where = ["--host=127.0.0.1", f"--port={port}"]
        surroundings = {**os.environ, "PGPASSWORD": PASSWORD, "PGUSER": "luigi"}
        daemon = Daemon(
            "postgresql", command, folder, port,
            lambda: subprocess.run([isready, "--quiet", "--timeout=2", *where], check=False).returncode == 0,
            url=f"postgresql+psycopg2://luigi@127.0.0.1:{port}/luigi",
            stop_signal=signal.SIGINT, user=user,
        )  # fmt: skip
        daemon.environment = {"LUIGID_DB": daemon.url, "PGPASSWORD": PASSWORD}
        with _running(daemon):
            subprocess.run([createdb, *where, "luigi"], env=surroundings, check=True)
            yield daemon


@contextlib.contextmanager
def luigid(environment: Mapping[str, str] = {}) -> Iterator[Daemon]:
    """luigid by bin/run-luigid; environment adds to, or replaces, what it is given. environment: LUIGID_URL."""
    with _folder("luigid") as folder:
        port = free_port()
        (folder / "state").mkdir()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LUIGI", "SCC_", "PG"))}
        surroundings = {
            **clean,
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
            "LUIGID_PORT": str(port),
            "LUIGID_ADDRESS": "127.0.0.1",
            "LUIGID_STATE": str(folder / "state"),
            **environment,
        }
        url = f"http://127.0.0.1:{port}"
        daemon = Daemon(
            "luigid", [str(CHECKOUT / "bin/run-luigid")], folder, port, lambda: answers(f"{url}/metrics"), url=url,
            environment={"LUIGID_URL": url}, surroundings=surroundings,
        )  # fmt: skip
        with _running(daemon):
            yield daemon


@contextlib.contextmanager
def pushgateway(*options: str) -> Iterator[Daemon]:
    """A Pushgateway that forgets all when it ends. options: more of its own. environment: PUSHGATEWAY_URL."""
    with _folder("pushgateway") as folder:
        # Debian's keeps its metrics in a file of the machine unless told otherwise
        daemon = _web("pushgateway", "prometheus-pushgateway", folder, ["--persistence.file=", *options])
        daemon.environment = {"PUSHGATEWAY_URL": daemon.url}
        with _running(daemon):
            yield daemon


@contextlib.contextmanager
def alertmanager(config: Mapping[str, Any]) -> Iterator[Daemon]:
    """Alertmanager; config: its configuration file, see `to_webhook`."""
    with _folder("alertmanager") as folder:
        options = [f"--storage.path={folder / 'data'}", "--cluster.listen-address="]  # one alone
        with _running(_web("alertmanager", "prometheus-alertmanager", folder, options, config)) as daemon:
            yield daemon


@contextlib.contextmanager
def prometheus(config: Mapping[str, Any]) -> Iterator[Daemon]:
    """Prometheus; config: its configuration file, see `scraping`."""
    with _folder("prometheus") as folder:
        # it finds Alertmanager only after its first look at the rules, and would tell of them again after a minute
        options = [f"--storage.tsdb.path={folder / 'data'}", "--rules.alert.resend-delay=1s"]
        with _running(_web("prometheus", "prometheus", folder, options, config)) as daemon:
            yield daemon


def _web(name: str, command: str, folder: Path, options: list[str], config: Mapping[str, Any] | None = None) -> Daemon:
    """A server of Prometheus' family."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    if config is not None:
        file = folder / f"{name}.json"  # which is YAML as well
        file.write_text(json.dumps(config))
        options = [f"--config.file={file}", *options]
    line = [program(command), f"--web.listen-address=127.0.0.1:{port}", *options]
    return Daemon(name, line, folder, port, lambda: answers(f"{url}/-/ready"), url=url)


def scraping(
    targets: Mapping[str, str], rules: list[Path] | None = None, alertmanager: str = "", interval: str = "1s"
) -> dict[str, Any]:
    """A configuration of Prometheus.

    targets: base URLs by job, as {"pushgateway": gateway.url}. rules: rule files. alertmanager: its URL, "" for none.
    interval: between two scrapes and two evaluations.
    """
    notified = [{"static_configs": [{"targets": [_host(alertmanager)]}]}] if alertmanager else []
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(path.resolve()) for path in rules or []],
        "alerting": {"alertmanagers": notified},
        "scrape_configs": [
            {"job_name": job, "honor_labels": True, "static_configs": [{"targets": [_host(url)]}]}
            for job, url in targets.items()
        ],
    }


def to_webhook(url: str = "", wait: str = "1s") -> dict[str, Any]:
    """A configuration of Alertmanager that tells one webhook of every alert and its end; url "": tells nobody.

    wait: before the first message and between two of a group.
    """
    hooks = [{"url": url, "send_resolved": True}] if url else []
    return {
        "route": {"receiver": "all", "group_by": ["..."], "group_wait": wait, "group_interval": wait},
        "receivers": [{"name": "all", "webhook_configs": hooks}],
    }


def _host(url: str) -> str:
    return url.removeprefix("http://").rstrip("/")
