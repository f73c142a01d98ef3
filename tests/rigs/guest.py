"""A tiny guest for real qemu: Debian's cloud kernel, a static busybox, and an init of a few lines.

``python -m tests.rigs.guest`` builds it once into ``$XDG_CACHE_HOME/es-power-tests`` and prints where; where it cannot,
it prints the reason and exits with 1. Nothing is installed: the packages are downloaded with apt and unpacked.
"""

import gzip
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_INIT = Path(__file__).with_name("guest_init.sh")
_MODULES = ("evdev", "button", "pvpanic", "pvpanic-mmio", "pvpanic-pci")


class GuestUnavailableError(Exception):
    """The guest cannot be built here."""


@dataclass(frozen=True)
class Guest:
    """The two files that qemu boots."""

    kernel: Path
    initrd: Path

    @classmethod
    def inside(cls, directory: Path) -> Self:
        """Name the files in a directory, whether they are there or not."""
        return cls(directory / "vmlinuz", directory / "initrd.gz")

    def copy_to(self, directory: Path) -> "Guest":
        """Copy it to where another user may read it."""
        copy = Guest.inside(directory)
        shutil.copy(self.kernel, copy.kernel)
        shutil.copy(self.initrd, copy.initrd)
        return copy


def prepare() -> Guest:
    """Give the guest, built before or now; GuestUnavailableError says why not."""
    directory = _cache() / f"guest-{zlib.crc32(_INIT.read_bytes() + Path(__file__).read_bytes()):08x}"
    if not directory.exists():
        _build(directory)
    return Guest.inside(directory)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "es-power-tests"


def _build(directory: Path) -> None:
    if platform.machine() != "x86_64":
        raise GuestUnavailableError(f"the guest's kernel is for x86_64, this machine is {platform.machine()}")
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise GuestUnavailableError("the guest is built of Debian packages; apt-get and dpkg are not here")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as name:
        work = Path(name)
        _run(work, "apt-get", "--quiet", "download", _kernel_package(work), "busybox-static")
        for package in work.glob("*.deb"):
            _run(work, "dpkg", "-x", str(package), "root")
        built = work / "guest"
        built.mkdir()
        guest = Guest.inside(built)
        shutil.copy(next((work / "root" / "boot").glob("vmlinuz-*")), guest.kernel)
        guest.initrd.write_bytes(gzip.compress(_initrd(work / "root")))
        with suppress(OSError):  # another run was faster
            built.rename(directory)


def _kernel_package(work: Path) -> str:
    depends = _run(work, "apt-cache", "depends", "--important", "linux-image-cloud-amd64")
    for line in depends.splitlines():
        word, _, package = line.strip().partition(": ")
        if word == "Depends":
            return package
    raise GuestUnavailableError("apt knows no linux-image-cloud-amd64 (apt-get update?)")


def _run(work: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["it gave no reason"]
        raise GuestUnavailableError(f"{' '.join(command)} failed: {reason[0]}")
    return done.stdout


def _initrd(root: Path) -> bytes:
    modules = {path.stem: path for path in (root / "lib" / "modules").rglob("*.ko") if path.stem in _MODULES}
    archive = _Cpio()
    for folder in ("bin", "mod", "dev"):
        archive.add(folder, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("bin/busybox", stat.S_IFREG | 0o755, (root / "bin" / "busybox").read_bytes())
    archive.add("init", stat.S_IFREG | 0o755, _INIT.read_bytes())
    for name, path in modules.items():
        archive.add(f"mod/{name}.ko", stat.S_IFREG | 0o644, path.read_bytes())
    return archive.finish()


class _Cpio:
    """An archive in the newc format (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._inode = 0

    def add(self, name: str, mode: int, data: bytes = b"", *, device: tuple[int, int] = (0, 0)) -> None:
        """Add a file, folder or device node; everything belongs to root and was made in 1970."""
        self._inode += 1
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        self._content += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self._pad()
        self._content += data
        self._pad()

    def _pad(self) -> None:
        self._content += b"\0" * (-len(self._content) % 4)

    def finish(self) -> bytes:
        """Add the end mark and give the archive."""
        self.add("TRAILER!!!", 0)
        return bytes(self._content)


def main() -> int:
    """Build it and say where, or why not."""
    try:
        guest = prepare()
    except GuestUnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{guest.kernel.parent}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
