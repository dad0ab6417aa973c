"""Salesforce as the sandbox plays it. The org itself is in org.py.

It is read when somebody asks for a name of it: who only wants the schema or an id, such as the company that is made at
the start, does not wait for the endpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scc.sandbox.salesforce.org import (
        CLIENT_ID,
        CLIENT_SECRET,
        PASSWORD,
        SECURITY_TOKEN,
        USERNAME,
        Salesforce,
    )

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "PASSWORD", "SECURITY_TOKEN", "USERNAME", "Salesforce"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from scc.sandbox.salesforce import org

    return getattr(org, name)
