"""The report of a BounceCleanup run: its numbers, and one HTML page that needs nothing else.

It holds ids, counts, codes and domains, and no address: a domain with few addresses, and a message that few addresses had,
would point at people, and are counted under "other" or left out.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import bounce_rules
from jobs.bounce_file import Rules
from jobs.bounce_rows import length
from scc.outputs import replacing
from scc.tables import Engine, Table

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.LazyFrame[Any]

SHOWN = 500  # rows of a list on the page and in the JSON; the rest lies in the tables beside the receipts
OTHER = "other"


def counted(engine: Engine, bouncebacks: "Frame", fresh: "Frame", decided: "Frame", rules: Rules) -> dict[str, Any]:
    """What the report says of the bouncebacks. fresh: those that no earlier receipt names, which all counts are about."""
    import narwhals as nw

    status, reply = nw.col("status"), nw.col("reply")
    differ = (status != "") & (reply != "") & (status.str.slice(0, 1) != reply.str.slice(0, 1))
    both = nw.concat_str(status, nw.lit(" / "), reply)
    code = nw.when(differ).then(both).when(status != "").then(status).otherwise(reply)
    with_code = fresh.with_columns(code=nw.when(code != "").then(code).otherwise(nw.lit("none")))
    opened = decided.filter(nw.col("outcome") == bounce_rules.OPENED)
    return {
        "bouncebacks": length(engine, bouncebacks),
        "new_bouncebacks": length(engine, fresh),
        "without_contact": length(engine, fresh.filter(nw.col("contact_id") == "")),
        "without_address": length(engine, fresh.filter(nw.col("address") == "")),
        "by_kind": _by(engine, fresh, ["kind"]),
        "by_code": _by(engine, with_code, ["code", "kind"]),
        "by_domain": _domains(engine, fresh, rules.domain_addresses),
        "unknown_patterns": _patterns(engine, fresh, rules.pattern_addresses),
        "repairable": _repairable(engine, fresh, rules.providers),
        "opened_after_the_bounce": sorted(
            row["contact_id"] for row in engine.rows(opened.select("contact_id").head(SHOWN))
        ),
    }


def _by(engine: Engine, frame: "Frame", keys: Sequence[str]) -> list[dict[str, Any]]:
    """Bouncebacks and distinct addresses by keys, the largest first."""
    import narwhals as nw

    grouped = frame.group_by(*keys).agg(bouncebacks=nw.len(), addresses=nw.col("address").n_unique())
    rows = engine.rows(grouped)
    return sorted(rows, key=lambda row: (-row["bouncebacks"], *(row[key] for key in keys)))


def _domains(engine: Engine, fresh: "Frame", least: int) -> list[dict[str, Any]]:
    """Like _by, with the domains of few addresses added up."""
    import narwhals as nw

    known = fresh.filter(nw.col("domain") != "")
    per_domain = known.group_by("domain").agg(bouncebacks=nw.len(), addresses=nw.col("address").n_unique())
    name = nw.when(nw.col("addresses") >= least).then(nw.col("domain")).otherwise(nw.lit(OTHER))
    rows = engine.rows(
        per_domain.with_columns(domain=name)
        .group_by("domain")
        .agg(bouncebacks=nw.col("bouncebacks").sum(), addresses=nw.col("addresses").sum())
    )
    return sorted(
        ({**row, "bouncebacks": int(row["bouncebacks"]), "addresses": int(row["addresses"])} for row in rows),
        key=lambda row: (row["domain"] == OTHER, -row["addresses"], row["domain"]),
    )[:SHOWN]


def _patterns(engine: Engine, fresh: "Frame", least: int) -> list[dict[str, Any]]:
    import narwhals as nw

    unknown = fresh.filter((nw.col("kind") == bounce_rules.UNKNOWN) & (nw.col("pattern") != ""))
    return [row for row in _by(engine, unknown, ["pattern"]) if row["addresses"] >= least][:SHOWN]


def _repairable(engine: Engine, fresh: "Frame", providers: Iterable[str]) -> list[dict[str, Any]]:
    """Domains one edit away from a provider's, with the ids of the contacts whose hard bounces name them."""
    import narwhals as nw

    hard = fresh.filter((nw.col("kind") == bounce_rules.HARD) & (nw.col("domain") != ""))
    meant = {
        row["domain"]: provider
        for row in engine.rows(hard.select("domain").unique())
        if (provider := bounce_rules.repairable(row["domain"], providers))
    }
    if not meant:
        return []
    contacts: dict[str, list[str]] = {}
    slips = hard.filter(nw.col("domain").is_in(sorted(meant))).select("domain", "contact_id").unique()
    for row in engine.rows(slips.sort("domain", "contact_id").head(SHOWN)):
        contacts.setdefault(row["domain"], []).append(row["contact_id"])
    return [{"domain": name, "provider": meant[name], "contacts": ids} for name, ids in contacts.items()]


def write_page(report: Mapping[str, Any], rejects: Mapping[str, Table], path: Path) -> None:
    """The HTML page. rejects: system -> its receipt's table of rejected and deferred rows."""
    with replacing(path) as temporary:
        temporary.write_text(page(report, {name: _shown(table) for name, table in rejects.items()}), encoding="utf-8")


def _shown(table: Table) -> list[list[str]]:
    """Ids and reasons of the first rows; the identifier, an address, stays in the table."""
    rows: list[list[str]] = []
    for batch in table.batches(SHOWN):
        rows += [[row["record_id"], row["reason"]] for row in batch.to_pylist()]
        if len(rows) >= SHOWN:
            break
    return rows[:SHOWN]


STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2733}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{margin:.3rem 0;color:#52606d}
table{border-collapse:collapse;width:100%;margin:.3rem 0}th,td{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #e3e8ee}
th{font-weight:600;color:#52606d}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}.card{flex:1 1 6.4rem;
background:#f4f7fa;border-radius:.5rem;padding:.7rem .9rem}
.card b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}.warn{background:#fff4e5}.dry{color:#a15c00}
"""


def page(report: Mapping[str, Any], rejects: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """The page as text. rejects: system -> rows of record id and reason."""
    eloqua, salesforce = report["eloqua"], report["salesforce"]
    rehearsal = " <span class=dry>rehearsal, nothing was changed</span>" if report["dry_run"] else ""
    kinds = {row["kind"]: row["addresses"] for row in report["by_kind"]}
    cards = [
        ("new bouncebacks", report["new_bouncebacks"], False),
        ("marked in Eloqua", eloqua["updated"], False),
        ("marked in Salesforce", salesforce["updated"], False),
        ("left alone: opened mail", len(report["opened_after_the_bounce"]), False),
        ("policy blocks, addresses", kinds.get(bounce_rules.POLICY, 0), False),
        ("rejected", eloqua["rejected"] + salesforce["rejected"], True),
        ("deferred", eloqua["deferred"] + salesforce["deferred"], True),
    ]
    sections = [
        _outcomes(eloqua, salesforce),
        _section("By kind", ["kind", "bouncebacks", "addresses"], report["by_kind"]),
        _section("By SMTP code", ["code", "kind", "bouncebacks", "addresses"], report["by_code"]),
        _section("By domain", ["domain", "bouncebacks", "addresses"], report["by_domain"]),
        _section(
            "Messages without a code that says anything",
            ["pattern", "bouncebacks", "addresses"],
            report["unknown_patterns"],
        ),
        _section(
            "Domains that look like a slip of a large provider's (nothing was changed)",
            ["domain", "provider", "contacts"],
            [{**row, "contacts": ", ".join(row["contacts"])} for row in report["repairable"]],
        ),
        _section(
            "Left alone: contacts that opened mail after the bounce",
            ["contact"],
            [{"contact": contact} for contact in report["opened_after_the_bounce"]],
        ),
        *(
            _section(
                f"Rejected or deferred by {name.capitalize()}",
                ["record", "reason"],
                [{"record": row[0], "reason": row[1]} for row in rows],
            )
            for name, rows in rejects.items()
        ),
    ]
    body = "".join(_card(*card) for card in cards)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Bounce cleanup {html.escape(report['slot'])}</title><style>{STYLE}</style>"
        f"<h1>Bounce cleanup, slot {html.escape(report['slot'])}{rehearsal}</h1>"
        f"<p>{report['bouncebacks']:,} bouncebacks from {html.escape(' to '.join(eloqua['window']))} UTC, "
        f"{report['without_contact']:,} of the new ones without a contact, {report['without_address']:,} without an "
        f"address. Rules {html.escape(eloqua['rules'])}.</p><div class=cards>{body}</div>{''.join(sections)}</html>\n"
    )


def _card(name: str, number: int, warns: bool) -> str:
    kind = "card warn" if warns and number else "card"
    return f"<div class='{kind}'><b>{number:,}</b>{html.escape(name)}</div>"


def _outcomes(eloqua: Mapping[str, Any], salesforce: Mapping[str, Any]) -> str:
    words = ["planned", "updated", "unchanged", "rejected", "deferred"]
    rows: list[dict[str, Any]] = [
        {"": name, **{word: receipt[word] for word in words}}
        for name, receipt in (("Eloqua contacts", eloqua), ("Salesforce Leads and Contacts", salesforce))
    ]
    reasons = [
        {"system": name, "outcome and reason": reason, "records": count}
        for name, receipt in (("Eloqua", eloqua), ("Salesforce", salesforce))
        for reason, count in sorted(receipt["reasons"].items())
    ]
    return _section("What became of them", ["", *words], rows) + _section(
        "Why", ["system", "outcome and reason", "records"], reasons
    )


def _section(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A table under a heading; nothing where there are no rows."""
    if not rows:
        return ""
    numeric = {column for column in columns if all(isinstance(row[column], int) for row in rows)}
    head = "".join(f"<th{' class=n' if column in numeric else ''}>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td class=n>{row[column]:,}</td>" if column in numeric else f"<td>{html.escape(str(row[column]))}</td>"
            for column in columns
        )
        + "</tr>"
        for row in rows
    )
    return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"
