# ruff: noqa: E501, S608  (tables of examples stay on one line; the SQL is SOQL, and odd on purpose)
"""Odd requests: examples of every kind of body, bent; sentences of SOQL and EEL, right and torn; words and values."""

from __future__ import annotations

import ast
import copy
import json
import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import scc.sandbox
from scc.sandbox.eloqua.entities import CONTACT_FIELDS
from scc.sandbox.salesforce.schema import OBJECTS

DATA = "/services/data/v59.0"
TYPES = ("application/json", "application/json; charset=utf-8", "text/csv", "text/csv; charset=UTF-8", "text/xml")
TYPES += ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense", "")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW")
ALTERNATIVES = re.compile(r"\(\?P<\w+>((?:[\w|]|\\\.)+)\)")
PARAMETER = re.compile(r"\{(\w+)\}|\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)[*+?]?")


def own_words() -> list[str]:
    """The words in the sandbox's source that look like names of properties, parameters, operations."""
    words: set[str] = set()
    for path in Path(scc.sandbox.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.:-]{1,40}", value):
                words.add(value)
    return sorted(words)


WORDS = own_words()

# -- examples to bend -------------------------------------------------------------------------------------------------

FIELDS = {"Email": "{{Contact.Field(C_EmailAddress)}}", "Name": "{{Contact.Field(C_FirstName)}}"}
EEL = [
    "'{{Contact.UpdatedAt}}' >= '2026-01-01 00:00:00' AND EXISTS('{{ContactList[501]}}')",
    "'{{Contact.Field(C_EmailAddress)}}' ~ '*@example.com' OR NOT '{{Contact.Id}}' < '5'",
    "STATUS('{{EmailGroup[1]}}') = 'subscribed'",
    "('{{Activity.Type}}' = 'Bounceback') AND '{{Activity.CreatedAt}}' < '2026-01-02'",
    "'{{Contact.Account.Field(M_CompanyName)}}' != ''",
]
SOQL = [
    "SELECT Id, Name, Owner.Name FROM Campaign WHERE StartDate >= 2026-01-01 AND (Name LIKE 'A%' OR IsActive = true)",
    "SELECT COUNT() FROM Lead WHERE Email IN ('a@example.com') AND CreatedDate = LAST_N_DAYS:30",
    "SELECT Id FROM Contact WHERE Id IN (SELECT ContactId FROM CampaignMember) ORDER BY Email DESC NULLS LAST LIMIT 5 OFFSET 2",
    "SELECT count(Id), Status FROM Lead GROUP BY Status HAVING count(Id) > 1",
    "SELECT FIELDS(ALL) FROM Account LIMIT 200",
]
SQL = [
    "'; DROP TABLE eloqua.contact; --",
    "1 OR 1=1",
    '"',
    "') UNION SELECT 1 --",
    "read_csv('/etc/passwd')",
    "$1",
    "?",
]
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 1.5, -0.0, 1e308, 1e-320,
    "", " ", "\x00", "\ud800", "\u202e", "é" * 40, "😀", "a" * 5000, "0", "-1", "9" * 40, "1e9", "²", "٣", "NaN", "None",
    "2026-02-30", "9999-12-31 23:59:59", "0000-00-00", "2026-11-22T06:15:00Z", "-292277022-01-01", "P1D", "PT1H", "P9999999999D",
    "a@example.com", "bad", "<script>alert(1)</script>", "../../x", "%s%n", "{{Contact.Id}}", "{{CustomObject[11].Id}}",
    "{{ContactList[1]}}", "{{Nope}}", "{{", "/contacts/exports/310", "/contacts/imports/311", "/syncs/1201", "name=*", "*@example.com",
    [], {}, [[]], [[[[[[1]]]]]], {"a": {"b": {"c": []}}}, [None], {"": ""}, ["x"] * 300,
    *EEL, *SOQL, *SQL,
]  # fmt: skip
BODIES: list[Any] = [
    {"name": "x", "fields": FIELDS, "filter": EEL[1], "areSystemTimestampsInUTC": True, "maxRecords": 5},
    {"name": "x", "fields": FIELDS, "identifierFieldName": "Email", "updateRule": "always", "isSyncTriggeredOnImport": True},
    {"name": "x", "fields": FIELDS, "identifierFieldName": "Email", "importRule": "createAndUpdate",
     "syncActions": [{"action": "add", "destination": "{{ContactList[1]}}"},
                     {"action": "setStatus", "destination": "{{GlobalSubscribe}}", "status": "unsubscribed"}]},
    {"name": "x", "fields": {"T": "{{Activity.Type}}", "I": "{{Activity.Id}}"}, "filter": "'{{Activity.Type}}' = 'EmailOpen'"},
    {"name": "x", "fields": {"K": "{{CustomObject[11].Field[1]}}"}, "mapDataCards": True, "mapDataCardsSourceField": "K",
     "mapDataCardsEntityType": "Contact", "mapDataCardsEntityField": "{{Contact.Field(C_EmailAddress)}}"},
    [{"Email": "a@example.com", "Name": "A"}, {"Email": "b@example.com", "Name": 5}],
    {"syncedInstanceUri": "/contacts/exports/310", "callbackUrl": "http://127.0.0.1:9/x"},
    {"emailAddress": "new@example.com", "firstName": "N", "fieldValues": [{"type": "FieldValue", "id": "100004", "value": "1"}]},
    {"id": "1", "name": "List", "membershipAdditions": ["1"], "membershipDeletions": ["2"]},
    {"contactId": "1", "fieldValues": [{"id": "1075", "value": "x"}], "type": "CustomObjectData"},
    {"Email": "a@example.com", "LastName": "L", "Company": "C", "Status": "Open - Not Contacted"},
    {"allOrNone": True, "records": [{"attributes": {"type": "Lead"}, "LastName": "A", "Company": "C"},
                                    {"attributes": {"type": "Contact"}, "id": "003000000000001AAA", "LastName": "B"}]},
    {"compositeRequest": [{"method": "GET", "url": DATA + "/query?q=SELECT+Id+FROM+Lead", "referenceId": "a"},
                          {"method": "POST", "url": DATA + "/sobjects/Lead", "referenceId": "b", "body": {"LastName": "@{a.x}"}}]},
    {"operation": "upsert", "object": "Contact", "externalIdFieldName": "Id", "contentType": "CSV", "lineEnding": "LF"},
    {"operation": "query", "query": SOQL[0]}, {"state": "UploadComplete"}, {"state": "Aborted"}, {"advance": 60}, {"mix": 0.5},
    {"what": "status", "status": 503, "path": "/x$", "nth": 2}, {"what": "mix", "kinds": [{"what": "drip"}]}, {"latency": 0.0},
    {"grant_type": "password", "username": "AcmeTest\\API.User", "password": "sandbox-eloqua-password"}, {"port": 0},
    {"mix": 0.02, "kinds": [{"what": "status", "status": 500}]}, {"ids": ["003000000000001AAA"]}, {"name": "A", "folderId": "1"},
]  # fmt: skip
# The body that an endpoint expects, by the last word of its path.
SUITED = {
    "exports": [0, 3], "imports": [1, 2, 4], "syncactions": [2], "data": [5], "syncs": [6], "contact": [7], "list": [8],
    "instance": [9], "sobjects": [11], "composite": [12], "ingest": [13], "query": [14], "jobs": [13, 14], "clock": [17],
    "faults": [18, 19, 20, 22], "token": [21], "pod-move": [22], "account": [7], "tree": [11], "lists": [24],
}  # fmt: skip
RAW = [
    b"", b"null", b"{", b'{"a":', b"[1,]", b"\xff\xfe\x00", b'{"name": "\xc3\x28"}', b'{"a": NaN}', b'{"a": 1e999}',
    b'{"name": "\\ud800", "fields": {"\\udfff": "\\ud800"}}', b"[" * 3000, b'{"a":' * 3000, b'{"a":1,"a":2}', b"\xef\xbb\xbf{}",
    b"Email,Name\r\na@example.com,A\r\n", b'Id\n"003', b"Email,Email\n1,2,3\n\n", b"\x00" * 50, b'"Email"\n"a\nb"\n',
    b"grant_type=client_credentials&client_id=%ff", b"grant_type=refresh_token&refresh_token=x", b"a=b" * 500,
    b"<?xml version='1.0'?><soapenv:Envelope xmlns:soapenv='http://schemas.xmlsoap.org/soap/envelope/'><soapenv:Body>"
    b"<n1:login xmlns:n1='urn:partner.soap.sforce.com'><n1:username>a</n1:username></n1:login></soapenv:Body></soapenv:Envelope>",
    b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----", b"\x1f\x8b\x08broken",
]  # fmt: skip


def bent(document: Any, dice: random.Random) -> Any:
    """The document with one thing in it changed."""
    document = copy.deepcopy(document)
    spots: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        part = pending.pop()
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            spots.append((part, key))
            if isinstance(part[key], (dict, list)):
                pending.append(part[key])
    if not spots:
        return dice.choice(ODD)
    part, key = dice.choice(spots)
    deed = dice.randrange(8)
    if deed < 4:
        part[key] = dice.choice(ODD)
    elif deed == 4 and isinstance(part[key], str):
        part[key] = torn(part[key], dice)
    elif deed == 5 and isinstance(part, dict):
        del part[key]
    elif deed == 6:
        part[key] = [part[key], part[key]]
    elif isinstance(part, dict):
        part[dice.choice(WORDS)] = dice.choice(ODD)
    return document


def torn(text: str, dice: random.Random) -> str:
    """The text with a piece cut out, doubled, or replaced by something odd."""
    low, high = sorted(dice.choices(range(len(text) + 1), k=2))
    odd = str(dice.choice(ODD))[:200]
    return text[:low] + dice.choice(["", text[low:high] * 2, odd, dice.choice("'\"()[]{}%\\,:;\n\x00")]) + text[high:]


SOME_ID = "'003000000000001AAA'"


def fields_of(known: Any) -> list[Any]:
    return list(known.fields.values() if isinstance(known.fields, dict) else known.fields)


def soql(dice: random.Random) -> str:
    """A sentence that is mostly right: fields of the object, operators, literals of any type."""
    known = dice.choice(list(OBJECTS.values()))
    names = [known_field.name for known_field in fields_of(known)] + [
        "Owner.Name",
        "Account.Name",
        "Campaign.StartDate",
        "Nope",
    ]
    literals = ["'a'", "'%a_'", "5", "-1.5", "true", "null", "2026-01-01", "2026-01-01T00:00:00Z", "TODAY", "LAST_N_DAYS:3",
                "NEXT_N_MONTHS:99999999", "'003000000000001AAA'", "''", "THIS_FISCAL_YEAR", "9" * 30, "USD5.5", "'\\\\'"]  # fmt: skip

    def condition(depth: int = 0) -> str:
        turn = dice.randrange(10)
        if turn == 0 and depth < 4:
            return f"({condition(depth + 1)} {dice.choice(['AND', 'OR'])} {condition(depth + 1)})"
        if turn == 1:
            return f"NOT {condition(depth + 1)}" if depth < 4 else "Id != null"
        if turn == 2:
            return f"{dice.choice(names)} {dice.choice(['IN', 'NOT IN'])} ({', '.join(dice.choices(literals, k=dice.randrange(4)))})"
        if turn == 3:
            return (
                f"{dice.choice(names)} IN (SELECT {dice.choice(names)} FROM {dice.choice(list(OBJECTS.values())).name})"
            )
        if turn < 8:
            field = dice.choice(fields_of(known))
            suited = {
                "boolean": "true",
                "date": "TODAY",
                "datetime": "LAST_N_DAYS:9",
                "int": "5",
                "double": "5",
                "currency": "5",
            }
            return f"{field.name} {dice.choice(['=', '!=', '>='])} {suited.get(field.type, dice.choice(['null', SOME_ID]))}"
        operator = dice.choice(["=", "!=", "<", ">", "<=", ">=", "LIKE", "<>", "INCLUDES", "EXCLUDES"])
        return f"{dice.choice(names)} {operator} {dice.choice(literals)}"

    chosen = dice.choice(
        [
            ", ".join(dice.choices(names, k=dice.randrange(1, 4))),
            "COUNT()",
            "count(Id) n, max(CreatedDate)",
            "FIELDS(ALL)",
        ]
    )
    parts = [f"SELECT {chosen} FROM {known.name}"]
    parts += [f"WHERE {condition()}"] if dice.random() < 0.7 else []
    parts += [f"GROUP BY {dice.choice(names)}"] if dice.random() < 0.1 else []
    parts += [f"ORDER BY {dice.choice(names)} {dice.choice(['', 'DESC', 'NULLS LAST'])}"] if dice.random() < 0.3 else []
    parts += [f"LIMIT {dice.choice(['1', '0', '200', '9' * 12, '-1', 'x'])}"] if dice.random() < 0.4 else []
    parts += [f"OFFSET {dice.choice(['1', '2001', '-1'])}"] if dice.random() < 0.1 else []
    text = " ".join(parts)
    return torn(text, dice) if dice.random() < 0.2 else text


def eel(dice: random.Random) -> str:
    """A filter that is mostly right."""
    names = [f"{{{{Contact.Field({known.internal_name})}}}}" for known in CONTACT_FIELDS]
    names += [
        "{{Contact.Id}}",
        "{{Contact.CreatedAt}}",
        "{{Contact.Email.IsBounced}}",
        "{{Activity.Type}}",
        "{{Activity.CreatedAt}}",
    ]
    names += ["{{Contact.Account.Field(M_CompanyName)}}", "{{CustomObject[11].Field[1075]}}", "{{Nope}}"]
    values = [
        "a",
        "5",
        "*@example.com",
        "2026-01-01",
        "2026-01-01 00:00:00",
        "",
        "true",
        "9" * 30,
        "\\\\'",
        "EmailOpen",
        "1e9",
        "[a-z]",
        "*",
        "?",
    ]

    def condition(depth: int = 0) -> str:
        turn = dice.randrange(10)
        if turn == 0 and depth < 4:
            return f"({condition(depth + 1)} {dice.choice(['AND', 'OR', 'and'])} {condition(depth + 1)})"
        if turn == 1 and depth < 4:
            return f"NOT {condition(depth + 1)}"
        if turn == 2:
            return f"EXISTS('{{{{{dice.choice(['ContactList', 'ContactFilter', 'ContactSegment', 'AccountList'])}[{dice.choice('1259')}]}}}}')"
        if turn == 3:
            return f"STATUS('{{{{ContactList[1]}}}}') = '{dice.choice(['active', 'x', ''])}'"
        return f"'{dice.choice(names)}' {dice.choice(['=', '!=', '<', '>', '<=', '>=', '~', '!~'])} '{dice.choice(values)}'"

    return torn(condition(), dice) if dice.random() < 0.2 else condition()


def odd_target(template: str, ids: dict[str, list[str]], dice: random.Random) -> str:
    """A path of the template, its parameters filled with what lives (mostly) or with anything; and a query."""
    path = ALTERNATIVES.sub(lambda match: dice.choice(match[1].replace("\\.", ".").split("|")), template)

    def segment(match: re.Match[str]) -> str:
        name = match[1] or match[2] or ""
        words = re.findall(r"(?<=/)[A-Za-z-]+(?=/|$)", PARAMETER.sub("", path[: match.start()]).lower())
        keys = [name, "/".join(words[-2:]), "".join(words[-1:])]
        live = next((ids[key] for key in keys if ids.get(key)), ids["any"])
        turn = dice.random()
        value = (
            dice.choice(live[-6:]) if turn < 0.8 else dice.choice(ids["any"]) if turn < 0.9 else str(dice.choice(ODD))
        )
        return quote(value[:300].encode("utf-8", "replace"), safe="") or "x"

    path = PARAMETER.sub(segment, path).replace("\\", "").replace("?", "")
    if dice.random() < 0.05:
        path = dice.choice(
            [path.upper(), path + "/", path.replace("/", "//"), path + "%00", path + "/%FF", "http://h" + path]
        )
    pairs = [(dice.choice(WORDS), dice.choice(ODD)) for _ in range(dice.choice([0, 0, 0, 1, 2]))]
    for name in (
        "q",
        "search",
        "limit",
        "offset",
        "page",
        "count",
        "depth",
        "orderBy",
        "viewId",
        "lastUpdatedAt",
        "fields",
    ):
        if dice.random() < 0.1:
            values = [
                1,
                2,
                0,
                "complete",
                "partial",
                "name",
                "id DESC",
                "name='A*'",
                "*@example.com",
                "emailAddress=a*",
                "Id,Name",
            ]
            pairs.append((name, dice.choice(values) if dice.random() < 0.7 else dice.choice(ODD)))
    if "query" in path.lower() and dice.random() < 0.9:
        pairs = [("q", soql(dice))]
    return path + ("?" + urlencode([(n, str(v)[:2000].encode("utf-8", "replace")) for n, v in pairs]) if pairs else "")


def odd_body(template: str, ids: dict[str, list[str]], dice: random.Random) -> bytes:
    """A body that suits the endpoint, or some other one; bent, broken, or whole."""
    if dice.random() < 0.12:
        return dice.choice(RAW)
    words = [word for word in re.split(r"[/.{}()|<>?]", template.lower()) if word in SUITED]
    document = BODIES[dice.choice(SUITED[words[-1]])] if words and dice.random() < 0.8 else dice.choice(BODIES)
    if isinstance(document, dict) and "fields" in document and dice.random() < 0.5:
        document = document | {"filter": eel(dice)}
    if "/sobjects/" in template.lower() and dice.random() < 0.6:
        names = [known_field.name for known_field in fields_of(dice.choice(list(OBJECTS.values())))]
        document = {dice.choice(names): dice.choice(ODD)} | {"LastName": "L", "Company": "C"}
    if isinstance(document, dict) and "syncedInstanceUri" in document:
        document = {"syncedInstanceUri": dice.choice(ids["uri"][-12:])}
    for _ in range(dice.choice([0, 0, 0, 1, 1, 2, 4])):
        document = bent(document, dice) if isinstance(document, (dict, list)) else document
    body = json.dumps(document).encode()
    return body[: dice.randrange(len(body) + 1)] if dice.random() < 0.05 else body


def odd_headers(dice: random.Random) -> tuple[dict[str, str], bool]:
    """Headers, and whether they leave the credentials alone."""
    headers = {"Content-Type": dice.choice(TYPES) if dice.random() < 0.3 else TYPES[0]}
    if dice.random() < 0.3:
        name = dice.choice(
            [
                "Accept",
                "Accept-Encoding",
                "Content-Encoding",
                "Sforce-Query-Options",
                "Sforce-Auto-Assign",
                "If-Match",
                "Sforce-Duplicate-Rule-Header",
                "Expect",
                "Range",
                "X-HTTP-Method-Override",
                "Cookie",
                "SOAPAction",
                "Content-Type",
            ]
        )
        values = [
            "text/csv",
            "gzip",
            "gzip;q=0",
            "batchSize=200",
            "batchSize=x",
            "FALSE",
            "*/*",
            "100-continue",
            "é",
            "x" * 3000,
        ]
        headers[name] = dice.choice(values)
    honest = dice.random() < 0.95
    if not honest:
        headers["Authorization"] = dice.choice(
            ["", "Basic", "Basic !!", "Bearer x", "Bearer", "OAuth \xe9", "Basic " + "A" * 999]
        )
    return headers, honest
