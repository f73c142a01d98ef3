"""The test kit, for users' tests too: fakes with the real ones' interfaces, facts in a few words, the log's contract.

The contract (`es_power.testing.log_contract`) is imported by its own name, since it needs pytest (the extra
``es-power[testing]``).
"""

from es_power.testing.facts import Facts, vm
from es_power.testing.hypervisor import FakeHypervisor
from es_power.testing.memory import MemoryLog
from es_power.testing.stopper import FakeStopper

__all__ = ["Facts", "FakeHypervisor", "FakeStopper", "MemoryLog", "vm"]
