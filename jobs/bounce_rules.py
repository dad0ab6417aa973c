"""The rules of BounceCleanup, as plain functions: no I/O, no Luigi, no engine.

Functions on single values run once, where bouncebacks enter; those on frames are Narwhals expressions.
"""

import datetime as dt
import functools
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from jobs.bounce_file import Codes, Rules, Streak

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.LazyFrame[Any]

HARD, SOFT, POLICY, UNKNOWN = "hard", "soft", "policy", "unknown"
MARK, OPENED = "mark", "opened"
DAY = 86_400  # seconds
STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
REPLY = re.compile(r"(?<![\d.])([245]\d\d)(?![\d.])")
MASKS = (
    (re.compile(r"<[^>]*>|\S*@\S*|\"[^\"]*\"|'[^']*'|\[[^\]]*\]|\([^)]*\)"), "…"),  # addresses, hosts, quotes
    (re.compile(r"\S*\.\S*[a-z]\S*|\S*\d\S*|\S{21,}", re.IGNORECASE), "…"),  # host names, numbers, ids, links
    (re.compile(r"(…\W*)+"), "… "),
)
PATTERN_WIDTH = 80


# single values


def address(text: str) -> str:
    """An address as every comparison knows it: small letters, no blanks around. "" for what is no address."""
    clean = text.strip().lower()
    return clean if re.fullmatch(r"[^@\s]+@[^@\s]+", clean) else ""


def seconds(moment: str) -> int:
    """Seconds since 1970 of "YYYY-MM-DD HH:MM:SS" in UTC, with or without a fraction."""
    return int(dt.datetime.fromisoformat(moment[:19]).replace(tzinfo=dt.UTC).timestamp())


@functools.lru_cache(4096)
def smtp_codes(status_field: str, code_field: str) -> tuple[str, str]:
    """The enhanced status "5.1.1" (RFC 3463) and the reply code "550" (RFC 5321), "" where there is none.

    Each is looked for in its own field first, then in the other: gateways write "550 5.1.1" into either.
    """
    fields = (status_field, code_field)
    status = next((found for found in map(STATUS.search, fields) if found), None)
    reply = next((found for found in map(REPLY.search, reversed(fields)) if found), None)
    return (status[0] if status else "", reply[0] if reply else "")


@functools.lru_cache(1024)  # messages of one gateway are alike
def pattern(message: str) -> str:
    """What a message says, without whom, which host and which number it says it about."""
    for mask, mark in MASKS:
        message = mask.sub(mark, message)
    return " ".join(message.split())[:PATTERN_WIDTH].strip().lower()


def repairable(domain: str, providers: Iterable[str]) -> str | None:
    """The provider that the domain is one edit away from: a letter too many, too few, another one, or two swapped."""
    return next((provider for provider in providers if domain != provider and _one_edit(domain, provider)), None)


def _one_edit(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 1:
        return False
    head = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[head:], other[head:]
    return one[1:] == other[1:] or one[1:] == other or one == other[1:] or _swapped(one, other)


def _swapped(one: str, other: str) -> bool:
    return one[:2] == other[1::-1] and one[2:] == other[2:] and len(one) > 1


# frames of bouncebacks: activity_id, moment (seconds since 1970), address, status, reply, ...


def with_kind(bouncebacks: "Frame", rules: Rules) -> "Frame":
    """Adds kind: "hard", "soft", "policy" or "unknown".

    The first line that applies decides. A policy block says nothing about the mailbox, whatever the other code; of two
    codes with different first digits neither is believed; the enhanced status says more than the reply code.
    """
    import narwhals as nw

    status, reply = nw.col("status"), nw.col("reply")
    has_status, has_reply = status != "", reply != ""
    first = {name: nw.col(name).str.slice(0, 1) for name in ("status", "reply")}
    lines: list[tuple[nw.Expr, str]] = [
        (_listed(status, rules.status.policy), POLICY),
        (has_status & has_reply & (first["status"] != first["reply"]), UNKNOWN),
        *_meanings(status, rules.status, SOFT, UNKNOWN),
        (first["status"] == "5", HARD),
        (first["status"] == "4", SOFT),
        (has_status, UNKNOWN),  # 2.x.x: delivered, says the code; then why did it bounce?
        *_meanings(reply, rules.reply, POLICY, SOFT, UNKNOWN),
        (first["reply"] == "5", HARD),
        (first["reply"] == "4", SOFT),
    ]
    kind: Any = nw.lit(UNKNOWN)
    for condition, meaning in reversed(lines):
        kind = nw.when(condition).then(nw.lit(meaning)).otherwise(kind)
    return bouncebacks.with_columns(kind=kind)


def _meanings(column: "nw.Expr", codes: Codes, *meanings: str) -> "list[tuple[nw.Expr, str]]":
    return [(_listed(column, getattr(codes, meaning)), meaning) for meaning in meanings]


def _listed(column: "nw.Expr", codes: Iterable[str]) -> "nw.Expr":
    """Whether the code is listed, itself or by its start: "5.7" lists 5.7.1, not 5.71.0."""
    import narwhals as nw

    conditions = [(column == code) | column.str.starts_with(f"{code}.") for code in codes]
    return nw.any_horizontal(*conditions, ignore_nulls=True) if conditions else nw.lit(value=False)


def evidence(bouncebacks: "Frame", rules: Rules) -> "Frame":
    """The bouncebacks that make their address dead, with proves: whether this one is the last that a rule needed.

    bouncebacks: with kind.
    """
    import narwhals as nw

    known = bouncebacks.filter(nw.col("address") != "")
    hard = _streaks(known.filter(nw.col("kind") == HARD), rules.hard)
    soft = _streaks(known.filter(nw.col("kind") == SOFT), rules.soft)
    return nw.concat([hard, soft])


def _streaks(bouncebacks: "Frame", streak: Streak) -> "Frame":
    """The rows that belong to so many of their address within so many days."""
    import narwhals as nw

    order = ["moment", "activity_id"]
    begun = nw.col("moment").shift(streak.bounces - 1).over("address", order_by=order)
    proves = nw.when(nw.col("moment") - begun <= streak.days * DAY).then(nw.lit(1)).otherwise(nw.lit(0))
    with_last = bouncebacks.with_columns(last=proves)
    ahead = [nw.col("last").shift(-step).over("address", order_by=order) == 1 for step in range(streak.bounces)]
    within = with_last.with_columns(within=nw.any_horizontal(*ahead, ignore_nulls=True))
    return within.filter(nw.col("within")).with_columns(proves=nw.col("last") == 1).drop("last", "within")


def dead(evidence: "Frame", handled: "Frame") -> "Frame":
    """One row per dead address that is not handled yet: kind, status, reply, moment of the first proof; last_at; contact_id.

    evidence: see the function of that name. handled: activity_id. What is handled still counts as evidence; an address with
    nothing new among it needs no action. The first proof speaks, of whatever kind: so later windows say what earlier ones did.
    """
    import narwhals as nw

    seen = handled.select("activity_id").unique().with_columns(seen=nw.lit(value=True))
    fresh = (
        evidence.join(seen, on="activity_id", how="left").filter(nw.col("seen").is_null()).select("address").unique()
    )
    rows = evidence.join(fresh, on="address", how="semi")
    last = rows.group_by("address").agg(last_at=nw.col("moment").max())
    first = (
        rows.filter(nw.col("proves"))
        .with_columns(rank=nw.when(nw.col("kind") == HARD).then(nw.lit(0)).otherwise(nw.lit(1)))
        .unique(["address"], keep="first", order_by=["moment", "rank", "activity_id"])
    )
    return first.join(last, on="address", how="inner").select(
        "address", "contact_id", "kind", "status", "reply", "moment", "last_at"
    )


def decide(dead: "Frame", opens: "Frame", carriers: "Frame", rules: Rules) -> "Frame":
    """What becomes of each dead address: outcome "mark", or "opened" when it opened mail after its last bounce.

    opens: address, moment. carriers: address, contact_id, contact_address: what Eloqua's contacts were and are called.
    in_eloqua: "carried" when a contact has the address today, "unknown" when a bounceback names no contact, else "renamed"
    or "deleted": then there is nobody to mark in Eloqua, while Salesforce may still have the address.
    """
    import narwhals as nw

    delay = nw.col("opened_at") - nw.col("last_at")
    lives = (
        opens.select("address", opened_at=nw.col("moment"))
        .join(dead.select("address", "last_at"), on="address", how="inner")
        .filter((delay > 0) & (delay <= rules.opened_within * DAY))
        .select("address")
        .unique()
        .with_columns(lives=nw.lit(value=True))
    )
    standing = (
        nw.when(nw.col("contact_address") == nw.col("address"))
        .then(nw.lit(0))
        .when(nw.col("contact_id") == "")
        .then(nw.lit(1))
        .when(nw.col("contact_address") != "")
        .then(nw.lit(2))
        .otherwise(nw.lit(3))
    )
    best = carriers.with_columns(standing=standing).group_by("address").agg(standing=nw.col("standing").min())
    words: Any = nw.lit("carried")
    for number, word in enumerate(("unknown", "renamed", "deleted"), 1):
        words = nw.when(nw.col("standing") == number).then(nw.lit(word)).otherwise(words)
    return (
        dead.join(lives, on="address", how="left")
        .join(best, on="address", how="left")
        .with_columns(
            outcome=nw.when(nw.col("lives").is_null()).then(nw.lit(MARK)).otherwise(nw.lit(OPENED)), in_eloqua=words
        )
        .drop("lives", "standing")
    )


# rows that a system refused: since (the slot that decided), code


def still_tried(oldest: str) -> "nw.Expr":
    """Whether a rejected row is tried again by the next slot. oldest: the first slot whose rows are."""
    import narwhals as nw

    return nw.col("since") >= oldest


def reason(oldest: str, passing: Iterable[str] = ()) -> "nw.Expr":
    """Why a row was not written: its code, and whether it was tried for the last time. passing: codes never given up on."""
    import narwhals as nw

    code = nw.col("code")
    goes_on = nw.any_horizontal(still_tried(oldest), *(code == one for one in sorted(passing)), ignore_nulls=True)
    return nw.when(goes_on).then(code).otherwise(nw.concat_str(nw.lit("given up: "), code))


# what is written


def written(gets: str, kind: str, status: str, reply: str) -> str:
    """The text of a configured field: "status", "reason" or "code" (a date is each system's own). No remote free text."""
    code = status or reply
    if gets == "status":
        return "Bounced"
    if gets == "code":
        return code
    repeated = "repeated soft bounces" if kind == SOFT else "hard bounce"
    return f"{repeated.capitalize()}, SMTP {' / '.join(part for part in (status, reply) if part)}"
