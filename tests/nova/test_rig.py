"""The rig is a Nova: servers boot and stop as anywhere, and what is broken here can be mended."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nova.rig import NovaRig
from tests.nova.services import BINARIES

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


def test_a_guest_that_goes_off_beside_nova_stays_active_for_nova(nova: NovaRig, server: str) -> None:
    """Its power sync is off here, so whatever stops such a server in these tests is not Nova."""
    nova.guest(server, "destroy")
    nova.restart_compute()

    assert nova.server(server)[VM_STATE] == "active"
    assert [action["action"] for action in nova.actions(server)] == ["create"]


def test_nova_s_own_power_sync_would_have_stopped_it(nova: NovaRig, server: str) -> None:
    nova.guest(server, "destroy")
    try:
        nova.restart_compute(sync_seconds=2)
        nova.until(server, "SHUTOFF")
    finally:
        nova.restart_compute(sync_seconds=-1)

    assert [(action["action"], action["user_id"] is None) for action in nova.actions(server)] == [
        ("stop", True),
        ("create", False),
    ]


def test_a_stop_ends_the_guest_and_a_start_starts_it(nova: NovaRig, server: str) -> None:
    nova.act(server, "os-stop").good()
    nova.until(server, "SHUTOFF")
    with pytest.raises(RuntimeError, match="not running"):
        nova.guest(server, "destroy")
    nova.act(server, "os-start").good()
    nova.until(server, "ACTIVE")

    nova.guest(server, "destroy")


def test_an_api_that_was_killed_answers_again_after_its_start(nova: NovaRig, server: str) -> None:
    nova.kill_api()
    with pytest.raises(ConnectionRefusedError):
        nova.server(server)
    nova.start_api()

    assert nova.server(server)[VM_STATE] == "active"


def test_expired_tokens_are_refused_and_new_ones_are_good(nova: NovaRig) -> None:
    client = nova.client()
    token = client.token().headers["X-Subject-Token"]
    before = client.compute_with(token, "/servers").status
    nova.expire_tokens()

    assert (before, client.compute_with(token, "/servers").status) == (200, 401)
    assert client.compute("GET", "/servers").status == 200


def test_the_database_of_the_cell_can_be_asked_and_changed(nova: NovaRig, server: str) -> None:
    nova.sql(f"update instances set task_state = 'powering-off' where uuid = '{server}'")
    pending = nova.server(server)["OS-EXT-STS:task_state"]
    nova.sql(f"update instances set task_state = null where uuid = '{server}'")

    assert pending == "powering-off"
    assert nova.sql(f"select vm_state, task_state from instances where uuid = '{server}'") == [
        {"vm_state": "active", "task_state": None}
    ]


_LIST = "import openstack; print([each.id for each in openstack.connect(**{}).compute.servers(all_projects=True)])"


def test_the_credentials_are_those_that_openstack_s_own_client_reads(
    nova: NovaRig, server: str, tmp_path: Path
) -> None:
    file = nova.write_clouds_yaml(tmp_path / "clouds.yaml")
    application = nova.application_credential("reader")
    kinds = {
        "variables": ("{}", nova.environment()),
        "file": ("{'cloud': 'rig'}", {"OS_CLIENT_CONFIG_FILE": str(file)}),
        "application credential": ("{}", nova.environment_of(application)),
    }

    for arguments, variables in kinds.values():
        answer = subprocess.run(
            [BINARIES / "python", "-W", "ignore", "-c", _LIST.replace("{}", arguments)],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **variables},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        assert server in answer.stdout
