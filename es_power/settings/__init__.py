"""One frozen Settings, out of files, the environment and flags; every mistake is reported at once."""

from es_power.settings.places import config_files, default_log_path
from es_power.settings.reading import load
from es_power.settings.sections import (
    Act,
    Api,
    Audit,
    Breaker,
    Bridge,
    Connection,
    Host,
    Lease,
    Log,
    Metrics,
    Nova,
    PolicyChoice,
    QemuLog,
    Settings,
    Sweep,
)

__all__ = [
    "Act",
    "Api",
    "Audit",
    "Breaker",
    "Bridge",
    "Connection",
    "Host",
    "Lease",
    "Log",
    "Metrics",
    "Nova",
    "PolicyChoice",
    "QemuLog",
    "Settings",
    "Sweep",
    "config_files",
    "default_log_path",
    "load",
]
