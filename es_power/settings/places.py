"""Where settings and the log are, where nobody says so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

SYSTEM_CONFIG: Final = Path("/etc/es-power/config.toml")
SYSTEM_STATE: Final = Path("/var/lib/es-power")


def config_files(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Name the files that are read where ``--config`` gives none: the machine's, then the user's."""
    return SYSTEM_CONFIG, _xdg(environ, "XDG_CONFIG_HOME", ".config") / "es-power" / "config.toml"


def default_log_path(environ: Mapping[str, str], uid: int) -> Path:
    """Name the log of whoever names none: the service's in its StateDirectory, root's in the same, or one's own."""
    if directories := environ.get("STATE_DIRECTORY"):
        return Path(directories.partition(":")[0]) / "log.db"
    if uid == 0:
        return SYSTEM_STATE / "log.db"
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / "es-power" / "log.db"


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    """Find a base directory; a relative one is to be ignored (XDG Base Directory Specification)."""
    given = Path(environ.get(variable, ""))
    return given if given.is_absolute() else home(environ) / fallback


def home(environ: Mapping[str, str]) -> Path:
    """Name the home of whoever runs this; the root folder where none is said."""
    return Path(environ.get("HOME") or "/")
