"""What no lease can bound, and what it bounds: a run that is paused between its check and its request, with the sandbox."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scc.lease import Lease
from scc.outputs import ROOT_FILE
from scc.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
SLOT = "2026-11-22T0615"
# defines imports, which a dry run could not; after the second check it is paused before the request has left
RUN = """
import os, signal, sys
from pathlib import Path
import luigi
luigi.configuration.get_config().set("lease", "lifetime", sys.argv[2])
from scc.config import eloqua_credentials
from scc.eloqua.bulk import Bulk
from scc.eloqua.client import Eloqua
from scc.errors import LeaseLost
from scc.lease import Lease
from scc.transport import Transport
lease, checks = Lease(Path(sys.argv[1]), "enrichment", "2026-11-22T0615"), []

def check():
    lease.check()
    checks.append(1)
    if len(checks) == 2:
        os.kill(os.getpid(), signal.SIGSTOP)

bulk = Bulk(Eloqua(Transport(lease_check=check), eloqua_credentials()))
number = bulk.custom_object_id("Event Registration")
fields = {field.name: field.statement for field in bulk.custom_object_fields(number)[:1]}
try:
    while True:
        bulk.define(f"/customObjects/{number}/imports", {"name": "a", "fields": fields, "identifierFieldName": [*fields][0]})
except LeaseLost:
    print("lost")
"""


@pytest.fixture
def folder(outputs_folder: Path, settings: Callable[..., None]) -> Path:
    settings("lease", "lifetime", 1)
    outputs_folder.mkdir()
    (outputs_folder / ROOT_FILE).write_text("{}")
    return outputs_folder / "enrichment" / "lease"


def test_a_run_paused_before_its_request_left_sends_this_one_and_no_other(sandbox: Sandbox, folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), "1"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as paused:
        os.waitpid(paused.pid, os.WUNTRACED)
        assert defined(sandbox) == 1
        successor = Lease(folder, "enrichment", SLOT)

        paused.send_signal(signal.SIGCONT)

        assert paused.stdout.read() == "lost\n"
    assert defined(sandbox) == 2
    successor.check()
    successor.release()


def defined(sandbox: Sandbox) -> int:
    return len([sent for sent in sandbox.requests if sent.method == "POST" and sent.path.endswith("/imports")])
