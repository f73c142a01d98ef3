"""What doctor finds about Nova: asked of a scripted one, with the nova.conf and the log of a test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from es_power.cli import nova_checks as module
from es_power.cli.checks import Check
from es_power.cli.nova_checks import Observed, nova_checks
from es_power.domain.events import NovaStopObserved
from es_power.domain.ports import Append, Write
from es_power.domain.streams import observer, records
from es_power.domain.time import SECOND, Timestamp
from es_power.ingest.clock import now
from es_power.log import open_log
from es_power.settings import Host, Log, Nova, PolicyChoice, Settings
from es_power.testing.facts import vm
from tests.rigs.scripted_nova import Reply, ScriptedNova, scripted_nova

HERE = Observed(name="kvm-07", stream=observer("kvm-07", "qemu"), vms=1)
OFF = "[DEFAULT]\nsync_power_state_interval = -1\n[workarounds]\nhandle_virt_lifecycle_events = False\n"


@pytest.fixture
def nova(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedNova]:
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with scripted_nova() as nova:
        for name, value in nova.environment.items():
            monkeypatch.setenv(name, value)
        yield nova


@pytest.fixture(autouse=True)
def conf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    conf = tmp_path / "nova" / "nova.conf"
    conf.parent.mkdir()
    monkeypatch.setattr(module, "NOVA_CONF", conf)
    return conf


def settings(tmp_path: Path, mode: str = "dry-run", *, enabled: bool = True) -> Settings:
    return Settings(
        log=Log(path=str(tmp_path / "log.db")),
        hosts=(Host(uri="test:///default"),),
        nova=Nova(enabled=enabled, timeout=2.0),
        policy=PolicyChoice(mode=mode),
    )


async def found(settings: Settings, host: Observed = HERE) -> list[Check]:
    return [check async for check in nova_checks(settings, [host])]


async def stopped_by_nova(tmp_path: Path, at: Timestamp) -> None:
    stop = NovaStopObserved(observed_at=at, instance=vm(1), request_id="req-1", by_nova_itself=True)
    async with open_log(tmp_path / "log.db", mode="write") as log:
        await log.append(Append(writes=[Write(stream=records(HERE.stream), expected=0, events=[stop])]))


async def test_a_nova_that_shows_its_hosts_is_well(nova: ScriptedNova, tmp_path: Path) -> None:
    nova.add(vm(1), host="kvm-07")
    [answer, who] = await found(settings(tmp_path))

    assert (answer.check, answer.result) == ("Nova's kvm-07", "ok")
    assert "has 1 there" in answer.found
    assert (who.check, who.result) == ("who acts", "ok")


async def test_an_account_that_may_not_see_all_projects_is_told_what_it_lacks(
    nova: ScriptedNova, tmp_path: Path
) -> None:
    nova.fail("GET /servers/detail", Reply(status=403, body=b'{"forbidden": {"message": "Policy does not allow"}}'))
    [answer, _] = await found(settings(tmp_path))

    assert answer.result == "failed"
    assert "role admin" in answer.mend


async def test_an_account_that_sees_no_hosts_is_told_what_it_lacks(nova: ScriptedNova, tmp_path: Path) -> None:
    nova.add(vm(1), host="kvm-07")
    [shown] = nova.servers.values()
    bare = {name: value for name, value in shown.items() if not name.startswith("OS-EXT-SRV-ATTR")}
    nova.fail("GET /servers/detail", Reply.json({"servers": [bare]}))
    [answer, _] = await found(settings(tmp_path))

    assert (answer.result, answer.mend) == ("failed", "give the account the role admin")


async def test_a_nova_that_has_nothing_where_libvirt_has_guests_is_a_finding(
    nova: ScriptedNova, tmp_path: Path
) -> None:
    nova.add(vm(1), host="compute-7")
    [answer, _] = await found(settings(tmp_path))

    assert answer.result == "finding"
    assert "[[host]]" in answer.mend


async def test_credentials_that_are_missing_are_named(
    nova: ScriptedNova, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in nova.environment:
        monkeypatch.delenv(name)
    [answer, _] = await found(settings(tmp_path))

    assert (answer.check, answer.result) == ("Nova", "failed")
    assert "OS_" in answer.found + answer.mend


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[DEFAULT]\nhost = kvm-07\n", ["sync_power_state_interval", "handle_virt_lifecycle_events"]),
        ("[DEFAULT]\nsync_power_state_interval = -1\n", ["handle_virt_lifecycle_events"]),
        (OFF.replace("-1", "0"), ["sync_power_state_interval"]),  # 0 is Nova's default spacing
        ("[workarounds]\nhandle_virt_lifecycle_events = no\n", ["sync_power_state_interval"]),
    ],
)
async def test_switches_of_novas_that_are_on_while_we_act_are_named(
    text: str, named: list[str], conf: Path, tmp_path: Path
) -> None:
    conf.write_text(text)
    [who] = await found(settings(tmp_path, "auto", enabled=False))

    assert who.result == "finding"
    assert "both would" in who.found
    assert all(name in who.found for name in named)
    assert "sync_power_state_interval = -1" in who.mend


async def test_where_both_switches_are_off_we_act_alone(conf: Path, tmp_path: Path) -> None:
    conf.write_text(OFF)
    await stopped_by_nova(tmp_path, Timestamp(now() - 3600 * SECOND))
    [who] = await found(settings(tmp_path, "auto", enabled=False))

    assert (who.result, who.found.startswith("es-power alone")) == ("ok", True)


async def test_a_stop_after_the_switches_were_turned_off_means_that_nova_was_not_restarted(
    conf: Path, tmp_path: Path
) -> None:
    conf.write_text(OFF)
    await stopped_by_nova(tmp_path, Timestamp(now() + 3600 * SECOND))
    [who] = await found(settings(tmp_path, "approve", enabled=False))

    assert who.result == "finding"
    assert "stopped an instance" in who.found
    assert "restart nova-compute" in who.mend


async def test_where_nova_conf_cannot_be_read_its_history_tells(conf: Path, tmp_path: Path) -> None:
    conf.write_bytes(b"\xff\xfe no settings")
    [unknown] = await found(settings(tmp_path, "auto", enabled=False))
    await stopped_by_nova(tmp_path, now())
    [known] = await found(settings(tmp_path, "auto", enabled=False))

    assert "was not seen to act" in unknown.found
    assert "both do" in known.found


async def test_under_dry_run_nova_may_act_as_it_likes(conf: Path, tmp_path: Path) -> None:
    conf.write_text("")
    [who] = await found(settings(tmp_path, enabled=False))

    assert who.result == "ok"


async def test_where_there_is_no_nova_nothing_is_said_of_it(conf: Path, tmp_path: Path) -> None:
    conf.parent.rmdir()

    assert await found(settings(tmp_path, "auto", enabled=False)) == []
