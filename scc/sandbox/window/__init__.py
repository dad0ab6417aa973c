"""The window: what the sandbox holds and saw, as pages for a person's browser. It changes nothing.

    /_sandbox/            counts, clock, faults in force, the last changes and requests
    /_sandbox/person      everything about an address, in both systems
    /_sandbox/log         the mutations: filtered, paged, newest first
    /_sandbox/traffic     the requests: filtered, paged, newest first
    /_sandbox/work        Eloqua's syncs and definitions

Plain HTML from here, no scripts, nothing from elsewhere. Pages read at most a screenful of rows, so that they stay fast with a
million contacts.
"""

from __future__ import annotations

from scc.sandbox.window.pages import Window

__all__ = ["Window"]
