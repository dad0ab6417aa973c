"""The pages of the window, each from a few bounded queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from scc.sandbox.http import Request, Response, Router
from scc.sandbox.window.html import (
    Html,
    badge,
    code,
    facts,
    form,
    join,
    link,
    page,
    pager,
    panel,
    table,
    text,
    tiles,
)
from scc.sandbox.window.people import has, people_panels

if TYPE_CHECKING:
    from scc.sandbox.sandbox import Sandbox

A_PAGE, A_FEW = 50, 6
LAST_PAGE = 10_000_000
ROOT, PERSON, LOG, TRAFFIC, WORK = (f"/_sandbox/{name}" for name in ("", "person", "log", "traffic", "work"))
KINDS = ("create", "update", "delete")


class Window:
    def __init__(self, sandbox: Sandbox, summarize: Callable[[], dict[str, Any]]) -> None:
        self._sandbox, self._store, self._summarize = sandbox, sandbox.store, summarize

    def routes(self, router: Router) -> None:
        for path, handler in (
            ("", self.overview),
            ("/person", self.person),
            ("/log", self.log),
            ("/traffic", self.traffic),
            ("/work", self.work),
        ):
            router.add("GET", path, handler)

    def _page(self, title: str, here: str, *parts: Html) -> Response:
        clock = self._sandbox.clock.now
        above = Html(f"clock <b>{clock:%Y-%m-%d %H:%M:%S} UTC</b> · seed <b>{self._sandbox.seed}</b>")
        return page(title, here, above, *parts)

    # -- overview -----------------------------------------------------------------------------------------------------

    def overview(self, request: Request) -> Response:
        summary = self._summarize()
        syncs = list(self._sandbox.systems["eloqua"].syncs.all.values())
        running = sum(not sync.final for sync in syncs)
        eloqua: list[tuple[Any, Any, Any]] = [("Contacts", summary["contacts"], self._states())]
        eloqua += [
            (name, self._count(f"eloqua.{table_}"), "")
            for name, table_ in (("Accounts", "account"), ("Contact lists", "list"), ("Activities", "activity"))
            if self._has("eloqua", table_)
        ]
        for name, statuses in summary["custom_object_records"].items():
            below = " · ".join(f"{status or 'no status'} {count:,}" for status, count in statuses.items())
            eloqua.append((name, sum(statuses.values()), below if len(statuses) > 1 else ""))
        run = [
            ("Changes", summary["mutations"], link(LOG, "see them")),
            ("Syncs", len(syncs), link(WORK, f"{running} not final" if running else "see them")),
        ]
        run += [
            (f"Requests to {name.title()}", calls, link(TRAFFIC, "see them", system=name))
            for name, calls in summary["calls"].items()
        ]
        return self._page(
            "Overview",
            ROOT,
            search_panel(""),
            tiles("Eloqua", eloqua),
            tiles("Salesforce", [(name, count, "") for name, count in summary["crm"].items()]),
            tiles("This run", run),
            self._faults_panel(),
            self._clock_panel(),
            self._slack_panel(),
            panel(
                "Last changes", self._mutations_table(self._mutations({}, 1, 12)[0]), note=link(LOG, "all"), wide=True
            ),
            panel("Last requests", requests_table(self._requests({}, 1, 12)[0]), note=link(TRAFFIC, "all"), wide=True),
        )

    def _clock_panel(self) -> Html:
        clock = self._sandbox.clock
        pairs = [
            ("Now", Html(f"{clock.now:%Y-%m-%d %H:%M:%S} UTC")),
            ("Goes", "stands still until advanced" if clock.stands else "with the real clock"),
            ("Advanced by", str(clock.advanced) if clock.advanced else "nothing"),
            ("Seed", str(self._sandbox.seed)),
            ("Eloqua's base", code(self._sandbox.systems["eloqua"].base_url)),
            ("Salesforce", code(self._sandbox.systems["salesforce"].base_url)),
        ]
        return panel("Clock and addresses", facts(pairs))

    def _slack_panel(self) -> Html:
        messages = self._sandbox.slack.messages
        rows = [(m["time"], m["channel_name"], m.get("text"), fields_of(m)) for m in reversed(messages[-A_FEW:])]
        note = f"{len(messages):,} in all, newest first" if messages else ""
        heads = ("Time", "Channel", "Text", "Attached")
        return panel("Slack", table(heads, rows, "No message so far."), note=note, wide=True)

    def _states(self) -> str:
        if not self._has("eloqua", "address"):
            return ""
        off, bounced = self._store.rows(
            "SELECT count(*) FILTER (WHERE NOT subscribed), count(*) FILTER (WHERE bounced) FROM eloqua.address"
        )[0]
        return f"{off:,} unsubscribed · {bounced:,} bounced"

    def _faults_panel(self) -> Html:
        rows = []
        for fault in self._sandbox.faults:
            shown = fault.shown()
            where = " ".join(str(shown[name]) for name in ("system", "method", "path") if name in shown)
            when = ", ".join(f"{name} {shown[name]}" for name in ("nth", "probability", "times") if name in shown)
            known = (
                "number",
                "what",
                "system",
                "method",
                "path",
                "nth",
                "probability",
                "times",
                "seen",
                "fired",
                "kinds",
            )
            more = ", ".join(f"{name} {value}" for name, value in shown.items() if name not in known)
            rows.append(
                (
                    str(fault.number),
                    badge(fault.what, "warn"),
                    more,
                    code(where or "every request"),
                    when or "always",
                    fault.seen,
                    fault.fired,
                )
            )
        latency = self._sandbox.faults.latency
        return panel(
            "Faults in force",
            table(
                ("No", "What", "How", "Where", "When", "Fitted#", "Fired#"), rows, "None: everything goes as it should."
            ),
            note=f"latency {latency:g} s" if latency else "",
        )

    # -- people ---------------------------------------------------------------------------------------------------------

    def person(self, request: Request) -> Response:
        address = request.query.get("address", "").strip()
        parts = (
            people_panels(self._sandbox, address)
            if address
            else [
                panel("Find a person", Html("<p class=empty>An address, the start of one, or @domain.</p>"), wide=True)
            ]
        )
        return self._page(address or "People", PERSON, search_panel(address), *parts)

    # -- changes --------------------------------------------------------------------------------------------------------

    def log(self, request: Request) -> Response:
        wanted = {name: request.query.get(name, "").strip() for name in ("system", "object", "kind", "id", "request")}
        number = page_number(request)
        found, more = self._mutations(wanted, number, A_PAGE)
        objects = [row[0] for row in self._store.rows("SELECT DISTINCT object FROM log.batch ORDER BY 1 LIMIT 200")]
        filters = form(
            LOG,
            (
                ("system", wanted["system"], "any system", tuple(self._sandbox.systems)),
                ("object", wanted["object"], "any object", objects or ("",)),
                ("kind", wanted["kind"], "any kind", KINDS),
                ("id", wanted["id"], "record id", ()),
                ("request", wanted["request"], "request contains", ()),
            ),
            "Filter",
        )
        note = f"{self._store.count_mutations():,} in all, newest first"
        return self._page(
            "Changes",
            LOG,
            panel("Changes of business data", filters, note=note, wide=True),
            panel("", self._mutations_table(found), pager(LOG, number, more, **wanted), wide=True),
        )

    def _mutations(self, wanted: Mapping[str, str], number: int, size: int) -> tuple[list[tuple[Any, ...]], bool]:
        """One page of the log, newest first, and whether there are older ones."""
        tests, values = ["true"], []
        for name, column in (("system", "b.system"), ("object", "b.object"), ("kind", "m.kind"), ("id", "m.id")):
            if wanted.get(name):
                tests.append(f"{column} = ?")
                values.append(wanted[name])
        if wanted.get("request"):
            tests.append("contains(lower(b.request), lower(?))")
            values.append(wanted["request"])
        # Only then the values: a page must not read those of a million other changes.
        chosen = self._store.rows(
            f"""SELECT m.rowid FROM log.mutation m JOIN log.batch b USING (batch) WHERE {" AND ".join(tests)}
                ORDER BY m.batch DESC, m.rowid DESC LIMIT {size + 1} OFFSET {(number - 1) * size}""",
            values,
        )
        if not chosen:
            return [], False
        numbers = ", ".join(str(int(row[0])) for row in chosen[:size])
        found = self._store.rows(f"""
            SELECT b.time, b.system, b.object, m.id, m.kind, b.fields, m.old, m.new, b.request
            FROM log.mutation m JOIN log.batch b USING (batch) WHERE m.rowid IN ({numbers})
            ORDER BY m.batch DESC, m.rowid DESC""")
        return found, len(chosen) > size

    def _mutations_table(self, found: list[tuple[Any, ...]]) -> Html:
        rows = [
            (
                time,
                system,
                object_,
                link(LOG, code(number), object=object_, id=number),
                badge(kind),
                changes(fields, old, new),
                code(cause),
            )
            for time, system, object_, number, kind, fields, old, new, cause in found
        ]
        heads = ("Time", "System", "Object", "Record", "Kind", "What changed", "By")
        return table(heads, rows, "Nothing has changed.")

    # -- requests -------------------------------------------------------------------------------------------------------

    def traffic(self, request: Request) -> Response:
        wanted = {name: request.query.get(name, "").strip() for name in ("system", "method", "path", "status")}
        number = page_number(request)
        found, more = self._requests(wanted, number, A_PAGE)
        filters = form(
            TRAFFIC,
            (
                ("system", wanted["system"], "any system", tuple(self._sandbox.systems)),
                ("method", wanted["method"], "any method", ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")),
                ("status", wanted["status"], "status, e.g. 4 or 503", ()),
                ("path", wanted["path"], "path or query contains", ()),
            ),
            "Filter",
        )
        return self._page(
            "Requests",
            TRAFFIC,
            panel("Requests received", filters, note="newest first; the window's own are not among them", wide=True),
            panel("", requests_table(found), pager(TRAFFIC, number, more, **wanted), wide=True),
        )

    def _requests(self, wanted: Mapping[str, str], number: int, size: int) -> tuple[list[Any], bool]:
        def fits(logged: Any) -> bool:
            return (
                wanted.get("system", "") in ("", logged.system)
                and wanted.get("method", "").upper() in ("", logged.method)
                and str(logged.status or "").startswith(wanted.get("status", ""))
                and wanted.get("path", "").lower() in f"{logged.path}?{logged.query}".lower()
            )

        start = (number - 1) * size
        chosen = list(islice(filter(fits, reversed(self._sandbox.requests)), start, start + size + 1))
        return chosen[:size], len(chosen) > size

    # -- syncs ----------------------------------------------------------------------------------------------------------

    def work(self, request: Request) -> Response:
        number = page_number(request)
        eloqua = self._sandbox.systems["eloqua"]
        syncs = sorted(eloqua.syncs.all.values(), key=lambda sync: -sync.id)
        start = (number - 1) * A_PAGE
        rows = [
            (
                code(sync.uri),
                badge(sync.status),
                code(sync.definition.uri),
                sync.definition.body.get("name"),
                sync.created.replace(tzinfo=None),
                sync.ended.replace(tzinfo=None) if sync.ended else None,
                Html("<br>".join(f"{text(line['statusCode'])} {text(line['count'])}" for line in sync.logs[:12])),
                sync.user,
            )
            for sync in syncs[start : start + A_PAGE]
        ]
        heads = ("Sync", "Status", "Definition", "Name", "Created", "Ended", "Log", "User")
        definitions = sorted(eloqua.definitions.values(), key=lambda d: -d.id)[:A_PAGE]
        return self._page(
            "Syncs",
            WORK,
            panel(
                "Eloqua's syncs",
                table(heads, rows, "No sync so far."),
                pager(WORK, number, len(syncs) > start + A_PAGE),
                note=f"{len(syncs):,} in all, newest first",
                wide=True,
            ),
            panel(
                "Definitions that still exist",
                table(
                    ("URI", "Name", "Fields#", "Filter", "By"),
                    [
                        (code(d.uri), d.body.get("name"), len(d.fields), code(d.body.get("filter")), d.user)
                        for d in definitions
                    ],
                    "None.",
                ),
                note=f"{len(eloqua.definitions):,} in all" if len(eloqua.definitions) > A_PAGE else "",
                wide=True,
            ),
        )

    # -- help -----------------------------------------------------------------------------------------------------------

    def _has(self, schema: str, name: str) -> bool:
        return has(self._sandbox, schema, name)

    def _count(self, name: str) -> int:
        return self._store.value(f"SELECT count(*) FROM {name}")


def fields_of(message: Mapping[str, Any]) -> Html:
    """The fields attached to a Slack message; whatever a client sent in their place is passed over."""
    attached = [one for one in message.get("attachments") or () if isinstance(one, dict)]
    fields = [field for one in attached for field in one.get("fields") or () if isinstance(field, dict)]
    return facts((str(field.get("title", "")), str(field.get("value", ""))) for field in fields)


def search_panel(address: str) -> Html:
    fields = (("address", address, "E-mail address, the start of one, or @domain", ()),)
    return panel("Find a person in both systems", form(PERSON, fields, "Search"), wide=True)


def page_number(request: Request) -> int:
    sent = request.query.get("page", "1")
    return max(1, min(int(sent), LAST_PAGE)) if sent.isascii() and sent.isdecimal() and len(sent) < 9 else 1


def changes(fields: list[str], old: list[Any] | None, new: list[Any] | None) -> Html:
    """field: old → new, for the fields that differ; at most eight of them."""
    triples = zip(fields, old or [None] * len(fields), new or [None] * len(fields), strict=False)
    differing = [(name, before, after) for name, before, after in triples if before != after and (before or after)]
    shown = [
        join(
            (
                Html('<span class="change">'),
                code(name),
                Html(" "),
                Html(f"<del>{text(before)}</del> → ") if old else Html(""),
                Html(f"<ins>{text(after)}</ins>") if new else Html(""),
                Html("</span>"),
            )
        )
        for name, before, after in differing[:8]
    ]
    rest = len(differing) - 8
    return join((*shown, Html(f'<span class="none">and {rest} more</span>') if rest > 0 else Html("")))


def requests_table(found: list[Any]) -> Html:
    rows = [
        (
            logged.time.replace(tzinfo=None),
            logged.system,
            code(logged.method),
            code(logged.path + (f"?{logged.query}" if logged.query else "")),
            status_badge(logged.status),
            badge(logged.fault, "warn") if logged.fault else "",
            logged.request_bytes,
            logged.response_bytes,
            f"{logged.seconds * 1000:.1f}",
        )
        for logged in found
    ]
    heads = ("Clock", "System", "Method", "Path", "Status", "Fault", "Bytes in#", "Bytes out#", "ms#")
    return table(heads, rows, "No request so far.")


def status_badge(status: int | None) -> Html:
    if status is None:
        return badge("cut", "bad")
    return badge(status, "good" if status < 300 else "warn" if status < 500 else "bad")
