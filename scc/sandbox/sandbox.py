"""The sandbox as a whole: store, clock, the systems, faults, and the server in front of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox import eloqua as eloqua_system
from scc.sandbox import slack as slack_system
from scc.sandbox.clock import Clock
from scc.sandbox.faults import Faults
from scc.sandbox.http import Request, Response, text_response
from scc.sandbox.seed import Size, found_company
from scc.sandbox.store import Store

if TYPE_CHECKING:
    from scc.sandbox.server import LoggedRequest
    from scc.sandbox.state import State

DEFAULT_CONTACTS = 20_000
LOGIN = re.compile(r"/+(id|auth)(/|$)", re.IGNORECASE)  # login.eloqua.com: it belongs to no pod
WAITING_SHARE = 0.05
ACTIVITIES_EACH = 3


class Sandbox:
    """Eloqua and Salesforce on loopback, in this process.

        with Sandbox(contacts=200, seed=1, now="2026-11-22T06:15:00Z", sync_polls=1) as sandbox:
            requests.get(sandbox.url + "/id", auth=...)

    contacts, waiting: Eloqua contacts, and custom-object records that wait (default 5 % of all records).
    activities: about so many (default 3 a contact). state: a saved state instead of a company; then only port counts.
    now: an instant at which the clock stands until it is advanced; without it the real clock.
    sync_polls: the GET of a sync that finds it final. sync_seconds: instead, so long after its start it is, on the
    sandbox's clock or the real one. page_size: rows of a Salesforce query page.
    """

    def __init__(
        self,
        contacts: int = DEFAULT_CONTACTS,
        seed: int = 1,
        now: datetime | str | None = None,
        sync_polls: int | None = 2,
        waiting: int | None = None,
        page_size: int = 2000,
        port: int = 0,
        sync_seconds: float | None = None,
        activities: int | None = None,
        state: State | None = None,
    ) -> None:
        self._port = port
        self.clock = Clock(now)
        self.store = Store(self.clock)
        self.faults = Faults(seed)
        size = Size(
            contacts,
            round(contacts * WAITING_SHARE) if waiting is None else waiting,
            contacts * ACTIVITIES_EACH if activities is None else activities,
        )
        # While DuckDB makes the company, which holds up no other thread, Python reads modules and builds the rest: a
        # third of what a small sandbox's start takes.
        with ThreadPoolExecutor(2) as pool:
            building = pool.submit(self._build_eloqua, seed, sync_polls, sync_seconds)
            if state is None:
                founding = pool.submit(found_company, self.store, building, seed, self.clock.naive, size)
            eloqua = building.result()
            self.systems: dict[str, Any] = {"eloqua": eloqua}
            self.eloqua = eloqua.door
            self._build(seed, page_size)
            if state is None:
                founding.result()
        if state is not None:
            state.fill(self)
        self.seed: int = eloqua.seed

    def _build_eloqua(self, seed: int, sync_polls: int | None, sync_seconds: float | None) -> eloqua_system.Eloqua:
        eloqua = eloqua_system.Eloqua(self.store, self.clock, seed, None if sync_seconds is not None else sync_polls)
        if sync_seconds is not None:
            eloqua.limits.sync_seconds = sync_seconds
        return eloqua

    def _build(self, seed: int, page_size: int) -> None:
        """All that no company is made with, imported here for that reason."""
        from scc.sandbox.control import Control
        from scc.sandbox.salesforce import Salesforce
        from scc.sandbox.salesforce.door import Door as SalesforceDoor
        from scc.sandbox.server import Server
        from scc.sandbox.state import find_parts

        self.systems["salesforce"] = Salesforce(self.store, self.clock, seed, page_size)
        self.salesforce = SalesforceDoor(self.systems["salesforce"])
        self.slack = self.systems["slack"] = slack_system.Slack(self.clock)
        self.parts = find_parts(clock=self.clock, store=self.store, faults=self.faults, **self.systems)
        self._control = Control(self)
        self.server = Server(self._answer, system_of, self.clock, self.faults)
        self.server.effects = {
            "expired_token": lambda request, fault: self.systems[request.system].auth.expire_tokens(),
            "pod_move": lambda request, fault: self.move_pod(fault.port),
        }

    # -- state ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole state to a file, between two requests. Raises OSError. See state.py."""
        from scc.sandbox.state import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], port: int = 0) -> Sandbox:
        """A sandbox, not started yet, in the state of a file. Raises OSError, BadState."""
        from scc.sandbox.state import State

        return State.load(path).sandbox(port)

    def copy(self) -> Sandbox:
        """An independent sandbox, not started yet, in the same state. For many copies: State.of(sandbox).start()."""
        from scc.sandbox.state import State

        return State.of(self).sandbox()

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Sandbox:
        """Listen on 127.0.0.1. Raises OSError when the port is taken."""
        self.server.start(self._port)
        for system in self.systems.values():
            system.base_url = self.url
        self._find_pod()
        return self

    def stop(self) -> None:
        self.server.stop()
        self.store.close()

    def __enter__(self) -> Sandbox:
        return self if self.server.port else self.start()  # what State.start() gives has been started

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def env(self) -> dict[str, str]:
        """The variables that point a client at this sandbox."""
        return environment(self.server.port)

    # -- what tests use ---------------------------------------------------------------------------------------------

    def on(self, method: str, path: str, call: Callable[[Request], Any], nth: int | None = 1) -> None:
        """Run `call(request)` when the n-th request fits (None: every), before it is answered.

        method: "*" for any. path: a regular expression, searched without case.
        """
        from scc.sandbox.server import Hook

        self.server.hooks.append(Hook(method, path, call, nth))

    @property
    def requests(self) -> list[LoggedRequest]:
        """The requests to Eloqua and Salesforce in order of their answers; /_sandbox is not counted."""
        return list(self.server.requests)

    @property
    def mutations(self) -> list[dict[str, Any]]:
        """Every change of business data since the start: see Store.mutations."""
        return [json.loads(line) for line in self.store.mutations()]

    def summary(self) -> dict[str, Any]:
        return self._control.summarize()

    def move_pod(self, port: int = 0) -> str:
        """Move Eloqua's API to another port (0: any free one) and return its new base URL.

        The old base answers 401 from now on; /id, here as before, names the new one (eloqua.md 1.1).
        Raises OSError when the port is taken.
        """
        eloqua = self.systems["eloqua"]
        eloqua.pod_port = self.server.listen(port)
        eloqua.base_url = f"http://127.0.0.1:{eloqua.pod_port}"
        return eloqua.base_url

    def _find_pod(self) -> None:
        """A pod that had moved when the state was saved is away again: where it was, or elsewhere if that is taken."""
        if port := self.systems["eloqua"].pod_port:
            try:
                self.move_pod(port)
            except OSError:  # the sandbox that was saved may still run
                self.move_pod()

    def _answer(self, request: Request) -> Response:
        pod = self.systems["eloqua"].pod_port
        moved = pod and request.system == "eloqua" and request.port != pod
        if moved and not LOGIN.match(request.path):
            return text_response("Not authenticated.", 401)
        system = self.systems.get(request.system)
        return system.answer(request) if system else self._control.answer(request)


def system_of(path: str) -> str:
    """Which system a path belongs to: they share one port, and no path of one is a path of the other."""
    lowered = path.lower()
    if lowered.startswith("/_sandbox"):
        return "sandbox"
    if slack_system.PATH.fullmatch(path):
        return "slack"
    return "salesforce" if lowered.startswith("/services") else "eloqua"


def environment(port: int) -> dict[str, str]:
    """Addresses and credentials; the values are fixed and documented in docs/sandbox.md."""
    from scc.sandbox import salesforce

    url, user = f"http://127.0.0.1:{port}", eloqua_system.USERS["api.user"]
    return {
        "ELOQUA_LOGIN_URL": url,
        "ELOQUA_SITE": eloqua_system.SITE,
        "ELOQUA_USER": user.name,
        "ELOQUA_PASSWORD": user.password,
        "ELOQUA_CLIENT_ID": eloqua_system.CLIENT_ID,
        "ELOQUA_CLIENT_SECRET": eloqua_system.CLIENT_SECRET,
        "SALESFORCE_URL": url,
        "SALESFORCE_CLIENT_ID": salesforce.CLIENT_ID,
        "SALESFORCE_CLIENT_SECRET": salesforce.CLIENT_SECRET,
        "SLACK_API_URL": url + "/api/",
        "SLACK_TOKEN": slack_system.TOKEN,
        "SLACK_CHANNEL": slack_system.CHANNEL,
    }
