"""What the page shows: a real libvirtd, and `es-power run --act` on it, which a step may kill and start again."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
import trio

from es_power.domain.events import InstanceId
from es_power.domain.states import VmState
from es_power.ingest.clock import now
from es_power.ingest.declarations import declare
from es_power.log import open_log
from tests.acceptance.program import PROGRAM, environment
from tests.rigs.actor import Actor, actor
from tests.rigs.libvirtd import Libvirtd, libvirtd
from tests.rigs.machines import fake_vm

_SETTINGS = """
[log]
path = "{home}/log.db"
[observe]
uri = ["{uri}"]
[policy]
mode = "approve"
[act]
settle = 0.2
after_boot = 0.01
[api]
listen = "127.0.0.1:{port}"
socket = "{home}/api.sock"
rate = 1000
[metrics]
enabled = false
"""


_PATIENCE = 120.0
"""Seconds until it is given up; on a busy machine a service takes many to start."""


class World:
    """One host, its VMs, and the service that observes it and acts on it."""

    def __init__(self, home: Path, daemon: Libvirtd, hands: Actor) -> None:
        self._home = home
        self._hands = hands
        self._port = _free_port()
        self._service: subprocess.Popen[bytes] | None = None
        self._config = home / "config.toml"
        self._config.write_text(_SETTINGS.format(home=home, uri=daemon.uri(), port=self._port))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Run the service, and wait until it answers."""
        said = self._home / "service.out"
        with said.open("ab") as output:
            self._service = subprocess.Popen(
                # It ends with the tests, though they crash.
                ["setpriv", "--pdeathsig", "KILL", *PROGRAM, "run", "--act", "--config", self._config],
                env={**environment(self._home), "ES_POWER_API_ENABLED": "true"},
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._listens():
            assert self._service.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.02)  # nothing but trying tells that it listens

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def kill(self) -> None:
        """End the service as a crash would."""
        assert self._service is not None
        self._service.send_signal(signal.SIGKILL)
        self._service.wait(timeout=_PATIENCE)
        self._service = None

    def end(self) -> None:
        """Leave nothing that runs."""
        if self._service is not None:
            self.kill()

    def link(self, role: str) -> str:
        """What `es-power ui --role ROLE` prints."""
        transport = httpx.HTTPTransport(uds=str(self._home / "api.sock"))
        with httpx.Client(transport=transport, base_url="http://localhost") as host:
            answer = host.post("/v1/links", params={"role": role})
        return str(answer.raise_for_status().json()["url"])

    def define(self, name: str) -> str:
        """Make a VM that runs; its UUID."""
        xml = fake_vm(name)
        self._hands.act("-", "defineXML", xml)
        self._hands.act(name, "create")
        return xml.partition("<uuid>")[2].partition("</uuid>")[0]

    def act(self, name: str, method: str) -> None:
        """Do to a VM what another program on the host does."""
        self._hands.act(name, method)

    def declare(self, instance: str, vm_state: str, why: str) -> None:
        """Vouch for a VM, as `es-power declare` does, whether the service runs or not."""
        trio.run(partial(self._declare, InstanceId(UUID(instance)), VmState(vm_state), why))

    async def _declare(self, instance: InstanceId, vm_state: VmState, why: str) -> None:
        async with open_log(self._home / "log.db", mode="write") as log:
            await declare(log, [(instance, vm_state, None)], by="alice", why=why, at=now())


@contextmanager
def world(home: Path) -> Iterator[World]:
    """Run one with a dozen VMs."""
    with ExitStack() as stack:
        daemon = stack.enter_context(libvirtd())
        hands = stack.enter_context(actor(daemon.uri()))
        found = World(home, daemon, hands)
        stack.callback(found.end)
        found.start()
        for number in range(1, 13):
            found.define(f"web-{number:02}")
        yield found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
