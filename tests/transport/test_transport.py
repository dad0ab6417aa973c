"""What the one HTTP promises: limits, repeats, errors, silence about people, and a dry run that changes nothing."""

import datetime as dt
import email.utils
import gzip
import json
import logging
import random
import re
import ssl
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from requests import PreparedRequest

from scc.errors import DryRunWrite, LeaseLost, Refused, RemoteError, SccError, Unavailable
from scc.transport import ELOQUA, ROUTES, SALESFORCE, Transport
from tests.canned import Clock, RequestsMock, sent
from tests.loopback import Act, Loopback, answer, dripping, free_port, raw, reset, silence, unreachable
from tests.transport.conftest import ELOQUA_HOST, SALESFORCE_HOST

READ = ("GET", "/syncs/7")
WRITE = ("POST", "/syncs")
NOW = dt.datetime.fromtimestamp(1_800_000_000, dt.UTC)
Settings = Callable[[str, str, object], None]


def call(transport: Transport, request: tuple[str, str], base: str = ELOQUA_HOST, **keywords: Any) -> requests.Response:
    method, path = request
    if method == "POST":
        keywords.setdefault("json", {"syncedInstanceUri": "/customObjects/9/imports/4"})
    return transport.request(method, base + path, **keywords)


def over(server: Loopback | str, **keywords: Any) -> Transport:
    """A transport for which the server is Eloqua."""
    transport = Transport(**keywords)
    transport.add_base(ELOQUA, server if isinstance(server, str) else server.url)
    return transport


# limits of one call


def test_a_host_that_takes_no_connection_is_given_up(settings: Settings) -> None:
    settings("transport", "connect_timeout", 0.05)
    settings("transport", "deadline", 0.2)
    with unreachable() as url, pytest.raises(Unavailable, match="could not be reached"):
        call(over(url), READ, url)


def test_a_host_that_does_not_answer_is_given_up(settings: Settings) -> None:
    settings("transport", "read_timeout", 0.1)
    with Loopback(silence) as server, pytest.raises(Unavailable, match="no whole answer came"):
        call(over(server), WRITE, server.url)


def test_an_answer_that_never_ends_is_given_up_at_the_deadline(settings: Settings) -> None:
    settings("transport", "deadline", 0.3)
    with Loopback(dripping) as server, pytest.raises(Unavailable, match="no whole answer came"):
        call(over(server), READ, server.url)


def test_every_call_has_the_configured_limits(http: RequestsMock, settings: Settings) -> None:
    settings("transport", "connect_timeout", 3)
    settings("transport", "read_timeout", 7)
    settings("transport", "deadline", 100)
    http.get(f"{ELOQUA_HOST}/syncs/7", json={})

    call(over(ELOQUA_HOST), READ, timeout=None)

    assert http.calls[0].request.req_kwargs["timeout"] == (3, 7)


def test_no_try_may_take_longer_than_the_whole_call(http: RequestsMock, clock: Clock, settings: Settings) -> None:
    settings("transport", "first_pause", 40)
    settings("transport", "longest_pause", 40)
    http.get(f"{ELOQUA_HOST}/syncs/7", status=503)
    http.get(f"{ELOQUA_HOST}/syncs/7", json={})

    call(over(ELOQUA_HOST), READ)

    connect, read = http.calls[1].request.req_kwargs["timeout"]
    assert read == pytest.approx(60 - clock.pauses[0])
    assert connect == pytest.approx(10)


# what is repeated


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_read_is_repeated_until_the_system_answers(transport: Transport, http: RequestsMock, status: int) -> None:
    for _ in range(2):
        http.get(f"{ELOQUA_HOST}/syncs/7", status=status)
    http.get(f"{ELOQUA_HOST}/syncs/7", json={"status": "success"})

    assert call(transport, READ).json() == {"status": "success"}
    assert len(http.calls) == 3


@pytest.mark.parametrize(
    "broken",
    [
        reset,
        answer(200, b'{"status": "suc', length=50),
        raw(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"status": "suc'),
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
        answer(200, b"<html>Down for maintenance</html>", Content_Type="text/html"),
    ],
    ids=["reset", "shorter than announced", "cut", "last chunk missing", "a page of a proxy"],
)
def test_a_read_is_repeated_when_no_whole_answer_comes(settings: Settings, broken: Act) -> None:
    with Loopback(broken, answer(200, b'{"status": "success"}')) as server:
        assert call(over(server), READ, server.url).json() == {"status": "success"}
        assert len(server.received) == 2


@pytest.mark.parametrize("body", [b"", b'{"items": [{"Name": "a"}'], ids=["empty", "cut behind a bracket"])
def test_a_body_that_is_no_json_is_no_answer(settings: Settings, body: bytes) -> None:
    cut = raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
    with Loopback(cut, answer(200, b'{"items": []}')) as server:
        assert call(over(server), ("GET", "/syncs/7/data"), server.url).json() == {"items": []}


def test_a_compressed_answer_is_read_whole(settings: Settings) -> None:
    noise = random.Random(1).randbytes(500_000).hex().encode()
    body = gzip.compress(b'{"items": "' + noise + b'"}')
    with Loopback(answer(200, body, Content_Encoding="gzip")) as server:
        assert call(over(server), READ, server.url).json()["items"] == noise.decode()


@pytest.mark.parametrize(
    "lost",
    [reset, silence, answer(502, b""), answer(503, b""), answer(504, b""), answer(201, b'{"uri"', length=90)],
    ids=["reset", "silence", "502", "503", "504", "cut"],
)
def test_a_write_that_may_have_taken_effect_is_not_repeated(settings: Settings, lost: Act) -> None:
    settings("transport", "read_timeout", 0.1)
    with Loopback(lost, answer(201)) as server:
        with pytest.raises(Unavailable):
            call(over(server), WRITE, server.url)
        assert len(server.received) == 1


def test_a_write_whose_encryption_breaks_after_it_was_sent_is_not_repeated(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    certificate, context = self_signed(tmp_path)

    def garble(connection: ssl.SSLSocket) -> None:
        with open(connection.fileno(), "wb", closefd=False) as below:  # past the encryption
            below.write(b"this is no TLS record")

    with Loopback(garble, answer(201), tls=context) as server:
        transport = over(server)
        transport.verify = str(certificate)
        with pytest.raises(Unavailable):
            call(transport, WRITE, server.url)
        assert len(server.received) == 1


def test_a_host_without_a_good_certificate_gets_nothing(settings: Settings, tmp_path: Path) -> None:
    settings("transport", "deadline", 0.1)
    _, context = self_signed(tmp_path)
    with Loopback(answer(201), tls=context) as server:
        with pytest.raises(Unavailable, match="could not be reached"):
            call(over(server), WRITE, server.url)
        assert server.received == []


def self_signed(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that vouches for itself, and a server's context with it."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - dt.timedelta(days=3650), NOW.replace(year=2100))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path, key_path = folder / "certificate.pem", folder / "key.pem"
    path.write_bytes(certificate.public_bytes(pem))
    key_path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return path, context


@pytest.mark.parametrize("lost", [reset, answer(503, b"")], ids=["reset", "503"])
def test_a_write_declared_idempotent_is_repeated(settings: Settings, lost: Act) -> None:
    with Loopback(lost, answer(201)) as server:
        assert call(over(server), WRITE, server.url, idempotent=True).status_code == 201


def test_a_write_that_was_turned_away_is_repeated(transport: Transport, http: RequestsMock) -> None:
    http.post(f"{ELOQUA_HOST}/syncs", status=429)
    http.post(f"{ELOQUA_HOST}/syncs", json={"uri": "/syncs/8"})

    assert call(transport, WRITE).json() == {"uri": "/syncs/8"}


def test_a_write_that_never_arrived_is_repeated(settings: Settings) -> None:
    port, servers = free_port(), []

    def host_comes_back_before_the_second_try() -> None:
        tries.append(None)
        if len(tries) == 2:
            servers.append(Loopback(answer(201), port=port))

    tries: list[None] = []
    base = f"http://127.0.0.1:{port}"
    assert call(over(base, lease_check=host_comes_back_before_the_second_try), WRITE, base).status_code == 201
    with servers[0] as server:
        assert len(server.received) == 1


@pytest.mark.parametrize("status", [500, 400, 403, 404])
def test_other_failures_are_not_repeated(transport: Transport, http: RequestsMock, status: int) -> None:
    http.get(f"{ELOQUA_HOST}/syncs/7", status=status)

    with pytest.raises(RemoteError):
        call(transport, READ)
    assert len(http.calls) == 1


# how long it waits in between


def test_pauses_double_up_to_a_cap_with_some_chance_in_them(http: RequestsMock, clock: Clock) -> None:
    http.get(f"{ELOQUA_HOST}/syncs/7", status=503)

    with pytest.raises(Unavailable):
        call(over(ELOQUA_HOST), READ)

    planned = [1, 2, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8]
    assert len(clock.pauses) >= 8
    assert all(plan / 2 <= pause <= plan for plan, pause in zip(planned, clock.pauses, strict=False))
    assert len({pause / plan for plan, pause in zip(planned, clock.pauses, strict=False)}) > 1


def test_retries_end_before_the_deadline(http: RequestsMock, clock: Clock) -> None:
    http.get(f"{ELOQUA_HOST}/syncs/7", status=503)
    began = clock.now

    with pytest.raises(Unavailable, match="503") as raised:
        call(over(ELOQUA_HOST), READ)

    assert raised.value.status == 503
    assert clock.now - began < 60


def test_a_machine_that_slept_past_the_deadline_ends_with_our_own_error(http: RequestsMock, clock: Clock) -> None:
    clock.oversleep = 1000
    http.get(f"{ELOQUA_HOST}/syncs/7", status=503)

    with pytest.raises(Unavailable):
        call(over(ELOQUA_HOST), READ)


@pytest.mark.parametrize(
    "value", ["17", email.utils.format_datetime(NOW + dt.timedelta(seconds=1017), usegmt=True)], ids=["seconds", "date"]
)
def test_retry_after_is_obeyed(http: RequestsMock, clock: Clock, value: str) -> None:
    http.get(f"{ELOQUA_HOST}/syncs/7", status=429, headers={"Retry-After": value})
    http.get(f"{ELOQUA_HOST}/syncs/7", json={})

    call(over(ELOQUA_HOST), READ)

    assert clock.pauses == [pytest.approx(17, abs=1)]


def test_retry_after_beyond_the_deadline_is_not_waited_for(http: RequestsMock, clock: Clock) -> None:
    http.get(f"{ELOQUA_HOST}/syncs/7", status=503, headers={"Retry-After": "3600"})

    with pytest.raises(Unavailable):
        call(over(ELOQUA_HOST), READ)
    assert clock.pauses == []


@pytest.mark.parametrize("value", ["0", "Sun, 01 Nov 2026 00:00:00 GMT", "soon"])
def test_a_retry_after_that_says_nothing_leaves_the_usual_pause(http: RequestsMock, clock: Clock, value: str) -> None:
    clock.drift = 0.01
    http.get(f"{ELOQUA_HOST}/syncs/7", status=503, headers={"Retry-After": value})

    with pytest.raises(Unavailable):
        call(over(ELOQUA_HOST), READ)
    assert len(http.calls) < 20


# errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, Refused),
        (400, Refused),
        (401, Refused),
        (403, Refused),
        (404, Refused),
        (409, Refused),
        (410, Refused),
        (412, Refused),
        (413, Refused),
        (414, Refused),
        (429, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (507, Unavailable),
    ],
)
def test_each_status_has_its_error(http: RequestsMock, clock: Clock, status: int, kind: type[RemoteError]) -> None:
    http.post(f"{ELOQUA_HOST}/customObjects/9/imports/4/data", status=status)

    with pytest.raises(kind, match=re.escape("Eloqua: POST /customObjects/{id}/imports/{id}/data: ")) as raised:
        call(over(ELOQUA_HOST), ("POST", "/customObjects/9/imports/4/data"), data=b"[]", json=None)
    assert raised.value.status == status
    assert str(status) in str(raised.value)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([{"message": "bad field", "errorCode": "INVALID_FIELD"}], "INVALID_FIELD"),
        ({"error": "invalid_grant", "error_description": "expired"}, "invalid_grant"),
        ({"failures": [{"field": "filter", "value": "x", "constraint": "y"}]}, "filter"),
        ([{"type": "ObjectValidationError", "property": "name"}], "ObjectValidationError"),
        ({"error": "jane@example.com is not known"}, None),
        ("Not authenticated.", None),
        ([], None),
    ],
)
def test_an_error_carries_the_code_but_only_what_has_the_form_of_one(
    transport: Transport, http: RequestsMock, body: Any, code: str | None
) -> None:
    http.get(f"{ELOQUA_HOST}/syncs/7", status=400, json=body)

    with pytest.raises(Refused) as raised:
        call(transport, READ)
    assert raised.value.code == code


def test_a_used_up_quota_of_salesforce_is_not_a_lost_permission(http: RequestsMock, clock: Clock) -> None:
    url = f"{SALESFORCE_HOST}/services/data/v62.0/query"
    http.get(url, status=403, json=[{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "used up"}])
    transport = Transport()
    transport.add_base(SALESFORCE, SALESFORCE_HOST)

    with pytest.raises(Unavailable, match="REQUEST_LIMIT_EXCEEDED"):
        transport.request("GET", url)
    assert len(http.calls) > 1


def test_a_redirect_is_not_followed(transport: Transport, http: RequestsMock) -> None:
    http.get(f"{ELOQUA_HOST}/syncs/7", status=302, headers={"Location": "https://elsewhere.example.com/login"})
    http.get("https://elsewhere.example.com/login", json={})

    with pytest.raises(Refused, match="302"):
        call(transport, READ, allow_redirects=True)
    assert len(http.calls) == 1


# what leaves the process

PERSON, TOKEN = "jane.doe", "t0ken-of-ours"
QUOTED = f'{{"error": "no such person: {PERSON}@example.com", "message": "{PERSON}"}}'.encode()


FAULTS: dict[str, Act | None] = {
    "reset": reset,
    "silence": silence,
    "refused": answer(400, QUOTED),
    "busy": answer(503, QUOTED),
    "redirected": answer(302, b"", Location=f"/{PERSON}"),
    "a page": answer(200, QUOTED, Content_Type="text/html"),
    "no HTTP": raw(f"HTTP/1.1 {PERSON}\r\n\r\n".encode()),
    "nobody there": None,
}


@pytest.mark.parametrize("act", FAULTS.values(), ids=FAULTS)
def test_no_fault_says_who_it_was_about(settings: Settings, caplog: pytest.LogCaptureFixture, act: Act | None) -> None:
    caplog.set_level(logging.DEBUG)
    settings("transport", "read_timeout", 0.05)
    settings("transport", "deadline", 0.2)
    with Loopback(act or reset) as server:
        base = server.url if act else f"http://127.0.0.1:{free_port()}"
        with pytest.raises(RemoteError) as raised:
            over(base).request(
                "GET", f"{base}/syncs", params={"q": f"{PERSON}@example.com"}, headers={"Authorization": TOKEN}
            )

    told = "".join(traceback.format_exception(raised.value)) + repr(vars(raised.value)) + caplog.text
    assert "GET /syncs" in told
    for secret in (PERSON, "example.com", TOKEN, "127.0.0.1"):
        assert secret not in told


def test_nothing_below_us_logs_addresses(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Loopback(reset, answer(503), answer(200)) as server:
        over(server).request("GET", f"{server.url}/syncs", params={"q": f"{PERSON}@example.com"})

    assert "again in" in caplog.text
    assert PERSON not in caplog.text


def test_each_logger_of_urllib3_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    known = logging.root.manager.loggerDict.items()
    names = [name for name, one in known if name.startswith("urllib3") and isinstance(one, logging.Logger)]
    assert "urllib3.connectionpool" in names

    for name in names:
        logging.getLogger(name).error("%s: https://host/?q=%s", name, PERSON)

    assert caplog.text == ""


def test_a_netrc_does_not_overrule_who_we_are(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Loopback(answer()) as server:
        call(over(server), READ, server.url, headers={"Authorization": "Bearer ours"})
        assert server.received[0].headers["Authorization"] == "Bearer ours"


# what may be sent at all


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.com/syncs/7",
        f"{ELOQUA_HOST}.elsewhere.example.com/syncs/7",
        f"{ELOQUA_HOST}@elsewhere.example.com/syncs/7",
        f"{ELOQUA_HOST}:8443/syncs/7",
        ELOQUA_HOST.replace("https", "http") + "/syncs/7",
        f"{ELOQUA_HOST}/contacts/exports",
        f"{ELOQUA_HOST}/syncs/7/data/more",
        f"{SALESFORCE_HOST}/syncs/7",
    ],
)
def test_a_request_that_is_not_listed_is_not_sent(transport: Transport, http: RequestsMock, url: str) -> None:
    with pytest.raises(SccError, match="was not sent") as raised:
        transport.request("GET", url)
    assert "example.com" not in str(raised.value)
    assert len(http.calls) == 0


def test_https_becomes_http_for_a_base_that_speaks_only_that(settings: Settings) -> None:
    with Loopback(answer()) as server:
        over(server).request("GET", server.url.replace("http:", "https:") + "/syncs/7")
        assert server.received[0].path == "/syncs/7"


# dry run

EXPORT = {"name": "SCC", "fields": {"Id": "{{CustomObject[9].Id}}"}}
QUERY = {"method": "GET", "url": "/services/data/v62.0/query?q=SELECT+Id+FROM+Lead", "referenceId": "query0"}
LISTED_READS = [
    (ELOQUA, "GET", "/id", None),
    (ELOQUA, "POST", "/auth/oauth2/token", None),
    (ELOQUA, "GET", "/customObjects", None),
    (ELOQUA, "GET", "/customObjects/9/fields", None),
    (ELOQUA, "POST", "/customObjects/9/exports", EXPORT),
    (ELOQUA, "GET", "/data/contacts", None),
    (ELOQUA, "GET", "/contacts/fields", None),
    (ELOQUA, "POST", "/activities/exports", EXPORT),
    (ELOQUA, "GET", "/syncs", None),
    (ELOQUA, "GET", "/syncs/7", None),
    (ELOQUA, "GET", "/syncs/7/data", None),
    (ELOQUA, "GET", "/syncs/7/logs", None),
    (ELOQUA, "GET", "/syncs/7/rejects", None),
    (SALESFORCE, "POST", "/services/oauth2/token", None),
    (SALESFORCE, "GET", "/services/data/v62.0/query", None),
    (SALESFORCE, "GET", "/services/data/v62.0/query/0r8xx-2000", None),
    (SALESFORCE, "POST", "/services/data/v62.0/composite", {"compositeRequest": [QUERY, QUERY]}),
    (SALESFORCE, "GET", "/services/data/v62.0/sobjects/Lead/describe", None),
    (SALESFORCE, "GET", "/services/data/v62.0/jobs/ingest/750", None),
    (SALESFORCE, "GET", "/services/data/v62.0/jobs/ingest/750/failedResults", None),
]
WRITES = [
    (ELOQUA, "POST", "/customObjects/9/exports", {**EXPORT, "syncActions": [{"action": "add"}]}),
    (ELOQUA, "POST", "/customObjects/9/imports", EXPORT),
    (ELOQUA, "POST", "/customObjects/9/imports/4/data", [{"Id": "1"}]),
    (ELOQUA, "DELETE", "/customObjects/9/imports/4", None),
    (ELOQUA, "DELETE", "/customObjects/9/exports/3", None),
    (ELOQUA, "POST", "/activities/exports", {**EXPORT, "syncActions": [{"action": "add"}]}),
    (ELOQUA, "DELETE", "/activities/exports/3", None),
    (ELOQUA, "POST", "/contacts/imports", EXPORT),
    (ELOQUA, "POST", "/contacts/imports/4/data", [{"Email": "jane@example.com"}]),
    (ELOQUA, "DELETE", "/contacts/imports/4", None),
    (ELOQUA, "POST", "/syncs", {"syncedInstanceUri": "/customObjects/9/imports/4"}),
    (ELOQUA, "POST", "/syncs", {"syncedInstanceUri": "/customObjects/9/exports/3"}),
    (ELOQUA, "POST", "/syncs", None),
    (SALESFORCE, "POST", "/services/data/v62.0/composite", {"compositeRequest": [QUERY, {**QUERY, "method": "PATCH"}]}),
    (
        SALESFORCE,
        "POST",
        "/services/data/v62.0/composite",
        {"compositeRequest": [{**QUERY, "url": "/services/data/v62.0/sobjects/Lead/00Q000000000001"}]},
    ),
    (SALESFORCE, "POST", "/services/data/v62.0/composite", {"compositeRequest": []}),
    (SALESFORCE, "POST", "/services/data/v62.0/composite", None),
    (SALESFORCE, "PATCH", "/services/data/v62.0/composite/sobjects", {"records": []}),
    (SALESFORCE, "POST", "/services/data/v62.0/jobs/ingest", {"object": "Lead", "operation": "update"}),
    (SALESFORCE, "PUT", "/services/data/v62.0/jobs/ingest/750/batches", None),
    (SALESFORCE, "PATCH", "/services/data/v62.0/jobs/ingest/750", {"state": "UploadComplete"}),
]
HOSTS = {ELOQUA: ELOQUA_HOST, SALESFORCE: SALESFORCE_HOST}


def rehearsal(http: RequestsMock, lease_check: Callable[[], None] = lambda: None) -> Transport:
    """A transport in a dry run, whose systems would take anything."""
    transport = Transport(dry_run=True, lease_check=lease_check)
    for system, host in HOSTS.items():
        transport.add_base(system, host)
        for method in ("GET", "POST", "DELETE"):
            http.add_callback(method, re.compile(re.escape(host)), any_answer)
    return transport


def any_answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
    """What any call is glad to hear."""
    if "Results" in str(request.url):
        return 200, {"Content-Type": "text/csv"}, "Id\n"
    return 200, {"Content-Type": "application/json"}, json.dumps({"uri": "/customObjects/9/exports/12"})


@pytest.mark.parametrize(("system", "method", "path", "body"), LISTED_READS)
def test_a_dry_run_reads(http: RequestsMock, settings: object, system: str, method: str, path: str, body: Any) -> None:
    assert rehearsal(http).request(method, HOSTS[system] + path, json=body).ok


@pytest.mark.parametrize(("system", "method", "path", "body"), WRITES)
@pytest.mark.parametrize("idempotent", [False, True])
def test_a_dry_run_sends_no_write(
    http: RequestsMock, settings: object, system: str, method: str, path: str, body: Any, idempotent: bool
) -> None:
    with pytest.raises(DryRunWrite, match="nothing was sent"):
        rehearsal(http).request(method, HOSTS[system] + path, json=body, idempotent=idempotent)
    assert len(http.calls) == 0


def test_the_sync_of_an_own_export_that_changes_contacts_is_a_write(http: RequestsMock, settings: object) -> None:
    asked: list[int] = []
    transport = Transport(lease_check=lambda: asked.append(1))
    transport.add_base(ELOQUA, ELOQUA_HOST)
    http.post(f"{ELOQUA_HOST}/customObjects/9/exports", json={"uri": "/customObjects/9/exports/12"})
    http.post(f"{ELOQUA_HOST}/syncs", json={"uri": "/syncs/1"})

    transport.request(
        "POST", f"{ELOQUA_HOST}/customObjects/9/exports", json={**EXPORT, "syncActions": [{"action": "add"}]}
    )
    transport.request("POST", f"{ELOQUA_HOST}/syncs", json={"syncedInstanceUri": "/customObjects/9/exports/12"})

    assert asked == [1, 1]


def test_every_route_was_judged_above() -> None:
    def judged(route: Any) -> bool:
        return any(
            (route.system, route.method) == (system, method) and route.pattern.fullmatch(path)
            for system, method, path, _ in LISTED_READS + WRITES
        )

    assert [route.path for route in ROUTES if not judged(route)] == []


def test_a_dry_run_syncs_and_deletes_the_export_it_defined_and_no_other(http: RequestsMock, settings: object) -> None:
    transport = rehearsal(http)
    transport.request("POST", f"{ELOQUA_HOST}/customObjects/9/exports", json=EXPORT)

    transport.request("POST", f"{ELOQUA_HOST}/syncs", json={"syncedInstanceUri": "/customObjects/9/exports/12"})
    transport.request("DELETE", f"{ELOQUA_HOST}/customObjects/9/exports/12")

    assert len(http.calls) == 3
    for other in ("/customObjects/9/exports/1", "/customObjects/9/exports/120", "/customObjects/19/exports/12"):
        with pytest.raises(DryRunWrite):
            transport.request("DELETE", ELOQUA_HOST + other)
        with pytest.raises(DryRunWrite):
            transport.request("POST", f"{ELOQUA_HOST}/syncs", json={"syncedInstanceUri": other})
    assert len(http.calls) == 3


# lease and counts


@pytest.mark.parametrize(("system", "method", "path", "body"), WRITES)
def test_the_lease_is_asked_before_each_try_of_a_write(
    http: RequestsMock, settings: object, system: str, method: str, path: str, body: Any
) -> None:
    asked_after: list[int] = []
    transport = Transport(lease_check=lambda: asked_after.append(len(http.calls)))
    for name, host in HOSTS.items():
        transport.add_base(name, host)
    for _ in range(2):
        http.add(method, HOSTS[system] + path, status=429)
    http.add(method, HOSTS[system] + path, json={"uri": "/customObjects/9/exports/12"})

    transport.request(method, HOSTS[system] + path, json=body)

    assert asked_after == [0, 1, 2]


STAGED = {f"{kind} definition{end}" for kind in ("import", "export") for end in ("", " deleted")}
STAGED |= {"upload", "job created", "job filled"}


@pytest.mark.parametrize(("system", "method", "path", "body"), WRITES)
def test_the_first_request_that_may_change_a_record_is_told_before_it_is_sent(
    http: RequestsMock, settings: object, system: str, method: str, path: str, body: Any
) -> None:
    told_after: list[int] = []
    transport = Transport(before_change=lambda: told_after.append(len(http.calls)))
    transport.add_base(system, HOSTS[system])
    http.add(method, HOSTS[system] + path, json={"uri": "/customObjects/9/exports/12"})

    for _ in range(2):
        transport.request(method, HOSTS[system] + path, json=body)

    (operation,) = {operation for _, operation, _ in transport.calls}
    assert told_after == ([] if operation in STAGED else [0])


@pytest.mark.parametrize(("system", "method", "path", "body"), LISTED_READS)
def test_the_lease_is_not_asked_for_a_read(
    http: RequestsMock, settings: object, system: str, method: str, path: str, body: Any
) -> None:
    asked: list[None] = []
    transport = Transport(lease_check=lambda: asked.append(None))
    for name, host in HOSTS.items():
        transport.add_base(name, host)
    http.add_callback(method, HOSTS[system] + path, any_answer)

    transport.request(method, HOSTS[system] + path, json=body)

    assert asked == []


def test_without_the_lease_no_write_is_sent(http: RequestsMock, settings: object) -> None:
    def lost() -> None:
        raise LeaseLost("paused for too long")

    transport = over(ELOQUA_HOST, lease_check=lost)
    http.post(f"{ELOQUA_HOST}/syncs", json={})

    with pytest.raises(LeaseLost):
        call(transport, WRITE)
    assert sent(http) == []


def test_each_try_is_counted(transport: Transport, http: RequestsMock) -> None:
    http.get(f"{ELOQUA_HOST}/syncs/7", status=503)
    http.get(f"{ELOQUA_HOST}/syncs/7", json={})
    http.get(f"{ELOQUA_HOST}/syncs/8", status=404)
    http.get(f"{SALESFORCE_HOST}/services/data/v62.0/query/", json={})

    call(transport, READ)
    with pytest.raises(Refused):
        call(transport, ("GET", "/syncs/8"))
    transport.request("GET", f"{SALESFORCE_HOST}/services/data/v62.0/query/")

    assert transport.calls == {
        (ELOQUA, "poll", "failed"): 1,
        (ELOQUA, "poll", "ok"): 1,
        (ELOQUA, "poll", "refused"): 1,
        (SALESFORCE, "query", "ok"): 1,
    }
    assert transport.call_counts() == {ELOQUA: 3, SALESFORCE: 1}
