"""An ext4 file system of its own, in a file, whose power can be cut: FS_IOC_SHUTDOWN without a flush of its journal.

What was synced is there after the next mount, and whatever was only on its way is not, as after a real cut.
"""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

_FS_IOC_SHUTDOWN = 0x8004587D
_NOLOGFLUSH = 2
_MEBIBYTES = 48


class PowerLine:
    """The file system, mounted or not."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "image"
        #: Where it is mounted.
        self.mount_point = folder / "mounted"
        self.mount_point.mkdir()

    def make(self) -> None:
        """Make it anew, empty."""
        with self._image.open("wb") as image:
            image.truncate(_MEBIBYTES * 2**20)
        _run("mkfs.ext4", "-q", "-F", self._image)

    def mount(self) -> None:
        _run("mount", "-o", "loop", self._image, self.mount_point)

    def cut(self) -> None:
        """Cut the power; who still has a file open there can only close it."""
        folder = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _FS_IOC_SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
        finally:
            os.close(folder)

    def unmount(self) -> None:
        """Take it away; what was killed a moment ago may still hold it for another."""
        for _ in range(100):
            if subprocess.run(["umount", self.mount_point], capture_output=True, check=False).returncode == 0:
                return
            sleep(0.02)  # nothing but trying tells that it can be unmounted
        _run("umount", self.mount_point)


@contextmanager
def power_line(folder: Path) -> Iterator[PowerLine]:
    """A file system that is made but not mounted; it is unmounted at the end of the block, whatever happened."""
    line = PowerLine(folder)
    line.make()
    try:
        yield line
    finally:
        while line.mount_point.is_mount():
            line.unmount()


def missing(folder: Path) -> str | None:
    """Say why there can be none here; None where there can."""
    if os.geteuid() != 0:
        return "a power cut takes a file system of its own to mount: run it as root"
    try:
        with power_line(folder) as line:
            line.mount()
            line.cut()
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return f"no file system can be mounted and cut here: {said.strip()}"
    return None


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
