"""The sandbox stands apart: a mistake in the clients cannot hide the same mistake here."""

import ast
import subprocess
import sys
from pathlib import Path

import scc.sandbox

ALLOWED = {"duckdb", "tornado", "jwt"}
MODULES = sorted(Path(scc.sandbox.__file__).parent.rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def test_the_sandbox_imports_nothing_of_the_clients_and_no_other_library():
    names = {name for path in MODULES for name in imported(path)}

    assert len(MODULES) > 15
    own = {name for name in names if name.split(".")[0] == "scc"}
    assert own and all(name == "scc.sandbox" or name.startswith("scc.sandbox.") for name in own)
    assert {name.split(".")[0] for name in names - own} - sys.stdlib_module_names == ALLOWED


def test_loading_the_sandbox_loads_no_client():
    loaded = "[m for m in sys.modules if m.startswith('scc.') and not m.startswith('scc.sandbox')]"
    code = f"import sys, scc.sandbox; print({loaded})"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
