"""The actor as people start it: a program of its own beside the observer, or one with it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.acceptance.program import Done, Machine, Running
from tests.rigs.libvirtd import Libvirtd, libvirtd, missing_parts

SETTINGS = """
[log]
path = "{home}/log.db"
[observe]
uri = ["{uri}"]
[act]
settle = 0.2
after_boot = 0.01
confirm = "10s"
"""


@pytest.fixture
def es_power(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def daemon() -> Iterator[Libvirtd]:
    if reason := missing_parts():
        pytest.skip(reason)
    with libvirtd() as running:
        yield running


@pytest.fixture
def config(es_power: Machine) -> Path:
    """Of a host inside the one process that uses it."""
    return written(es_power, "test:///default")


def written(es_power: Machine, uri: str) -> Path:
    path = es_power.home / "config.toml"
    path.write_text(SETTINGS.format(home=es_power.home, uri=uri))
    return path


async def ask(es_power: Machine, *arguments: object) -> Done:
    """Run the program to its end, without keeping those that run from being read."""
    return await trio.to_thread.run_sync(lambda: es_power(*arguments))


async def commands(es_power: Machine, config: Path) -> list[dict[str, object]]:
    done = await ask(es_power, "commands", "list", "-o", "json", "--config", config)
    return json.loads(done.out)


async def until_state(es_power: Machine, config: Path, state: str) -> dict[str, object]:
    with trio.fail_after(20):
        while True:
            found = [each for each in await commands(es_power, config) if each["state"] == state]
            if found:
                return found[-1]
            await trio.sleep(0.1)


async def test_one_process_observes_and_acts(es_power: Machine, config: Path) -> None:
    async with es_power.running("run", "--act", "--mode", "auto", "--config", config) as service:
        await service.says('"observing"')
        declared = await ask(
            es_power, "declare", "test", "--vm-state", "stopped", "--why", "retired", "--config", config
        )
        command = await until_state(es_power, config, "Confirmed")
        done = await service.end(signal.SIGTERM)
    shown = json.loads(es_power("commands", "show", command["id"], "-o", "json", "--config", config).out)
    [status] = json.loads(es_power("status", "-o", "json", "--config", config).out)

    assert (declared.code, done.code) == (0, 0)
    assert [step["step"] for step in shown[0]["life"]] == [
        *("StopRequested", "Approved", "StateObserved", "LookedAgain", "Sent", "StateObserved", "Confirmed")
    ]
    assert shown[0]["cell"] == {"vm_state": "stopped", "power_state": "RUNNING", "verdict": "stop (f)"}
    assert status["power_state"] == "SHUTDOWN"
    assert es_power("replay", "--verify", "--config", config).code == 0


async def test_a_mode_needs_somebody_who_acts(es_power: Machine, config: Path) -> None:
    done = es_power("run", "--mode", "auto", "--config", config)

    assert done.code == 2
    assert "--act" in done.complaints[0]


async def test_without_an_actor_a_wish_says_what_is_missing(es_power: Machine, config: Path) -> None:
    async with es_power.running("run", "--config", config) as service:
        await service.says('"observing"')
        done = await ask(es_power, "hold", "test", "--why", "backup", "--config", config)
        await service.end(signal.SIGTERM)

    assert done.code == 5
    assert "is `es-power act` running?" in done.complaints[0]


async def approving(es_power: Machine, config: Path, running: Running) -> str:
    """Declare the VM stopped, and give the id of the command that waits."""
    await running.says('"acting"')
    await ask(es_power, "declare", "test", "--vm-state", "stopped", "--why", "retired", "--config", config)
    return str((await until_state(es_power, config, "Planned"))["id"])


@pytest.mark.libvirt
async def test_a_person_approves_at_the_door_of_an_actor_of_its_own(es_power: Machine, daemon: Libvirtd) -> None:
    config = written(es_power, daemon.uri())
    async with es_power.running("run", "--config", config) as observer:
        await observer.says('"observing"')
        async with es_power.running("act", "--mode", "approve", "--config", config) as actor:
            command = await approving(es_power, config, actor)
            second = await ask(es_power, "act", "--mode", "approve", "--config", config)
            held = await ask(es_power, "hold", "test", "--for", "1h", "--why", "backup", "--config", config)
            approved = await ask(es_power, "commands", "approve", command[:8], "--why", "go", "--config", config)
            await actor.says('"a person holds it"')
            released = await ask(es_power, "release", "test", "--why", "done", "--config", config)
            await until_state(es_power, config, "Confirmed")
            again = await ask(es_power, "commands", "approve", command, "--why", "go", "--config", config)
            unknown = await ask(es_power, "commands", "approve", "ffffffff", "--why", "go", "--config", config)
            ended = await actor.end(signal.SIGTERM)
        await observer.end(signal.SIGTERM)

    assert (held.code, approved.code, released.code, ended.code) == (0, 0, 0, 0)
    assert second.code == 1
    assert f"process {actor.pid}" in second.complaints[0]
    assert (again.code, unknown.code) == (1, 3)
    assert "is Confirmed" in again.complaints[0]


@pytest.mark.libvirt
async def test_an_actor_that_starts_again_sends_nothing_older(es_power: Machine, daemon: Libvirtd) -> None:
    config = written(es_power, daemon.uri())
    async with es_power.running("run", "--config", config) as observer:
        await observer.says('"observing"')
        async with es_power.running("act", "--mode", "approve", "--config", config) as actor:
            command = await approving(es_power, config, actor)
            await actor.end(signal.SIGKILL)
        async with es_power.running("act", "--mode", "auto", "--config", config) as actor:
            await actor.says('"acting"')
            await trio.sleep(1)
            [waiting] = await commands(es_power, config)
            await ask(es_power, "commands", "approve", command, "--why", "still wanted", "--config", config)
            await until_state(es_power, config, "Confirmed")
            await actor.end(signal.SIGTERM)
        await observer.end(signal.SIGTERM)

    assert waiting["state"] == "Planned"
