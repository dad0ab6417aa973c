"""HTML of the window: everything that is not made here is escaped; one sheet of style, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import urlencode

from scc.sandbox.http import Response

# Nothing may run or be loaded, whatever stands in a record.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
LONGEST = 400  # characters of a value that a cell shows


class Html(str):
    """A text that is HTML already."""


def text(value: Any) -> Html:
    """A value as HTML: escaped, cut when it is very long, a dash when there is none."""
    if isinstance(value, Html):
        return value
    if value is None or value == "":
        return Html('<span class="none">–</span>')
    if isinstance(value, bool):
        return Html("yes" if value else "no")
    if isinstance(value, int):
        return Html(f"{value:,}")
    if isinstance(value, datetime):
        return Html(f"<time>{value:%Y-%m-%d %H:%M:%S}</time>")
    shown = str(value)
    if len(shown) > LONGEST:
        return Html(f'{escape(shown[:LONGEST])}<span class="none">… {len(shown):,} characters</span>')
    return Html(escape(shown))


def code(value: Any) -> Html:
    """An id, a path, a name of the machine's."""
    return text(value) if value in (None, "") else Html(f"<code>{escape(str(value))}</code>")


def badge(value: Any, kind: str = "") -> Html:
    return Html(f'<span class="badge {escape(kind or str(value).lower())}">{escape(str(value))}</span>')


def link(target: str, shown: Any, **query: Any) -> Html:
    if query:
        target += "?" + urlencode({name: value for name, value in query.items() if value not in (None, "")})
    return Html(f'<a href="{escape(target)}">{text(shown)}</a>')


def join(parts: Iterable[str]) -> Html:
    return Html("".join(text(part) for part in parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "Nothing here.") -> Html:
    """A table; heads that end in "#" are of numbers."""
    body = [
        "<tr>"
        + "".join(
            f"<td{' class=number' if head.endswith('#') else ''}>{text(cell)}</td>"
            for head, cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    ]
    if not body:
        return Html(f'<p class="empty">{escape(empty)}</p>')
    head = "".join(
        f"<th{' class=number' if name.endswith('#') else ''}>{escape(name.rstrip('#'))}</th>" for name in heads
    )
    return Html(
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def facts(pairs: Iterable[tuple[str, Any]]) -> Html:
    """Names and values; those without a value are left out."""
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs if value not in (None, "")
    )
    return Html(f'<dl class="facts">{shown}</dl>')


def panel(title: str, *parts: Html, note: Any = "", wide: bool = False) -> Html:
    beside = f'<span class="note">{text(note)}</span>' if note != "" else ""
    return Html(
        f'<section class="panel{" wide" if wide else ""}"><h2>{escape(title)}{beside}</h2>{"".join(parts)}</section>'
    )


def tiles(title: str, pairs: Iterable[tuple[str, Any, Any]]) -> Html:
    """A row of numbers: name, number, and what to say below it."""
    return Html(
        f'<section><h3>{escape(title)}</h3><div class="tiles">'
        + "".join(
            f'<div class="tile"><span class="name">{text(name)}</span><b>{text(number)}</b>'
            f'<span class="below">{text(below) if below else ""}</span></div>'
            for name, number, below in pairs
        )
        + "</div></section>"
    )


def form(target: str, fields: Iterable[tuple[str, str, str, Sequence[str]]], button: str) -> Html:
    """A GET form: per field its name, value, placeholder, and the choices where there are some."""
    inputs = []
    for name, value, placeholder, choices in fields:
        if choices:
            options = "".join(
                f'<option value="{escape(c)}"{" selected" if c == value else ""}>{escape(c or placeholder)}</option>'
                for c in ("", *choices)
            )
            inputs.append(f'<select name="{name}" aria-label="{escape(placeholder)}">{options}</select>')
        else:
            inputs.append(
                f'<input name="{name}" value="{escape(value)}" placeholder="{escape(placeholder)}" '
                f'aria-label="{escape(placeholder)}">'
            )
    return Html(
        f'<form action="{escape(target)}" method="get">{"".join(inputs)}<button>{escape(button)}</button></form>'
    )


def pager(target: str, page: int, more: bool, **query: Any) -> Html:
    newer = link(target, "← newer", **query, page=page - 1) if page > 1 else Html("<span>← newer</span>")
    older = link(target, "older →", **query, page=page + 1) if more else Html("<span>older →</span>")
    return Html(f'<nav class="pager">{newer}<span>page {page}</span>{older}</nav>')


def page(title: str, here: str, above: Html, *parts: Html) -> Response:
    places = (
        ("/_sandbox/", "Overview"),
        ("/_sandbox/person", "People"),
        ("/_sandbox/log", "Changes"),
        ("/_sandbox/traffic", "Requests"),
        ("/_sandbox/work", "Syncs"),
    )
    menu = "".join(
        f'<a href="{target}"{" aria-current=page" if target == here else ""}>{name}</a>' for target, name in places
    )
    document = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · SCC sandbox</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f'<header><a class="brand" href="/_sandbox/"><i></i>SCC sandbox</a><nav>{menu}</nav>'
        f'<div class="above">{above}</div></header>'
        f"<main>{''.join(parts)}</main></body></html>"
    )
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(200, document.encode("utf-8", "replace"), "text/html; charset=utf-8", headers)


STYLE = """
:root{--ink:#1c2430;--soft:#5d6b7d;--line:#e2e7ee;--bg:#f4f6f9;--card:#fff;--accent:#2257c9;--tint:#eef3fd;
--good:#11734b;--goodbg:#e3f5ec;--warn:#8a5a00;--warnbg:#fdf2d8;--bad:#b3261e;--badbg:#fdeae8}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9f0;--soft:#94a2b5;--line:#2b3442;--bg:#11161d;--card:#1a212b;
--accent:#7fa8ff;--tint:#1f2b40;--good:#6fd6a6;--goodbg:#143226;--warn:#f0c05a;--warnbg:#3a2d0d;--bad:#ff8f86;
--badbg:#3d1a17}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
header{position:sticky;top:0;z-index:1;display:flex;gap:28px;align-items:center;height:52px;padding:0 28px;
background:var(--card);
border-bottom:1px solid var(--line)}
.brand{display:flex;gap:9px;align-items:center;color:var(--ink);font-weight:650}.brand:hover{text-decoration:none}
.brand i{width:14px;height:14px;border-radius:4px;background:linear-gradient(135deg,#2257c9,#22a6c9)}
header nav{display:flex;gap:4px;height:100%}
header nav a{display:flex;align-items:center;padding:2px 11px 0;color:var(--soft);border-bottom:2px solid transparent}
header nav a:hover{color:var(--ink);text-decoration:none}
header nav a[aria-current]{color:var(--ink);border-color:var(--accent);font-weight:600}
.above{margin-left:auto;color:var(--soft);white-space:nowrap;font-variant-numeric:tabular-nums}
.above b{color:var(--ink);font-weight:600}
main{max-width:1440px;margin:0 auto;padding:24px 28px 60px;display:grid;grid-template-columns:repeat(2,minmax(0,1fr));
gap:20px}
main>*{grid-column:1/-1}.panel:not(.wide){grid-column:span 1}
h1{margin:0;font-size:20px;font-weight:650}h1 small{margin-left:10px;color:var(--soft);font-size:14px;font-weight:400}
h2{display:flex;justify-content:space-between;align-items:baseline;gap:16px;margin:0 0 10px;font-size:14px;
font-weight:650}
h3{margin:0 0 8px;color:var(--soft);font-size:12px;font-weight:600;letter-spacing:.05em;text-transform:uppercase}
.note{color:var(--soft);font-weight:400;font-size:13px}
.panel{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;min-width:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(168px,1fr));gap:12px}
.tile{display:flex;flex-direction:column;background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:12px 16px}
.tile .name{color:var(--soft);font-size:13px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.tile b{font-size:23px;line-height:1.3;font-weight:620;font-variant-numeric:tabular-nums}
.tile .below{color:var(--soft);font-size:12px;min-height:18px}
.scroll{overflow-x:auto;margin:0 -18px;padding:0 18px}
table{width:100%;border-collapse:collapse;font-size:13px}
th{padding:5px 14px 5px 0;text-align:left;color:var(--soft);font-weight:500;border-bottom:1px solid var(--line);
white-space:nowrap}
td{padding:6px 14px 6px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
tbody tr:last-child td{border-bottom:0}tbody tr:hover td{background:var(--tint)}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}time{white-space:nowrap;
font-variant-numeric:tabular-nums}
code{font:12px/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
.none{color:var(--soft)}.empty{margin:4px 0;color:var(--soft)}
.badge{display:inline-block;padding:0 8px;border-radius:9px;background:var(--tint);color:var(--accent);font-size:12px;
line-height:19px;
white-space:nowrap}
.badge.create,.badge.success,.badge.good{background:var(--goodbg);color:var(--good)}
.badge.warning,.badge.warn,.badge.pending,.badge.active{background:var(--warnbg);color:var(--warn)}
.badge.delete,.badge.error,.badge.bad{background:var(--badbg);color:var(--bad)}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:9px 20px;margin:0}
.facts+.scroll{margin-top:14px}
.facts div{min-width:0}.facts dt{color:var(--soft);font-size:12px}.facts dd{margin:0;overflow-wrap:anywhere}
form{display:flex;flex-wrap:wrap;gap:8px}
input,select,button{height:34px;padding:0 11px;border:1px solid var(--line);border-radius:7px;background:var(--card);
color:var(--ink);font:inherit}
input{flex:1 1 170px;min-width:0}input:focus,select:focus{outline:2px solid var(--accent);outline-offset:-1px}
button{background:var(--accent);border-color:var(--accent);color:#fff;font-weight:600;padding:0 18px;cursor:pointer}
@media(prefers-color-scheme:dark){button{color:#10151c}}
.change{display:block}.change del{color:var(--bad);background:var(--badbg);text-decoration:none;padding:0 3px;
border-radius:3px}
.change ins{color:var(--good);background:var(--goodbg);text-decoration:none;padding:0 3px;border-radius:3px}
.pager{display:flex;gap:16px;justify-content:center;padding-top:14px;color:var(--soft)}
@media(max-width:900px){main{grid-template-columns:minmax(0,1fr);padding:16px}.panel:not(.wide){grid-column:1/-1}
header{flex-wrap:wrap;height:auto;padding:8px 16px;gap:8px 16px}.above{margin-left:0}}
"""
