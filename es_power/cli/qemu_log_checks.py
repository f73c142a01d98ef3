"""What `es-power doctor` says of the qemu logs of a host."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from es_power.cli.checks import Check, Result
from es_power.ingest.opening import UNREADABLE, open_plain
from es_power.ingest.qemu_follow import log_folder
from es_power.settings import Host, Settings

_MEND: Final = (
    "run it as root, or with the drop-in contrib/systemd/es-power-qemu-log.conf; an ACL does not last, since libvirt "
    "makes each log with mode 0600"
)


def qemu_log_checks(host: Host, settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """Try to read the qemu logs of a host of this machine; nothing where it has none here."""
    folder = log_folder(host.uri, environ, settings.qemu_log.folder)
    if folder is None:
        return
    name = f"qemu logs {host.uri}"
    if not settings.qemu_log.enabled:
        yield Check(name, Result.OK, "they are not followed, as the settings say")
        return
    try:
        readable, denied = _count(folder)
    except FileNotFoundError:
        yield Check(name, Result.OK, f"{folder} is not there; libvirt makes it when it starts the first VM")
    except OSError as error:
        yield Check(
            name, Result.FINDING, f"{folder} cannot be read: {error.strerror}; who ends a qemu is not told", _MEND
        )
    else:
        if denied:
            found = f"{denied} of {readable + denied} logs in {folder} may not be read; who ends a qemu is not told"
            yield Check(name, Result.FINDING, found, _MEND)
        else:
            yield Check(name, Result.OK, f"{readable} logs in {folder} can be read")


def _count(folder: Path) -> tuple[int, int]:
    """How many logs can be read, and how many cannot: found by opening them, since modes are not all there is."""
    readable = denied = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.endswith(".log") or not stat.S_ISREG(entry.stat().st_mode):
                continue
            try:
                open_plain(entry.path).close()
                readable += 1
            except UNREADABLE:
                denied += 1
    return readable, denied
