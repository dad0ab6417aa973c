"""Who we are at Salesforce, and its queries: on simple-salesforce, over our session (salesforce.md 5).

The library knows the paths and the paging; the session under it has the timeouts, the retries and the table from status
to error, and turns its https to a sandbox's http. Its own session renewal is not used: it drops headers and does not end.
"""

import base64
import functools
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote_plus

from scc.config import SalesforceCredentials, checked_url
from scc.config import salesforce as settings
from scc.errors import ConfigError, Refused, Unavailable
from scc.salesforce import soql
from scc.transport import SALESFORCE, Response, Transport

if TYPE_CHECKING:
    from simple_salesforce import Salesforce as Library

log = logging.getLogger(__name__)

# subrequests of one composite call that may be queries (salesforce.md 2.1)
QUERIES_PER_CALL = 5
# A Lead's owner stays (the default is TRUE), and a duplicate rule that only warns lets the record pass (2.3, 2.5)
WRITE_HEADERS = {"Sforce-Auto-Assign": "FALSE", "Sforce-Duplicate-Rule-Header": "allowSave=true"}
T = TypeVar("T")
Row = dict[str, Any]


class Described(NamedTuple):
    """What this user may do with a field. length: of a text, 0 for others."""

    name: str
    kind: str
    length: int
    updateable: bool


class Verdict(NamedTuple):
    """What became of one record. code: "" when it was written, else Salesforce's error code."""

    record_id: str
    code: str = ""


class Salesforce:
    """One integration user in one org. Logs in at the first call, and once more when the session has expired."""

    def __init__(self, transport: Transport, credentials: SalesforceCredentials):
        self._transport = transport
        self._credentials = credentials
        self._version = settings().api_version
        self._library: Library | None = None
        transport.add_base(SALESFORCE, credentials.url)

    def query(self, statement: str) -> Iterator[Row]:
        """Yield the records of a query, page by page, without their `attributes`; parents come nested, or None."""
        page = self._calling(lambda library: library.query(statement))
        yield from self._paged(page)

    def lookup(
        self,
        from_object: str,
        fields: Sequence[str],
        key: str,
        values: Iterable[str],
        condition: str = "",
        room: int = soql.URL_BYTES,
    ) -> Iterator[Row]:
        """Yield the records whose key is one of values (distinct, any number), in chunks by POST.

        condition: a further one, see soql.parenthesised. room: bytes of one statement, URL-encoded.
        The iterator only ends well when every chunk was answered whole, so that a value that did not
        come back is really not there for this user.
        """
        extra = soql.parenthesised(condition)
        frame = quote_plus(soql.select(fields, from_object, soql.one_of(key, ["x"]), extra))
        for calls in _grouped(soql.chunks(values, room - len(frame)), QUERIES_PER_CALL):
            statements = [soql.select(fields, from_object, soql.one_of(key, chunk), extra) for chunk in calls]
            for page in self._composite(statements):
                yield from self._paged(page)

    def check(self, statement: str) -> None:
        """Have Salesforce judge a statement (give it LIMIT 0). Raises ConfigError with its error code."""
        try:
            for _ in self.query(statement):
                pass
        except Refused as error:
            if error.status not in (400, 404):
                raise
            raise ConfigError(
                f"Salesforce refuses the query of this configuration ({error.code}): check the object, the fields, the "
                "condition, and that the user may see them"
            ) from None

    def describe(self, name: str) -> dict[str, Described]:
        """The fields of an object by name in small letters; those hidden from this user are absent (8)."""
        answer: Any = self._calling(lambda library: library.restful(f"sobjects/{name}/describe"))
        try:
            return {
                field["name"].lower(): Described(
                    field["name"], field["type"], int(field.get("length") or 0), field["updateable"] is True
                )
                for field in answer["fields"]
            }
        except (KeyError, TypeError, AttributeError):
            path = "/services/data/{version}/sobjects/{object}/describe"
            raise Refused(SALESFORCE, "GET", path, 200, problem="the answer describes no fields") from None

    def update(self, name: str, records: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        """Update records of one object, each with its `Id`, and say what became of each, in their order.

        At most [salesforce] records_per_call, which are 200 (2.1). One that is refused does not keep the others from
        being written. Safe to repeat: the same values again.
        """
        document = {
            "allOrNone": False,
            "records": [
                {"attributes": {"type": name}, "id": record["Id"], **{k: v for k, v in record.items() if k != "Id"}}
                for record in records
            ],
        }
        answer = self._calling(
            lambda library: library.restful(
                "composite/sobjects", method="PATCH", json=document, headers=WRITE_HEADERS, idempotent=True
            )
        )
        if not isinstance(answer, list) or len(answer) != len(records):
            path = "/services/data/{version}/composite/sobjects"
            raise Unavailable(SALESFORCE, "PATCH", path, 200, problem="verdicts are missing")
        return [
            Verdict(str(record["Id"]), "" if part.get("success") is True else _row_code(part))
            for record, part in zip(records, answer, strict=True)
        ]

    def call(self, method: str, path: str, **keywords: Any) -> Response:
        """One call below /services/data/{version}/, for what the library does in a way that is not ours (5.5)."""
        return self._calling(
            lambda library: library._call_salesforce(method, library.base_url + path, name=path, **keywords)
        )

    def _paged(self, page: Any) -> Iterator[Row]:
        seen = 0
        while True:
            if not isinstance(page, dict) or not page.keys() >= {"records", "done", "totalSize"}:
                raise _bad_page("the answer is not a page of a query")
            for record in page["records"]:
                seen += 1
                yield {name: value for name, value in record.items() if name != "attributes"}
            if page["done"]:
                break
            page = self._calling(functools.partial(_next_page, page["nextRecordsUrl"]))
        if seen != page["totalSize"]:
            raise _bad_page(f"{seen:,} records came instead of {page['totalSize']:,}")

    def _composite(self, statements: Sequence[str]) -> list[Any]:
        """The first page of each statement, all by one POST: the SOQL travels in the body, not in a URL (2.1)."""
        prefix = f"/services/data/v{self._version}/query?q="
        document = {
            "allOrNone": False,
            "compositeRequest": [
                {"method": "GET", "url": prefix + quote_plus(statement), "referenceId": f"query{number}"}
                for number, statement in enumerate(statements)
            ],
        }
        answer = self._calling(
            lambda library: library.restful("composite", method="POST", json=document, idempotent=True)
        )
        parts = answer.get("compositeResponse") if isinstance(answer, dict) else None
        if not isinstance(parts, list) or len(parts) != len(statements):
            raise _composite_error(200, None, "answers are missing")
        for part in parts:
            if not isinstance(part, dict) or not isinstance(part.get("body"), dict | list):
                raise _composite_error(200, None, "an answer has another form than a composite one")
            if part.get("httpStatusCode") != 200:
                body = part.get("body")
                code = body[0].get("errorCode") if isinstance(body, list) and body else None
                raise _composite_error(part.get("httpStatusCode"), code, "one of the queries was refused")
        return [part["body"] for part in parts]

    def _calling(self, call: "Callable[[Library], T]") -> T:
        if self._library is None:
            self._library = self._login()
        try:
            return call(self._library)
        except Refused as error:
            if error.status != 401:
                raise
        log.info("Salesforce's session has expired; logging in again")
        self._library = self._login()
        return call(self._library)

    def _login(self) -> "Library":
        from simple_salesforce import Salesforce as Library

        credentials = self._credentials
        flow = self._assertion() if credentials.private_key else {"grant_type": "client_credentials"}
        headers = {} if credentials.private_key else {"Authorization": self._basic()}
        try:
            answer = self._transport.request(
                "POST", f"{credentials.url}/services/oauth2/token", data=flow, headers=headers, idempotent=True
            ).json()
            token, instance_url = answer["access_token"], answer["instance_url"]
        except Refused as error:
            if error.status not in (400, 401):
                raise
            raise ConfigError(
                f"Salesforce refuses the login ({error.code}): check SALESFORCE_URL (the org's My Domain), "
                "SALESFORCE_CLIENT_ID and its secret or key, and that the app allows this flow for the user"
            ) from None
        except (KeyError, TypeError):
            raise Refused(
                SALESFORCE, "POST", "/services/oauth2/token", 200, problem="the answer holds no token"
            ) from None
        instance_url = checked_url(instance_url, "Salesforce's answer to the login")
        self._transport.add_base(SALESFORCE, instance_url)
        return Library(session_id=token, instance_url=instance_url, version=self._version, session=self._transport)

    def _basic(self) -> str:
        pair = f"{self._credentials.client_id}:{self._credentials.client_secret}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def _assertion(self) -> dict[str, str]:
        """The JWT bearer grant: a statement signed for three minutes (salesforce.md 1.2)."""
        import jwt

        claims = {
            "iss": self._credentials.client_id,
            "sub": self._credentials.username,
            "aud": self._credentials.audience,
            "exp": int(time.time()) + 180,
        }
        try:
            assertion = jwt.encode(claims, self._credentials.private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            raise ConfigError("SALESFORCE_PRIVATE_KEY is not an RSA private key in PEM form") from None
        return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


def _bad_page(problem: str) -> Refused:
    return Refused(SALESFORCE, "GET", "/services/data/{version}/query", 200, problem=problem)


def _row_code(part: Mapping[str, Any]) -> str:
    """The error code of a refused record."""
    errors = part.get("errors") or [{}]
    return error_code(str(errors[0].get("statusCode")))


def error_code(text: str) -> str:
    """The code that a text starts with ("CODE:message:fields --"); "no code" where there is none, because it is shown."""
    found = re.match(r"[A-Z][A-Z_0-9]{2,60}(?![A-Za-z])", text)
    return found[0] if found else "no code"


def _next_page(url: str, library: "Library") -> Any:
    return library.query_more(url, identifier_is_url=True)


def _composite_error(status: Any, code: Any, problem: str) -> Refused | Unavailable:
    """A part's failure, by the same reading of status and code as a whole answer's."""
    status = status if isinstance(status, int) else None
    code = code if isinstance(code, str) and code.isidentifier() else None
    busy = code == "REQUEST_LIMIT_EXCEEDED" or status == 429 or (status or 0) >= 500
    kind = Unavailable if busy else Refused
    return kind(SALESFORCE, "POST", "/services/data/{version}/composite", status, code, problem)


def _grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group
