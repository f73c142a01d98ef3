"""Replay: fold a log again from its first record, and say what comes out, and what would have under other policies.

A replay reads, checks every hash on the way, and derives; it has nothing that could append or stop. `rebuild` writes
the read models' tables and nothing else.
"""

from es_power.replay.refold import Progress, Replay, rebuild, replay, verify
from es_power.replay.surroundings import Around, Seen, Task
from es_power.replay.whatif import Comparison, Disagreement, Side, Stop, compare

__all__ = [
    "Around",
    "Comparison",
    "Disagreement",
    "Progress",
    "Replay",
    "Seen",
    "Side",
    "Stop",
    "Task",
    "compare",
    "rebuild",
    "replay",
    "verify",
]
