"""A log that refuses, under the whole of a real service: its process, libvirt's events, HTTP and importers.

The disk is full, cannot be written or is slow, or another program holds the log's lock. The service says so and goes on
answering, nothing is half done, and it recovers alone.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import httpx
import pytest
import trio

from es_power.cli import main
from es_power.domain.decisions import Approved
from es_power.domain.events import GapClosed, LifecycleEvent, Position, Recorded
from es_power.domain.logged import NovaTransitionLogged
from es_power.domain.states import VmState
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.log import open_log
from es_power.replay import verify
from es_power.testing import vm
from tests.acceptance.test_http import free_port
from tests.rigs.actor import Actor, actor
from tests.rigs.libvirtd import Libvirtd, libvirtd, missing_parts
from tests.rigs.machines import fake_vm
from tests.torture.frame import nobodys
from tests.torture.test_disk import fill, small_disk

pytestmark = [
    pytest.mark.torture,
    pytest.mark.libvirt,
    pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted by root alone"),
]

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds until a test gives up; a start takes long on a machine that has much to do."""

CAPACITY = 30
"""Events that the service keeps while it cannot store them."""

HASTY = """
import sys
from es_power.log import database, patience
database.LOCK_WAIT, patience.SLOW = 0.5, 1.0  # the waits of the real one are ten and more times as long
from es_power.cli import main
sys.exit(main(sys.argv[1:]))
"""

SETTINGS = """
[log]
path = "{log}"
[observe]
uri = ["{uri}"]
[policy]
mode = "approve"
[act]
settle = "1ms"
after_boot = "1ms"
socket = "{here}/act.sock"
[api]
listen = ""
socket = "{here}/api.sock"
[metrics]
listen = "127.0.0.1:{port}"
[bridge]
capacity = {capacity}
[qemu_log]
enabled = false
"""


def until(true: Callable[[], T]) -> T:
    """Wait until it is so: nothing but asking tells what another process has come to."""
    end = monotonic() + PATIENCE
    while not (found := true()):
        assert monotonic() < end
        sleep(0.02)
    return found


@pytest.fixture(scope="module")
def daemon() -> Iterator[tuple[Libvirtd, Actor]]:
    """A libvirtd with two VMs that are on."""
    if reason := missing_parts():
        pytest.skip(reason)
    with libvirtd() as running, actor(running.uri()) as other:
        for number in (1, 2):
            other.act("-", "defineXML", fake_vm(f"guest-{number}", uuid=vm(number)))
            other.act(f"guest-{number}", "create")
        yield running, other


@dataclass
class House:
    """A real service, and who asks it."""

    process: subprocess.Popen[str]
    here: Path
    log: Path
    api: httpx.Client
    health: httpx.Client
    other: Actor
    told: int = 0

    def ready(self) -> dict[str, Any] | None:
        """What it says of itself; None while it says nothing."""
        assert self.process.poll() is None, self.said
        try:
            answer = self.health.get("/readyz")
        except httpx.TransportError:
            return None
        assert answer.is_success is answer.json()["ready"]
        return answer.json()

    @property
    def said(self) -> str:
        """What it wrote into its own log."""
        return (self.here / "said").read_text()

    def happen(self, count: int) -> None:
        """Let so many things happen to a VM."""
        for _ in range(count):
            self.told += 1
            self.other.act("guest-1", "suspend" if self.told % 2 else "resume")

    def refuses(self, because: str) -> None:
        """Let things happen until it says that the log refuses them, and why."""

        def refused() -> bool:
            self.happen(1)
            return because in str((self.ready() or {}).get("refused", {}).get("written"))

        until(refused)

    def recovers(self) -> None:
        """Wait until it is ready again, with all that it was told in the log, but for what a gap counts."""
        until(lambda: (self.ready() or {}).get("ready"))
        until(lambda: self.stored() + self.lost() == self.told)

    def stored(self) -> int:
        events = (each.event for each in self.records())
        return sum(isinstance(event, LifecycleEvent) and event.instance == vm(1) for event in events)

    def lost(self) -> int:
        return sum(each.event.lost or 0 for each in self.records() if isinstance(each.event, GapClosed))

    def records(self) -> list[Recorded]:
        return trio.run(records_of, self.log)


async def records_of(place: Path) -> list[Recorded]:
    async with open_log(place) as log:
        return list(await log.read(after=Position(0), limit=100_000))


async def differences_of(place: Path) -> list[object]:
    async with open_log(place) as log:
        return list((await verify(log))[1])


async def retire(place: Path) -> None:
    """Say that a VM that is on is to be off, so that a command is planned."""
    async with open_log(place, mode="write") as log:
        await declare(log, [(vm(2), VmState.STOPPED, None)], by="ann", why="it is retired", at=now())


@contextmanager
def house(disk: Path, here: Path, daemon: tuple[Libvirtd, Actor], *, told: int = 0) -> Iterator[House]:
    """Run the service on a disk, ready."""
    libvirt, other = daemon
    here.mkdir(exist_ok=True)
    port, log, config = free_port(), disk / "log.db", here / "config.toml"
    config.write_text(SETTINGS.format(log=log, uri=libvirt.uri(), here=here, port=port, capacity=CAPACITY))
    with ExitStack() as stack:
        said = stack.enter_context((here / "said").open("a"))
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", HASTY, "run", "--act", "--config", config], stderr=said, text=True, env=nobodys()
            )
        )
        stack.callback(process.kill)
        transport = httpx.HTTPTransport(uds=str(here / "api.sock"))
        api = stack.enter_context(httpx.Client(transport=transport, base_url="http://localhost", timeout=PATIENCE))
        health = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE))
        made = House(process, here, log, api, health, other, told)
        until(lambda: (made.ready() or {}).get("ready"))
        yield made


@pytest.fixture(scope="module")
def standing(daemon: tuple[Libvirtd, Actor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Path]]:
    """A service on a disk that is soon full; each test leaves it as it found it."""
    here = tmp_path_factory.mktemp("house")
    with small_disk(here / "disk") as disk, house(disk, here, daemon) as at:
        trio.run(retire, at.log)
        yield at, disk


# -------------------------------------------------------------------------------- nothing is half done, by HTTP


def test_a_write_over_http_is_done_or_not_done_and_an_importer_goes_on_where_it_was(
    standing: tuple[House, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    at, disk = standing
    nova = at.here / "nova-compute.log"
    nova.write_text("".join(map(nova_line, range(5_000))))
    importing = ["import", "nova-log", str(nova), "--tz", "UTC", "--log", str(at.log)]
    [command] = until(lambda: at.api.get("/v1/commands").json()["items"])
    approve, key = f"/v1/commands/{command['id']}/approve", {"Idempotency-Key": "k-1"}
    before = at.api.get("/v1/vms").json()["items"]

    filler = fill(disk)
    at.refuses("free some space")
    at.happen(2 * CAPACITY)
    until(lambda: not (at.ready() or {"checks": {"seen": True}})["checks"]["seen"])  # the gap has found its room
    refused = at.api.post(approve, json={"why": "it is planned"}, headers=key)
    read = at.api.get("/v1/vms")
    refused_import = main(importing)
    filler.unlink()
    at.recovers()
    granted = [at.api.post(approve, json={"why": "it is planned"}, headers=key) for _ in range(2)]
    again = [main(importing) for _ in range(2)]
    imported = imported_of(at.log)
    approved = [each.event for each in at.records() if isinstance(each.event, Approved)]

    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/log-unavailable")
    assert refused.headers["retry-after"] == "5"
    assert "free some space" in refused.json()["detail"]
    assert (read.status_code, len(read.json()["items"])) == (200, len(before))
    assert [each.status_code for each in granted] == [200, 200]
    assert len(approved) == 1
    assert (refused_import, again) == (5, [0, 0])
    [line] = capsys.readouterr().err.splitlines()
    assert f"the disk that holds {at.log} is full; free some space there" in line
    assert len(imported) == len({each.logged_at for each in imported}) == 5_000


def nova_line(number: int) -> str:
    minutes, seconds = divmod(number, 60)
    at = f"2026-11-{1 + minutes // 1440:02} {minutes // 60 % 24:02}:{minutes % 60:02}:{seconds:02}.000"
    return f"{at} 1 INFO nova.compute.manager [-] [instance: {vm(number % 50)}] VM Stopped (Lifecycle Event)\n"


def test_an_import_that_a_full_disk_breaks_off_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nova = tmp_path / "nova-compute.log"
    nova.write_text("".join(map(nova_line, range(20_000))))
    with small_disk(tmp_path / "disk", "2m") as disk:
        place = disk / "log.db"
        importing = ["import", "nova-log", str(nova), "--tz", "UTC", "--create", "--log", str(place)]
        broken_off = main(importing)
        said = capsys.readouterr().err
        part = imported_of(place)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        again = [main(importing) for _ in range(2)]
        whole = imported_of(place)
        verified = main(["audit", "verify", "--log", str(place)])

    assert (broken_off, again, verified) == (5, [0, 0], 0)
    assert f"the disk that holds {place} is full; free some space there" in said
    assert 0 < len(part) < len(whole) == len({each.logged_at for each in whole}) == 20_000
    assert whole[: len(part)] == part


def imported_of(place: Path) -> list[NovaTransitionLogged]:
    return [each.event for each in trio.run(records_of, place) if isinstance(each.event, NovaTransitionLogged)]


# ------------------------------------------------------------------------------------------- it recovers alone


@contextmanager
def locked(at: House) -> Iterator[None]:
    """Another program holds SQLite's lock for writers."""
    with closing(sqlite3.connect(at.log, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def injected(at: House, fault: str) -> Iterator[None]:
    """Have what the process asks of the log's files fail."""
    files = [word for end in ("", "-wal") for word in ("-P", f"{at.log}{end}")]
    command = [
        "strace",
        "-f",
        "-qq",
        *files,
        "-o",
        "/dev/null",
        *(["-e", f"inject={fault}"]),
        "-p",
        str(at.process.pid),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:
        try:
            yield
        finally:
            strace.terminate()


FAULTS = {
    "locked": (locked, "another process has held the lock"),
    "read only": (lambda at: injected(at, "pwrite64,ftruncate,fallocate:error=EROFS"), "the disk that holds"),
    "slow": (lambda at: injected(at, "fdatasync,fsync:delay_exit=1500000"), "it has not answered for 1 s"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_it_says_that_the_log_refuses_and_recovers_alone(standing: tuple[House, Path], fault: str) -> None:
    if fault != "locked" and not shutil.which("strace"):
        pytest.skip("strace is not installed")
    (at, _), (made, because) = standing, FAULTS[fault]
    lost = at.lost()
    with made(at):
        at.refuses(because)
        at.happen(2 * CAPACITY)
        assert at.api.get("/v1/vms").status_code == 200
    at.recovers()

    assert "the log cannot be written; trying on" in at.said
    assert fault == "slow" or at.lost() > lost
    assert trio.run(differences_of, at.log) == []
