"""Slack hears when a process turns from good to bad, once a day while it stays so, and when it is well again.

    watch.py     what this run is and how it ends, seen from Luigi's main process
    ledger.py    what was told when: <outputs>/<process>/slack.json
    words.py     the message
    bot.py       luigi-slack, on a transport that works today
    __main__.py  what bin/run-job tells when a run died before it could tell by itself

No run ends differently because of Slack: what goes wrong here is one warning in the log. A dry run is watched by whoever
rehearses, so Slack hears nothing of it.
"""

from scc.slack.watch import begin, failed, tell

__all__ = ["begin", "failed", "tell"]
