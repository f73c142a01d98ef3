"""A private PostgreSQL: a cluster of the tests' own, on a socket in a directory that goes away with it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

PORT = 5432  # the name of a socket only: nothing listens on the network

_schemas = count(1)


def missing() -> str | None:
    """Say why there can be no cluster here; None where there can."""
    if _binaries() is None:
        return "PostgreSQL's server is not installed (Debian: apt-get install -y postgresql)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and setpriv, which starts it as another user, is not installed"
    return None


class Cluster:
    """A running cluster; `url()` gives an empty place in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def url(self, *, schema: str | None = None) -> str:
        """The URL of a new, empty schema."""
        if schema is None:
            schema = f"test_{next(_schemas)}"
            self.run(f"CREATE SCHEMA {schema}")
        return f"postgresql://postgres@/postgres?host={self.directory}&port={PORT}&options=-csearch_path%3D{schema}"

    def run(self, sql: str) -> str:
        """Run SQL as its owner, outside of any test's connections, and give what it prints."""
        binaries = _binaries()
        assert binaries is not None
        command = [binaries / "psql", "-h", self.directory, "-p", str(PORT), "-U", "postgres", "-qAtX"]
        return subprocess.run([*command, "-c", sql, "postgres"], check=True, capture_output=True, text=True).stdout


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a cluster, and end it by its own process id."""
    binaries = _binaries()
    assert binaries is not None
    with tempfile.TemporaryDirectory(prefix="es_power-postgres-") as name:
        directory = Path(name)
        as_owner: list[str] = []
        if os.geteuid() == 0:
            os.chown(directory, *_OWNER)
            as_owner = ["setpriv", f"--reuid={_OWNER[0]}", f"--regid={_OWNER[1]}", "--clear-groups"]
        data = directory / "data"
        subprocess.run(
            [*as_owner, binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd=directory,
        )
        options = {"listen_addresses": "", "unix_socket_directories": str(directory), "port": str(PORT)}
        control = [*as_owner, binaries / "pg_ctl", "-D", data, "-w", "-t", "60"]
        subprocess.run(
            [*control, "-l", directory / "log", "-o", " ".join(f"-c {k}='{v}'" for k, v in options.items()), "start"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=directory,
        )
        try:
            yield Cluster(directory)
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=directory)


_OWNER = (65534, 65534)  # nobody: its cluster can touch nothing else


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None
