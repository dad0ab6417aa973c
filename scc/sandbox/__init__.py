"""Eloqua and Salesforce on loopback, over real HTTP. It shares no code with the clients that are checked against it.

`python -m scc.sandbox serve` for anybody's client, `Sandbox` for tests; docs/sandbox.md says what is imitated.
"""

from scc.sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
