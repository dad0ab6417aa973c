"""bin/run-job: what it needs, and the surroundings it gives to Luigi."""

import stat

import pytest

from tests.bin.conftest import ENVIRONMENT, PASSWORD

SLOT = ("--slot", "2026-11-22T0615")


def test_all_missing_variables_are_named_at_once(root):
    nothing = dict.fromkeys([*ENVIRONMENT, "SCC_OUTPUTS"])

    run = root.run("Chore", *SLOT, "--local-scheduler", **nothing)

    assert run.returncode == 78
    assert all(name in run.stderr for name in nothing)
    assert "SALESFORCE_PRIVATE_KEY" in run.stderr
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("name", [*ENVIRONMENT, "SCC_OUTPUTS"])
def test_each_variable_is_required(root, name):
    run = root.run(**{name: ""})

    assert run.returncode == 78
    others = {*ENVIRONMENT, "SCC_OUTPUTS"} - {name}
    assert name in run.stderr and not any(f"{other}," in run.stderr for other in others)
    assert not root.slots()


def test_mounted_files_replace_variables(root, tmp_path):
    for name, value in ENVIRONMENT.items():
        (tmp_path / name).write_text(value)

    run = root.run(
        cwd=tmp_path, **dict.fromkeys(ENVIRONMENT), **{f"{name}_FILE": name for name in ENVIRONMENT}
    )  # paths seen from the caller's folder

    assert run.returncode == 0, run.stderr
    assert root.saw()["password_file"] == str(tmp_path / "ELOQUA_PASSWORD")


def test_files_that_cannot_be_read_are_named_too(root, tmp_path):
    (tmp_path / "empty").touch()

    run = root.run(
        ELOQUA_SITE=None, ELOQUA_SITE_FILE="/nowhere", ELOQUA_USER=None, ELOQUA_USER_FILE=str(tmp_path / "empty"),
        SALESFORCE_URL=None, SALESFORCE_URL_FILE=str(tmp_path), ELOQUA_PASSWORD=None,
    )  # fmt: skip

    assert run.returncode == 78
    for name in ("ELOQUA_SITE_FILE", "ELOQUA_USER_FILE", "SALESFORCE_URL_FILE", "ELOQUA_PASSWORD"):
        assert name in run.stderr
    assert not root.slots()


def test_a_private_key_does_instead_of_the_secret_but_needs_its_user(root):
    key = {"SALESFORCE_CLIENT_SECRET": None, "SALESFORCE_PRIVATE_KEY": "key"}

    without, with_user = root.run(**key), root.run(**key, SALESFORCE_USERNAME="user")

    assert without.returncode == 78 and "SALESFORCE_USERNAME" in without.stderr
    assert with_user.returncode == 0, with_user.stderr


def test_an_unknown_process_is_answered_with_the_known_ones(root):
    run = root.run("chores")

    assert run.returncode == 78
    assert run.stderr == "---> unknown process 'chores'; known: Chore, LongChore\n"


def test_wrong_usage_ends_with_2_and_the_usage(root):
    nothing, option = root.run(""), root.run("--slot")

    assert nothing.returncode == option.returncode == 2
    assert nothing.stderr.startswith("usage: run-job PROCESS")


def test_help_shows_the_exit_codes_and_runs_nothing(root):
    ours, luigis = root.run("--help"), root.run("Chore", "--help", ELOQUA_SITE=None)

    assert ours.returncode == luigis.returncode == 0
    assert "SafetyStop" in ours.stdout and "shellcheck" not in ours.stdout
    assert "--size" in luigis.stdout
    assert not root.slots()


def test_the_slot_comes_from_the_jobs_name(root):
    assert root.run("Chore", "--local-scheduler", JOB_NAME="scc-chore-29922137").returncode == 0

    assert root.slots() == ["2026-11-22T0617"]  # openshift.md 3.2


@pytest.mark.parametrize("given", [SLOT, ("--slot=2026-11-22T0615",)])
def test_a_slot_that_is_given_is_kept(root, given):
    for name in ("scc-chore-29922137", "scc-chore-by-hand"):
        run = root.run("Chore", "--local-scheduler", *given, JOB_NAME=name)

        assert run.returncode == 0
        assert run.stderr.startswith("---> Chore 2026-11-22T0615 starts\n")
    assert root.slots() == ["2026-11-22T0615"]


@pytest.mark.parametrize(
    "name", [None, "29922137", "scc-chore", "scc-chore-manual-2", "scc-chore-20261122", "scc-chore-999999999"]
)
def test_a_name_without_a_scheduled_minute_asks_for_the_slot(root, name):
    run = root.run("Chore", "--local-scheduler", JOB_NAME=name)

    assert run.returncode == 78
    assert "give --slot" in run.stderr and run.stderr.count("\n") == 1
    assert not root.slots()


@pytest.mark.parametrize("name", ["scheduler_url", "default_scheduler_url", "default-scheduler-url"])
def test_luigi_gets_the_scheduler_of_luigid_url_and_else_its_own_configuration(root, name):
    config = root.folder / "luigi.cfg"
    config.write_text(config.read_text().replace("scheduler_url =", f"{name} ="))
    url = f"http://user:{PASSWORD}%25$@127.0.0.1:9/"

    run = root.run("Chore", *SLOT, LUIGID_URL=url)

    assert run.returncode == 0, run.stderr
    assert root.saw()["scheduler"] == url
    assert root.saw()["failed"] == "30"
    assert PASSWORD not in run.stdout + run.stderr


def test_another_configuration_without_a_scheduler_gets_one(root, tmp_path):
    (tmp_path / "other.cfg").write_text("[retcode]\ntask_failed = 31")

    run = root.run(LUIGI_CONFIG_PATH="other.cfg", LUIGID_URL="http://127.0.0.1:9", cwd=tmp_path)

    assert run.returncode == 0, run.stderr
    assert root.saw()["scheduler"] == "http://127.0.0.1:9"
    assert root.saw()["failed"] == "31"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LUIGI_CONFIG_PATH", "/nowhere", "luigi.cfg cannot be read: /nowhere"),
        ("LUIGID_URL", "luigid:8082", "LUIGID_URL must be"),
        ("SCC_LUIGID_WAIT", "long", "SCC_LUIGID_WAIT must be"),
        ("SCC_DRAIN_SECONDS", "-1", "SCC_DRAIN_SECONDS must be"),
    ],
)
def test_wrong_settings_are_named(root, name, value, said):
    run = root.run(**{name: value})

    assert run.returncode == 78
    assert said in run.stderr
    assert not root.slots()


def test_a_stray_luigi_cfg_where_it_is_called_is_not_taken(root, tmp_path):
    (tmp_path / "luigi.cfg").write_text("[stray]\nkey = value\n")

    assert root.run(cwd=tmp_path).returncode == 0

    assert root.saw()["stray"] == ""


def test_the_working_folder_is_private_and_gone_afterwards(root):
    good, bad = root.run(), root.run("Chore", "--slot", "x", "--local-scheduler", CHORE="failing")

    assert (good.returncode, bad.returncode) == (0, 30)
    saw = root.saw()
    assert saw["config"] == f"{saw['cwd']}/luigi.cfg" and saw["cwd"] != str(root.folder)
    assert list((root.folder / "tmp").iterdir()) == []


def test_outputs_may_be_given_from_where_it_is_called_and_belong_to_the_group(root, tmp_path):
    assert root.run(SCC_OUTPUTS="here", cwd=tmp_path).returncode == 0

    mode = (tmp_path / "here/2026-11-22T0615.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o664  # random user ids share the volume by their group


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_a_container_without_a_home_gets_one(root, home):
    assert root.run(HOME=home).returncode == 0

    assert root.saw()["home"] == "/tmp"


def test_nothing_is_written_into_the_checkout(root):
    before = sorted(root.folder.rglob("*"))

    assert root.run().returncode == 0

    assert set(root.folder.rglob("*")) - set(before) == {root.outputs, root.outputs / "2026-11-22T0615.json"}


def test_the_checkouts_own_environment_comes_first(root):
    own = root.folder / ".venv/bin/luigi"
    own.parent.mkdir(parents=True)
    own.write_text('#!/bin/sh\necho "own luigi: $*"\n')
    own.chmod(0o755)

    run = root.run()

    assert run.stdout == "own luigi: --module jobs.chore Chore --slot 2026-11-22T0615 --local-scheduler\n"
