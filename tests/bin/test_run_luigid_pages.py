"""luigid's pages as people see them in the morning after a failure: a run of Enrichment, in Chromium."""

import os
import re
import subprocess
from urllib.parse import quote

import pytest

from tests.components import database, require  # noqa: F401 (a fixture)
from tests.failures.conftest import SLOT, jobs, recording, tasks, waiting  # noqa: F401 (fixtures)
from tests.stack import until


@pytest.fixture
def text(tmp_path):
    """text(url): a page's text as Chromium has it once its scripts have run, one space between two words."""
    command = [
        require("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
    ]  # fmt: skip

    def read(url: str) -> str:
        environment = {**os.environ, "HOME": str(tmp_path), "no_proxy": "127.0.0.1"}
        done = subprocess.run([*command, url], env=environment, capture_output=True, text=True, timeout=90, check=True)
        shown = re.sub(r"<(script|style).*?</\1>", " ", done.stdout, flags=re.DOTALL)
        return re.sub(r"(<[^>]*>|\s)+", " ", shown)

    return read


def test_the_history_and_the_graph_show_which_step_failed(sandbox, jobs, waiting, recording, text):  # noqa: F811
    sandbox.eloqua.reject("Event Registration", "R1")  # above the share that may be rejected
    assert jobs.run(SLOT, **recording.environment).process.returncode == 30

    until(lambda: "FAILED" in tasks(recording).values(), "luigid to show the failure")
    (run,) = [task for task in tasks(recording) if task.startswith("Enrichment_")]
    graph = text(f"{recording.url}/static/visualiser/index.html#tab=graph&taskId={quote(run)}&visType=d3")
    history = text(f"{recording.url}/history")

    where = f"dry_run False enrichment event_registration slot {SLOT}"
    assert re.search(rf"Fill \S+ [-0-9]+ [.:0-9]+ FAILED {where}", history), history
    assert re.search(rf"Decide \S+ [-0-9]+ [.:0-9]+ DONE {where}", history), history
    assert "Fill FAILED" in graph and "Fill DONE" in graph and "Enrichment PENDING" in graph, graph
