"""A guest that is being migrated is not stopped, neither where it leaves nor where it comes in."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import libvirt
import pytest
import trio

from es_power.dispatch.hypervisor import HypervisorStopper
from es_power.dispatch.stopper import Outcome, Result
from es_power.domain.decisions import StopVerb
from es_power.domain.events import InstanceId
from es_power.ingest.libvirt import event_loop
from tests.migration.conftest import _LIVE, _SLOW
from tests.rigs.guest import Guest
from tests.rigs.libvirtd import PATIENCE, Libvirtd
from tests.rigs.machines import real_vm

pytestmark = [pytest.mark.migration, pytest.mark.libvirt, pytest.mark.qemu]

RUNNING = 1


async def yes() -> float:
    return 2.0


@asynccontextmanager
async def migrating(daemons: Mapping[str, Libvirtd], image: Guest) -> AsyncIterator[Any]:
    """A guest that is on its way from the first host to the second, and stays there for as long as the block takes."""
    here, there = (daemon.uri("qemu", "/session") for daemon in daemons.values())
    source, target, busy = libvirt.open(here), libvirt.open(there), libvirt.open(here)
    console = image.kernel.parent / "leaving.console"
    vm = source.createXML(real_vm("leaving", image, console=console))
    try:
        while "GUEST none" not in (console.read_text(errors="replace") if console.exists() else ""):
            await trio.sleep(0.05)
        leaving = busy.lookupByName("leaving")
        async with event_loop(), trio.open_nursery() as nursery:
            nursery.start_soon(_migrate, leaving, there)
            while not (target.numOfDomains() and vm.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_UNBOUNDED):
                await trio.sleep(0.05)
            yield vm
            vm.abortJob()
    finally:
        vm.destroy()
        for raw in (source, target, busy):
            raw.close()


async def _migrate(vm: Any, there: str) -> None:
    with pytest.raises(libvirt.libvirtError, match="canceled"):
        await trio.to_thread.run_sync(vm.migrateToURI3, there, dict(_SLOW), _LIVE)


async def test_a_guest_in_migration_is_left_alone_on_both_hosts(daemons: Mapping[str, Libvirtd], image: Guest) -> None:
    with trio.fail_after(PATIENCE):
        async with migrating(daemons, image) as vm:
            instance = InstanceId(UUID(vm.UUIDString()))
            results = {
                await HypervisorStopper(daemon.uri("qemu", "/session")).stop(
                    instance, verb, within=2.0, still_wanted=yes
                )
                for daemon in daemons.values()
                for verb in StopVerb
            }
            still_on = vm.state()[0] == RUNNING

    assert results == {
        Result(outcome=Outcome.NOT_DELIVERED, reason="the guest is being migrated, saved or copied; nothing was done")
    }
    assert still_on
