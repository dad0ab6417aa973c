"""The figures of a run, which it pushes to the Pushgateway when it ends; bin/run-job's heartbeats join them in one group.

    scc_process_records{outcome}               records that this run accounted for, as in scc.receipts.Counts
    scc_process_oldest_waiting_seconds         age of the oldest record that still waits after the run, 0: none does
    scc_process_api_calls{system,outcome}      requests sent: ok, refused, failed; each try counts
    scc_process_remaining_syncs{kind}          what is left of the process's share of Eloqua's quota, when the run ends
    scc_<module>_…                             a process's own figures, without labels; see its module

A push replaces the metrics of the same name and leaves the others (POST, luigi.md 7). So what a run did not do is not
pushed: a slot that was done already leaves the records of the run that did it. No label has more values than are listed
here, because a Pushgateway never forgets one. A figure that cannot be delivered is a warning and changes nothing else.
"""

import base64
import http.client
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from prometheus_client import CollectorRegistry, Gauge, pushadd_to_gateway

from scc.catalogue import class_name
from scc.receipts import Counts
from scc.transport import OUTCOMES, SYSTEMS

log = logging.getLogger(__name__)

OUTCOMES_OF_RECORDS = [field.name for field in fields(Counts) if field.name not in ("planned", "reasons")]
TIMEOUT = 5.0  # seconds


class Metrics:
    """What the steps of one run have to tell. process: its module's name."""

    def __init__(self, process: str):
        self._module, self._process = process, class_name(process)
        self._records: Counter[str] = Counter()
        self._oldest_waiting: float | None = None
        self._own: dict[str, tuple[str, float]] = {}

    def account(self, counts: Counts, about: Mapping[str, Any]) -> None:
        """Add what a step did. about: the rest of its receipt, of which `oldest_waiting_after_seconds` is told (None is 0)."""
        self._records.update({outcome: getattr(counts, outcome) for outcome in OUTCOMES_OF_RECORDS})
        if "oldest_waiting_after_seconds" in about:
            self._oldest_waiting = max(self._oldest_waiting or 0, about["oldest_waiting_after_seconds"] or 0)

    def tell(self, name: str, text: str, value: float) -> None:
        """A figure that only this process has: scc_<process>_<name>."""
        self._own[name] = text, value

    def push(self, calls: Mapping[tuple[str, str, str], int], remaining: Mapping[str, int]) -> None:
        """Tell the Pushgateway that PUSHGATEWAY_URL names; nobody where it names none.

        calls: by system, operation and outcome (Transport.calls). remaining: syncs left, by kind.
        """
        gateway = os.environ.get("PUSHGATEWAY_URL", "")
        if not gateway:
            return
        try:
            address, headers = _without_login(gateway)
            registry = self._registry(calls, remaining)
            group = {"process": self._process}
            pushadd_to_gateway(address, "scc", registry, group, timeout=TIMEOUT, handler=_sender(headers))
        except (OSError, ValueError, http.client.HTTPException) as error:  # whose texts may name the address
            status = f" {error.code}" if isinstance(error, HTTPError) else ""
            log.warning("the run's figures were not delivered to the Pushgateway: %s%s", type(error).__name__, status)

    def _registry(self, calls: Mapping[tuple[str, str, str], int], remaining: Mapping[str, int]) -> CollectorRegistry:
        registry = CollectorRegistry()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"scc_process_{name}", text, labels, registry=registry)

        if self._records:
            records = gauge("records", "Records that the run accounted for", "outcome")
            for outcome, count in self._records.items():
                records.labels(outcome).set(count)
        if self._oldest_waiting is not None:
            gauge("oldest_waiting_seconds", "Age of the oldest record that still waits").set(self._oldest_waiting)
        for name, (text, value) in self._own.items():
            Gauge(f"scc_{self._module}_{name}", text, registry=registry).set(value)
        requests = gauge("api_calls", "Requests that the run sent", "system", "outcome")
        for system in SYSTEMS:
            for outcome in OUTCOMES:
                sent = sum(count for key, count in calls.items() if (key[0], key[2]) == (system, outcome))
                requests.labels(system, outcome).set(sent)
        if remaining:
            syncs = gauge("remaining_syncs", "What is left of the process's share of Eloqua's quota", "kind")
            for kind, count in remaining.items():
                syncs.labels(kind).set(count)
        return registry


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """The address without user and password, and the header that carries them: urllib does not know them in an address."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    if parts.username is None:
        return address, {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return address, {"Authorization": f"Basic {base64.b64encode(login).decode()}"}


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the Authorization header to another place."""

    def redirect_request(self, *answer: Any) -> None:
        return None


def _sender(more: Mapping[str, str]) -> Callable[..., Callable[[], None]]:
    """What sends for prometheus_client: the Pushgateway is a neighbour, so past the proxy that leads to Eloqua."""

    def handler(
        url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        def send() -> None:
            request = Request(url, data, {**dict(headers), **more}, method=method)  # noqa: S310 (http or https, see above)
            with build_opener(ProxyHandler({}), _NoRedirects()).open(request, timeout=timeout):
                pass

        return send

    return handler
