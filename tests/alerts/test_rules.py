"""The alert rules: current, valid, each proven by promtool, each with its section in the runbook."""

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scc import alerts, catalogue
from tests.components import require

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
ALWAYS_FIRES = "SccWatchdog"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [require("promtool", "prometheus"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def render(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bin/render-alerts"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def shipped_rules() -> list[dict[str, object]]:
    groups = yaml.safe_load((ROOT / "openshift/alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


# the rendered file


def test_the_rules_are_what_the_catalogue_renders() -> None:
    checked = render("--check")

    assert checked.returncode == 0, checked.stderr


def test_rules_that_are_not_current_are_told(tmp_path: Path) -> None:
    rules = tmp_path / "alerts.yaml"
    rules.write_text((ROOT / "openshift/alerts.yaml").read_text().replace("vector(3600)", "vector(7200)"))

    checked = render("--check", "--output", rules)

    assert checked.returncode == 1
    assert checked.stderr == f"{rules} is not current: run bin/render-alerts\n"
    assert "vector(7200)" in rules.read_text()
    assert render("--check", "--output", tmp_path / "none.yaml").returncode == 1


def test_rendering_mends_them(tmp_path: Path) -> None:
    rules = tmp_path / "alerts.yaml"

    assert render("--output", rules).returncode == 0

    assert rules.read_text() == (ROOT / "openshift/alerts.yaml").read_text()


def test_a_wrong_catalogue_is_one_sentence_and_78(tmp_path: Path) -> None:
    wrong = tmp_path / "processes.toml"
    wrong.write_text((ROOT / "openshift/processes.toml").read_text().replace("15 * * * *", "15 0 31 2 *"))

    told = render("--catalogue", wrong, "--output", tmp_path / "alerts.yaml")

    assert told.returncode == 78
    assert "[enrichment] `schedule` is impossible" in told.stderr
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "alerts.yaml").exists()


def test_promtool_accepts_the_rules() -> None:
    checked = promtool("check", "rules", ROOT / "openshift/alerts.yaml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "FAILED" not in checked.stdout + checked.stderr


# each alert


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    rules = alerts.rendered(catalogue.read(HERE / "processes.toml").values())
    (tmp_path / "rules.yaml").write_text(rules)
    shutil.copy(HERE / "rules.test.yaml", tmp_path)

    tested = promtool("test", "rules", tmp_path / "rules.test.yaml")

    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_no_alert_is_without_a_case_in_which_it_is_quiet_fires_and_is_over() -> None:
    shown = {}
    for test in yaml.safe_load((HERE / "rules.test.yaml").read_text())["tests"]:
        cases = sorted(test["alert_rule_test"], key=lambda case: int(case["eval_time"].removesuffix("m")))
        told = ["fires" if case.get("exp_alerts") else "quiet" for case in cases]
        for name in {case["alertname"] for case in cases}:
            shown.setdefault(name, []).append([state for state, _ in itertools.groupby(told)])

    names = {rule["alert"] for rule in shipped_rules() if "alert" in rule}
    assert set(shown) == names
    for name in names - {ALWAYS_FIRES}:
        assert ["quiet", "fires", "quiet"] in shown[name], name


@pytest.mark.parametrize("rule", [rule for rule in shipped_rules() if "alert" in rule], ids=lambda rule: rule["alert"])
def test_each_alert_leads_to_its_section_of_the_runbook(rule) -> None:
    file, _, anchor = rule["annotations"]["runbook_url"].partition("#")

    assert file == "docs/runbook.md"
    assert anchor in catalogue.sections(RUNBOOK)
    section = re.split(r"(?m)^#+ ", RUNBOOK.split(f"## {rule['alert']}\n", 1)[1])[0]
    for part in ("**Means.**", "**Look.**", "**Do.**"):
        assert part in section


def test_alerts_can_link_to_the_runbook_where_people_read_it(tmp_path: Path) -> None:
    render("--runbook", "https://git.example.com/runbook.md", "--output", tmp_path / "alerts.yaml")

    links = re.findall(r"runbook_url: (.*)#", (tmp_path / "alerts.yaml").read_text())
    assert set(links) == {"https://git.example.com/runbook.md"}


def test_only_the_label_process_tells_processes_apart() -> None:
    """On OpenShift job, instance and namespace are not ours (openshift.md 7.1)."""
    for rule in shipped_rules():
        grouped = re.findall(r"(?:by|on) \(([a-z, ]*)\)", rule["expr"])
        assert set(grouped) <= {"process", "process, outcome", ""}
        matched = re.findall(r"scc\w*{(\w+)=", rule["expr"])
        assert set(matched) <= {"process", "outcome"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(4800, "1h20m"), (90, "1m30s"), (5, "5s"), (691_200, "8d"), (90_000, "1d1h")]
)
def test_durations_are_written_as_prometheus_writes_them(seconds: float, text: str) -> None:
    assert alerts.duration(seconds) == text
