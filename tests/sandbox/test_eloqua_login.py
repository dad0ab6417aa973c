import pytest
import requests

from tests.sandbox.conftest import EloquaCaller


def token(sandbox, **form):
    env = sandbox.env
    return requests.post(
        sandbox.url + "/auth/oauth2/token", json=form, auth=(env["ELOQUA_CLIENT_ID"], env["ELOQUA_CLIENT_SECRET"])
    )


def password_grant(sandbox, password=None):
    env = sandbox.env
    return token(
        sandbox,
        grant_type="password",
        scope="full",
        username=f"{env['ELOQUA_SITE']}\\{env['ELOQUA_USER']}",
        password=password or env["ELOQUA_PASSWORD"],
    )


def status_with(sandbox, access_token):
    headers = {"Authorization": f"Bearer {access_token}"}
    return requests.get(sandbox.url + "/api/bulk/2.0/customObjects", headers=headers).status_code


def test_discovery_names_the_sandbox_itself_as_the_host(sandbox, eloqua):
    urls = eloqua.http.get(sandbox.url + "/id").json()["urls"]

    assert urls["base"] == sandbox.url
    assert urls["apis"]["rest"]["bulk"] == sandbox.url + "/API/Bulk/{version}/"


@pytest.mark.parametrize(
    "credentials", [None, ("AcmeTest\\API.User", "wrong"), ("API.User", "sandbox-eloqua-password")]
)
def test_discovery_with_wrong_credentials_is_a_200_with_a_bare_string(sandbox, credentials):
    answer = requests.get(sandbox.url + "/id", auth=credentials)

    assert (answer.status_code, answer.text) == (200, '"Not authenticated."')


def test_a_bulk_call_without_credentials_is_a_401(sandbox):
    assert requests.get(sandbox.url + "/api/bulk/2.0/customObjects").status_code == 401


def test_a_password_grant_opens_the_api(sandbox):
    answer = password_grant(sandbox).json()

    assert answer["token_type"] == "bearer" and answer["expires_in"] == 28800
    assert status_with(sandbox, answer["access_token"]) == 200


def test_a_wrong_password_is_an_invalid_grant(sandbox):
    answer = password_grant(sandbox, "wrong")

    assert answer.status_code == 400 and answer.json()["error"] == "invalid_grant"


def test_an_access_token_dies_after_eight_hours(sandbox):
    access = password_grant(sandbox).json()["access_token"]
    sandbox.clock.advance(28799)
    assert status_with(sandbox, access) == 200

    sandbox.clock.advance(1)

    assert status_with(sandbox, access) == 401


def test_a_refresh_token_works_once(sandbox):
    refresh = password_grant(sandbox).json()["refresh_token"]

    first, second = (token(sandbox, grant_type="refresh_token", refresh_token=refresh) for _ in range(2))

    assert first.status_code == 200 and status_with(sandbox, first.json()["access_token"]) == 200
    assert second.status_code == 400 and second.json()["error"] == "invalid_grant"


def test_quick_repeats_of_the_password_grant_are_throttled_when_the_switch_is_on(sandbox):
    sandbox.eloqua.limits.password_grant_throttled = True

    assert [password_grant(sandbox).status_code for _ in range(2)] == [200, 429]
    sandbox.clock.advance(60)
    assert password_grant(sandbox).status_code == 200


def test_every_answer_carries_a_request_id(sandbox, eloqua):
    ids = {eloqua.get("/customObjects").headers["X-Request-Id"] for _ in range(2)}

    assert len(ids) == 2


@pytest.mark.parametrize(
    "path", ["/API/Bulk/2.0/customobjects", "/api/bulk/2.0//customObjects", "/api/BULK/2.0/customObjects/"]
)
def test_paths_are_read_without_case_and_with_spare_slashes(sandbox, path):
    assert EloquaCaller(sandbox).http.get(sandbox.url + path).json()["count"] == 2
