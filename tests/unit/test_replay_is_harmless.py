"""A replay of any log sends and appends nothing: shown with writers and stoppers that trip whoever touches them."""

import socket
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import libvirt
import pytest
import trio

from es_power.cli import main
from es_power.dispatch.hypervisor import HypervisorStopper
from es_power.dispatch.process_manager import ProcessManager
from es_power.domain.command import CommandState
from es_power.domain.decisions import StopVerb
from es_power.domain.ports import Append
from es_power.log import SqlLog, open_log
from es_power.log.database import Database
from es_power.projections.explain import commands
from es_power.projections.queries import look
from tests.unit.story import WEB, one_host
from tests.unit.tale import every_state

REPLAYS = [
    (),
    ("--until", "20"),
    ("--verify",),
    ("--policy", "nova-2026"),
    ("--policy", "nova-2013", "--against", "nova-2026"),
    ("--policy", "nova-2013", "--against", "nova"),
    ("--against", "follow"),
    ("--against", "nova", "-o", "json"),
]


class Tripped(BaseException):
    """Somebody touched what a replay has no business with; nothing that expects errors takes it for one."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commands in every state; what the process manager has still to append is in it as well."""
    return trio.run(every_state().write, tmp_path_factory.mktemp("log") / "log.db")


@pytest.fixture
def tripwire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever could append, store, stop or reach another machine."""

    def trip(name: str) -> Callable[..., None]:
        def tripped(*_: object, **__: object) -> None:
            raise Tripped(name)

        return tripped

    for owner, name in (
        (SqlLog, "append"),
        (Database, "write"),
        (ProcessManager, "append"),
        (HypervisorStopper, "stop"),
        (libvirt, "open"),
        (libvirt, "openReadOnly"),
        (libvirt, "openAuth"),
        (socket.socket, "connect"),
    ):
        monkeypatch.setattr(owner, name, trip(f"{owner.__name__}.{name}"))


def content(log: Path) -> str:
    return sha256(log.read_bytes()).hexdigest()


async def test_the_log_has_commands_in_all_states(log: Path) -> None:
    async with open_log(log) as opened:
        assert {each.row.state for each in await commands(await look(opened))} == set(CommandState)


@pytest.mark.usefixtures("tripwire")
@pytest.mark.parametrize("arguments", REPLAYS, ids=" ".join)
def test_no_replay_touches_what_appends_or_stops(
    log: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(log)
    code = main(["replay", *arguments, "--log", str(log)])

    assert code == (4 if "--against" in arguments and "nova-2026" not in arguments else 0), capsys.readouterr().err
    assert content(log) == before
    assert [each.name for each in log.parent.iterdir() if each.stat().st_size and each != log] in ([], ["log.db-shm"])


@pytest.mark.usefixtures("tripwire")
def test_the_wires_trip_whoever_touches_them() -> None:
    stopper = object.__new__(HypervisorStopper)
    for touch in (
        lambda: libvirt.open("test:///default"),
        lambda: libvirt.openReadOnly("test:///default"),
        _connect,
        lambda: stopper.stop(WEB, StopVerb.STOP, within=2.0, still_wanted=lambda: True),
        lambda: SqlLog.append(None, Append(writes=())),
    ):
        with pytest.raises(Tripped):
            touch()


def _connect() -> None:
    with socket.socket() as opened:
        opened.connect(("127.0.0.1", 9))


def test_a_rebuild_which_writes_tables_trips(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place = trio.run(one_host().write, tmp_path / "log.db")
    request.getfixturevalue("tripwire")
    with pytest.raises(Tripped, match=r"Database\.write"):
        main(["replay", "--rebuild", "--log", str(place)])
