"""bin/common.sh and bin/test: .venv, missing packages, and what makes bin/test fail."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.bin.conftest import CHECKOUT

LOCKS = ("requirements.txt", "luigid-requirements.txt", "dev-requirements.txt")


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    for name in ("bin/common.sh", "bin/test", ".ci/run"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / name)
    for name in LOCKS:
        (folder / name).write_text(f"# {name}\n")
    return folder


@pytest.fixture
def tools(tmp_path):
    """A folder that comes first on the PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


@pytest.fixture
def bash(checkout, tools):
    """Starts bash with common.sh of the checkout."""

    def start(command, only_tools=False, **variables):
        path = str(tools) if only_tools else f"{tools}:{os.environ['PATH']}"
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        return subprocess.Popen(
            [shutil.which("bash"), "-c", f"source {checkout}/bin/common.sh; {command}"],
            env={**environment, "PATH": path, **variables}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


def ended(process):
    out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


# -- .venv


@pytest.fixture
def python(tools, tmp_path):
    """A python3 whose new environments have a pip that only notes how it was called: installing is pip's business."""
    script(
        tools / "python3",
        f"""
        [[ "$1 $2" == "-m venv" ]] || exec "{sys.executable}" "$@"
        echo "venv" >>{tmp_path}/calls
        "{sys.executable}" -m venv --without-pip "$3"
        pip=$(echo "$3"/lib/python3.*/site-packages)/pip
        mkdir "$pip"
        cat >"$pip/__main__.py" <<'PYTHON'
import os, sys
if os.environ.get("PIP_FAILS"): sys.exit("no such package")
with open("{tmp_path}/calls", "a") as file: print("pip", *sys.argv[1:], file=file)
PYTHON
        """,
    )
    return lambda: (tmp_path / "calls").read_text().splitlines()


def test_the_environment_holds_the_locks_and_the_checkout_and_is_made_once(bash, python, checkout):
    (checkout / "scc").mkdir()
    (checkout / "scc/__init__.py").touch()

    at_once = [ended(run) for run in [bash("make_venv dev"), bash("make_venv run"), bash("make_venv dev")]]
    again = ended(bash("make_venv dev; cd /; python -c 'import scc, sys; print(scc.__file__, sys.prefix)'"))

    assert [run.returncode for run in at_once] == [0, 0, 0], at_once
    calls = python()
    assert calls[0] == "venv" and len(calls) == 1 + len(LOCKS)
    for call, lock in zip(calls[1:], LOCKS, strict=True):
        assert call.startswith("pip install") and "--require-hashes" in call and call.endswith(f"{checkout}/{lock}")
    assert again.stdout == f"{checkout}/scc/__init__.py {checkout}/.venv\n"
    assert again.stderr == ""


def test_a_changed_lock_or_a_moved_checkout_makes_it_anew(bash, python, checkout, tmp_path):
    ended(bash("make_venv run"))
    (checkout / "requirements.txt").write_text("# changed\n")
    changed = ended(bash("make_venv run"))
    current = ended(bash("is_current requirements.txt"))
    checkout.rename(tmp_path / "moved")
    moved = ended(bash(f"source {tmp_path}/moved/bin/common.sh; is_current requirements.txt"))

    assert (changed.returncode, current.returncode, moved.returncode) == (0, 0, 1)
    assert [call.split()[0] for call in python()] == ["venv", "pip", "venv", "pip"]


def test_an_environment_that_could_not_be_finished_is_not_taken_for_one(bash, python):
    failed = ended(bash("make_venv run", PIP_FAILS="yes"))
    again = ended(bash("make_venv run"))

    assert failed.returncode != 0 and "no such package" in failed.stderr
    assert again.returncode == 0
    assert [call.split()[0] for call in python()] == ["venv", "venv", "pip"]


def test_without_a_python_that_luigi_takes_it_says_which(bash, tools):
    for name in ("cat", "cksum", "dirname", "id", "readlink"):
        (tools / name).symlink_to(shutil.which(name))
    none = ended(bash("make_venv run", only_tools=True))
    script(tools / "python3", "echo 3.14")
    script(tools / "python3.11", "exit 127  # as pyenv's stand-ins do")
    new = ended(bash("make_venv run", only_tools=True))

    assert none.returncode == new.returncode == 78
    assert "found: none" in none.stderr and "found: python3 is 3.14" in new.stderr
    assert new.stderr.count("\n") == 1


def test_another_python_than_python3_is_found(bash, tools):
    script(tools / "python3", "echo 3.14")
    script(tools / "python3.13", "[[ $2 == *version* ]] && echo 3.13 || :")

    assert ended(bash('find_python; echo "$python"')).stdout == f"{tools}/python3.13\n"


# -- packages


def test_a_package_that_cannot_be_installed_is_named_and_under_ci_it_is_a_failure(bash, tools):
    script(tools / "apt-get", "exit 100")

    here, ci = ended(bash("need_package bash no-such-tool")), ended(bash("need_package no-such-tool", CI="true"))

    assert (here.returncode, ci.returncode) == (0, 1)
    assert "missing and not installable here: Debian package no-such-tool" in here.stderr


def test_a_missing_package_is_installed(bash, tools):
    script(tools / "id", "echo 0")
    script(tools / "apt-get", f'[[ $1 == install ]] && cp {tools}/id {tools}/"${{!#}}"')

    run = ended(bash("need_package new-tool", CI="true"))

    assert run.returncode == 0, run.stderr
    assert (tools / "new-tool").exists()


@pytest.mark.parametrize(("ci", "outcome"), [("", "skipped"), ("true", "failed")])
def test_a_test_without_its_component_is_skipped_and_under_ci_it_fails(monkeypatch, ci, outcome):
    from tests.components import require

    monkeypatch.setenv("CI", ci)
    kinds = {"skipped": pytest.skip.Exception, "failed": pytest.fail.Exception}
    with pytest.raises(kinds[outcome], match="Debian package no-such-package"):
        require("no-such-tool", "no-such-package")


# -- bin/test


@pytest.fixture
def run_tests(bash, checkout, tools, tmp_path):
    """Runs the checkout's bin/test; its tools note how they were called, and fail if FAILING names them."""
    note = f'echo "${{0##*/}} $*" >>{tmp_path}/calls; [[ " $FAILING " != *" ${{0##*/}} "* ]]'
    for name in ("ruff", "mypy"):
        script(checkout / ".venv/bin" / name, note)
    script(checkout / ".venv/bin/python", f"[[ $1 != -c ]] || exit 0; {note}")
    for name in ("shellcheck", "curl", "prometheus-pushgateway"):
        script(tools / name, note)
    for lock in LOCKS:
        assert ended(bash(f"stamp {lock} >{checkout}/.venv/{lock}.stamp")).returncode == 0

    def run(*arguments, failing="", command="bin/test", cwd=checkout, **variables):
        (tmp_path / "calls").write_text("")
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "FAILING": failing, **variables}
        result = subprocess.run(
            [checkout / command, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=30
        )
        return result, (tmp_path / "calls").read_text()

    return run


def test_lint_types_and_tests_run(run_tests):
    result, calls = run_tests()

    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1].startswith("---> all passed in ")
    assert [call.split()[0] for call in calls.splitlines()] == ["ruff", "ruff", "mypy", "shellcheck", "python"]
    assert calls.splitlines()[-1] == "python -m pytest -n 3 --dist loadfile"
    assert "bin/common.sh" in calls and ".ci/run" in calls


@pytest.mark.parametrize("failing", ["ruff", "mypy", "shellcheck", "python", "ruff mypy shellcheck python"])
def test_each_of_them_can_fail_it_and_the_others_still_run(run_tests, failing):
    result, calls = run_tests(failing=failing)

    assert result.returncode == 1
    assert f": {failing.replace('python', 'pytest').replace('ruff', 'ruff ruff format')}\n" in result.stderr
    assert calls.count("\n") == 5


def test_a_part_is_tested_wherever_it_is_called_from(run_tests, checkout):
    (checkout / "tests/bin").mkdir(parents=True)

    _, calls = run_tests("bin", "bin::test_x", "-k", "y", command="bin/test", cwd=checkout / "tests")

    assert calls.splitlines()[-1] == f"python -m pytest {checkout}/tests/bin {checkout}/tests/bin::test_x -k y"


def test_ci_runs_it_with_ci_set(run_tests, checkout, tmp_path):
    script(checkout / ".venv/bin/mypy", f'echo "CI=$CI ${{ELOQUA_SITE-nothing}}" >>{tmp_path}/calls')

    result, calls = run_tests(command=".ci/run", ELOQUA_SITE="a real one")

    assert result.returncode == 0, result.stderr
    assert "CI=true nothing" in calls
