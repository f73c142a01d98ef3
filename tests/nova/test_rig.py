"""The rig is a Nova: servers boot and stop as anywhere, and what is broken here can be mended."""

from collections.abc import Callable

import pytest

from tests.nova.rig import NovaRig

pytestmark = pytest.mark.nova

POWER_STATE = "OS-EXT-STS:power_state"
VM_STATE = "OS-EXT-STS:vm_state"


def test_servers_boot_and_are_listed_with_what_nova_thinks_of_them(
    nova: NovaRig, boot: Callable[..., list[str]]
) -> None:
    booted = boot("one", "two", "three")

    listed = {server["id"]: (server[VM_STATE], server[POWER_STATE]) for server in nova.servers()}
    assert {uuid: listed[uuid] for uuid in booted} == dict.fromkeys(booted, ("active", 1))


def test_a_stop_leads_to_shutoff_a_second_is_refused_and_the_history_shows_it(nova: NovaRig, server: str) -> None:
    first = nova.act(server, "os-stop")
    stopped = nova.until(server, "SHUTOFF")
    second = nova.act(server, "os-stop")

    assert (first.status, second.status) == (202, 409)
    assert (stopped[VM_STATE], stopped[POWER_STATE]) == ("stopped", 4)
    assert [action["action"] for action in nova.actions(server)] == ["stop", "create"]
