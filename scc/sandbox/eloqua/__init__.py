"""Eloqua as the sandbox plays it. The instance itself is in instance.py.

It is read when somebody asks for a name of it: the company that is made at the start needs tables and fields, and does
not wait for the endpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scc.sandbox.eloqua.auth import CLIENT_ID, CLIENT_SECRET, SITE, USERS
    from scc.sandbox.eloqua.instance import Eloqua

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "SITE", "USERS", "Eloqua"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from scc.sandbox.eloqua import auth, instance

    return getattr(instance if name == "Eloqua" else auth, name)
