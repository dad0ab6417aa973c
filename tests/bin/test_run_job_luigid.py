"""bin/run-job and the scheduler: luigid where it answers, the local one, with a warning, where it does not."""

import pytest

from tests.bin.conftest import PASSWORD, ended, free_port, luigid, scheduled

CHORE = ("Chore", "--slot", "2026-11-22T0615")
WARNING = "does not answer; going on with the local scheduler"


def test_a_silent_luigid_is_done_without_and_said_so(root):
    run = root.run(*CHORE, LUIGID_URL=f"http://127.0.0.1:{free_port()}")

    assert run.returncode == 0
    assert root.slots() == ["2026-11-22T0615"]
    assert run.stderr.count(WARNING) == 1


def test_luigid_is_waited_for_and_used_past_a_proxy(root, tmp_path):
    port = free_port()
    address = f"http://user:{PASSWORD}@127.0.0.1:{port}/"
    proxies = dict.fromkeys(["http_proxy", "HTTP_PROXY"], "http://127.0.0.1:9")

    run = root.start(*CHORE, LUIGID_URL=address, SCC_LUIGID_WAIT="20", NO_PROXY="other.example", **proxies)
    with luigid(port, tmp_path) as url:
        run = ended(run)

        assert run.returncode == 0, run.stderr
        assert WARNING not in run.stderr
        assert scheduled(url) == {"Chore"}
    assert not [line for line in root.saw()["processes"] if PASSWORD in line]
    assert PASSWORD not in run.stdout + run.stderr


@pytest.mark.parametrize("name", ["scheduler_url", "default_scheduler_url"])  # the second is Luigi's older name
def test_the_scheduler_of_luigi_cfg_is_used_where_luigid_url_is_not_set(root, tmp_path, name):
    port = free_port()
    config = root.folder / "luigi.cfg"
    setting = "scheduler_url = http://127.0.0.1:8082/"
    assert setting in config.read_text()
    config.write_text(config.read_text().replace(setting, f"{name} = http://127.0.0.1:${{LUIGID_PORT}}/"))

    with luigid(port, tmp_path) as url:
        run = root.run(*CHORE, LUIGID_PORT=str(port))

        assert run.returncode == 0, run.stderr
        assert scheduled(url) == {"Chore"}


def test_the_local_scheduler_asks_no_luigid(root):
    run = root.run(*CHORE, "--local-scheduler", LUIGID_URL="http://127.0.0.1:9", SCC_LUIGID_WAIT="600")

    assert run.returncode == 0
    assert WARNING not in run.stderr
