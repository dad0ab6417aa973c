"""python -m scc.slack PROCESS SLOT CODE [SENTENCE]: what bin/run-job tells of a run that could not tell by itself.

    python -m scc.slack Enrichment 2026-11-22T0615 137

slot: empty where it is not known. Exits 0, whatever Slack says.
"""

import re
import sys

from scc.slack import telling
from scc.slack.words import Ending
from scc.tasks import runtime  # noqa: F401 (logging, without what it must not hold)

MEANINGS = {
    1: "luigi could not load the process: mend the image or the module",
    2: "luigi does not know an option it was given: mend the command line",
    40: "luigid was lost on the way, or an option had a value of the wrong form",
    137: "it was killed, perhaps out of memory",
    143: "it was told to stop before it could finish",
}


def main(process: str, slot: str, code: str, sentence: str = "") -> None:
    module = re.sub(r"(?<=.)(?=[A-Z])", "_", process).lower()
    if telling.prepare():
        why = sentence or MEANINGS.get(int(code), "it ended before it could say why")
        telling.tell(Ending(module, process, slot, "failed", why=f"{why} (exit code {code})"))


main(*sys.argv[1:])
