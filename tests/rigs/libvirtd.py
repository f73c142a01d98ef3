"""A real libvirtd that no one else uses: unprivileged, with all of its state in one directory.

As root it runs as `nobody`, since libvirt's session mode is for plain users; otherwise as whoever runs the tests. The
test driver inside it (``test+unix://``) is shared over processes, which the one inside a process is not; the qemu
driver inside it runs real guests in software (TCG).

Two of them migrate guests to each other where each has a host name of its own. Root gives it one in namespaces: a UTS
namespace for the name, and a mount namespace for an /etc/hosts that knows it, so that nobody asks the network for it.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Two hosts with one UUID, which is the machine's, would be one and the same to a migration.
_CONFIGURATION = 'log_outputs="3:file:{directory}/libvirtd.log"\nhost_uuid="{uuid}"\n'
# virtlogd is another daemon, and a session has none: qemu writes its own log.
_QEMU_CONFIGURATION = 'stdio_handler = "file"\n'
_NAMESPACES = ("unshare", "--mount", "--uts")
_NAMED_HOST = (*_NAMESPACES, "sh", "-ec", 'hostname "$0"; mount --bind "$1" /etc/hosts; shift; exec "$@"')

PATIENCE = 40.0
"""Seconds until a test gives up on something that libvirt should do; a busy machine needs some."""


def missing_parts(*, guests: bool = False) -> str | None:
    """Say which package a real libvirtd lacks here; None where nothing does."""
    programs = {"libvirtd": "libvirt-daemon"}
    if guests:
        programs |= {"qemu-system-x86_64": "qemu-system-x86"}
    for program, package in programs.items():
        if shutil.which(program, path=_PATH) is None:
            return f"{program} is not installed: apt-get install {package}"
    return None


def no_named_hosts() -> str | None:
    """Say why a libvirtd cannot have a host name of its own here; None where it can."""
    if os.geteuid() != 0:
        return "a second host name on one machine takes namespaces: run it as root"
    if subprocess.run([*_NAMESPACES, "true"], capture_output=True, check=False).returncode:
        return "a second host name on one machine takes namespaces, which are forbidden here (CAP_SYS_ADMIN)"
    return None


class Libvirtd:
    """One libvirtd that can be killed, hung and started again over the same state.

    With `host` it has that host name (`no_named_hosts` says whether it can), else the machine's.
    """

    def __init__(self, directory: Path, *, host: str | None = None) -> None:
        self.directory = directory
        self.host = host
        self.socket = directory / "run" / "libvirt" / "libvirt-sock"
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("run", "config/libvirt", "cache", "data"):
            (directory / name).mkdir(parents=True)
        (directory / "libvirtd.conf").write_text(_CONFIGURATION.format(directory=directory, uuid=uuid4()))
        (directory / "hosts").write_text(f"127.0.0.1 localhost\n127.0.0.1 {host}\n")
        (directory / "config" / "libvirt" / "qemu.conf").write_text(_QEMU_CONFIGURATION)
        self.give_away(directory)

    def uri(self, driver: str = "test", path: str = "/default") -> str:
        """The URI of a driver inside this daemon: ``uri("qemu", "/session")``."""
        return f"{driver}+unix://{path}?socket={self.socket}"

    def give_away(self, directory: Path) -> None:
        """Make everything under a directory belong to the daemon's user."""
        if os.geteuid() == 0:
            for path in [directory, *directory.rglob("*")]:
                os.chown(path, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)

    def start(self) -> Self:
        """Start it, and wait until it accepts connections (a killed one leaves its socket file behind)."""
        named_host = (*_NAMED_HOST, self.host, self.directory / "hosts") if self.host else ()
        as_user = ("--reuid", str(self._user.pw_uid), "--regid", str(self._user.pw_gid), "--clear-groups")
        self._process = subprocess.Popen(
            # It ends with the tests, though they crash: an abort skips every fixture's end.
            [
                *named_host,
                "setpriv",
                "--pdeathsig",
                "KILL",
                *(as_user if os.geteuid() == 0 else ()),
                "libvirtd",
                "-f",
                self.directory / "libvirtd.conf",
                "-p",
                self.directory / "libvirtd.pid",
            ],
            env={
                "PATH": _PATH,
                "HOME": str(self.directory),
                "XDG_RUNTIME_DIR": str(self.directory / "run"),
                "XDG_CONFIG_HOME": str(self.directory / "config"),
                "XDG_CACHE_HOME": str(self.directory / "cache"),
                "XDG_DATA_HOME": str(self.directory / "data"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"libvirtd did not start: {self.said()}")
            time.sleep(0.01)  # nothing but trying tells that it listens
        return self

    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def said(self) -> str:
        """Whether it runs, and what it logged."""
        ended = self._process and self._process.poll()
        log = (self.directory / "libvirtd.log").read_text(errors="replace")
        return f"exit status {ended}\n{log[-10_000:]}"

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def hang(self) -> None:
        """Let it stand still: the connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on after `hang`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would; its guests run on."""
        self._signal(signal.SIGKILL)
        self._reap()

    def terminate(self) -> None:
        """End it as systemd would; its guests run on."""
        self._signal(signal.SIGTERM)
        self._reap()

    def guest_pid(self, name: str) -> int:
        """The process of a running guest."""
        return int((self.directory / "run" / "libvirt" / "qemu" / "run" / f"{name}.pid").read_text())

    @property
    def qemu_logs(self) -> Path:
        """Where its session's qemu driver logs each guest."""
        return self.directory / "cache" / "libvirt" / "qemu" / "log"

    def stop(self) -> None:
        """End it and its guests, and leave nothing behind."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._reap()
        for pid_file in (self.directory / "run").rglob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait(timeout=20)
        self._process = None


@contextmanager
def stray_kill(pid: int) -> Iterator[int]:
    """Have a shell send SIGTERM, as a mistaken script would; it lives for the block, and qemu sees who it was."""
    command = ["bash", "-c", 'kill -TERM "$0"; read', str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as shell:
        yield shell.pid


@contextmanager
def libvirtd(host: str | None = None) -> Iterator[Libvirtd]:
    """Run a libvirtd of one's own (in a short path: a socket's may have 107 bytes)."""
    directory = Path(tempfile.mkdtemp(prefix="es-power-"))
    directory.chmod(0o755)
    daemon = Libvirtd(directory, host=host)
    try:
        yield daemon.start()
    finally:
        daemon.stop()
